//! Watched tables.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::cmd;
use telegen_sonic::sonic::connection::Write;
use telegen_sonic::sonic::pubsub::Subscription;
use telegen_sonic::sonic::{Fields, RedisConnection, TableWatch, WatchEvent, Watched, wait_for_config_db};

use super::redis_common::{Redis, fields, within};

/// Never within a test.
const SELDOM: Duration = Duration::from_secs(3600);

fn watch(redis: &Redis, tables: &[&str], resync: Duration) -> TableWatch {
    let rows: Vec<Watched<'_>> = tables.iter().copied().map(Watched::Rows).collect();
    TableWatch::new(&redis.config, "CONFIG_DB", &rows, resync).unwrap()
}

async fn next(watch: &mut TableWatch) -> WatchEvent {
    within("the next event", watch.next()).await
}

/// A watch of table `T` that has said that the table is empty.
async fn watch_of_empty_table(redis: &Redis) -> TableWatch {
    let mut watch = watch(redis, &["T"], SELDOM);
    assert_eq!(next(&mut watch).await, listing("T", []));
    watch
}

fn listing<const N: usize>(table: &str, rows: [(&str, Fields); N]) -> WatchEvent {
    let rows = rows.into_iter().map(|(key, fields)| (key.to_owned(), fields)).collect();
    WatchEvent::Resynchronised { table: table.to_owned(), rows }
}

fn set<const N: usize>(key: &str, row: [(&str, &str); N]) -> WatchEvent {
    WatchEvent::Set { table: "T".to_owned(), key: key.to_owned(), fields: fields(row) }
}

fn del(key: &str) -> WatchEvent {
    WatchEvent::Del { table: "T".to_owned(), key: key.to_owned() }
}

async fn run(connection: &RedisConnection, command: &[&str]) {
    let _answer: redis::Value = connection.query("test", cmd(command[0]).arg(&command[1..])).await.unwrap();
}

/// The raw notifications of everything that `commands` do, up to the HSET of `T|end` that is added.
async fn notifications(redis: &Redis, commands: &[&[&str]]) -> Vec<(String, String)> {
    let database = redis.config.database("CONFIG_DB").unwrap();
    let patterns = ["__keyspace@4__:T|*".to_owned()];
    let mut subscription = Subscription::open(database, &patterns, &[], Duration::from_secs(2)).await.unwrap();
    let connection = redis.connect("CONFIG_DB").await;
    for command in commands {
        run(&connection, command).await;
    }
    run(&connection, &["HSET", "T|end", "f", "v"]).await;
    let mut seen = Vec::new();
    loop {
        let message = within("a notification", subscription.next()).await.unwrap();
        let key = message.channel.strip_prefix("__keyspace@4__:T|").unwrap().to_owned();
        if key == "end" {
            return seen;
        }
        seen.push((key, message.payload));
    }
}

fn events(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, event)| ((*key).to_owned(), (*event).to_owned())).collect()
}

#[tokio::test]
async fn one_hset_of_many_fields_is_one_event() {
    let redis = Redis::start();
    let seen = notifications(&redis, &[&["HSET", "T|a", "x", "1", "y", "2", "z", "3"]]).await;
    assert_eq!(seen, events(&[("a", "hset")]));
}

#[tokio::test]
async fn a_row_written_whole_is_one_event() {
    let redis = Redis::start();
    let database = redis.config.database("CONFIG_DB").unwrap();
    let patterns = ["__keyspace@4__:T|*".to_owned()];
    let mut raw = Subscription::open(database, &patterns, &[], Duration::from_secs(2)).await.unwrap();
    let connection = redis.connect("CONFIG_DB").await;
    connection.hset_whole("T|a", &fields([("x", "1"), ("y", "2"), ("z", "3")])).await.unwrap();
    connection.hset_whole("T|end", &fields([("x", "1")])).await.unwrap();
    for key in ["a", "end"] {
        let message = within("an event", raw.next()).await.unwrap();
        assert_eq!((message.channel, message.payload), (format!("__keyspace@4__:T|{key}"), "hset".to_owned()));
    }
}

#[tokio::test]
async fn an_hset_that_changes_nothing_is_an_event_all_the_same() {
    let redis = Redis::start();
    let seen = notifications(&redis, &[&["HSET", "T|a", "x", "1"], &["HSET", "T|a", "x", "1"]]).await;
    assert_eq!(seen, events(&[("a", "hset"), ("a", "hset")]));
    let mut watch = watch(&redis, &["T"], SELDOM);
    next(&mut watch).await;
    run(&redis.connect("CONFIG_DB").await, &["HSET", "T|a", "x", "1"]).await;
    assert_eq!(next(&mut watch).await, set("a", [("x", "1")]));
}

#[tokio::test]
async fn two_hsets_in_one_transaction_are_two_events_and_the_watch_says_only_the_final_row() {
    let redis = Redis::start();
    let mut watch = watch_of_empty_table(&redis).await;
    let database = redis.config.database("CONFIG_DB").unwrap();
    let patterns = ["__keyspace@4__:T|*".to_owned()];
    let mut raw = Subscription::open(database, &patterns, &[], Duration::from_secs(2)).await.unwrap();
    let connection = redis.connect("CONFIG_DB").await;
    let write = |field: &str| Write::Set { key: "T|a".to_owned(), fields: fields([(field, "1")]) };
    connection.write_together(&[write("x"), write("y")]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(within("an event", raw.next()).await.unwrap().payload, "hset");
    }
    run(&connection, &["HSET", "T|end", "f", "v"]).await;
    let mut said = Vec::new();
    loop {
        let event = next(&mut watch).await;
        if event == set("end", [("f", "v")]) {
            break;
        }
        said.push(event);
    }
    // One, or two if the reader was quick; never the half-written row.
    assert!((1..=2).contains(&said.len()), "{said:?}");
    assert!(said.iter().all(|event| *event == set("a", [("x", "1"), ("y", "1")])), "{said:?}");
}

#[tokio::test]
async fn the_hdel_of_the_last_field_removes_the_row() {
    let redis = Redis::start();
    let seen = notifications(&redis, &[&["HSET", "T|a", "x", "1", "y", "2"], &["HDEL", "T|a", "x", "y"]]).await;
    assert_eq!(seen, events(&[("a", "hset"), ("a", "hdel"), ("a", "del")]));
    let mut watch = watch(&redis, &["T"], SELDOM);
    next(&mut watch).await;
    let connection = redis.connect("CONFIG_DB").await;
    run(&connection, &["HDEL", "T|end", "f"]).await;
    assert_eq!(next(&mut watch).await, del("end"));
}

#[tokio::test]
async fn del_and_unlink_remove_the_row() {
    let redis = Redis::start();
    let mut watch = watch_of_empty_table(&redis).await;
    let connection = redis.connect("CONFIG_DB").await;
    for command in ["DEL", "UNLINK"] {
        run(&connection, &["HSET", "T|a", "x", "1"]).await;
        assert_eq!(next(&mut watch).await, set("a", [("x", "1")]));
        run(&connection, &[command, "T|a"]).await;
        assert_eq!(next(&mut watch).await, del("a"));
    }
}

#[tokio::test]
async fn an_expired_row_is_removed() {
    let redis = Redis::start();
    let mut watch = watch_of_empty_table(&redis).await;
    let connection = redis.connect("CONFIG_DB").await;
    run(&connection, &["HSET", "T|a", "x", "1"]).await;
    assert_eq!(next(&mut watch).await, set("a", [("x", "1")]));
    run(&connection, &["PEXPIRE", "T|a", "20"]).await;
    loop {
        let event = next(&mut watch).await;
        if event == del("a") {
            break;
        }
        // The EXPIRE itself is an event.
        assert_eq!(event, set("a", [("x", "1")]));
    }
}

#[tokio::test]
async fn a_renamed_row_is_gone_under_its_old_name_and_there_under_its_new_one() {
    let redis = Redis::start();
    let mut watch = watch_of_empty_table(&redis).await;
    let connection = redis.connect("CONFIG_DB").await;
    run(&connection, &["HSET", "T|a", "x", "1"]).await;
    assert_eq!(next(&mut watch).await, set("a", [("x", "1")]));
    run(&connection, &["RENAME", "T|a", "T|b"]).await;
    assert_eq!(next(&mut watch).await, del("a"));
    assert_eq!(next(&mut watch).await, set("b", [("x", "1")]));
}

#[tokio::test]
async fn a_flushed_database_sends_no_event_and_is_noticed_by_the_next_listing() {
    let redis = Redis::start();
    let connection = redis.connect("CONFIG_DB").await;
    let seen = notifications(&redis, &[&["HSET", "T|a", "x", "1"], &["FLUSHDB"]]).await;
    assert_eq!(seen, events(&[("a", "hset")]));
    let mut watch = watch(&redis, &["T"], Duration::from_millis(100));
    assert_eq!(next(&mut watch).await, listing("T", [("end", fields([("f", "v")]))]));
    run(&connection, &["FLUSHDB"]).await;
    let mut event = next(&mut watch).await;
    while event == listing("T", [("end", fields([("f", "v")]))]) {
        event = next(&mut watch).await;
    }
    assert_eq!(event, listing("T", []));
}

#[tokio::test]
async fn after_a_restart_of_redis_the_watch_says_so_and_lists_again() {
    let mut redis = Redis::start();
    let connection = redis.connect("CONFIG_DB").await;
    run(&connection, &["HSET", "T|kept", "x", "1"]).await;
    let mut watch = watch(&redis, &["T"], SELDOM);
    assert_eq!(next(&mut watch).await, listing("T", [("kept", fields([("x", "1")]))]));
    redis.server.restart(true).unwrap();
    assert_eq!(disconnected(next(&mut watch).await), "CONFIG_DB: Redis closed the connection");
    assert_eq!(next(&mut watch).await, listing("T", [("kept", fields([("x", "1")]))]));
    redis.server.restart(false).unwrap();
    disconnected(next(&mut watch).await);
    assert_eq!(next(&mut watch).await, listing("T", []));
    run(&redis.connect("CONFIG_DB").await, &["HSET", "T|new", "x", "2"]).await;
    assert_eq!(next(&mut watch).await, set("new", [("x", "2")]));
}

fn disconnected(event: WatchEvent) -> String {
    match event {
        WatchEvent::Disconnected { error } => error,
        other => panic!("expected a lost connection, got {other:?}"),
    }
}

#[tokio::test]
async fn a_loss_is_said_once_however_long_redis_stays_away() {
    let mut redis = Redis::start();
    let mut watch = watch_of_empty_table(&redis).await;
    redis.server.stop(true).unwrap();
    disconnected(next(&mut watch).await);
    let quiet = tokio::time::timeout(Duration::from_millis(800), watch.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    redis.server.start_again().unwrap();
    assert_eq!(next(&mut watch).await, listing("T", []));
}

#[tokio::test]
async fn of_a_table_one_row_may_be_followed_and_of_another_the_changes_alone() {
    let redis = Redis::start();
    let connection = redis.connect("CONFIG_DB").await;
    for key in ["T|mine", "T|mine2", "T|min", "C|before"] {
        run(&connection, &["HSET", key, "x", "1"]).await;
    }
    let watched = [Watched::Row { table: "T", key: "mine" }, Watched::Changes("C")];
    let mut watch = TableWatch::new(&redis.config, "CONFIG_DB", &watched, SELDOM).unwrap();
    assert_eq!(next(&mut watch).await, listing("T", [("mine", fields([("x", "1")]))]));
    for key in ["T|other", "T|mine2", "C|a", "T|mine"] {
        run(&connection, &["HSET", key, "x", "2"]).await;
    }
    let change = WatchEvent::Set { table: "C".to_owned(), key: "a".to_owned(), fields: fields([("x", "2")]) };
    let (first, second) = (next(&mut watch).await, next(&mut watch).await);
    let both = [change, set("mine", [("x", "2")])];
    assert!(both.contains(&first) && both.contains(&second) && first != second, "{first:?} {second:?}");
    run(&connection, &["DEL", "T|other", "T|mine"]).await;
    assert_eq!(next(&mut watch).await, del("mine"));
}

#[tokio::test]
async fn of_a_table_the_keys_may_be_listed_alone() {
    let redis = Redis::start();
    let connection = redis.connect("CONFIG_DB").await;
    run(&connection, &["HSET", "T|a", "x", "1"]).await;
    let mut watch = TableWatch::new(&redis.config, "CONFIG_DB", &[Watched::Keys("T")], SELDOM).unwrap();
    assert_eq!(next(&mut watch).await, listing("T", [("a", Fields::new())]));
    run(&connection, &["HSET", "T|b", "x", "2"]).await;
    assert_eq!(next(&mut watch).await, set("b", [("x", "2")]));
}

#[tokio::test]
async fn a_redis_that_hangs_is_a_lost_one() {
    let redis = Redis::start();
    let database = redis.config.database("CONFIG_DB").unwrap().clone();
    let short = Duration::from_millis(100);
    let mut watch = TableWatch::with_timeout(database, &[Watched::Rows("T")], short, short);
    assert_eq!(next(&mut watch).await, listing("T", []));
    let pid = nix::unistd::Pid::from_raw(redis.server.pid().unwrap().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let mut event = next(&mut watch).await;
    while event == listing("T", []) {
        event = next(&mut watch).await;
    }
    assert_eq!(disconnected(event), "CONFIG_DB: PING: no answer within 100ms");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    assert_eq!(next(&mut watch).await, listing("T", []));
}

#[tokio::test]
async fn rows_written_while_the_watch_starts_are_seen_once_or_twice_but_never_lost() {
    let redis = Redis::start();
    let connection = redis.connect("CONFIG_DB").await;
    let mut watch = watch(&redis, &["T"], SELDOM);
    let writing = async {
        for row in 0..200 {
            run(&connection, &["HSET", &format!("T|{row}"), "x", "1"]).await;
        }
    };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let reading = async {
        while seen.len() < 200 {
            match next(&mut watch).await {
                WatchEvent::Resynchronised { rows, .. } => {
                    for key in rows.into_keys() {
                        *seen.entry(key).or_default() += 1;
                    }
                }
                WatchEvent::Set { key, .. } => *seen.entry(key).or_default() += 1,
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(writing, reading);
    assert!(seen.values().all(|&times| times <= 2), "{seen:?}");
}

#[tokio::test]
async fn what_happens_to_a_row_while_nobody_reads_is_said_once_as_it_is_then() {
    let redis = Redis::start();
    let mut watch = watch_of_empty_table(&redis).await;
    let connection = redis.connect("CONFIG_DB").await;
    for value in 1..=300 {
        run(&connection, &["HSET", "T|a", "x", &value.to_string()]).await;
    }
    let mut said = 0;
    loop {
        said += 1;
        if next(&mut watch).await == set("a", [("x", "300")]) {
            break;
        }
    }
    // The first write, which waits in the channel, and the last.
    assert!(said <= 3, "{said} events");
}

#[tokio::test]
async fn several_tables_are_followed_on_one_connection() {
    let redis = Redis::start();
    let connection = redis.connect("CONFIG_DB").await;
    run(&connection, &["HSET", "U|1", "x", "1"]).await;
    let mut watch = watch(&redis, &["T", "U"], SELDOM);
    assert_eq!(next(&mut watch).await, listing("T", []));
    assert_eq!(next(&mut watch).await, listing("U", [("1", fields([("x", "1")]))]));
    // A table whose name begins with another's is another table.
    run(&connection, &["HSET", "T_OTHER|1", "x", "1"]).await;
    run(&connection, &["HSET", "U|2|3", "x", "1"]).await;
    let expected = WatchEvent::Set { table: "U".to_owned(), key: "2|3".to_owned(), fields: fields([("x", "1")]) };
    assert_eq!(next(&mut watch).await, expected);
    let clients: String =
        connection.query("CLIENT", cmd("CLIENT").arg("LIST").arg("TYPE").arg("pubsub")).await.unwrap();
    assert_eq!(clients.lines().count(), 1, "{clients}");
}

#[tokio::test]
async fn a_wait_that_is_cancelled_again_and_again_loses_nothing() {
    let redis = Redis::start();
    let mut watch = watch_of_empty_table(&redis).await;
    let connection = redis.connect("CONFIG_DB").await;
    for row in 0..100 {
        run(&connection, &["HSET", &format!("T|{row:02}"), "x", "1"]).await;
    }
    let mut seen = Vec::new();
    within("a hundred rows", async {
        while seen.len() < 100 {
            tokio::select! {
                biased;
                event = watch.next() => seen.push(event),
                () = tokio::task::yield_now() => {}
            }
        }
    })
    .await;
    let expected: Vec<WatchEvent> = (0..100).map(|row| set(&format!("{row:02}"), [("x", "1")])).collect();
    seen.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_key_that_holds_no_hash_does_not_hide_the_rows() {
    let redis = Redis::start();
    let connection = redis.connect("CONFIG_DB").await;
    connection.set("T|broken", "text").await.unwrap();
    run(&connection, &["HSET", "T|a", "x", "1"]).await;
    let mut watch = watch(&redis, &["T"], SELDOM);
    assert_eq!(next(&mut watch).await, listing("T", [("a", fields([("x", "1")]))]));
    connection.set("T|broken", "other text").await.unwrap();
    assert_eq!(next(&mut watch).await, del("broken"));
}

#[tokio::test]
async fn the_configuration_is_waited_for_until_its_mark_is_there_and_not_empty() {
    let redis = Redis::start();
    let connection = redis.connect("CONFIG_DB").await;
    let mut waiting = std::pin::pin!(wait_for_config_db(&redis.config));
    for mark in ["", ""] {
        assert!(tokio::time::timeout(Duration::from_millis(150), &mut waiting).await.is_err());
        connection.set("CONFIG_DB_INITIALIZED", mark).await.unwrap();
    }
    connection.set("CONFIG_DB_INITIALIZED", "1").await.unwrap();
    // Sooner than the next re-check: the notification ends the wait.
    tokio::time::timeout(Duration::from_secs(3), waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_configuration_is_waited_for_while_redis_itself_is_away() {
    let mut redis = Redis::start();
    redis.connect("CONFIG_DB").await.set("CONFIG_DB_INITIALIZED", "1").await.unwrap();
    redis.server.stop(true).unwrap();
    let mut waiting = std::pin::pin!(wait_for_config_db(&redis.config));
    assert!(tokio::time::timeout(Duration::from_millis(150), &mut waiting).await.is_err());
    redis.server.start_again().unwrap();
    within("the mark", waiting).await.unwrap();
}
