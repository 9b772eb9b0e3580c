//! Connections: where they lead, what they write, and what happens when Redis does not answer.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::cmd;
use serde_json::{Value, json};
use telegen_sonic::lab::switch_db::database_config_json;
use telegen_sonic::sonic::connection::Write;
use telegen_sonic::sonic::database_config::{Endpoint, GlobalConfig};
use telegen_sonic::sonic::{DatabaseConfig, Error, Fields, Reconnecting, RedisConnection, connect};

use super::redis_common::{Redis, fields, within};

/// A TCP address that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn tcp_serves_where_there_is_no_socket() {
    let address = free_address();
    let redis = Redis::listening(Some(address));
    redis.connect("CONFIG_DB").await.hset_whole("T|a", &fields([("x", "1")])).await.unwrap();
    let text = database_config_json(Path::new("/nonexistent/redis.sock")).replace("6379", &address.port().to_string());
    let config = DatabaseConfig::from_json(&text, Path::new("test")).unwrap();
    let endpoint = config.database("CONFIG_DB").unwrap().endpoint();
    assert_eq!(endpoint, Endpoint::Tcp("127.0.0.1".to_owned(), address.port()));
    let connection = connect(&config, "CONFIG_DB").await.unwrap();
    assert_eq!(connection.hgetall("T|a").await.unwrap(), fields([("x", "1")]));
}

#[tokio::test]
async fn databases_may_be_spread_over_several_servers() {
    let servers = [Redis::start(), Redis::start()];
    let instance =
        |redis: &Redis| json!({"hostname": "127.0.0.1", "port": 0, "unix_socket_path": redis.server.unix_socket()});
    let text = json!({
        "INSTANCES": {"redis": instance(&servers[0]), "redis1": instance(&servers[1])},
        "DATABASES": {"CONFIG_DB": {"id": 4, "separator": "|", "instance": "redis"},
                      "STATE_DB": {"id": 6, "separator": "|", "instance": "redis1"}},
    });
    let config = DatabaseConfig::from_json(&text.to_string(), Path::new("test")).unwrap();
    for (server, name) in servers.iter().zip(["CONFIG_DB", "STATE_DB"]) {
        let row = fields([("database", name)]);
        connect(&config, name).await.unwrap().hset_whole("T|a", &row).await.unwrap();
        assert_eq!(server.connect(name).await.hgetall("T|a").await.unwrap(), row);
        let other = if name == "CONFIG_DB" { &servers[1] } else { &servers[0] };
        assert_eq!(other.connect(name).await.hgetall("T|a").await.unwrap(), Fields::new());
    }
}

#[tokio::test]
async fn each_namespace_of_a_multi_asic_switch_has_its_own_databases() {
    let dir = tempfile::tempdir().unwrap();
    let asics = [Redis::start(), Redis::start()];
    let mut includes: Vec<Value> = Vec::new();
    for (index, redis) in asics.iter().enumerate() {
        let file = format!("database_config{index}.json");
        std::fs::write(dir.path().join(&file), database_config_json(redis.server.unix_socket())).unwrap();
        includes.push(json!({"namespace": format!("asic{index}"), "include": file}));
        let row = fields([("asic", &index.to_string())]);
        redis.connect("CONFIG_DB").await.hset_whole("T|a", &row).await.unwrap();
    }
    let global = dir.path().join("database_global.json");
    std::fs::write(&global, json!({"INCLUDES": includes}).to_string()).unwrap();
    let global = GlobalConfig::load(&global).unwrap();
    for (index, namespace) in ["asic0", "asic1"].into_iter().enumerate() {
        let connection = connect(&global.namespace(namespace).unwrap(), "CONFIG_DB").await.unwrap();
        assert_eq!(connection.hget("T|a", "asic").await.unwrap(), Some(index.to_string()));
    }
}

#[tokio::test]
async fn each_database_is_selected_by_its_id() {
    let redis = Redis::start();
    redis.connect("CONFIG_DB").await.set("key", "config").await.unwrap();
    redis.connect("STATE_DB").await.set("key", "state").await.unwrap();
    assert_eq!(redis.connect("CONFIG_DB").await.get("key").await.unwrap(), Some("config".to_owned()));
    assert_eq!(redis.connect("STATE_DB").await.get("key").await.unwrap(), Some("state".to_owned()));
    assert_eq!(redis.connect("APPL_DB").await.get("key").await.unwrap(), None);
}

#[tokio::test]
async fn a_row_is_written_whole_replaced_and_deleted() {
    let redis = Redis::start();
    let connection = redis.connect("STATE_DB").await;
    connection.hset_whole("T|a", &fields([("x", "1"), ("y", "2")])).await.unwrap();
    connection.hset_whole("T|a", &fields([("y", "3")])).await.unwrap();
    assert_eq!(connection.hgetall("T|a").await.unwrap(), fields([("x", "1"), ("y", "3")]));
    connection.replace("T|a", &fields([("z", "4")])).await.unwrap();
    assert_eq!(connection.hgetall("T|a").await.unwrap(), fields([("z", "4")]));
    connection.replace("T|a", &Fields::new()).await.unwrap();
    assert_eq!(connection.hgetall("T|a").await.unwrap(), fields([("NULL", "NULL")]));
    assert!(connection.del("T|a").await.unwrap());
    assert!(!connection.del("T|a").await.unwrap());
    assert_eq!(connection.hgetall("T|a").await.unwrap(), Fields::new());
}

#[tokio::test]
async fn a_large_table_is_listed_and_read_without_the_keys_command() {
    let redis = Redis::start();
    let connection = redis.connect("STATE_DB").await;
    let write = |table: &str, row: usize| Write::Set {
        key: format!("{table}|{row:04}"),
        fields: fields([("row", &row.to_string())]),
    };
    let writes: Vec<Write> = (0..2500).flat_map(|row| [write("T", row), write("T_OTHER", row)]).collect();
    connection.write_in_chunks(&writes).await.unwrap();
    let expected: Vec<String> = (0..2500).map(|row| format!("{row:04}")).collect();
    assert_eq!(connection.keys("T").await.unwrap(), expected);
    let rows = connection.rows("T").await.unwrap();
    assert_eq!(rows.len(), 2500);
    assert_eq!(rows["0042"], fields([("row", "42")]));
    let statistics: String = connection.query("INFO", cmd("INFO").arg("commandstats")).await.unwrap();
    assert!(statistics.contains("cmdstat_scan:"), "{statistics}");
    assert!(!statistics.contains("cmdstat_keys:"), "{statistics}");

    // Several tables cost as many steps as one.
    let steps = async || {
        let statistics: String = connection.query("INFO", cmd("INFO").arg("commandstats")).await.unwrap();
        let calls = statistics.split_once("cmdstat_scan:calls=").unwrap().1;
        calls.split(',').next().unwrap().parse::<u64>().unwrap()
    };
    let before = steps().await;
    assert_eq!(connection.keys("T_OTHER").await.unwrap(), expected);
    let of_one = steps().await - before;
    let [one, none, other] = connection.keys_of(["T", "NONE", "T_OTHER"]).await.unwrap();
    assert_eq!((&one, none.as_slice(), &other), (&expected, &[][..], &expected));
    assert_eq!(steps().await - before, 2 * of_one);
}

#[tokio::test]
async fn a_refused_command_leaves_the_connection_usable() {
    let redis = Redis::start();
    let connection = redis.connect("STATE_DB").await;
    connection.hset_whole("T|a", &fields([("x", "1")])).await.unwrap();
    let error = connection.get("T|a").await.unwrap_err();
    assert!(error.to_string().starts_with("STATE_DB: GET: "), "{error}");
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    assert!(!connection.is_broken());
    assert_eq!(connection.hget("T|a", "x").await.unwrap(), Some("1".to_owned()));
}

#[tokio::test]
async fn a_key_that_holds_no_hash_has_no_fields_and_hides_no_other() {
    let redis = Redis::start();
    let connection = redis.connect("STATE_DB").await;
    connection.set("T|a", "text").await.unwrap();
    connection.hset_whole("T|b", &fields([("x", "1")])).await.unwrap();
    assert_eq!(connection.hgetall("T|a").await.unwrap(), Fields::new());
    assert_eq!(connection.hget("T|a", "x").await.unwrap(), None);
    assert_eq!(connection.rows("T").await.unwrap(), [("b".to_owned(), fields([("x", "1")]))].into());
    assert_eq!(connection.get("T|a").await.unwrap(), Some("text".to_owned()));
}

/// A Redis that is loading, or that does not let us read, has not said that there is no row.
#[tokio::test]
async fn any_other_refusal_is_an_error_and_no_missing_row() {
    let redis = Redis::start();
    let connection = redis.connect("STATE_DB").await;
    connection.hset_whole("T|a", &fields([("x", "1")])).await.unwrap();
    let acl = |words: &'static [&'static str]| {
        let mut acl = cmd("ACL");
        acl.arg(words);
        acl
    };
    let forbid = acl(&["SETUSER", "default", "-hgetall", "-hget"]);
    let _: String = connection.query("ACL", &forbid).await.unwrap();
    let refusals = [
        connection.rows("T").await.unwrap_err(),
        connection.hgetall("T|a").await.unwrap_err(),
        connection.hget("T|a", "x").await.unwrap_err(),
    ];
    for refusal in refusals {
        assert!(refusal.to_string().contains("no permissions"), "{refusal}");
    }
    let _: String = connection.query("ACL", &acl(&["SETUSER", "default", "+@all"])).await.unwrap();
    assert_eq!(connection.rows("T").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_redis_that_hangs_does_not_hang_its_client() {
    let redis = Redis::start();
    let limit = Duration::from_millis(100);
    let database = redis.config.database("CONFIG_DB").unwrap();
    let connection = RedisConnection::open(database, limit).await.unwrap();
    let pid = Pid::from_raw(redis.server.pid().unwrap().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let asked = Instant::now();
    let error = connection.get("key").await.unwrap_err();
    assert_eq!(error.to_string(), "CONFIG_DB: GET: no answer within 100ms");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(connection.is_broken());
    // The kernel accepts connections for a stopped server: connecting must have a limit too.
    let error = RedisConnection::open(database, limit).await.unwrap_err();
    assert_eq!(error.to_string(), "CONFIG_DB: connect: no answer within 100ms");
    kill(pid, Signal::SIGCONT).unwrap();
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_not_before_its_time() {
    let mut redis = Redis::start();
    let mut link = Reconnecting::new(&redis.config, "CONFIG_DB").unwrap();
    link.connection().await.unwrap().set("key", "1").await.unwrap();
    redis.server.stop(true).unwrap();
    assert!(link.connection().await.unwrap().get("key").await.unwrap_err().breaks_connection());
    let refused = link.connection().await.unwrap_err();
    assert!(matches!(refused, Error::Connect { .. }), "{refused}");
    let away = link.connection().await.unwrap_err();
    let Error::Away { next_attempt, last, .. } = &away else { panic!("{away}") };
    assert!(*next_attempt <= Duration::from_millis(100), "{next_attempt:?}");
    assert_eq!(*last, refused.to_string());
    redis.server.start_again().unwrap();
    let connection = within("the connection", link.wait()).await;
    assert_eq!(connection.get("key").await.unwrap(), Some("1".to_owned()));
}
