//! Notifications that are lost: Redis drops who listens, or more of them come than may wait. What is true is found all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{Pipeline, cmd};
use telegen_sonic::sonic::pubsub::{Subscription, WAITING_BYTES};
use telegen_sonic::sonic::{Error, Fields, TableWatch, WatchEvent, Watched};

use super::redis_common::{Redis, fields, within};

/// Never within a test.
const SELDOM: Duration = Duration::from_secs(3600);
const TIMEOUT: Duration = Duration::from_secs(2);

async fn run(redis: &Redis, database: &str, command: &[&str]) -> redis::Value {
    redis.connect(database).await.query("test", cmd(command[0]).arg(&command[1..])).await.unwrap()
}

/// The rows of `T` as a watch says them, from its events.
async fn follow(watch: &mut TableWatch, rows: &mut BTreeMap<String, Fields>, lost: &mut usize) {
    match within("the next event", watch.next()).await {
        WatchEvent::Resynchronised { rows: all, .. } => *rows = all,
        WatchEvent::Set { key, fields, .. } => drop(rows.insert(key, fields)),
        WatchEvent::Del { key, .. } => drop(rows.remove(&key)),
        WatchEvent::Disconnected { .. } => *lost += 1,
    }
}

#[tokio::test]
async fn a_watch_that_redis_drops_in_the_middle_of_a_burst_ends_with_the_rows_that_are_there() {
    let redis = Redis::start();
    let mut watch = TableWatch::new(&redis.config, "CONFIG_DB", &[Watched::Rows("T")], SELDOM).unwrap();
    let (mut rows, mut lost) = (BTreeMap::new(), 0);
    follow(&mut watch, &mut rows, &mut lost).await;
    run(&redis, "CONFIG_DB", &["HSET", "T|before", "x", "1"]).await;
    follow(&mut watch, &mut rows, &mut lost).await;
    assert_eq!(rows.len(), 1);
    // What one transaction says is written to a listener behind it: beyond this much Redis closes the connection.
    run(&redis, "CONFIG_DB", &["CONFIG", "SET", "client-output-buffer-limit", "pubsub 65536 0 0"]).await;
    let mut burst = Pipeline::new();
    burst.atomic().cmd("DEL").arg("T|before");
    for number in 0..3_000 {
        burst.cmd("HSET").arg(format!("T|row{number}")).arg("x").arg(number);
    }
    let _: redis::Value = redis.connect("CONFIG_DB").await.run("burst", &burst).await.unwrap();
    while !(lost == 1 && rows.len() == 3_000) {
        follow(&mut watch, &mut rows, &mut lost).await;
    }
    assert!(!rows.contains_key("before"));
    assert_eq!(rows["row2999"], fields([("x", "2999")]));
    run(&redis, "CONFIG_DB", &["HSET", "T|after", "x", "1"]).await;
    while !rows.contains_key("after") {
        follow(&mut watch, &mut rows, &mut lost).await;
    }
    assert_eq!(lost, 1);
}

#[tokio::test]
async fn a_subscription_that_nobody_reads_keeps_a_bounded_number_of_messages_and_says_so() {
    let redis = Redis::start();
    let database = redis.config.database("CONFIG_DB").unwrap();
    let channels = ["news".to_owned()];
    let mut subscription = Subscription::open(database, &[], &channels, TIMEOUT).await.unwrap();
    let connection = redis.connect("CONFIG_DB").await;
    let text = "x".repeat(1 << 16);
    for _ in 0..2 * WAITING_BYTES / text.len() {
        let heard: u64 = connection.query("PUBLISH", cmd("PUBLISH").arg("news").arg(&text)).await.unwrap();
        assert_eq!(heard, 1);
    }
    // Redis answers in order: what was published before is here now.
    subscription.ping().await.unwrap();
    within("the messages are taken over", async {
        loop {
            match subscription.next().await {
                Err(Error::Missed { .. }) => return,
                other => assert!(other.is_ok(), "{other:?}"),
            }
        }
    })
    .await;
    let mut kept = 0;
    while let Some(message) = subscription.next_if_here().unwrap() {
        kept += message.payload.len();
    }
    assert!(kept <= WAITING_BYTES, "{kept}");
    let _: u64 = connection.query("PUBLISH", cmd("PUBLISH").arg("news").arg("last")).await.unwrap();
    assert_eq!(within("the next message", subscription.next()).await.unwrap().payload, "last");
}

#[tokio::test]
async fn a_watch_whose_reader_is_slow_lists_again_when_notifications_were_missed() {
    let redis = Redis::start();
    let mut watch = TableWatch::new(&redis.config, "CONFIG_DB", &[Watched::Rows("T")], SELDOM).unwrap();
    let (mut rows, mut lost) = (BTreeMap::new(), 0);
    follow(&mut watch, &mut rows, &mut lost).await;
    // More keys than a watch remembers become dirty while nobody reads its events.
    let connection = redis.connect("CONFIG_DB").await;
    for chunk in 0..40 {
        let mut burst = Pipeline::new();
        for number in 0..1_000 {
            burst.cmd("HSET").arg(format!("T|{}", chunk * 1_000 + number)).arg("x").arg(1);
        }
        let _: redis::Value = connection.run("burst", &burst).await.unwrap();
    }
    let mut listings = 0;
    while rows.len() < 40_000 {
        match within("the next event", watch.next()).await {
            WatchEvent::Resynchronised { rows: all, .. } => {
                listings += 1;
                rows = all;
            }
            WatchEvent::Set { key, fields, .. } => drop(rows.insert(key, fields)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(listings, 1);
}
