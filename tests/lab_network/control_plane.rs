//! The switch's Redis and orchagent, through the doors that programs on a switch use.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use telegen_sonic::lab::control::FaultName;
use telegen_sonic::lab::profiles::Profile;
use telegen_sonic::lab::send::{Pace, Source};

use super::{TestLab, is_root, small, wait_for};

pub(super) const CONFIG_DB: &str = "4";
const STATE_DB: &str = "6";
const COUNTERS_DB: &str = "2";
const ASIC_DB: &str = "1";

/// redis-cli without any option but the database: the switch's Redis is where everybody looks.
pub(super) fn redis(test: &TestLab, database: &str, command: &[&str]) -> String {
    let words = [&["redis-cli", "--raw", "-n", database], command].concat();
    test.on_switch(&words).trim_end().to_owned()
}

fn udp(test: &TestLab, port: &str, count: u64) -> u64 {
    let pace = Pace { count: Some(count), ..Pace::default() };
    test.lab().send(port, &Source::Profile(Profile::Udp64), pace).unwrap().copies.delivered
}

fn set_session(test: &TestLab, name: &str) {
    let fields = ["type", "SPAN", "src_port", "Ethernet0", "dst_port", "Ethernet12", "direction", "RX"];
    redis(test, CONFIG_DB, &[&["HSET", &format!("MIRROR_SESSION|{name}")], fields.as_slice()].concat());
}

pub(super) fn status(test: &TestLab, session: &str) -> String {
    redis(test, STATE_DB, &["HGET", &format!("MIRROR_SESSION_TABLE|{session}"), "status"])
}

#[test]
fn a_session_in_config_db_makes_copies_and_a_lost_one_does_not() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    assert_eq!(udp(&test, "Ethernet0", 10), 0);
    set_session(&test, "telegen_a");
    wait_for("the session is active", || status(&test, "telegen_a") == "active");
    assert_eq!(udp(&test, "Ethernet0", 1000), 1000);
    test.lab().fault(FaultName::Lose, Some("telegen_a")).unwrap();
    wait_for("the session is inactive", || status(&test, "telegen_a") == "inactive");
    assert_eq!(udp(&test, "Ethernet0", 1000), 0);
}

#[test]
fn a_fault_is_in_force_when_the_command_returns() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    for _ in 0..20 {
        test.lab().fault(FaultName::Inactive, Some("spoilt")).unwrap();
        set_session(&test, "spoilt");
        // The orchagent does one thing after the other: when the next session is active, this one has been decided on.
        set_session(&test, "sound");
        wait_for("the sound session is active", || status(&test, "sound") == "active");
        assert_eq!(status(&test, "spoilt"), "inactive");
        redis(&test, CONFIG_DB, &["DEL", "MIRROR_SESSION|spoilt", "MIRROR_SESSION|sound"]);
        test.lab().fault(FaultName::Clear, None).unwrap();
        wait_for("both sessions have gone", || status(&test, "spoilt").is_empty() && status(&test, "sound").is_empty());
        set_session(&test, "spoilt");
        wait_for("the same session is active without the fault", || status(&test, "spoilt") == "active");
        redis(&test, CONFIG_DB, &["DEL", "MIRROR_SESSION|spoilt"]);
        wait_for("it has gone", || status(&test, "spoilt").is_empty());
    }
}

/// `telegen-lab fault`, as one types it.
fn fault(test: &TestLab, words: &[&str]) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_telegen-lab"));
    let output = command.arg("fault").arg("--dir").arg(test.lab().dir()).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_asic_has_room_for_as_many_sessions_as_the_fault_says_and_orchagent_is_started_anew() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    fault(&test, &["sessions", "1"]);
    set_session(&test, "first");
    wait_for("the first session is active", || status(&test, "first") == "active");
    set_session(&test, "second");
    redis(&test, CONFIG_DB, &["DEL", "MIRROR_SESSION|first"]);
    wait_for("the first session has gone", || status(&test, "first").is_empty());
    assert_eq!(status(&test, "second"), "");
    redis(&test, CONFIG_DB, &["DEL", "MIRROR_SESSION|second"]);

    fault(&test, &["sessions", "1", "--orchagent-ends"]);
    set_session(&test, "first");
    wait_for("the first session is active", || status(&test, "first") == "active");
    set_session(&test, "second");
    wait_for("the second session is there", || status(&test, "second") == "inactive");
    redis(&test, CONFIG_DB, &["DEL", "MIRROR_SESSION|first"]);
    fault(&test, &["restart"]);
    wait_for("the second session has taken its place", || {
        status(&test, "second") == "active" && status(&test, "first").is_empty()
    });
    assert_eq!(udp(&test, "Ethernet0", 10), 10);
    let objects = redis(&test, ASIC_DB, &["KEYS", "ASIC_STATE:SAI_OBJECT_TYPE_MIRROR_SESSION:*"]);
    assert_eq!(objects.lines().count(), 1, "{objects}");
}

#[test]
fn a_port_whose_row_goes_takes_its_netdev_along() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let names = || redis(&test, COUNTERS_DB, &["HKEYS", "COUNTERS_PORT_NAME_MAP"]);
    let objects = || redis(&test, ASIC_DB, &["KEYS", "ASIC_STATE:SAI_OBJECT_TYPE_PORT:*"]).lines().count();
    let has_netdev = || test.received_by_cpu().iter().any(|(name, _)| name == "Ethernet8");
    assert_eq!((names().lines().count(), objects(), has_netdev()), (4, 4, true));
    redis(&test, CONFIG_DB, &["DEL", "PORT|Ethernet8"]);
    wait_for("the netdev has gone", || !has_netdev());
    wait_for("the port has gone", || !names().contains("Ethernet8") && objects() == 3);
    assert_eq!(udp(&test, "Ethernet0", 10), 0);
}

#[test]
fn counters_db_follows_the_ports() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let sent = test.lab().send("Ethernet0", &Source::Profile(Profile::Mixed), Pace::default()).unwrap();
    let asic = test.lab().asic().unwrap();
    let (entered, left) = (asic.port(test.port("Ethernet0")), asic.port(test.port("Ethernet4")));
    assert_eq!(entered.rx_octets, sent.bytes);
    let counter = |port: &str, name: &str| {
        let oid = redis(&test, COUNTERS_DB, &["HGET", "COUNTERS_PORT_NAME_MAP", port]);
        redis(&test, COUNTERS_DB, &["HGET", &format!("COUNTERS:{oid}"), &format!("SAI_PORT_STAT_IF_{name}")])
    };
    wait_for("COUNTERS_DB has the bytes", || counter("Ethernet0", "IN_OCTETS") == sent.bytes.to_string());
    for (port, name, value) in [
        ("Ethernet0", "IN_UCAST_PKTS", entered.rx_unicast),
        ("Ethernet0", "IN_NON_UCAST_PKTS", entered.rx_other),
        ("Ethernet0", "OUT_OCTETS", 0),
        ("Ethernet4", "OUT_UCAST_PKTS", left.tx_unicast),
        ("Ethernet4", "OUT_NON_UCAST_PKTS", left.tx_other),
        ("Ethernet4", "OUT_OCTETS", sent.bytes),
        ("Ethernet8", "IN_UCAST_PKTS", 0),
    ] {
        assert_eq!(counter(port, name), value.to_string(), "{port} {name}");
    }
}

#[test]
fn the_databases_are_where_sonic_has_them() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let config = test.on_switch(&["cat", "/var/run/redis/sonic-db/database_config.json"]);
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let socket = config["INSTANCES"]["redis"]["unix_socket_path"].as_str().unwrap();
    assert_eq!(test.on_switch(&["redis-cli", "-s", socket, "PING"]), "PONG\n");
    assert_eq!(redis(&test, "0", &["PING"]), "PONG");
    assert_eq!(redis(&test, CONFIG_DB, &["GET", "CONFIG_DB_INITIALIZED"]), "1");
    assert_eq!(redis(&test, CONFIG_DB, &["HGET", "TELEGEN_MIRROR_PORT|Ethernet12", "netdev"]), "Ethernet12");
    let outside =
        std::process::Command::new("redis-cli").arg("-s").arg(test.lab().redis_socket()).arg("PING").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&outside.stdout), "PONG\n");
    assert_eq!(test.lab().path_inside("/run/redis/redis.sock"), test.lab().redis_socket());
}

#[test]
fn a_redis_that_dies_is_started_again_and_filled() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let pid = || {
        redis(&test, "0", &["INFO", "server"])
            .lines()
            .find_map(|line| line.strip_prefix("process_id:").map(str::to_owned))
    };
    let before = pid().unwrap();
    redis(&test, CONFIG_DB, &["HSET", "TEST|row", "field", "value"]);
    kill(Pid::from_raw(before.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    let is_back = || {
        let get = ["redis-cli", "-n", CONFIG_DB, "GET", "CONFIG_DB_INITIALIZED"];
        test.lab().run_command(&get).output().unwrap().stdout == b"1\n"
    };
    wait_for("Redis is back and filled", is_back);
    assert_ne!(pid().unwrap(), before);
    assert_eq!(redis(&test, CONFIG_DB, &["EXISTS", "TEST|row"]), "0");
    set_session(&test, "telegen_b");
    wait_for("the orchagent is back too", || status(&test, "telegen_b") == "active");
    assert_eq!(udp(&test, "Ethernet0", 100), 100);
}
