//! The protocol of APPL_DB: producers fill a queue of dirty keys, one consumer takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redis::cmd;
use telegen_sonic::sonic::consumer_table::{BATCH, TableOp};
use telegen_sonic::sonic::pubsub::Subscription;
use telegen_sonic::sonic::{ConsumerEvent, ConsumerStateTable, Fields, ProducerStateTable, RedisConnection};

use super::redis_common::{Redis, fields, within};

const SELDOM: Duration = Duration::from_secs(3600);

async fn producer(redis: &Redis) -> ProducerStateTable {
    ProducerStateTable::new(redis.connect("APPL_DB").await, "T")
}

fn consumer(redis: &Redis, resync: Duration) -> ConsumerStateTable {
    ConsumerStateTable::new(&redis.config, "APPL_DB", "T", resync).unwrap()
}

async fn pops(consumer: &mut ConsumerStateTable) -> ConsumerEvent {
    within("the next event", consumer.pops()).await
}

fn rows<const N: usize>(rows: [(&str, Fields); N]) -> ConsumerEvent {
    ConsumerEvent::Resynchronised { rows: rows.into_iter().map(|(key, row)| (key.to_owned(), row)).collect() }
}

fn set(key: &str, changed: Fields, row: Fields) -> ConsumerEvent {
    ConsumerEvent::Popped(vec![TableOp::Set { key: key.to_owned(), changed, row }])
}

fn del(key: &str) -> ConsumerEvent {
    ConsumerEvent::Popped(vec![TableOp::Del { key: key.to_owned() }])
}

/// All keys of the database.
async fn all_keys(connection: &RedisConnection) -> BTreeSet<String> {
    connection.query("KEYS", cmd("KEYS").arg("*")).await.unwrap()
}

#[tokio::test]
async fn the_names_are_those_of_swss_common_and_a_key_is_announced_once() {
    let redis = Redis::start();
    let database = redis.config.database("APPL_DB").unwrap();
    let channels = ["T_CHANNEL@0".to_owned(), "end".to_owned()];
    let mut channel = Subscription::open(database, &[], &channels, Duration::from_secs(2)).await.unwrap();
    let (producer, connection) = (producer(&redis).await, redis.connect("APPL_DB").await);
    producer.set("a", &fields([("x", "1")])).await.unwrap();
    producer.set("a", &fields([("y", "2")])).await.unwrap();
    producer.del("b").await.unwrap();
    let _: i64 = connection.query("PUBLISH", cmd("PUBLISH").arg("end").arg("")).await.unwrap();
    let mut announced = Vec::new();
    loop {
        let message = within("a message", channel.next()).await.unwrap();
        if message.channel == "end" {
            break;
        }
        announced.push((message.channel, message.payload));
    }
    assert_eq!(announced, vec![("T_CHANNEL@0".to_owned(), "G".to_owned()); 2]);
    let names = ["T_KEY_SET", "T_DEL_SET", "_T:a"].map(str::to_owned);
    assert_eq!(all_keys(&connection).await, BTreeSet::from(names));
    assert_eq!(connection.hgetall("_T:a").await.unwrap(), fields([("x", "1"), ("y", "2")]));
    let dirty: BTreeSet<String> = connection.query("SMEMBERS", cmd("SMEMBERS").arg("T_KEY_SET")).await.unwrap();
    assert_eq!(dirty, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    let deleted: BTreeSet<String> = connection.query("SMEMBERS", cmd("SMEMBERS").arg("T_DEL_SET")).await.unwrap();
    assert_eq!(deleted, BTreeSet::from(["b".to_owned()]));
}

#[tokio::test]
async fn a_taken_key_leaves_its_row_and_nothing_else() {
    let redis = Redis::start();
    let mut consumer = consumer(&redis, SELDOM);
    assert_eq!(pops(&mut consumer).await, rows([]));
    let (producer, connection) = (producer(&redis).await, redis.connect("APPL_DB").await);
    let row = fields([("x", "1"), ("y", "2")]);
    producer.set("a", &row).await.unwrap();
    assert_eq!(pops(&mut consumer).await, set("a", row.clone(), row.clone()));
    assert_eq!(all_keys(&connection).await, BTreeSet::from(["T:a".to_owned()]));
    assert_eq!(connection.hgetall("T:a").await.unwrap(), row);
    producer.set("a", &fields([("y", "3")])).await.unwrap();
    assert_eq!(pops(&mut consumer).await, set("a", fields([("y", "3")]), fields([("x", "1"), ("y", "3")])));
    producer.del("a").await.unwrap();
    assert_eq!(pops(&mut consumer).await, del("a"));
    assert_eq!(all_keys(&connection).await, BTreeSet::new());
}

#[tokio::test]
async fn what_happens_to_a_key_before_it_is_taken_arrives_as_one_change() {
    let redis = Redis::start();
    let producer = producer(&redis).await;
    {
        let mut consumer = consumer(&redis, SELDOM);
        assert_eq!(pops(&mut consumer).await, rows([]));
        producer.set("a", &fields([("old", "1")])).await.unwrap();
        assert_eq!(pops(&mut consumer).await, set("a", fields([("old", "1")]), fields([("old", "1")])));
    }
    // A deletion and a set: the new fields only.
    producer.del("a").await.unwrap();
    producer.set("a", &fields([("new", "2")])).await.unwrap();
    let mut consumer = consumer(&redis, SELDOM);
    assert_eq!(pops(&mut consumer).await, rows([("a", fields([("old", "1")]))]));
    assert_eq!(pops(&mut consumer).await, set("a", fields([("new", "2")]), fields([("new", "2")])));
    drop(consumer);
    // A set and a deletion: the deletion only.
    producer.set("a", &fields([("more", "3")])).await.unwrap();
    producer.del("a").await.unwrap();
    let mut consumer = self::consumer(&redis, SELDOM);
    assert_eq!(pops(&mut consumer).await, rows([("a", fields([("new", "2")]))]));
    assert_eq!(pops(&mut consumer).await, del("a"));
}

#[tokio::test]
async fn a_set_without_fields_is_no_deletion() {
    let redis = Redis::start();
    let mut consumer = consumer(&redis, SELDOM);
    pops(&mut consumer).await;
    producer(&redis).await.set("a", &Fields::new()).await.unwrap();
    assert_eq!(pops(&mut consumer).await, set("a", fields([("NULL", "NULL")]), fields([("NULL", "NULL")])));
}

#[tokio::test]
async fn the_backlog_of_a_consumer_that_was_away_arrives_in_batches() {
    let redis = Redis::start();
    let producer = producer(&redis).await;
    for key in 0..300 {
        producer.set(&key.to_string(), &fields([("x", "1")])).await.unwrap();
    }
    let mut consumer = consumer(&redis, SELDOM);
    assert_eq!(pops(&mut consumer).await, rows([]));
    let mut taken = BTreeSet::new();
    let mut batches = Vec::new();
    while taken.len() < 300 {
        let ConsumerEvent::Popped(ops) = pops(&mut consumer).await else { panic!("expected a batch") };
        batches.push(ops.len());
        for op in ops {
            let TableOp::Set { key, .. } = op else { panic!("nothing was deleted") };
            assert!(taken.insert(key), "a key was taken twice");
        }
    }
    assert_eq!(batches, [BATCH, BATCH, 300 - 2 * BATCH]);
}

#[tokio::test]
async fn keys_that_arrive_while_the_consumer_starts_are_not_lost() {
    let redis = Redis::start();
    let producer = producer(&redis).await;
    let mut consumer = consumer(&redis, SELDOM);
    let mut taken = BTreeMap::new();
    let writing = async {
        for key in 0..200 {
            producer.set(&key.to_string(), &fields([("x", "1")])).await.unwrap();
        }
    };
    let reading = async {
        while taken.len() < 200 {
            if let ConsumerEvent::Popped(ops) = pops(&mut consumer).await {
                for op in ops {
                    let TableOp::Set { key, row, .. } = op else { panic!("nothing was deleted") };
                    taken.insert(key, row);
                }
            }
        }
    };
    tokio::join!(writing, reading);
    assert!(taken.values().all(|row| *row == fields([("x", "1")])));
}

#[tokio::test]
async fn rows_that_were_taken_before_a_restart_of_redis_are_listed_after_it() {
    let mut redis = Redis::start();
    let row = fields([("x", "1")]);
    let mut consumer = consumer(&redis, SELDOM);
    pops(&mut consumer).await;
    producer(&redis).await.set("a", &row).await.unwrap();
    assert_eq!(pops(&mut consumer).await, set("a", row.clone(), row.clone()));
    redis.server.restart(true).unwrap();
    let lost = pops(&mut consumer).await;
    assert!(matches!(lost, ConsumerEvent::Disconnected { .. }), "{lost:?}");
    assert_eq!(pops(&mut consumer).await, rows([("a", row.clone())]));
    producer(&redis).await.set("b", &row).await.unwrap();
    assert_eq!(pops(&mut consumer).await, set("b", row.clone(), row));
}

#[tokio::test]
async fn a_flushed_table_is_noticed_by_the_next_listing() {
    let redis = Redis::start();
    let mut consumer = consumer(&redis, Duration::from_millis(100));
    pops(&mut consumer).await;
    producer(&redis).await.set("a", &fields([("x", "1")])).await.unwrap();
    while pops(&mut consumer).await != rows([("a", fields([("x", "1")]))]) {}
    let _: redis::Value = redis.connect("APPL_DB").await.query("FLUSHDB", &cmd("FLUSHDB")).await.unwrap();
    while pops(&mut consumer).await != rows([]) {}
}

/// What is popped until the queue is empty, by key: whether it was set.
async fn popped(consumer: &mut ConsumerStateTable, keys: usize) -> BTreeMap<String, bool> {
    let mut taken = BTreeMap::new();
    while taken.len() < keys {
        let ConsumerEvent::Popped(ops) = pops(consumer).await else { panic!("expected a batch") };
        assert!(!ops.is_empty());
        taken.extend(ops.into_iter().map(|op| match op {
            TableOp::Set { key, .. } => (key, true),
            TableOp::Del { key } => (key, false),
        }));
    }
    taken
}

#[tokio::test]
async fn a_key_of_another_type_loses_no_other_key_of_its_batch() {
    let redis = Redis::start();
    let (producer, connection) = (producer(&redis).await, redis.connect("APPL_DB").await);
    for key in ["a", "b", "c"] {
        producer.set(key, &fields([("x", "1")])).await.unwrap();
    }
    producer.del("d").await.unwrap();
    // Of one the waiting row, of another the row itself; the row of one that is to go is no obstacle.
    for odd in ["_T:staged", "T:taken", "T:going"] {
        connection.set(odd, "text").await.unwrap();
    }
    producer.set("taken", &fields([("x", "1")])).await.unwrap();
    let _: i64 = connection.query("SADD", cmd("SADD").arg("T_KEY_SET").arg("staged")).await.unwrap();
    producer.del("going").await.unwrap();
    let mut consumer = consumer(&redis, SELDOM);
    assert_eq!(pops(&mut consumer).await, rows([]));
    let expected = [("a", true), ("b", true), ("c", true), ("d", false), ("going", false)];
    assert_eq!(popped(&mut consumer, 5).await, expected.map(|(key, set)| (key.to_owned(), set)).into());
    // Nothing of the broken ones is gone, nothing waits, and the consumer lives.
    assert_eq!(connection.get("_T:staged").await.unwrap().as_deref(), Some("text"));
    assert_eq!(connection.get("T:taken").await.unwrap().as_deref(), Some("text"));
    assert_eq!(connection.hgetall("_T:taken").await.unwrap(), fields([("x", "1")]));
    assert!(!all_keys(&connection).await.contains("T_KEY_SET"));
    producer.set("e", &fields([("x", "1")])).await.unwrap();
    assert_eq!(popped(&mut consumer, 1).await, BTreeMap::from([("e".to_owned(), true)]));
    // Once the row is mended, the next change brings all of it.
    connection.del("T:taken").await.unwrap();
    producer.set("taken", &fields([("y", "2")])).await.unwrap();
    let whole = fields([("x", "1"), ("y", "2")]);
    assert_eq!(pops(&mut consumer).await, set("taken", whole.clone(), whole));
}

#[tokio::test]
async fn batches_of_nothing_but_broken_keys_do_not_hide_what_is_behind_them() {
    let redis = Redis::start();
    let (producer, connection) = (producer(&redis).await, redis.connect("APPL_DB").await);
    for key in 0..3 * BATCH {
        connection.set(&format!("_T:odd{key}"), "text").await.unwrap();
        let _: i64 = connection.query("SADD", cmd("SADD").arg("T_KEY_SET").arg(format!("odd{key}"))).await.unwrap();
    }
    producer.set("a", &fields([("x", "1")])).await.unwrap();
    let mut consumer = consumer(&redis, SELDOM);
    assert_eq!(pops(&mut consumer).await, rows([]));
    assert_eq!(popped(&mut consumer, 1).await, BTreeMap::from([("a".to_owned(), true)]));
    within("the queue is empty", async {
        while all_keys(&connection).await.contains("T_KEY_SET") {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_queue_of_another_type_is_asked_again_at_the_next_listing_only() {
    let redis = Redis::start();
    let connection = redis.connect("APPL_DB").await;
    connection.set("T_KEY_SET", "text").await.unwrap();
    let mut consumer = consumer(&redis, Duration::from_millis(200));
    assert_eq!(pops(&mut consumer).await, rows([]));
    assert_eq!(pops(&mut consumer).await, rows([]));
    let asked = async || -> String {
        let statistics: String = connection.query("INFO", cmd("INFO").arg("commandstats")).await.unwrap();
        statistics.lines().find(|line| line.starts_with("cmdstat_eval:")).unwrap_or_default().to_owned()
    };
    let calls = asked().await;
    assert!((1..=3).any(|times| calls.contains(&format!("calls={times},"))), "{calls}");
    connection.del("T_KEY_SET").await.unwrap();
    producer(&redis).await.set("a", &fields([("x", "1")])).await.unwrap();
    while pops(&mut consumer).await != set("a", fields([("x", "1")]), fields([("x", "1")])) {}
    // The same of the set of deletions: what is set is taken all the same.
    connection.set("T_DEL_SET", "text").await.unwrap();
    producer(&redis).await.set("b", &fields([("x", "1")])).await.unwrap();
    while pops(&mut consumer).await != set("b", fields([("x", "1")]), fields([("x", "1")])) {}
}

#[tokio::test]
async fn a_name_that_is_not_utf_8_loses_no_other_key_of_its_batch() {
    let redis = Redis::start();
    let connection = redis.connect("APPL_DB").await;
    let _: i64 = connection.query("HSET", cmd("HSET").arg(b"_T:\xff").arg("x").arg(b"\xfe")).await.unwrap();
    let _: i64 = connection.query("SADD", cmd("SADD").arg("T_KEY_SET").arg(b"\xff")).await.unwrap();
    producer(&redis).await.set("a", &fields([("x", "1")])).await.unwrap();
    let mut consumer = consumer(&redis, SELDOM);
    assert_eq!(pops(&mut consumer).await, rows([]));
    let expected = BTreeMap::from([("a".to_owned(), true), ("\u{fffd}".to_owned(), true)]);
    assert_eq!(popped(&mut consumer, 2).await, expected);
}
