//! The protocol of APPL_DB: producers fill a queue of dirty keys, one consumer makes rows of them.

use std::collections::BTreeSet;
use std::time::Duration;

use redis::cmd;
use telegen_sonic::sonic::bounded::KEY_BYTES;
use telegen_sonic::sonic::consumer_table::{BATCH, Taken};
use telegen_sonic::sonic::pubsub::Subscription;
use telegen_sonic::sonic::{ConsumerQueue, Fields, ProducerStateTable, RedisConnection};

use super::redis_common::{Redis, fields, within};

/// Both ends of the table `T`.
struct Table {
    producer: ProducerStateTable,
    queue: ConsumerQueue,
    connection: RedisConnection,
}

impl Table {
    async fn of(redis: &Redis) -> Table {
        let connection = redis.connect("APPL_DB").await;
        let queue = ConsumerQueue::new(connection.database(), "T");
        Table { producer: ProducerStateTable::new(redis.connect("APPL_DB").await, "T"), queue, connection }
    }

    /// What one call takes, sorted.
    async fn take(&self, most: usize, first: &[&str]) -> Taken {
        let first: Vec<String> = first.iter().map(|&key| key.to_owned()).collect();
        let mut taken = within("what is queued", self.queue.take(&self.connection, most, &first)).await.unwrap();
        taken.keys.sort();
        taken
    }

    /// Takes until nothing is left.
    async fn take_all(&self) -> Vec<String> {
        let mut keys = Vec::new();
        loop {
            let taken = self.take(BATCH, &[]).await;
            keys.extend(taken.keys);
            if !taken.more {
                return keys;
            }
        }
    }

    async fn row(&self, key: &str) -> Fields {
        self.connection.hgetall(&format!("T:{key}")).await.unwrap()
    }

    async fn enqueue(&self, key: &[u8]) {
        let _: i64 = self.connection.query("SADD", cmd("SADD").arg("T_KEY_SET").arg(key)).await.unwrap();
    }

    async fn all_keys(&self) -> BTreeSet<String> {
        self.connection.query("KEYS", cmd("KEYS").arg("*")).await.unwrap()
    }
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[tokio::test]
async fn the_names_are_those_of_swss_common_and_a_key_is_announced_once() {
    let redis = Redis::start();
    let table = Table::of(&redis).await;
    let database = redis.config.database("APPL_DB").unwrap();
    let channels = [table.queue.channel().to_owned(), "end".to_owned()];
    let mut channel = Subscription::open(database, &[], &channels, Duration::from_secs(2)).await.unwrap();
    table.producer.set("a", &fields([("x", "1")])).await.unwrap();
    table.producer.set("a", &fields([("y", "2")])).await.unwrap();
    table.producer.del("b").await.unwrap();
    let _: i64 = table.connection.query("PUBLISH", cmd("PUBLISH").arg("end").arg("")).await.unwrap();
    let mut announced = Vec::new();
    loop {
        let message = within("a message", channel.next()).await.unwrap();
        if message.channel == "end" {
            break;
        }
        announced.push((message.channel, message.payload));
    }
    assert_eq!(announced, vec![("T_CHANNEL@0".to_owned(), "G".to_owned()); 2]);
    assert_eq!(table.all_keys().await, names(["T_KEY_SET", "T_DEL_SET", "_T:a"]));
    assert_eq!(table.connection.hgetall("_T:a").await.unwrap(), fields([("x", "1"), ("y", "2")]));
    let members =
        async |set| -> BTreeSet<String> { table.connection.query("SMEMBERS", cmd("SMEMBERS").arg(set)).await.unwrap() };
    assert_eq!(members("T_KEY_SET").await, names(["a", "b"]));
    assert_eq!(members("T_DEL_SET").await, names(["b"]));
}

#[tokio::test]
async fn a_taken_key_leaves_its_row_and_nothing_else() {
    let redis = Redis::start();
    let table = Table::of(&redis).await;
    assert_eq!(table.take(BATCH, &[]).await, Taken { keys: vec![], more: false });
    table.producer.set("a", &fields([("x", "1"), ("y", "2")])).await.unwrap();
    assert_eq!(table.take(BATCH, &[]).await, Taken { keys: vec!["a".to_owned()], more: true });
    assert_eq!(table.all_keys().await, names(["T:a"]));
    assert_eq!(table.row("a").await, fields([("x", "1"), ("y", "2")]));
    table.producer.set("a", &fields([("y", "3")])).await.unwrap();
    assert_eq!(table.take_all().await, ["a"]);
    assert_eq!(table.row("a").await, fields([("x", "1"), ("y", "3")]));
    table.producer.del("a").await.unwrap();
    assert_eq!(table.take_all().await, ["a"]);
    assert_eq!(table.all_keys().await, names([]));
}

#[tokio::test]
async fn what_happens_to_a_key_before_it_is_taken_arrives_as_one_change() {
    let redis = Redis::start();
    let table = Table::of(&redis).await;
    table.producer.set("a", &fields([("old", "1")])).await.unwrap();
    assert_eq!(table.take_all().await, ["a"]);
    // A deletion and a set: the new fields only.
    table.producer.del("a").await.unwrap();
    table.producer.set("a", &fields([("new", "2")])).await.unwrap();
    assert_eq!(table.take_all().await, ["a"]);
    assert_eq!(table.row("a").await, fields([("new", "2")]));
    // A set and a deletion: the deletion only.
    table.producer.set("a", &fields([("more", "3")])).await.unwrap();
    table.producer.del("a").await.unwrap();
    assert_eq!(table.take_all().await, ["a"]);
    assert_eq!(table.all_keys().await, names([]));
}

#[tokio::test]
async fn a_set_without_fields_is_no_deletion() {
    let redis = Redis::start();
    let table = Table::of(&redis).await;
    table.producer.set("a", &Fields::new()).await.unwrap();
    assert_eq!(table.take_all().await, ["a"]);
    assert_eq!(table.row("a").await, fields([("NULL", "NULL")]));
}

#[tokio::test]
async fn a_backlog_is_taken_in_batches_and_no_key_twice() {
    let redis = Redis::start();
    let table = Table::of(&redis).await;
    for key in 0..300 {
        table.producer.set(&key.to_string(), &fields([("x", "1")])).await.unwrap();
    }
    let mut taken = BTreeSet::new();
    for batch in [BATCH, BATCH, 300 - 2 * BATCH] {
        let keys = table.take(BATCH, &[]).await.keys;
        assert_eq!(keys.len(), batch);
        assert!(keys.into_iter().all(|key| taken.insert(key)), "a key was taken twice");
    }
    assert_eq!(table.take(BATCH, &[]).await, Taken { keys: vec![], more: false });
}

#[tokio::test]
async fn keys_that_cannot_wait_are_taken_before_all_others_and_alone_if_nothing_else_is_wanted() {
    let redis = Redis::start();
    let table = Table::of(&redis).await;
    for key in 0..1000 {
        table.producer.set(&key.to_string(), &fields([("x", "1")])).await.unwrap();
    }
    let taken = table.take(0, &["500", "none"]).await;
    assert_eq!(taken, Taken { keys: vec!["500".to_owned()], more: true });
    assert_eq!(table.row("500").await, fields([("x", "1")]));
    table.producer.del("500").await.unwrap();
    let taken = table.take(3, &["500", "none"]).await;
    assert!(taken.keys.len() == 4 && taken.keys.contains(&"500".to_owned()), "{taken:?}");
    assert_eq!(table.row("500").await, Fields::new());
    assert_eq!(table.take(0, &[]).await.keys, [""; 0]);
    assert_eq!(table.take_all().await.len(), 996);
}

#[tokio::test]
async fn a_key_of_another_type_loses_no_other_key_of_its_batch() {
    let redis = Redis::start();
    let table = Table::of(&redis).await;
    for key in ["a", "b", "c", "taken"] {
        table.producer.set(key, &fields([("x", "1")])).await.unwrap();
    }
    // Of one the waiting row, of another the row itself; the row of one that is to go is no obstacle.
    for odd in ["_T:staged", "T:taken", "T:going"] {
        table.connection.set(odd, "text").await.unwrap();
    }
    table.enqueue(b"staged").await;
    table.producer.del("going").await.unwrap();
    assert_eq!(table.take(BATCH, &[]).await.keys, ["a", "b", "c", "going"]);
    // Nothing of the broken ones is gone, and nothing waits.
    assert_eq!(table.connection.get("_T:staged").await.unwrap().as_deref(), Some("text"));
    assert_eq!(table.connection.get("T:taken").await.unwrap().as_deref(), Some("text"));
    assert_eq!(table.connection.hgetall("_T:taken").await.unwrap(), fields([("x", "1")]));
    assert_eq!(table.all_keys().await, names(["T:a", "T:b", "T:c", "T:taken", "_T:staged", "_T:taken"]));
    // Once the row is mended, the next change brings all of it.
    table.connection.del("T:taken").await.unwrap();
    table.producer.set("taken", &fields([("y", "2")])).await.unwrap();
    assert_eq!(table.take_all().await, ["taken"]);
    assert_eq!(table.row("taken").await, fields([("x", "1"), ("y", "2")]));
}

#[tokio::test]
async fn batches_of_nothing_but_broken_keys_do_not_hide_what_is_behind_them() {
    let redis = Redis::start();
    let table = Table::of(&redis).await;
    for key in 0..3 * BATCH {
        table.connection.set(&format!("_T:odd{key}"), "text").await.unwrap();
        table.enqueue(format!("odd{key}").as_bytes()).await;
    }
    table.producer.set("a", &fields([("x", "1")])).await.unwrap();
    assert_eq!(table.take_all().await, ["a"]);
    assert!(!table.all_keys().await.contains("T_KEY_SET"));
}

#[tokio::test]
async fn a_queue_of_another_type_is_not_asked_at_once_again() {
    let redis = Redis::start();
    let table = Table::of(&redis).await;
    table.connection.set("T_KEY_SET", "text").await.unwrap();
    assert_eq!(table.take(BATCH, &["a"]).await, Taken { keys: vec![], more: false });
    table.connection.del("T_KEY_SET").await.unwrap();
    table.producer.set("a", &fields([("x", "1")])).await.unwrap();
    assert_eq!(table.take_all().await, ["a"]);
    // The same of the set of deletions: what is set is taken all the same.
    table.connection.set("T_DEL_SET", "text").await.unwrap();
    table.producer.set("b", &fields([("x", "1")])).await.unwrap();
    assert_eq!(table.take_all().await, ["b"]);
}

#[tokio::test]
async fn a_name_that_is_not_utf_8_loses_no_other_key_of_its_batch() {
    let redis = Redis::start();
    let table = Table::of(&redis).await;
    let _: i64 = table.connection.query("HSET", cmd("HSET").arg(b"_T:\xff").arg("x").arg(b"\xfe")).await.unwrap();
    table.enqueue(b"\xff").await;
    table.producer.set("a", &fields([("x", "1")])).await.unwrap();
    assert_eq!(table.take(BATCH, &[]).await.keys, ["a", "\u{fffd}"]);
}

#[tokio::test]
async fn a_key_that_is_too_long_is_passed_over_with_what_waits_under_it() {
    let redis = Redis::start();
    let table = Table::of(&redis).await;
    let longest = "k".repeat(KEY_BYTES);
    for key in [&longest, &"l".repeat(KEY_BYTES + 1), &"m".repeat(1 << 20)] {
        table.producer.set(key, &fields([("x", "1")])).await.unwrap();
    }
    assert_eq!(table.take_all().await, [longest.as_str()]);
    assert_eq!(table.all_keys().await, names([format!("T:{longest}").as_str()]));
}
