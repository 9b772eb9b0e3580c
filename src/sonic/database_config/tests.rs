//! What the configuration files say, and what is said about wrong ones.

use std::fs;

use super::*;

const ONE_SERVER: &str = r#"{
    "INSTANCES": {"redis": {"hostname": "127.0.0.1", "port": 6379, "unix_socket_path": "/var/run/redis/redis.sock",
                            "persistence_for_warm_boot": "yes"}},
    "DATABASES": {"APPL_DB": {"id": 0, "separator": ":", "instance": "redis"},
                  "CONFIG_DB": {"id": 4, "separator": "|", "instance": "redis"},
                  "PFC_WD_DB": {"id": 5, "separator": ":", "instance": "redis"},
                  "FLEX_COUNTER_DB": {"id": 5, "separator": ":", "instance": "redis"}},
    "VERSION": "1.0"}"#;

fn parse(text: &str) -> Result<DatabaseConfig, DatabaseConfigError> {
    DatabaseConfig::from_json(text, Path::new("config.json"))
}

fn complaint(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_separator_belongs_to_the_database() {
    let config = parse(ONE_SERVER).unwrap();
    assert_eq!(config.database("CONFIG_DB").unwrap().key("PORT", "Ethernet0"), "PORT|Ethernet0");
    assert_eq!(config.database("APPL_DB").unwrap().key("PORT_TABLE", "Ethernet0"), "PORT_TABLE:Ethernet0");
}

#[test]
fn a_row_key_is_what_follows_the_first_separator() {
    let config = parse(ONE_SERVER).unwrap();
    let appl_db = config.database("APPL_DB").unwrap();
    assert_eq!(appl_db.split_key("NEIGH_TABLE:Ethernet0:fc00::1"), Some(("NEIGH_TABLE", "Ethernet0:fc00::1")));
    assert_eq!(appl_db.split_key("PORT_TABLE_KEY_SET"), None);
}

#[test]
fn two_databases_may_share_an_id() {
    let config = parse(ONE_SERVER).unwrap();
    assert_eq!(config.database("PFC_WD_DB").unwrap().id, 5);
    assert_eq!(config.database("FLEX_COUNTER_DB").unwrap().id, 5);
}

#[test]
fn a_socket_that_cannot_be_looked_for_is_not_taken_for_one_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let circle = dir.path().join("redis.sock");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    let text = ONE_SERVER.replace("/var/run/redis/redis.sock", circle.to_str().unwrap());
    let config = parse(&text).unwrap();
    assert_eq!(config.database("CONFIG_DB").unwrap().endpoint(), Endpoint::Unix(circle));
}

#[test]
fn the_socket_is_taken_only_where_it_exists() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("redis.sock");
    let text = ONE_SERVER.replace("/var/run/redis/redis.sock", socket.to_str().unwrap());
    let config = parse(&text).unwrap();
    let database = config.database("CONFIG_DB").unwrap();
    assert_eq!(database.endpoint(), Endpoint::Tcp("127.0.0.1".to_owned(), 6379));
    fs::write(&socket, "").unwrap();
    assert_eq!(database.endpoint(), Endpoint::Unix(socket));
}

#[test]
fn an_instance_without_a_socket_is_reached_by_tcp() {
    let text = ONE_SERVER.replace(r#""unix_socket_path": "/var/run/redis/redis.sock","#, "");
    let config = parse(&text).unwrap();
    assert_eq!(config.database("CONFIG_DB").unwrap().endpoint(), Endpoint::Tcp("127.0.0.1".to_owned(), 6379));
}

#[test]
fn each_database_is_on_the_instance_that_the_file_says() {
    let config = parse(
        r#"{"INSTANCES": {"redis": {"hostname": "127.0.0.1", "port": 6379}, "redis1": {"hostname": "127.0.0.1", "port": 6380}},
            "DATABASES": {"CONFIG_DB": {"id": 4, "separator": "|", "instance": "redis"},
                          "STATE_DB": {"id": 6, "separator": "|", "instance": "redis1"}}}"#,
    )
    .unwrap();
    assert_eq!(config.database("CONFIG_DB").unwrap().instance.port, 6379);
    assert_eq!(config.database("STATE_DB").unwrap().instance.port, 6380);
}

#[test]
fn a_complaint_names_file_field_value_and_what_would_do() {
    assert_eq!(
        complaint(&ONE_SERVER.replace(r#""id": 4"#, r#""id": "four""#)),
        r#"config.json: DATABASES.CONFIG_DB.id: "four": expected a whole number from 0"#
    );
    assert_eq!(
        complaint(&ONE_SERVER.replace("6379", "70000")),
        "config.json: INSTANCES.redis.port: 70000: expected a port number 0..65535"
    );
    assert_eq!(
        complaint(&ONE_SERVER.replace(r#""separator": "|","#, "")),
        "config.json: DATABASES.CONFIG_DB.separator: missing: expected a text that is not empty"
    );
    assert_eq!(
        complaint(
            &ONE_SERVER
                .replace(r#""separator": "|", "instance": "redis""#, r#""separator": "|", "instance": "redis7""#)
        ),
        r#"config.json: DATABASES.CONFIG_DB.instance: "redis7": expected the name of an entry of INSTANCES"#
    );
    assert_eq!(complaint("{}"), "config.json: INSTANCES: missing: expected an object");
    assert!(complaint("{").starts_with("config.json: not JSON: "));
}

#[test]
fn a_missing_file_and_a_missing_database_are_named() {
    let missing = DatabaseConfig::load(Path::new("/nonexistent/config.json")).unwrap_err().to_string();
    assert!(missing.starts_with("/nonexistent/config.json: No such file"), "{missing}");
    let unknown = parse(ONE_SERVER).unwrap().database("STATE_DB").unwrap_err().to_string();
    assert_eq!(unknown, "config.json: DATABASES: no STATE_DB; it names APPL_DB, CONFIG_DB, FLEX_COUNTER_DB, PFC_WD_DB");
}

#[test]
fn a_multi_asic_switch_has_a_file_per_namespace_relative_to_the_global_one() {
    let dir = tempfile::tempdir().unwrap();
    let global = dir.path().join("redis/sonic-db/database_global.json");
    for (folder, port) in [("redis", "6379"), ("redis0", "6380"), ("redisdpu0", "6381")] {
        let folder = dir.path().join(folder).join("sonic-db");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("database_config.json"), ONE_SERVER.replace("6379", port)).unwrap();
    }
    fs::write(
        &global,
        r#"{"INCLUDES": [{"include": "../../redis/sonic-db/database_config.json"},
                         {"namespace": "asic0", "include": "../../redis0/sonic-db/database_config.json"},
                         {"container_name": "dpu0", "include": "../../redisdpu0/sonic-db/database_config.json"}],
            "VERSION": "1.0"}"#,
    )
    .unwrap();
    let config = GlobalConfig::load(&global).unwrap();
    assert_eq!(config.namespaces().collect::<Vec<_>>(), ["", "asic0", "dpu0"]);
    for (namespace, port) in [("", 6379), ("asic0", 6380), ("dpu0", 6381)] {
        assert_eq!(config.namespace(namespace).unwrap().database("CONFIG_DB").unwrap().instance.port, port);
    }
    let unknown = config.namespace("asic1").unwrap_err().to_string();
    assert!(unknown.ends_with(r#"INCLUDES: no namespace "asic1"; it names "", "asic0", "dpu0""#), "{unknown}");
}
