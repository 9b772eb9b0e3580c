//! `telegen-lab` as other programs call it: names, flags, exit codes, and every member of what `send` prints. Run as a program, word for
//! word; what the commands do inside is tested in `lab_network` and `lab_orchagent`.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Far longer than anything here takes; only a failure waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

fn is_root(test: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        println!("SKIPPED: {test}: the lab needs root");
    }
    is_root
}

/// A lab's directory, and the commands on it. What is left of a lab is ended with it.
struct Program {
    home: TempDir,
}

/// What a command came to.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Program {
    fn new() -> Program {
        Program { home: tempfile::tempdir().unwrap() }
    }

    /// A lab that runs.
    fn up(flags: &[&str]) -> Program {
        let program = Program::new();
        program.ok("up", &[&["--ports", "4", "--detach"], flags].concat());
        program
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("lab")
    }

    fn command(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_telegen-lab"));
        command.arg(subcommand).arg("--dir").arg(self.dir()).args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, subcommand: &str, arguments: &[&str]) -> Ran {
        let output = self.command(subcommand, arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What a command prints; it must succeed.
    #[track_caller]
    fn ok(&self, subcommand: &str, arguments: &[&str]) -> String {
        let Ran { code, stdout, stderr } = self.run(subcommand, arguments);
        assert_eq!(code, Some(0), "{subcommand} {arguments:?}: {stderr}");
        stdout
    }

    /// The one JSON object that `send` prints.
    #[track_caller]
    fn send(&self, arguments: &[&str]) -> Value {
        let stdout = self.ok("send", arguments);
        assert_eq!(stdout.lines().count(), 1, "{stdout}");
        serde_json::from_str(&stdout).unwrap()
    }

    fn redis(&self, command: &[&str]) -> String {
        self.ok("run", &[&["--", "redis-cli"], command].concat()).trim_end().to_owned()
    }

    /// A session that copies Ethernet0 to the first port of the pool.
    fn set_session(&self, name: &str) {
        let fields = ["type", "SPAN", "src_port", "Ethernet0", "dst_port", "Ethernet8", "direction", "RX"];
        self.redis(&[&["-n", "4", "HSET", &format!("MIRROR_SESSION|{name}")], fields.as_slice()].concat());
    }

    #[track_caller]
    fn wait_for_status(&self, session: &str, wanted: &str) {
        let started = Instant::now();
        let status = || self.redis(&["-n", "6", "HGET", &format!("MIRROR_SESSION_TABLE|{session}"), "status"]);
        while status() != wanted {
            assert!(started.elapsed() < DEADLINE, "{session} is not {wanted:?} but {:?}", status());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.run("down", &[]);
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

fn number(value: &Value, member: &str) -> u64 {
    value[member].as_u64().unwrap_or_else(|| panic!("no number {member} in {value}"))
}

fn sum<'a>(values: impl IntoIterator<Item = &'a Value>, member: &str) -> u64 {
    values.into_iter().map(|value| number(value, member)).sum()
}

/// One UDP packet in a capture file of 60 bytes per frame.
fn write_capture(path: &Path) {
    let mut frame = vec![2; 12];
    frame.extend([0x81, 0x00, 0x00, 0x64, 0x08, 0x00, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend([192, 0, 2, 1, 192, 0, 2, 2, 0x03, 0xe8, 0x00, 0x35, 0, 8, 0, 0]);
    frame.resize(60, 0);
    let mut file: Vec<u8> = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1, 0, 0, 60, 60]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    file.extend(frame);
    std::fs::write(path, file).unwrap();
}

#[test]
fn a_lab_goes_up_serves_plain_programs_and_goes_down() {
    if !is_root("a_lab_goes_up_serves_plain_programs_and_goes_down") {
        return;
    }
    let lab = Program::up(&[]);
    assert_eq!(lab.redis(&["PING"]), "PONG", "on 127.0.0.1:6379, without a word about where");
    let config = lab.ok("run", &["--", "cat", "/var/run/redis/sonic-db/database_config.json"]);
    let config: Value = serde_json::from_str(&config).unwrap();
    let redis = &config["INSTANCES"]["redis"];
    assert_eq!((&redis["hostname"], &redis["port"]), (&Value::from("127.0.0.1"), &Value::from(6379)));
    assert_eq!(lab.redis(&["-s", redis["unix_socket_path"].as_str().unwrap(), "PING"]), "PONG");
    let ports = lab.ok("run", &["--", "redis-cli", "-n", "4", "--raw", "KEYS", "PORT|*"]);
    let ports: BTreeSet<&str> = ports.lines().collect();
    assert_eq!(ports, ["PORT|Ethernet0", "PORT|Ethernet4", "PORT|Ethernet8", "PORT|Ethernet12"].into());
    assert_eq!(lab.run("run", &["--", "sh", "-c", "exit 3"]).code, Some(3));
    lab.ok("down", &[]);
    assert!(!lab.dir().exists());
    let Ran { code, stderr, .. } = lab.run("down", &[]);
    assert!(code == Some(0) && stderr.contains("there is no lab in"), "{code:?} {stderr}");
}

#[test]
fn send_prints_exactly_the_members_that_programs_read() {
    if !is_root("send_prints_exactly_the_members_that_programs_read") {
        return;
    }
    let lab = Program::up(&[]);
    let mixed = ["--port", "Ethernet0", "--profile", "mixed", "--pps", "50000", "--count", "500", "--seed", "7"];
    let sent = lab.send(&mixed);
    let members = [
        "packets",
        "bytes",
        "protocols",
        "flows",
        "segments",
        "errors",
        "fragments",
        "fragments_later",
        "services",
        "health",
        "inner",
        "skipped",
        "copies",
    ];
    assert_eq!(keys(&sent), members.into());
    assert_eq!(keys(&sent["segments"]), ["tracked", "retransmitted", "out_of_order"].into());
    let health = ["events", "cast", "dscp", "ecn", "tcp_flags", "rocev2", "rocev2_ecn"];
    assert_eq!(keys(&sent["health"]), health.into());
    assert_eq!(keys(&sent["copies"]), ["delivered", "policed", "refused"].into());
    assert_eq!(keys(&sent["protocols"]), ["ethernet", "ip"].into());
    assert_eq!(number(&sent, "packets"), 500);
    let (ethernet, ip) = (&sent["protocols"]["ethernet"], &sent["protocols"]["ip"]);
    let flows = sent["flows"].as_array().unwrap();
    for member in ["packets", "bytes"] {
        let by_class = |classes: &Value| sum(classes.as_object().unwrap().values(), member);
        assert_eq!(by_class(ethernet), number(&sent, member));
        assert_eq!(by_class(ip), number(&ethernet["ipv4"], member) + number(&ethernet["ipv6"], member));
        assert_eq!(sum(flows, member), by_class(ip));
    }
    for flow in flows {
        let members = ["src", "dst", "ip_proto", "l4_sport", "l4_dport", "vlan", "packets", "bytes"];
        assert_eq!(keys(flow), members.into());
    }
    assert_eq!(lab.send(&mixed), sent, "the same seed");
    assert_ne!(lab.send(&[&mixed[..8], &["--seed", "8"]].concat()), sent, "another seed");
}

#[test]
fn send_replays_a_capture_to_the_letter() {
    if !is_root("send_replays_a_capture_to_the_letter") {
        return;
    }
    let lab = Program::up(&[]);
    let capture = lab.home.path().join("one.pcap");
    write_capture(&capture);
    let count = serde_json::json!({"packets": 3, "bytes": 180});
    let expected = serde_json::json!({
        "packets": 3, "bytes": 180,
        "protocols": {"ethernet": {"ipv4": count}, "ip": {"udp": count}},
        "flows": [{"src": "192.0.2.1", "dst": "192.0.2.2", "ip_proto": 17, "l4_sport": 1000, "l4_dport": 53, "vlan": 100,
                   "packets": 3, "bytes": 180}],
        "segments": {"tracked": 0, "retransmitted": 0, "out_of_order": 0},
        "errors": {"checksum_ip": 3},
        "fragments": 0, "fragments_later": 0,
        "services": {"dns": count},
        "health": {"events": {}, "cast": {"unicast": 3}, "dscp": {"0": 3}, "ecn": {"not_ect": 3},
                   "tcp_flags": {}, "rocev2": {}, "rocev2_ecn": {}},
        "inner": null,
        "skipped": {},
        "copies": {"delivered": 0, "policed": 0, "refused": 0},
    });
    let pcap = ["--port", "Ethernet4", "--pcap", capture.to_str().unwrap()];
    assert_eq!(lab.send(&[pcap.as_slice(), &["--count", "3"]].concat()), expected);
    assert_eq!(number(&lab.send(&pcap), "packets"), 1, "once without --count");
    let both = lab.run("send", &[pcap.as_slice(), &["--profile", "mixed"]].concat());
    let neither = lab.run("send", &["--port", "Ethernet4"]);
    assert_eq!((both.code, neither.code), (Some(2), Some(2)), "{} {}", both.stderr, neither.stderr);
}

#[test]
fn every_fault_of_the_command_line_is_understood_and_one_is_seen_at_work() {
    if !is_root("every_fault_of_the_command_line_is_understood_and_one_is_seen_at_work") {
        return;
    }
    let lab = Program::up(&[]);
    for fault in [&["reject"][..], &["inactive"], &["lose"], &["slow", "5"], &["dead"], &["clear"]] {
        lab.ok("fault", &[fault, &["--session", "telegen_other"]].concat());
        lab.ok("fault", fault);
    }
    for wrong in [&["slow"][..], &["slow", "soon"], &["sulk"], &[]] {
        assert_eq!(lab.run("fault", wrong).code, Some(2), "{wrong:?}");
    }
    lab.ok("fault", &["inactive", "--session", "telegen_a"]);
    lab.set_session("telegen_a");
    lab.wait_for_status("telegen_a", "inactive");
    lab.redis(&["-n", "4", "DEL", "MIRROR_SESSION|telegen_a"]);
    lab.wait_for_status("telegen_a", "");
    lab.ok("fault", &["clear"]);
    lab.set_session("telegen_a");
    lab.wait_for_status("telegen_a", "active");
}

#[test]
fn a_policer_lets_through_what_it_says_and_send_counts_the_rest() {
    if !is_root("a_policer_lets_through_what_it_says_and_send_counts_the_rest") {
        return;
    }
    let lab = Program::up(&["--policer", "10"]);
    lab.set_session("telegen_a");
    lab.wait_for_status("telegen_a", "active");
    let sent = lab.send(&["--port", "Ethernet0", "--profile", "udp64", "--count", "2000"]);
    let [delivered, policed, refused] =
        ["delivered", "policed", "refused"].map(|member| number(&sent["copies"], member));
    assert_eq!((delivered + policed, refused), (2000, 0));
    // For half of the copies, 10 per second would need more than a minute; the frames need far less.
    assert!((1..1000).contains(&delivered), "{delivered}");
}

#[test]
fn without_detach_a_lab_says_when_it_is_ready_and_serves_until_it_is_interrupted() {
    if !is_root("without_detach_a_lab_says_when_it_is_ready_and_serves_until_it_is_interrupted") {
        return;
    }
    let lab = Program::new();
    let mut serving = lab.command("up", &["--ports", "4"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(serving.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(!ready.trim().is_empty());
    assert_eq!(lab.redis(&["PING"]), "PONG");
    kill(Pid::from_raw(i32::try_from(serving.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(serving.wait().unwrap().code(), Some(0));
    assert!(!lab.dir().exists());
}
