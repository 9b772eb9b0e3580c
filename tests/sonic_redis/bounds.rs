//! Rows and keys of any size: what is beyond the bounds is never sent, and what is within them is.

use redis::cmd;
use telegen_sonic::model::job::JobSpec;
use telegen_sonic::model::limits::JOB_ROW_BYTES;
use telegen_sonic::model::settings::Settings;
use telegen_sonic::sonic::bounded::{KEY_BYTES, ROW_FIELDS, RowLimit};
use telegen_sonic::sonic::{Fields, RedisConnection};

use super::redis_common::{Redis, fields};

fn many(count: usize) -> Fields {
    (0..count).map(|number| (format!("f{number}"), String::new())).collect()
}

/// Bytes that Redis has sent to anybody.
async fn sent(connection: &RedisConnection) -> u64 {
    let stats: String = connection.query("INFO", cmd("INFO").arg("stats")).await.unwrap();
    stats.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_row_beyond_the_limit_is_not_read_and_hides_no_other() {
    let redis = Redis::start();
    let config = redis.connect("CONFIG_DB").await;
    config.hset_whole("T|giant", &fields([("a", "1"), ("b", &"x".repeat(6 << 20))])).await.unwrap();
    config.hset_whole("T|many", &many(100_000)).await.unwrap();
    config.hset_whole("T|one_more", &many(ROW_FIELDS + 1)).await.unwrap();
    config.hset_whole("T|as_many", &many(ROW_FIELDS)).await.unwrap();
    config.hset_whole("T|small", &fields([("a", &"y".repeat(4000))])).await.unwrap();
    config.set("T|odd", "a string").await.unwrap();
    let keys = ["giant", "many", "one_more", "odd", "none", "as_many", "small"].map(|key| format!("T|{key}"));
    let limit = RowLimit { bytes: 65_536, stand_in: fields([("too", "large")]), no_hash: Fields::new() };
    let before = sent(&config).await;
    let rows = config.hgetall_within(&keys, &limit).await.unwrap();
    assert!(sent(&config).await - before < 32_768, "nothing of a giant was sent");
    let (refused, none, small) = (limit.stand_in.clone(), Fields::new(), fields([("a", &"y".repeat(4000))]));
    assert_eq!(rows, [&refused, &refused, &refused, &none, &none, &many(ROW_FIELDS), &small].map(Clone::clone));
    let limit = RowLimit { stand_in: refused, no_hash: fields([("no", "hash")]), ..limit };
    let rows = config.hgetall_within(&keys[3..5], &limit).await.unwrap();
    assert_eq!(rows, [limit.no_hash, none]);
}

#[tokio::test]
async fn a_key_beyond_the_limit_is_not_listed() {
    let redis = Redis::start();
    let config = redis.connect("CONFIG_DB").await;
    let longest = "k".repeat(KEY_BYTES);
    for key in ["k".repeat(6 << 20), "k".repeat(KEY_BYTES + 1), longest.clone()] {
        config.hset_whole(&format!("T|{key}"), &fields([("a", "1")])).await.unwrap();
    }
    let before = sent(&config).await;
    assert_eq!(config.keys_page("T", 0).await.unwrap(), (0, vec![longest]));
    assert!(sent(&config).await - before < 32_768);
}

#[tokio::test]
async fn a_refusal_that_says_nothing_of_a_key_is_an_error() {
    let redis = Redis::start();
    let config = redis.connect("CONFIG_DB").await;
    let refused: String = config.query("ACL", cmd("ACL").arg("SETUSER").arg("default").arg("-hlen")).await.unwrap();
    assert_eq!(refused, "OK");
    let limit = RowLimit { bytes: 65_536, stand_in: Fields::new(), no_hash: Fields::new() };
    let error = config.hgetall_within(&["T|a".to_owned()], &limit).await.unwrap_err();
    assert!(error.to_string().contains("hlen") || error.to_string().contains("run this command"), "{error}");
}

#[tokio::test]
async fn the_largest_row_that_a_job_can_have_is_read() {
    let redis = Redis::start();
    let config = redis.connect("CONFIG_DB").await;
    let list = |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(",");
    // Names of 32 characters, characters of four bytes.
    let (ports, text) = (list(16, &|number| format!("{number:032}")), "\u{1f600}".repeat(128));
    let ranges = list(16, &|number| format!("{}-{}", 65_000 + number, 65_100 + number));
    let row = fields([
        ("kind", "traffic"),
        ("port", &ports),
        ("direction", "ingress"),
        ("span_method", "erspan"),
        ("duration", "86400"),
        ("sample_rate", "100"),
        ("mirror_sample_rate", "8388608"),
        ("mirror_truncate", "9216"),
        ("vlan", "4094"),
        ("ip_proto@", &list(256, &|number| number.to_string())),
        ("l4_sport@", &ranges),
        ("l4_dport@", &ranges),
        ("src_cidr", "2001:db8:1111:2222:3333:4444:5555:6666/128"),
        ("dst_cidr", "2001:db8:1111:2222:3333:4444:5555:7777/128"),
        ("dscp@", &list(64, &|number| number.to_string())),
        ("inner", "false"),
        ("result_detail", "summary"),
        ("otlp_export", "false"),
        ("anonymize", "false"),
        ("expires_at", "2099-12-31T23:59:59.999999999+00:00"),
        ("description", &text),
        ("owner", &text),
    ]);
    JobSpec::parse(&row, &Settings::default()).unwrap();
    let key = format!("TELEGEN_JOB|{}", "j".repeat(21));
    config.hset_whole(&key, &row).await.unwrap();
    let limit = RowLimit { bytes: JOB_ROW_BYTES, stand_in: Fields::new(), no_hash: Fields::new() };
    assert_eq!(config.hgetall_within(std::slice::from_ref(&key), &limit).await.unwrap(), [row]);
    let usage: usize = config.query("MEMORY", cmd("MEMORY").arg("USAGE").arg(&key)).await.unwrap();
    println!("{usage} bytes");
}
