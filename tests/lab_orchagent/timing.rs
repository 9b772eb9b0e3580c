//! The virtual orchagent's mind on a virtual clock: exact times and exact outputs, no Redis.

use std::time::{Duration, Instant};

use telegen_sonic::lab::orchagent::core::Orchagent;
use telegen_sonic::lab::orchagent::hardware::{Fault, MirrorTarget};
use telegen_sonic::lab::orchagent::messages::{Change, Input, OrderedFields, Output};

/// Runs orchagent through time, and answers for hardware that refuses nothing.
struct Clock {
    orchagent: Orchagent,
    start: Instant,
    now: Instant,
    /// Whether ASIC_DB is in the story.
    objects: bool,
}

/// What happened, by milliseconds since the start: `4 s1=active`, `4 bind Ethernet0`, `7 s1 gone`, `0 log`.
type Story = Vec<String>;

impl Clock {
    fn new() -> Clock {
        let start = Instant::now();
        Clock { orchagent: Orchagent::default(), start, now: start, objects: false }
    }

    fn with_ports() -> Clock {
        let mut clock = Clock::new();
        for name in ["Ethernet0", "Ethernet4", "Ethernet8"] {
            clock.give(Input::Change(Change::Port { name: name.to_owned(), exists: true, oid: None }));
        }
        clock.give(Input::PortInitDone { settled: true });
        clock
    }

    fn give(&mut self, input: Input) -> Story {
        let mut story = Story::new();
        let mut outputs = self.orchagent.on(input, self.now);
        while !outputs.is_empty() {
            let output = outputs.remove(0);
            let is_object =
                matches!(output, Output::SetObject { .. } | Output::RemoveObject { .. } | Output::NamePort { .. });
            if is_object && !self.objects {
                continue;
            }
            story.push(format!("{} {}", self.now.duration_since(self.start).as_millis(), word(&output)));
            if let Output::Bind { .. } = output {
                outputs.extend(self.orchagent.on(Input::Bound { refused: None }, self.now));
            }
        }
        story
    }

    /// Lets time pass until nothing is due, or until `limit`.
    fn run(&mut self, limit: Duration) -> Story {
        let mut story = Story::new();
        let end = self.start + limit;
        while let Some(deadline) = self.orchagent.next_deadline().filter(|deadline| *deadline <= end) {
            assert!(deadline >= self.now, "a deadline in the past would make the driver spin");
            self.now = deadline;
            story.extend(self.give(Input::Tick));
        }
        self.now = end;
        story
    }
}

fn word(output: &Output) -> String {
    match output {
        Output::Bind { port, target: MirrorTarget { session, .. }, .. } => format!("bind {port} {session}"),
        Output::Unbind { port, .. } => format!("unbind {port}"),
        Output::WriteState { session, fields } => format!("{session}={}", fields[0].1),
        Output::DeleteState { session } => format!("{session} gone"),
        Output::Log(_) => "log".to_owned(),
        Output::SetObject { kind, fields, .. } => format!("{kind:?} {}={}", fields[0].0, fields[0].1),
        Output::RemoveObject { kind, .. } => format!("{kind:?} gone"),
        Output::NamePort { port, .. } => format!("{port} named"),
        Output::UnnamePort { port } => format!("{port} unnamed"),
        Output::Retarget { target } => format!("retarget {}", target.session),
        Output::Restart => "restart".to_owned(),
    }
}

fn set(name: &str, row: &str) -> Input {
    let row: OrderedFields = row
        .split(' ')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(field, value)| (field.to_owned(), value.to_owned()))
        .collect();
    Input::Change(Change::Session { name: name.to_owned(), row: Some(row) })
}

fn del(name: &str) -> Input {
    Input::Change(Change::Session { name: name.to_owned(), row: None })
}

const S1: &str = "type=SPAN src_port=Ethernet0 dst_port=Ethernet4 direction=RX";
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_session_is_active_after_4_ms_and_gone_3_ms_after_its_deletion() {
    let mut clock = Clock::with_ports();
    assert_eq!(clock.give(set("s1", S1)), ["0 s1=inactive"]);
    assert_eq!(clock.run(Duration::from_millis(10)), ["4 bind Ethernet0 s1", "4 s1=active"]);
    assert_eq!(clock.give(del("s1")), ["10 unbind Ethernet0", "10 s1=inactive"]);
    assert_eq!(clock.run(SECOND), ["13 s1 gone"]);
}

#[test]
fn a_deletion_and_a_new_row_in_one_breath_are_done_one_after_the_other() {
    let mut clock = Clock::with_ports();
    clock.give(set("s1", S1));
    clock.give(del("s1"));
    clock.give(set("s1", &S1.replace("Ethernet0", "Ethernet8")));
    let story = clock.run(SECOND);
    let expected = [
        "4 bind Ethernet0 s1",
        "4 s1=active",
        "4 unbind Ethernet0",
        "4 s1=inactive",
        "7 s1 gone",
        "7 s1=inactive",
        "11 bind Ethernet8 s1",
        "11 s1=active",
    ];
    assert_eq!(story, expected);
}

#[test]
fn an_erspan_session_is_active_14_ms_after_its_neighbour_is_known() {
    let mut clock = Clock::with_ports();
    let made = clock.give(set("e1", "type=ERSPAN src_ip=10.0.0.1 dst_ip=10.0.0.5"));
    // The default route is the best there is.
    assert_eq!(made, ["0 e1=inactive", "0 e1=0.0.0.0/0", "0 e1=0.0.0.0@"]);
    assert_eq!(clock.run(Duration::from_millis(100)), [""; 0]);
    let neighbour = |mac: Option<&str>| {
        Input::Change(Change::Neighbour {
            address: "10.0.0.5".parse().unwrap(),
            interface: "Ethernet8".to_owned(),
            mac: mac.map(str::to_owned),
        })
    };
    assert_eq!(clock.give(neighbour(Some("02:00:00:00:00:05"))), [""; 0]);
    assert_eq!(clock.run(Duration::from_millis(200)), ["114 e1=active"]);
    assert_eq!(clock.give(neighbour(None)), ["200 e1=inactive"]);
}

#[test]
fn sessions_wait_for_the_ports_and_half_a_second() {
    let mut clock = Clock::new();
    clock.give(Input::Change(Change::Port { name: "Ethernet0".to_owned(), exists: true, oid: None }));
    clock.give(Input::Change(Change::Port { name: "Ethernet4".to_owned(), exists: true, oid: None }));
    assert_eq!(clock.give(set("s1", "type=SPAN")), [""; 0]);
    // Written field by field while nobody reads: one row in the end.
    assert_eq!(clock.give(set("s1", S1)), [""; 0]);
    assert_eq!(clock.run(SECOND), [""; 0]);
    assert_eq!(clock.give(Input::PortInitDone { settled: false }), [""; 0]);
    assert_eq!(clock.run(2 * SECOND), ["1500 s1=inactive", "1504 bind Ethernet0 s1", "1504 s1=active"]);
}

#[test]
fn a_missing_policer_is_asked_for_every_second_for_ever() {
    let mut clock = Clock::with_ports();
    assert_eq!(clock.give(set("s1", &format!("{S1} policer=p1"))), ["0 log"]);
    assert_eq!(clock.run(3 * SECOND), ["1000 log", "2000 log", "3000 log"]);
    clock.give(set("s1", "policer=p2"));
    clock.give(Input::Change(Change::Policer { name: "p2".to_owned(), exists: true }));
    assert_eq!(clock.run(4 * SECOND), ["3004 bind Ethernet0 s1", "3004 s1=active"]);
}

#[test]
fn the_removal_of_a_partial_session_takes_another_second() {
    let mut clock = Clock::with_ports();
    assert_eq!(clock.give(set("s1", "type=SPAN")), ["0 s1=inactive"]);
    assert_eq!(clock.give(del("s1")), ["0 log"]);
    assert_eq!(clock.give(set("s1", S1)), ["0 log"]);
    assert_eq!(clock.run(5 * SECOND), ["1003 s1 gone"]);
}

#[test]
fn sflow_that_a_sampled_session_kept_from_a_port_has_it_once_the_session_is_gone() {
    let mut clock = Clock::with_ports();
    clock.give(set("s1", &format!("{S1} sample_rate=256")));
    clock.run(Duration::from_millis(10));
    let row =
        [("admin_state", "up"), ("sample_rate", "777")].map(|(field, value)| (field.to_owned(), value.to_owned()));
    clock.give(Input::Change(Change::Sflow { up: true }));
    let refused = Input::Change(Change::SflowPort { port: "Ethernet0".to_owned(), row: Some(row.into()) });
    assert_eq!(clock.give(refused), ["10 log"]);
    assert_eq!(clock.run(Duration::from_millis(100)), [""; 0]);
    assert_eq!(clock.give(del("s1")), ["100 unbind Ethernet0", "100 s1=inactive"]);
    clock.objects = true;
    // The next attempt would have come at 1010.
    let bound = "103 Port SAI_PORT_ATTR_INGRESS_SAMPLEPACKET_ENABLE=oid:0xf000000001006";
    assert_eq!(clock.run(10 * SECOND), ["103 s1 gone", bound]);
}

#[test]
fn a_port_that_a_session_held_when_it_was_to_go_is_asked_to_go_every_second_in_vain() {
    let mut clock = Clock::with_ports();
    clock.give(set("s1", S1));
    clock.run(Duration::from_millis(10));
    clock.objects = true;
    let gone = Input::Change(Change::Port { name: "Ethernet0".to_owned(), exists: false, oid: None });
    assert_eq!(clock.give(gone), ["10 Ethernet0 unnamed", "10 log"]);
    let unbound = [
        "10 Port SAI_PORT_ATTR_INGRESS_MIRROR_SESSION=0:null",
        "10 unbind Ethernet0",
        "10 MirrorSession gone",
        "10 s1=inactive",
    ];
    assert_eq!(clock.give(del("s1")), unbound);
    // Nothing refers to it any more, and it stays.
    assert_eq!(clock.run(3 * SECOND + SECOND / 2), ["13 s1 gone", "1010 log", "2010 log", "3010 log"]);
}

#[test]
fn a_dead_orchagent_has_no_deadline_and_finishes_its_step_when_it_resumes() {
    let mut clock = Clock::with_ports();
    assert_eq!(clock.give(set("s1", S1)), ["0 s1=inactive"]);
    assert_eq!(clock.give(Input::Fault(Fault::Dead, None)), [""; 0]);
    assert_eq!(clock.orchagent.next_deadline(), None);
    assert_eq!(clock.run(SECOND), [""; 0]);
    assert_eq!(clock.give(Input::Fault(Fault::Clear, None)), ["1000 bind Ethernet0 s1", "1000 s1=active"]);
}

#[test]
fn changes_of_a_session_keep_their_order_when_orchagent_gets_faster() {
    let mut clock = Clock::with_ports();
    clock.give(Input::Fault(Fault::Slow(Duration::from_millis(500)), None));
    assert_eq!(clock.give(set("s1", S1)), [""; 0]);
    clock.give(Input::Fault(Fault::Slow(Duration::from_millis(100)), None));
    assert_eq!(clock.give(del("s1")), [""; 0]);
    let story = clock.run(SECOND);
    assert_eq!(story[0], "500 s1=inactive");
    assert_eq!(story.last().map(String::as_str), Some("507 s1 gone"));
}

#[test]
fn objects_and_bindings_are_in_asic_db_before_the_session_says_active_and_gone_before_it_says_inactive() {
    let mut clock = Clock::with_ports();
    clock.give(set("s1", &format!("{} sample_rate=256 truncate_size=128", S1.replace("RX", "BOTH"))));
    clock.now += Duration::from_millis(4);
    let mut story = Vec::new();
    let mut outputs = clock.orchagent.on(Input::Tick, clock.now);
    while !outputs.is_empty() {
        let output = outputs.remove(0);
        story.push(word(&output));
        if let Output::Bind { .. } = output {
            assert!(outputs.is_empty(), "the next port is only asked for when the hardware has answered");
            outputs.extend(clock.orchagent.on(Input::Bound { refused: None }, clock.now));
        }
    }
    let expected = [
        "MirrorSession SAI_MIRROR_SESSION_ATTR_MONITOR_PORT=oid:0x1000000001002",
        "Samplepacket SAI_SAMPLEPACKET_ATTR_SAMPLE_RATE=256",
        "bind Ethernet0 s1",
        "Port SAI_PORT_ATTR_INGRESS_SAMPLEPACKET_ENABLE=oid:0xf000000001005",
        "Port SAI_PORT_ATTR_INGRESS_SAMPLE_MIRROR_SESSION=1:oid:0xe000000001004",
        "bind Ethernet0 s1",
        "Port SAI_PORT_ATTR_EGRESS_SAMPLEPACKET_ENABLE=oid:0xf000000001005",
        "Port SAI_PORT_ATTR_EGRESS_SAMPLE_MIRROR_SESSION=1:oid:0xe000000001004",
        "s1=active",
    ];
    assert_eq!(story, expected);
    let story: Vec<String> = clock.orchagent.on(del("s1"), clock.now).iter().map(word).collect();
    let expected = [
        "Port SAI_PORT_ATTR_INGRESS_SAMPLE_MIRROR_SESSION=0:null",
        "Port SAI_PORT_ATTR_INGRESS_SAMPLEPACKET_ENABLE=oid:0x0",
        "unbind Ethernet0",
        "Port SAI_PORT_ATTR_EGRESS_SAMPLE_MIRROR_SESSION=0:null",
        "Port SAI_PORT_ATTR_EGRESS_SAMPLEPACKET_ENABLE=oid:0x0",
        "unbind Ethernet0",
        "Samplepacket gone",
        "MirrorSession gone",
        "s1=inactive",
    ];
    assert_eq!(story, expected);
    assert_eq!(clock.run(SECOND), ["7 s1 gone"]);
}
