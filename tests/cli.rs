//! The real binary on a real Redis, with a fake daemon at the tables: exit codes, messages, JSON.

#![allow(clippy::unwrap_used)] // test code all through; clippy.toml's exception covers only what is inside a #[test]

mod doors_common;
mod redis_common;

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use doors_common::{FakeDaemon, heartbeat, row, write_finished_job};
use redis_common::{Redis, within};
use serde_json::{Value, json};
use telegen_sonic::lab::switch_db::database_config_json;
use telegen_sonic::sonic::{TableWatch, WatchEvent, Watched};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// A switch's databases and the file that says where they are.
struct Switch {
    redis: Redis,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Switch {
    fn start() -> Switch {
        let redis = Redis::start();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("database_config.json");
        std::fs::write(&file, database_config_json(redis.server.unix_socket())).unwrap();
        Switch { redis, file, _dir: dir }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_telegen-sonic"));
        command.args(arguments).env_clear().env("TELEGEN_DATABASE_CONFIG", &self.file).env("LANG", "C.UTF-8");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        let output = within("the command ends", self.command(arguments).output()).await.unwrap();
        Ran::from(output)
    }
}

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }

    /// Exit code 0 and nothing on stderr.
    #[track_caller]
    fn succeeded(self) -> Ran {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{}", self.stdout);
        self
    }

    #[track_caller]
    fn failed(&self, code: i32, stderr: &str) {
        assert_eq!((self.code, self.stderr.as_str()), (code, stderr), "{}", self.stdout);
    }
}

#[tokio::test]
async fn the_version_says_commit_and_date() {
    let ran = Switch::start().run(&["--version"]).await.succeeded();
    let words: Vec<&str> = ran.stdout.split_whitespace().collect();
    assert_eq!(words[..3], ["telegen-sonic", env!("CARGO_PKG_VERSION"), "(commit"]);
    assert_eq!(words[4], "built");
    assert_eq!(words.len(), 6, "{}", ran.stdout);
}

#[tokio::test]
async fn a_job_that_runs_is_told_in_one_line() {
    let switch = Switch::start();
    let _daemon = FakeDaemon::start(&switch.redis.config).await;
    let ran = switch.run(&["start", "Ethernet16", "60", "--id", "j1", "--filter", "ip_proto=tcp", "--inner"]);
    let ran = ran.await.succeeded();
    let state = switch.redis.connect("STATE_DB").await.hgetall("TELEGEN_JOB_TABLE|j1").await.unwrap();
    let until = &state["expires_at"];
    assert_eq!(ran.stdout, format!("job j1 on Ethernet16: running until {until}, copies arrive on Ethernet120\n"));
    let mut written = switch.redis.connect("CONFIG_DB").await.hgetall("TELEGEN_JOB|j1").await.unwrap();
    assert_eq!(written.remove("expires_at").as_ref(), Some(until));
    assert_eq!(written, row([("port", "Ethernet16"), ("duration", "60"), ("ip_proto@", "tcp"), ("inner", "true")]));
    let again = switch.run(&["start", "Ethernet16", "--json"]).await.succeeded().json();
    assert_eq!((&again["status"], &again["interface"]), (&json!("running"), &json!("Ethernet120")));
    assert_eq!(again["job_id"].as_str().unwrap().len(), 12);
}

#[tokio::test]
async fn a_refused_job_is_exit_code_1_with_reason_and_message_on_stderr() {
    let switch = Switch::start();
    let _daemon = FakeDaemon::start(&switch.redis.config).await;
    let ran = switch.run(&["start", "Unknown0"]).await;
    ran.failed(1, "telegen-sonic: unknown_port: Unknown0 is no port and no port channel of this switch\n");
    assert_eq!(ran.stdout, "");
    let ran = switch.run(&["start", "Full0", "--json"]).await;
    assert_eq!((ran.code, &ran.json()["error"]), (1, &json!("concurrency_limit")));
    assert!(ran.stderr.starts_with("telegen-sonic: concurrency_limit: 2 of 2 jobs are running"), "{}", ran.stderr);
    let queued = switch.run(&["start", "Queued0", "--id", "q"]).await.succeeded();
    assert_eq!(queued.stdout, "job q on Queued0: queued\n");
}

#[tokio::test]
async fn without_a_daemon_a_start_fails_and_leaves_no_row() {
    let switch = Switch::start();
    let ran = switch.run(&["start", "Ethernet0"]).await;
    ran.failed(
        1,
        "telegen-sonic: no_daemon: no telegen daemon answers (there is no sign that one ever ran); the job's row was withdrawn; start \
         the telegen service and try again\n",
    );
    assert_eq!(switch.redis.connect("CONFIG_DB").await.keys("TELEGEN_JOB").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn mistakes_in_arguments_are_exit_code_2_and_nothing_is_written() {
    let switch = Switch::start();
    let _daemon = FakeDaemon::start(&switch.redis.config).await;
    let cases: [(&[&str], &str); 6] = [
        (&["start", "Ethernet0", "0"], "duration: \"0\" is not accepted; give an integer from 1 to 86400"),
        (
            &["start", "Ethernet0", "--direction", "rx"],
            "direction: \"rx\" is not accepted; give ingress, egress or both",
        ),
        (
            &["start", "Ethernet0", "--filter", "dst_cidr=10.0.0.0/33"],
            "dst_cidr: \"10.0.0.0/33\" is not accepted; give an IPv4 or IPv6 prefix such as 10.0.0.0/8 or 2001:db8::/32",
        ),
        (
            &["start", "Ethernet0", "--id", "-a"],
            "job_id: \"-a\" is not accepted; give a letter or digit, then up to 20 letters, digits, - or _",
        ),
        (
            &["start", "Ethernet0", "--detail", "packets"],
            "result_detail: \"packets\" is reserved and not built into this version; give summary or flows",
        ),
        (
            &["start", "Ethernet0", "--vlan", "1", "--filter", "vlan=2"],
            "filter: vlan is given twice, as \"1\" and \"2\"; give it once",
        ),
    ];
    for (arguments, message) in cases {
        // `--id -a` would be an option to clap: the value is attached instead.
        let arguments: Vec<String> =
            arguments.join("\n").replace("--id\n-a", "--id=-a").lines().map(str::to_owned).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        switch.run(&arguments).await.failed(2, &format!("telegen-sonic: invalid_field: {message}\n"));
    }
    let unavailable = "kind: \"profile\" is reserved and not built into this version; give traffic";
    let ran = switch.run(&["start", "--kind", "profile", "--duration", "30"]).await;
    ran.failed(2, &format!("telegen-sonic: kind_unavailable: {unavailable}\n"));
    let ran = switch.run(&["start", "--kind", "traffic"]).await;
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.starts_with("telegen-sonic: missing_field: port: the job names no port;"), "{}", ran.stderr);
    for arguments in [&["start"][..], &["stop"], &["frobnicate"], &[], &["start", "Ethernet0", "5", "--duration", "6"]]
    {
        let ran = switch.run(arguments).await;
        assert_eq!((ran.code, ran.stderr.is_empty()), (2, false), "{arguments:?}");
    }
    assert_eq!(switch.redis.connect("STATE_DB").await.keys("TELEGEN_JOB_TABLE").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_dry_run_prints_the_row_and_writes_nothing() {
    let switch = Switch::start();
    let ran = switch.run(&["start", "Ethernet0", "--dry-run", "--id", "j1", "--filter", "dscp=46"]).await.succeeded();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[..2], ["would write TELEGEN_JOB|j1", "  dscp@       46"]);
    assert_eq!(lines[3], "  port        Ethernet0");
    let row = switch.run(&["start", "Ethernet0", "--dry-run", "--id", "j1", "--json"]).await.succeeded().json();
    assert_eq!(row["TELEGEN_JOB"]["j1"]["port"], "Ethernet0");
    assert_eq!(switch.redis.connect("CONFIG_DB").await.keys("TELEGEN_JOB").await.unwrap(), Vec::<String>::new());
    switch
        .run(&["start", "Ethernet0", "0", "--dry-run"])
        .await
        .failed(2, "telegen-sonic: invalid_field: duration: \"0\" is not accepted; give an integer from 1 to 86400\n");
}

#[tokio::test]
async fn waiting_ends_with_the_job_and_prints_its_results() {
    let switch = Switch::start();
    let _daemon = FakeDaemon::start(&switch.redis.config).await;
    let state = switch.redis.connect("STATE_DB").await;
    let mut child =
        switch.command(&["start", "Ethernet16", "--id", "j1", "--wait"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = within("the first line", stdout.next_line()).await.unwrap().unwrap();
    assert!(first.starts_with("job j1 on Ethernet16: running"), "{first}");
    write_finished_job(&state, "j1").await;
    let verdict = within("the verdict", stdout.next_line()).await.unwrap().unwrap();
    assert_eq!(
        verdict,
        "Ethernet16 ingress, 2 min 0 s: 1,200 packets (76.8 kB), 10 packets/s and 5.1 kbit/s on average; coverage 100 %: what the port \
         counted has arrived"
    );
    assert_eq!(within("the end", child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_job_that_fails_while_somebody_waits_is_exit_code_1() {
    let switch = Switch::start();
    let _daemon = FakeDaemon::start(&switch.redis.config).await;
    let state = switch.redis.connect("STATE_DB").await;
    let mut command = switch.command(&["start", "Ethernet16", "--id", "j1", "--wait"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    within("the first line", stdout.next_line()).await.unwrap();
    let lost = row([("status", "failed"), ("reason", "mirror_lost"), ("message", "session mine took the port")]);
    state.hset_whole("TELEGEN_JOB_TABLE|j1", &lost).await.unwrap();
    let ran = Ran::from(within("the end", child.wait_with_output()).await.unwrap());
    ran.failed(1, "telegen-sonic: mirror_lost: session mine took the port\n");
}

#[tokio::test]
async fn results_are_drawn_or_json_and_a_locale_without_utf_8_gets_ascii() {
    let switch = Switch::start();
    write_finished_job(&switch.redis.connect("STATE_DB").await, "old").await;
    let drawn = switch.run(&["results", "old"]).await.succeeded().stdout;
    assert!(drawn.contains("\n1  udp 10.0.0.1:4000 → 10.0.0.2:443        600 ±40  50.0 %  38,400\n"), "{drawn}");
    assert!(drawn.contains("  ≤ 64 B  ████████████████████████████████████████  12  100.0 %\n"), "{drawn}");
    assert!(!drawn.contains('\x1b'));
    let health = "\nHEALTH          PACKETS  SHARE  OF           MEANS\n\
                  ECN congestion      100  8.3 %  ECN-capable  queues on the way were congested\n\nETHERNET";
    assert!(drawn.contains(health), "{drawn}");
    assert!(drawn.contains("\n2 different flows among the analysed packets\n"), "{drawn}");
    let ascii = within("the command", switch.command(&["results", "old"]).env("LC_ALL", "C").output()).await.unwrap();
    assert!(ascii.stdout.is_ascii() && !ascii.stdout.is_empty());
    let value = switch.run(&["results", "old", "--json"]).await.succeeded().json();
    assert_eq!((&value["packets_total"], &value["coverage"]), (&json!(1200), &json!(1.0)));
    switch
        .run(&["results", "nobody"])
        .await
        .failed(1, "telegen-sonic: unknown_job: no job \"nobody\" is known; telegen-sonic list shows those that are\n");
}

#[tokio::test]
async fn status_and_list_tell_of_jobs_and_of_the_daemon() {
    let switch = Switch::start();
    let state = switch.redis.connect("STATE_DB").await;
    write_finished_job(&state, "old").await;
    let ran = switch.run(&["status"]).await;
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stdout, "no daemon runs\nno job is running\n");
    assert!(
        ran.stderr.starts_with("telegen-sonic: no_daemon: no telegen daemon gives a sign of life"),
        "{}",
        ran.stderr
    );
    heartbeat(&state).await;
    let daemon = switch.run(&["status", "--json"]).await.succeeded().json();
    assert_eq!((&daemon["daemon"]["alive"], &daemon["daemon"]["pid"]), (&json!(true), &json!(42)));
    let one = switch.run(&["status", "old"]).await.succeeded().stdout;
    assert!(one.starts_with("job old: done\n  time           2 min 0 s\n  port           Ethernet16\n"), "{one}");
    assert_eq!(switch.run(&["status", "old", "--json"]).await.succeeded().json()["interface"], "Ethernet120");
    let listed = switch.run(&["list"]).await.succeeded().stdout;
    assert_eq!(listed.lines().nth(1), Some("old  done    Ethernet16  ingress    2 min 0 s"));
    let listed = switch.run(&["list", "--json"]).await.succeeded().json();
    assert_eq!(listed["jobs"][0]["job_id"], "old");
    // A row that nobody has taken up is not lost from sight.
    let config = switch.redis.connect("CONFIG_DB").await;
    config.hset_whole("TELEGEN_JOB|new", &row([("port", "Ethernet0")])).await.unwrap();
    assert!(switch.run(&["list"]).await.succeeded().stdout.ends_with("written, and not taken up by a daemon: new\n"));
    assert_eq!(switch.run(&["status", "new"]).await.code, 1);
    assert_eq!(switch.run(&["status", "nobody"]).await.code, 1);
}

#[tokio::test]
async fn stopping_waits_until_the_job_is_over() {
    let switch = Switch::start();
    let _daemon = FakeDaemon::start(&switch.redis.config).await;
    for id in ["a", "b", "c"] {
        switch.run(&["start", "Ethernet0", "--id", id]).await.succeeded();
    }
    assert_eq!(switch.run(&["stop", "a"]).await.succeeded().stdout, "job a: stopped\n");
    assert_eq!(
        switch.run(&["stop", "a", "--json"]).await.succeeded().json(),
        json!({ "job_id": "a", "status": "stopped" })
    );
    assert_eq!(switch.run(&["stop", "--all"]).await.succeeded().stdout, "job b: stopped\njob c: stopped\n");
    assert_eq!(switch.run(&["stop", "--all"]).await.succeeded().stdout, "no job to stop\n");
    switch
        .run(&["stop", "nobody"])
        .await
        .failed(1, "telegen-sonic: unknown_job: no job \"nobody\" is known; telegen-sonic list shows those that are\n");
}

#[tokio::test]
async fn watching_off_a_terminal_is_a_line_per_change_until_the_job_is_over() {
    let switch = Switch::start();
    let _daemon = FakeDaemon::start(&switch.redis.config).await;
    switch.run(&["start", "Ethernet16", "--id", "j1"]).await.succeeded();
    let mut child = switch.command(&["watch", "j1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = within("the first line", lines.next_line()).await.unwrap().unwrap();
    assert!(first.contains("Z running, "), "{first}");
    switch.run(&["stop", "j1"]).await.succeeded();
    let mut last = first;
    while let Some(line) = within("a line", lines.next_line()).await.unwrap() {
        assert!(!line.contains('\x1b'));
        last = line;
    }
    assert!(last.contains("Z stopped, "), "{last}");
    assert_eq!(within("the end", child.wait()).await.unwrap().code(), Some(0));
    let json = switch.run(&["watch", "j1", "--json"]).await.succeeded().json();
    assert_eq!((&json["job"]["status"], &json["results"]), (&json!("stopped"), &Value::Null));
}

#[tokio::test]
async fn draining_with_a_daemon_waits_until_it_has_cleaned_up() {
    let switch = Switch::start();
    let _daemon = FakeDaemon::start(&switch.redis.config).await;
    let config = switch.redis.connect("CONFIG_DB").await;
    switch.run(&["start", "Ethernet0", "--id", "a"]).await.succeeded();
    config.hset_whole("MIRROR_SESSION|telegen_a", &row([("type", "SPAN")])).await.unwrap();
    config.hset_whole("MIRROR_SESSION|mine", &row([("type", "SPAN")])).await.unwrap();
    let ran = switch.run(&["drain"]).await.succeeded();
    let expected = "job a: is over, stopped\nmirror session telegen_a: removed\n\
                    drained: no job runs, and no session of telegen's is left\n";
    assert_eq!(ran.stdout, expected);
    assert_eq!(config.keys("MIRROR_SESSION").await.unwrap(), ["mine"]);
}

#[tokio::test]
async fn draining_without_a_daemon_removes_our_sessions_and_nobody_elses() {
    let switch = Switch::start();
    let (config, state) = (switch.redis.connect("CONFIG_DB").await, switch.redis.connect("STATE_DB").await);
    config.hset_whole("TELEGEN_JOB|a", &row([("port", "Ethernet0")])).await.unwrap();
    // The last of ours is of a version whose ids could be longer.
    for session in ["telegen_a", "mine", "telegen", "telegen_abcdefghijklmnopqrstuvwx"] {
        config.hset_whole(&format!("MIRROR_SESSION|{session}"), &row([("type", "SPAN")])).await.unwrap();
    }
    state.hset_whole("TELEGEN_JOB_TABLE|a", &row([("status", "running"), ("source", "config")])).await.unwrap();
    let ran = switch.run(&["drain", "--json"]).await.succeeded().json();
    let expected = json!({
        "complete": true, "port": null, "by_daemon": false, "jobs": { "a": "running" },
        "sessions": ["telegen_a", "telegen_abcdefghijklmnopqrstuvwx"], "sessions_left": [],
        "sessions_unconfirmed": [], "sessions_to_add_again": [],
    });
    assert_eq!(ran, expected);
    assert_eq!(config.keys("TELEGEN_JOB").await.unwrap(), Vec::<String>::new());
    assert_eq!(config.keys("MIRROR_SESSION").await.unwrap(), ["mine", "telegen"]);
}

/// A daemon that crashed a moment ago still has a fresh heartbeat, and nobody has its right any more.
#[tokio::test]
async fn draining_right_after_a_crash_does_not_wait_for_the_dead_daemon() {
    let switch = Switch::start();
    let (config, state) = (switch.redis.connect("CONFIG_DB").await, switch.redis.connect("STATE_DB").await);
    config.hset_whole("TELEGEN_JOB|a", &row([("port", "Ethernet0")])).await.unwrap();
    state.hset_whole("TELEGEN_JOB_TABLE|a", &row([("status", "running"), ("source", "config")])).await.unwrap();
    for session in ["telegen_a", "telegen__2_a", "telegen_kept", "mine"] {
        config.hset_whole(&format!("MIRROR_SESSION|{session}"), &row([("type", "SPAN")])).await.unwrap();
    }
    heartbeat(&state).await;
    let begin = std::time::Instant::now();
    let ran = switch.run(&["drain", "--json"]).await.succeeded().json();
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    assert_eq!((&ran["complete"], &ran["by_daemon"]), (&json!(true), &json!(false)));
    assert_eq!(config.keys("MIRROR_SESSION").await.unwrap(), ["mine"]);
}

#[tokio::test]
async fn draining_removes_what_a_living_daemon_keeps_of_jobs_that_are_over() {
    let switch = Switch::start();
    let _daemon = FakeDaemon::start(&switch.redis.config).await;
    let (config, state) = (switch.redis.connect("CONFIG_DB").await, switch.redis.connect("STATE_DB").await);
    write_finished_job(&state, "over").await;
    for session in ["telegen_over", "telegen__2_over", "telegen_unknown"] {
        config.hset_whole(&format!("MIRROR_SESSION|{session}"), &row([("type", "SPAN")])).await.unwrap();
    }
    let ran = switch.run(&["drain", "--json"]).await.succeeded().json();
    assert_eq!((&ran["complete"], &ran["by_daemon"]), (&json!(true), &json!(true)));
    assert_eq!(ran["sessions"], json!(["telegen__2_over", "telegen_over", "telegen_unknown"]));
    assert_eq!(config.keys("MIRROR_SESSION").await.unwrap(), Vec::<String>::new());
}

/// What orchagent has without a row only goes by a deletion that it sees.
#[tokio::test]
async fn draining_without_a_daemon_deletes_a_session_whose_row_is_gone() {
    let switch = Switch::start();
    let (config, state) = (switch.redis.connect("CONFIG_DB").await, switch.redis.connect("STATE_DB").await);
    state.hset_whole("MIRROR_SESSION_TABLE|telegen_gone", &row([("status", "active")])).await.unwrap();
    let mut watch =
        TableWatch::new(&switch.redis.config, "CONFIG_DB", &[Watched::Rows("MIRROR_SESSION")], Duration::from_secs(60))
            .unwrap();
    assert!(matches!(within("the listing", watch.next()).await, WatchEvent::Resynchronised { .. }));
    let orchagent = async {
        let deleted = within("the deletion", watch.next()).await;
        assert_eq!(deleted, WatchEvent::Del { table: "MIRROR_SESSION".to_owned(), key: "telegen_gone".to_owned() });
        state.del("MIRROR_SESSION_TABLE|telegen_gone").await.unwrap();
    };
    let (ran, ()) = tokio::join!(switch.run(&["drain"]), orchagent);
    assert!(ran.succeeded().stdout.contains("mirror session telegen_gone: removed\n"));
    assert_eq!(config.keys("MIRROR_SESSION").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn draining_a_port_ends_the_jobs_that_touch_it_and_no_other() {
    let switch = Switch::start();
    let _daemon = FakeDaemon::start(&switch.redis.config).await;
    let config = switch.redis.connect("CONFIG_DB").await;
    config.hset_whole("PORTCHANNEL_MEMBER|PortChannel1|Ethernet0", &row([])).await.unwrap();
    for port in ["Ethernet0", "Ethernet4", "Ethernet40"] {
        config.hset_whole(&format!("PORT|{port}"), &row([("lanes", "1")])).await.unwrap();
    }
    let jobs = [("alone", "Ethernet0"), ("listed", "Ethernet8,Ethernet0"), ("channel", "PortChannel1")];
    for (id, port) in jobs.into_iter().chain([("other", "Ethernet4"), ("near", "Ethernet40"), ("copies", "Ethernet12")])
    {
        switch.run(&["start", port, "--id", id]).await.succeeded();
    }
    // A session names the port in another way than its job.
    let sessions = [("telegen_listed", "Ethernet8", "Ethernet120"), ("telegen__2_other", "Ethernet4", "Ethernet124")];
    for (session, src, dst) in sessions.into_iter().chain([("telegen_copies", "Ethernet12", "Ethernet0")]) {
        let fields = row([("type", "SPAN"), ("src_port", src), ("dst_port", dst)]);
        config.hset_whole(&format!("MIRROR_SESSION|{session}"), &fields).await.unwrap();
    }
    let ran = switch.run(&["drain", "Ethernet0"]).await.succeeded();
    let expected = "job alone: is over, stopped\njob channel: is over, stopped\njob copies: is over, stopped\n\
                    job listed: is over, stopped\nmirror session telegen_copies: removed\n\
                    drained: no job runs on Ethernet0, and no session of telegen's is left there\n";
    assert_eq!(ran.stdout, expected);
    assert_eq!(config.keys("TELEGEN_JOB").await.unwrap(), ["near", "other"]);
    assert_eq!(config.keys("MIRROR_SESSION").await.unwrap(), ["telegen__2_other"]);
    let again = switch.run(&["drain", "Ethernet0"]).await.succeeded();
    assert_eq!(again.stdout, "nothing was running on Ethernet0, and no session of telegen's is left there\n");
}

#[tokio::test]
async fn draining_a_port_without_a_daemon_deletes_the_sessions_that_name_it() {
    let switch = Switch::start();
    let config = switch.redis.connect("CONFIG_DB").await;
    for (session, src) in [("telegen_a", "Ethernet0"), ("telegen_b", "Ethernet4"), ("mine", "Ethernet0")] {
        let fields = row([("type", "SPAN"), ("src_port", src)]);
        config.hset_whole(&format!("MIRROR_SESSION|{session}"), &fields).await.unwrap();
    }
    let ran = switch.run(&["drain", "Ethernet0", "--json"]).await.succeeded().json();
    let expected = json!({
        "complete": true, "port": "Ethernet0", "by_daemon": false, "jobs": {}, "sessions": ["telegen_a"],
        "sessions_left": [], "sessions_unconfirmed": [], "sessions_to_add_again": ["mine"],
    });
    assert_eq!(ran, expected);
    assert_eq!(config.keys("MIRROR_SESSION").await.unwrap(), ["mine", "telegen_b"]);
    // A name that is nobody's is a slip of the pen.
    let ran = switch.run(&["drain", "Ehternet0"]).await;
    let message =
        "port: \"Ehternet0\" is neither in PORT nor in PORTCHANNEL of CONFIG_DB, and no job or session names it";
    ran.failed(1, &format!("telegen-sonic: unknown_port: {message}\n"));
}

#[tokio::test]
async fn a_dump_has_our_rows_and_no_foreign_session() {
    let switch = Switch::start();
    let (config, state) = (switch.redis.connect("CONFIG_DB").await, switch.redis.connect("STATE_DB").await);
    write_finished_job(&state, "old").await;
    config.hset_whole("TELEGEN|global", &row([("max_jobs", "1")])).await.unwrap();
    config.hset_whole("MIRROR_SESSION|telegen_a", &row([("type", "SPAN")])).await.unwrap();
    config.hset_whole("MIRROR_SESSION|mine", &row([("src_ip", "192.0.2.1")])).await.unwrap();
    let dump = switch.run(&["dump"]).await.succeeded().json();
    assert_eq!(dump["databases"]["CONFIG_DB"]["TELEGEN"], json!({ "global": { "max_jobs": "1" } }));
    assert_eq!(dump["databases"]["CONFIG_DB"]["MIRROR_SESSION"], json!({ "telegen_a": { "type": "SPAN" } }));
    assert_eq!(dump["databases"]["STATE_DB"]["TELEGEN_FLOW_TABLE"]["old|2"]["l4_dport"], "443");
    assert_eq!((&dump["daemon_alive"], &dump["version"]), (&json!(false), &json!(env!("CARGO_PKG_VERSION"))));
    assert!(!dump["kernel"]["release"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_redis_that_is_away_is_exit_code_1_and_says_where_it_was_looked_for() {
    let mut switch = Switch::start();
    switch.redis.server.stop(false).unwrap();
    let ran = switch.run(&["list"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.starts_with("telegen-sonic: database_unavailable: CONFIG_DB at "), "{}", ran.stderr);
    let ran = switch.run(&["--database-config", "/nonexistent.json", "list"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("/nonexistent.json: No such file"), "{}", ran.stderr);
}

#[tokio::test]
async fn nothing_in_a_table_reaches_the_terminal_as_an_escape_code() {
    let switch = Switch::start();
    let state = switch.redis.connect("STATE_DB").await;
    let evil = row([("status", "rejected"), ("message", "\x1b]0;owned\x07"), ("port", "\x1b[2J")]);
    state.hset_whole("TELEGEN_JOB_TABLE|\x1b[31m", &evil).await.unwrap();
    for arguments in [&["list"][..], &["status", "\x1b[31m"], &["results", "\x1b[31m"], &["list", "--json"]] {
        let ran = switch.run(arguments).await;
        assert!(!ran.stdout.contains('\x1b') && !ran.stderr.contains('\x1b'), "{arguments:?}: {:?}", ran.stdout);
        assert!(!ran.stdout.is_empty());
    }
}

#[tokio::test]
async fn a_daemon_that_dies_while_a_job_is_being_stopped_is_not_taken_for_a_slow_one() {
    let switch = Switch::start();
    let state = switch.redis.connect("STATE_DB").await;
    let config = switch.redis.connect("CONFIG_DB").await;
    config.hset_whole("TELEGEN_JOB|a", &row([("port", "Ethernet0")])).await.unwrap();
    state.hset_whole("TELEGEN_JOB_TABLE|a", &row([("status", "running"), ("source", "config")])).await.unwrap();
    // Alive by the rule of 15 s when the wait begins, silent for two heartbeats when it ends.
    heartbeat(&state).await;
    let ran = switch.run(&["stop", "a"]).await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.starts_with("telegen-sonic: no_daemon: job a: the row is deleted, but STATE_DB still says running"),
        "{}",
        ran.stderr
    );
}
