//! Labs come and go without a trace, side by side, whatever ends them.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use libbpf_rs::{MapHandle, Program};
use nix::sys::signal::Signal;
use telegen_sonic::lab::handle::Lab;
use telegen_sonic::lab::profiles::Profile;
use telegen_sonic::lab::send::{Pace, Source};
use telegen_sonic::lab::state::LabState;

use super::{TestLab, exists, is_root, small, wait_for};

/// What the kernel still has of a lab.
fn remains(state: &LabState) -> Vec<String> {
    let mut remains = Vec::new();
    if state.process.open().unwrap().is_some() {
        remains.push(format!("process {}", state.process.pid));
    }
    let programs = state.asic.programs.iter().filter(|id| Program::fd_from_id(**id).is_ok());
    remains.extend(programs.map(|id| format!("BPF program {id}")));
    let maps = [state.asic.ports, state.asic.copies, state.asic.bindings, state.asic.samplers, state.asic.tunnels];
    let maps = maps.into_iter().filter(|id| MapHandle::from_map_id(*id).is_ok());
    remains.extend(maps.map(|id| format!("BPF map {id}")));
    remains
}

/// Processes whose network is the switch's.
fn processes_in(namespace: &std::path::Path) -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|link| link == namespace))
        .collect()
}

#[test]
fn down_leaves_no_process_program_map_or_file() {
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let lab = Lab::start(home.path().join("lab"), &small()).unwrap();
    let state = lab.state().clone();
    let network = std::fs::read_link(format!("/proc/{}/ns/net", state.process.pid)).unwrap();
    assert!(processes_in(&network).len() >= 2, "the lab and its Redis");
    assert_eq!(remains(&state).len(), 1 + 5 + 4);
    assert!(!exists("/run/netns/switch") && !exists("/run/netns/asic"));
    lab.end().unwrap();
    assert_eq!(remains(&state), Vec::<String>::new());
    assert_eq!(processes_in(&network), Vec::<i32>::new());
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_was_there_before_stays_with_what_else_is_in_it() {
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("notes.txt"), "mine").unwrap();
    Lab::start(home.path(), &small()).unwrap().end().unwrap();
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes.txt"]);
}

#[test]
fn a_killed_lab_leaves_nothing_of_its_network_and_its_directory_can_be_used_again() {
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let lab = Lab::start(home.path().join("lab"), &small()).unwrap();
    let state = lab.state().clone();
    let network = std::fs::read_link(format!("/proc/{}/ns/net", state.process.pid)).unwrap();
    state.process.open().unwrap().unwrap().signal(Signal::SIGKILL).unwrap();
    wait_for("nothing of the killed lab is left", || remains(&state).is_empty() && processes_in(&network).is_empty());
    let error = lab.send("Ethernet0", &Source::Profile(Profile::Udp64), Pace::default()).unwrap_err().to_string();
    assert!(error.contains("has died") && error.contains("telegen-lab up --dir"), "{error}");

    let again = Lab::start(lab.dir(), &small()).unwrap();
    again.end().unwrap();
    // The first handle's own `down` now finds nothing, which is fine.
    drop(lab);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn two_labs_do_not_know_of_each_other() {
    if !is_root() {
        return;
    }
    let (one, two) = (TestLab::start(&small()), TestLab::start(&small()));
    let pace = |count| Pace { count: Some(count), ..Pace::default() };
    one.lab().send("Ethernet0", &Source::Profile(Profile::Udp64), pace(100)).unwrap();
    two.lab().send("Ethernet0", &Source::Profile(Profile::Udp64), pace(30)).unwrap();
    for (test, count) in [(&one, 100), (&two, 30)] {
        assert_eq!(test.lab().asic().unwrap().port(test.port("Ethernet0")).rx_unicast, count);
        test.on_switch(&["redis-cli", "-n", "4", "HSET", "TEST|lab", "count", &count.to_string()]);
    }
    for (test, count) in [(&one, "100\n"), (&two, "30\n")] {
        assert_eq!(test.on_switch(&["redis-cli", "-n", "4", "HGET", "TEST|lab", "count"]), count);
    }
    drop(one);
    assert_eq!(two.lab().send("Ethernet0", &Source::Profile(Profile::Udp64), pace(1)).unwrap().packets, 1);
}

#[test]
fn a_directory_in_use_is_refused_and_its_lab_untouched() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let error = Lab::start(test.lab().dir(), &small()).unwrap_err().to_string();
    assert!(error.contains("a lab already runs in") && error.contains("telegen-lab down --dir"), "{error}");
    assert_eq!(LabState::read(test.lab().dir()).unwrap().unwrap(), *test.lab().state());
    test.on_switch(&["true"]);
}

#[test]
fn mistakes_are_answered_with_what_would_be_right() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let udp = Source::Profile(Profile::Udp64);
    let unknown_port = test.lab().send("Ethernet2", &udp, Pace::default()).unwrap_err().to_string();
    assert!(unknown_port.contains("this switch has Ethernet0, Ethernet4, … Ethernet12"), "{unknown_port}");
    let script = test.home.path().join("script.pcap");
    std::fs::write(&script, "#!/bin/sh\nexit 0 # by no means a capture\n").unwrap();
    let bad_capture = test.lab().send("Ethernet0", &Source::Capture(script), Pace::default()).unwrap_err().to_string();
    assert!(bad_capture.contains("script.pcap is not a whole pcap or pcapng file"), "{bad_capture}");

    let lab = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_telegen-lab")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, error) = lab(&["up", "--dir", "/nonexistent", "--ports", "5"]);
    assert!(code == Some(2) && error.contains("an even number of ports from 4 to 128"), "{error}");
    let (code, error) = lab(&["run", "--dir", "/nonexistent", "--", "true"]);
    assert!(code == Some(1) && error.contains("no lab runs in /nonexistent"), "{error}");
    let (code, error) = lab(&["fault", "--dir", "/nonexistent", "clear"]);
    assert!(code == Some(1) && error.contains("no lab runs in /nonexistent"), "{error}");
}

#[test]
fn run_passes_on_the_exit_code_the_directory_and_the_hosts_files() {
    if !is_root() {
        return;
    }
    let test = TestLab::start(&small());
    let run = |command: &[&str]| test.lab().run_command(command).current_dir(test.home.path()).output().unwrap();
    assert_eq!(run(&["sh", "-c", "exit 7"]).status.code(), Some(7));
    let missing = run(&["/nonexistent/program"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("running '/nonexistent/program' on the switch"));
    let here = String::from_utf8(run(&["pwd"]).stdout).unwrap();
    assert_eq!(here.trim_end(), test.home.path().to_str().unwrap());
    let names = |listing: &str| listing.lines().map(str::to_owned).collect::<Vec<_>>();
    let hosts: Vec<String> =
        std::fs::read_dir("/run").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let inside = names(&test.on_switch(&["ls", "-A", "/run"]));
    assert!(hosts.iter().all(|name| inside.contains(name)), "{hosts:?} and {inside:?}");
    assert!(inside.contains(&"redis".to_owned()) && inside.contains(&"telegen".to_owned()), "{inside:?}");
    assert_eq!(test.on_switch(&["ls", "-A", "/var/run/telegen"]), "");
    let file_system = test.on_switch(&["stat", "-f", "-c", "%T", "/sys/fs/bpf"]);
    let outside = Command::new("stat").args(["-f", "-c", "%T", "/sys/fs/bpf"]).output().unwrap().stdout;
    assert_eq!(file_system.as_bytes(), outside, "bpffs must not be hidden");
}

#[test]
fn down_ends_what_run_has_started() {
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let lab = Lab::start(home.path().join("lab"), &small()).unwrap();
    let mut started = lab.run_command(&["sleep", "1000"]).spawn().unwrap();
    let name = format!("/proc/{}/comm", started.id());
    wait_for("the command runs", || std::fs::read_to_string(&name).unwrap() == "sleep\n");
    lab.end().unwrap();
    assert_eq!(started.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
}
