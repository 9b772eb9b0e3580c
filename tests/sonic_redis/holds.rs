//! A right that one process at a time has: taken, refused, given back, and kept over a Redis that goes away.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use redis::cmd;
use telegen_sonic::sonic::connection::COMMAND_TIMEOUT;
use telegen_sonic::sonic::hold::{Hold, HoldError, is_held};
use telegen_sonic::sonic::pubsub::Subscription;

use super::redis_common::{Redis, within};

async fn take(redis: &Redis, who: &str) -> Result<Hold, HoldError> {
    within("an answer", Hold::take(redis.config.database("CONFIG_DB").unwrap(), "RIGHT", who)).await
}

async fn is_taken(redis: &Redis) -> bool {
    is_held(&redis.connect("CONFIG_DB").await, "RIGHT").await.unwrap()
}

#[tokio::test]
async fn the_second_one_is_told_who_has_it_and_gets_it_once_it_is_given_up() {
    let redis = Redis::start();
    assert!(!is_taken(&redis).await);
    let first = take(&redis, "pid 1, since then").await.unwrap();
    assert!(is_taken(&redis).await);
    let Err(HoldError::Held { holders }) = take(&redis, "pid 2").await else { panic!("it was taken twice") };
    assert_eq!(holders, ["pid 1, since then"]);
    // A database of another number is another switch's.
    let other = Hold::take(redis.config.database("STATE_DB").unwrap(), "RIGHT", "pid 3").await.unwrap();
    drop(first);
    let _second = take(&redis, "pid 2").await.unwrap();
    drop(other);
    let Err(HoldError::Held { holders }) = take(&redis, "pid 4").await else { panic!("it was taken twice") };
    assert_eq!(holders, ["pid 2"]);
}

#[tokio::test]
async fn of_many_at_once_one_gets_it() {
    let redis = Redis::start();
    let names: Vec<String> = (0..8).map(|taker| format!("pid {taker}")).collect();
    let taken = futures_util::future::join_all(names.iter().map(|who| take(&redis, who))).await;
    let holds: Vec<Hold> = taken.into_iter().filter_map(Result::ok).collect();
    assert_eq!(holds.len(), 1);
}

/// The holder's connection is all there is of it: no key, nothing to expire.
#[tokio::test]
async fn it_leaves_no_key_and_ends_with_the_connection() {
    let redis = Redis::start();
    let connection = redis.connect("CONFIG_DB").await;
    let keys: BTreeSet<String> = connection.query("KEYS", cmd("KEYS").arg("*")).await.unwrap();
    let hold = take(&redis, "pid 1").await.unwrap();
    assert_eq!(connection.query::<BTreeSet<String>>("KEYS", cmd("KEYS").arg("*")).await.unwrap(), keys);
    let _: redis::Value = connection.query("FLUSHALL", &cmd("FLUSHALL")).await.unwrap();
    assert!(is_taken(&redis).await);
    drop(hold);
    let begin = Instant::now();
    let _next = take(&redis, "pid 2").await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_the_right_kept() {
    let mut redis = Redis::start();
    let _hold = take(&redis, "pid 1").await.unwrap();
    redis.server.restart(true).unwrap();
    within("it has it again", async {
        while !is_taken(&redis).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(matches!(take(&redis, "pid 2").await, Err(HoldError::Held { .. })));
}

#[tokio::test]
async fn one_that_finds_another_one_when_redis_is_back_has_lost_it() {
    let redis = Redis::start();
    let mut first = take(&redis, "pid 1").await.unwrap();
    let database = redis.config.database("CONFIG_DB").unwrap();
    let connection = redis.connect("CONFIG_DB").await;
    let clients: String =
        connection.query("CLIENT", cmd("CLIENT").arg("LIST").arg("TYPE").arg("pubsub")).await.unwrap();
    let id = clients.split(' ').find_map(|word| word.strip_prefix("id=")).unwrap().to_owned();
    // As the second one would have it, had it come while Redis was away.
    let names = ["RIGHT", "RIGHT pid 2"].map(|name| name.replacen("RIGHT", &format!("RIGHT@{}", database.id), 1));
    let second = Subscription::open(database, &[], &names, Duration::from_secs(2)).await.unwrap();
    let _: u64 = connection.query("CLIENT", cmd("CLIENT").arg("KILL").arg("ID").arg(id)).await.unwrap();
    assert_eq!(within("the first one knows", first.lost()).await, ["pid 2"]);
    drop(second);
}

/// The connection that a Redis in this state has not closed yet must not pass for another holder.
#[tokio::test]
async fn a_redis_that_hung_gives_it_back_to_who_had_it() {
    let redis = Redis::start();
    let database = redis.config.database("CONFIG_DB").unwrap();
    let mut hold =
        within("the right", Hold::with_ping(database, "RIGHT", "pid 1", Duration::from_millis(100))).await.unwrap();
    let pid = nix::unistd::Pid::from_raw(redis.server.pid().unwrap().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    // Longer than a command may take, so that the holder has given the connection up and asks for another one.
    tokio::time::sleep(COMMAND_TIMEOUT + Duration::from_millis(500)).await;
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    let lost = tokio::time::timeout(Duration::from_secs(4), hold.lost()).await;
    assert!(lost.is_err(), "it was lost to {lost:?}");
    let Err(HoldError::Held { holders }) = take(&redis, "pid 2").await else { panic!("it was taken twice") };
    assert_eq!(holders, ["pid 1"]);
}
