//! `table.txt` against the supervisor: every phase, reached by real events, is fed every event. A pair that the table does not
//! have, or has twice, fails too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bench::{Bench, Orchagent, bound, clear, fields, id, plus, render, secs, session, world};
use crate::model::asic::View;
use crate::model::job::{Fields, JobId};
use crate::model::overtaken::Taken;
use crate::model::schema::{Reason, Source, Warning};
use crate::model::settings::{AdminState, Settings};
use crate::model::status::Ending;
use crate::model::supervisor::{
    Deleted, Effect, Event, FeedOwned, Job, LOST_GRACE, NEIGHBOUR_TIMEOUT, Phase, Renewal, SessionState,
};

mod rewritten;

const TABLE: &str = include_str!("table.txt");

const EVENTS: [&str; 51] = [
    "row same",
    "row duration",
    "row other",
    "row unparsable",
    "row gone",
    "row other door",
    "row other door gone",
    "rows with",
    "rows without",
    "settings same",
    "settings disabled",
    "surveyed ok",
    "surveyed err",
    "surveyed refused",
    "provisioned ok",
    "provisioned err",
    "released ok",
    "released err",
    "provisioned taken",
    "overtaken kept",
    "overtaken alone",
    "withheld",
    "session absent",
    "session inactive",
    "session active",
    "sessions own",
    "sessions orphan",
    "sessions intruder",
    "sessions members",
    "sessions port gone",
    "asic clear",
    "asic left",
    "asic unknown",
    "asic err",
    "objects",
    "sessions unlisted",
    "session row own",
    "session row orphan",
    "session row foreign",
    "feed opened ok",
    "feed opened err",
    "feed lost",
    "feed closed ok",
    "feed closed err",
    "warned",
    "published",
    "row deleted ok",
    "row deleted err",
    "row deleted other door",
    "shutdown",
    "time",
];

const PHASES: [&str; 26] = [
    "Unknown",
    "Settling",
    "Surveying",
    "Queued",
    "Surveying for a slot",
    "Provisioning",
    "Resolving",
    "Opening",
    "Opening, to end",
    "Running",
    "Running, session missing",
    "Running, neighbour missing",
    "Running without session",
    "Running on members",
    "Renewing, deleting",
    "Renewing, adding",
    "Releasing with feed",
    "Releasing with feed, deleted",
    "Releasing with feed, refused",
    "Releasing without feed",
    "Closing",
    "Looking",
    "Publishing",
    "Publishing, row gone",
    "Removing",
    "Removing, refused",
];

const ROW: &str = "port=Ethernet0 duration=120";
const MEMBERS: &str = "port=PortChannel1 duration=120";
const ERSPAN: &str = "port=Ethernet0 duration=120 span_method=erspan";

/// What the table says of one pair.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    phase: String,
    said: String,
    effects: String,
}

/// Job "a" in `phase`, by real events; nothing is answered from there on.
fn bench_in(phase: &str) -> Bench {
    let mut bench =
        Bench::new("max_jobs=1 max_queue=2 erspan_src_ip=10.0.0.1 erspan_dst_ip=10.0.0.9 erspan_netdev=netEthernet100");
    let (row, hold, wait) = match phase {
        "Unknown" => return bench,
        "Settling" => (ROW, "", 0),
        "Surveying" => (ROW, "Survey", 1),
        "Queued" | "Surveying for a slot" => return bench_in_line(bench, phase),
        "Provisioning" => {
            bench.orchagent = Orchagent::Dead;
            (ROW, "", 1)
        }
        "Resolving" => {
            bench.orchagent = Orchagent::LeavesInactive;
            (ERSPAN, "", 6)
        }
        "Releasing without feed" => {
            bench.orchagent = Orchagent::Dead;
            (ROW, "Release", 6)
        }
        "Opening" | "Opening, to end" => (ROW, "OpenFeed", 1),
        "Running" | "Running, session missing" | "Releasing with feed, deleted" | "Releasing with feed, refused" => {
            (ROW, "", 1)
        }
        "Running, neighbour missing" => (ERSPAN, "", 1),
        "Running without session" => ("port=Ethernet0 duration=120 span_method=none", "", 1),
        "Running on members" | "Renewing, deleting" | "Renewing, adding" => (MEMBERS, "", 1),
        "Looking" => (ROW, "AskAsic", 121),
        "Releasing with feed" => (ROW, "Release", 121),
        "Closing" => (ROW, "CloseFeed", 121),
        "Publishing" => (ROW, "Publish", 121),
        "Publishing, row gone" => (ROW, "Publish", 1),
        "Removing" => (ROW, "DeleteRow", 121),
        "Removing, refused" => {
            bench.refused.insert("DeleteRow");
            (ROW, "", 121)
        }
        unknown => panic!("no way to {unknown}"),
    };
    bench.held.insert(hold);
    bench.write("a", row);
    bench.pass(secs(wait));
    match phase {
        "Opening, to end" | "Publishing, row gone" => bench.delete("a"),
        "Running, neighbour missing" => bench.session_state("a", SessionState::Inactive),
        "Running, session missing" => bench.session_state("a", SessionState::Absent),
        "Renewing, deleting" => {
            bench.held.insert("Release");
            bench.change_members();
        }
        "Renewing, adding" => {
            bench.held.insert("Provision");
            bench.change_members();
        }
        "Releasing with feed, deleted" => {
            bench.orchagent = Orchagent::Dead;
            bench.pass(secs(120));
        }
        "Releasing with feed, refused" => {
            bench.refused.insert("Release");
            bench.pass(secs(120));
        }
        _ => {}
    }
    bench
}

fn bench_in_line(mut bench: Bench, phase: &str) -> Bench {
    bench.write("b", "port=Ethernet4 duration=86400 span_method=none");
    bench.pass(secs(1));
    bench.write("a", ROW);
    bench.pass(secs(1));
    if phase == "Surveying for a slot" {
        bench.held.insert("Survey");
        bench.delete("b");
    }
    bench
}

fn refused() -> String {
    "the bench refused".to_owned()
}

fn event(name: &str, bench: &Bench) -> Event {
    let id = id("a");
    let row = |door, fields| Event::Row { door, key: "a".to_owned(), fields };
    let written = bench.rows.get(&(Source::Config, "a".to_owned())).cloned().unwrap_or_else(|| fields(ROW));
    let with = |field: &str, value: &str| -> Option<Fields> {
        let mut fields = written.clone();
        fields.insert(field.to_owned(), value.to_owned());
        Some(fields)
    };
    let state = |state| Event::SessionState { session: id.session_name(1), state };
    let row_deleted = |door, result| Event::RowDeleted { door, key: "a".to_owned(), result };
    match name {
        "row same" => row(Source::Config, Some(written)),
        "row duration" => row(Source::Config, with("duration", "300")),
        "row other" => row(Source::Config, with("sample_rate", "7")),
        "row unparsable" => row(Source::Config, with("vlan", "x")),
        "row gone" => row(Source::Config, None),
        "row other door" => row(Source::Appl, Some(written)),
        "row other door gone" => row(Source::Appl, None),
        "rows with" | "rows without" => {
            let mut rows = bench.rows_of(Source::Config);
            rows.remove("a");
            if name == "rows with" {
                rows.insert("a".to_owned(), written);
            }
            Event::Rows { door: Source::Config, rows }
        }
        "settings same" => Event::Settings(Box::new(bench.supervisor.settings().clone())),
        "settings disabled" => {
            let settings = Settings { admin_state: AdminState::Disabled, ..bench.supervisor.settings().clone() };
            Event::Settings(Box::new(settings))
        }
        "surveyed ok" => Event::Surveyed { id, world: Ok(Arc::new(world())) },
        "surveyed err" => Event::Surveyed { id, world: Err(refused()) },
        "surveyed refused" => {
            let mut world = Box::new(world());
            world.ports.remove("Ethernet0");
            Event::Surveyed { id, world: Ok(Arc::from(world)) }
        }
        "provisioned ok" => Event::Provisioned { id, result: Ok(None) },
        "provisioned err" => Event::Provisioned { id, result: Err(refused()) },
        "released ok" => Event::Released { id, result: Ok(()) },
        "released err" => Event::Released { id, result: Err(refused()) },
        "session absent" => state(SessionState::Absent),
        "session inactive" => state(SessionState::Inactive),
        "session active" => state(SessionState::Active),
        "sessions own" => sessions_event("telegen_a", "Ethernet120"),
        "sessions orphan" => sessions_event("telegen_old", "Ethernet120"),
        "sessions intruder" => sessions_event("everflow", "Ethernet100"),
        "feed opened ok" => Event::FeedOpened { id, result: Ok(()) },
        "feed opened err" => Event::FeedOpened { id, result: Err((Reason::AttachFailed, refused())) },
        "feed lost" => Event::FeedLost { id, message: "the device is gone".to_owned() },
        "feed closed ok" => Event::FeedClosed { id, result: Ok(()) },
        "feed closed err" => Event::FeedClosed { id, result: Err(refused()) },
        "warned" => Event::Warned { id, warning: Warning::NoCopies },
        "published" => Event::Published { key: "a".to_owned() },
        "row deleted ok" => row_deleted(Source::Config, Ok(())),
        "row deleted err" => row_deleted(Source::Config, Err(refused())),
        "row deleted other door" => row_deleted(Source::Appl, Ok(())),
        "shutdown" => Event::Shutdown,
        other => event_of_the_switch(other, id),
    }
}

/// What the switch's tables and ASIC_DB say.
fn event_of_the_switch(name: &str, id: JobId) -> Event {
    match name {
        "provisioned taken" => {
            let taken = Taken { theirs: "debug".to_owned(), port: "Ethernet0".to_owned() };
            Event::Provisioned { id, result: Ok(Some(taken)) }
        }
        "overtaken kept" | "overtaken alone" => {
            let (session, kept) = (id.session_name(1), name == "overtaken kept");
            Event::Overtaken { session, theirs: "debug".to_owned(), port: "Ethernet0".to_owned(), kept }
        }
        "withheld" => {
            Event::Withheld { session: id.session_name(1), why: "orchagent has said nothing of debug".to_owned() }
        }
        "sessions members" => {
            let mut world = Box::new(world());
            world.port_channels.insert("PortChannel1".to_owned(), ["Ethernet8".to_owned()].into());
            Event::Sessions { world }
        }
        "sessions port gone" => {
            let mut world = Box::new(world());
            world.ports.retain(|port, _| port != "Ethernet0" && port != "Ethernet4" && port != "Ethernet12");
            Event::Sessions { world }
        }
        "asic clear" => Event::Asic { id, view: Ok(clear()) },
        "asic unknown" => Event::Asic { id, view: Ok(View::default()) },
        "asic left" => Event::Asic { id, view: Ok(bound("Ethernet0", "Ethernet120")) },
        "asic err" => Event::Asic { id, view: Err(refused()) },
        "objects" => Event::Objects { job: 0, held: Ok(vec!["Ethernet0".to_owned()]) },
        "sessions unlisted" => Event::SessionsUnlisted { error: refused() },
        "session row own" => session_row("telegen_a"),
        "session row orphan" => session_row("telegen_old"),
        "session row foreign" => session_row("everflow"),
        unknown => panic!("no event {unknown}"),
    }
}

fn sessions_event(name: &str, dst_port: &str) -> Event {
    let mut world = Box::new(world());
    world.sessions.insert(name.to_owned(), session("Ethernet0", dst_port));
    Event::Sessions { world }
}

fn session_row(session: &str) -> Event {
    Event::SessionRow { session: session.to_owned(), present: true }
}

/// Feeds one event; what it causes is not carried out.
fn feed(bench: &mut Bench, name: &str) -> String {
    let effects = if name == "time" {
        match bench.supervisor.jobs.get("a").and_then(Job::deadline) {
            Some(deadline) => {
                // Sweeps that come before it are not its doing.
                while bench.supervisor.next_deadline() < deadline {
                    bench.mono = bench.supervisor.next_deadline();
                    bench.supervisor.tick(bench.now());
                }
                bench.mono = deadline;
                bench.supervisor.tick(bench.now())
            }
            None => Vec::new(),
        }
    } else {
        let event = event(name, bench);
        bench.supervisor.on(event, bench.now())
    };
    let about_a = |effect: &&Effect| !render(effect).ends_with(" b");
    let rendered: Vec<String> = effects.iter().filter(about_a).map(render).collect();
    if rendered.is_empty() { "-".to_owned() } else { rendered.join(", ") }
}

fn phase_of(bench: &Bench) -> String {
    let Some(job) = bench.supervisor.jobs.get("a") else { return "Unknown".to_owned() };
    match &job.phase {
        Phase::Settling { .. } => "Settling".to_owned(),
        Phase::Surveying { waiting: None, .. } => "Surveying".to_owned(),
        Phase::Surveying { waiting: Some(_), .. } => "Surveying for a slot".to_owned(),
        Phase::Queued { .. } => "Queued".to_owned(),
        Phase::Provisioning { .. } => "Provisioning".to_owned(),
        Phase::Resolving { .. } => "Resolving".to_owned(),
        Phase::Opening { then: None, .. } => "Opening".to_owned(),
        Phase::Opening { then: Some(_), .. } => "Opening, to end".to_owned(),
        Phase::Running { missing: Some(missing), .. } => match missing.until.saturating_sub(missing.since) {
            LOST_GRACE => "Running, session missing".to_owned(),
            NEIGHBOUR_TIMEOUT => "Running, neighbour missing".to_owned(),
            odd => format!("Running, session missing for {odd:?}"),
        },
        Phase::Running { plan, .. } if plan.provision.is_none() => "Running without session".to_owned(),
        Phase::Running { spec, .. } if spec.ports.as_str() == "PortChannel1" => "Running on members".to_owned(),
        Phase::Renewing { step: Renewal::Deleting { .. }, .. } => "Renewing, deleting".to_owned(),
        Phase::Renewing { step: Renewal::Adding { .. }, .. } => "Renewing, adding".to_owned(),
        Phase::Running { .. } => "Running".to_owned(),
        Phase::Releasing { feed, deleted, .. } => {
            let feed = if *feed == FeedOwned::Yes { "with" } else { "without" };
            let deleted = match deleted {
                Deleted::Asked => "",
                Deleted::RetryAt(_) => ", refused",
                Deleted::Done => ", deleted",
            };
            format!("Releasing {feed} feed{deleted}")
        }
        Phase::Closing { .. } => "Closing".to_owned(),
        Phase::Looking { .. } => "Looking".to_owned(),
        Phase::Publishing { .. } if job.row.is_none() => "Publishing, row gone".to_owned(),
        Phase::Publishing { .. } => "Publishing".to_owned(),
        Phase::Removing { retry: None, .. } => "Removing".to_owned(),
        Phase::Removing { retry: Some(_), .. } => "Removing, refused".to_owned(),
    }
}

/// What is said, and of a job that is being stopped how it will end.
fn said_of(bench: &Bench) -> String {
    let job = bench.supervisor.jobs.get("a");
    let pending = job.and_then(|job| match &job.phase {
        Phase::Opening { then: Some(ending), .. }
        | Phase::Releasing { ending, .. }
        | Phase::Closing { ending }
        | Phase::Looking { ending, .. } => Some(ending),
        _ => None,
    });
    match (job, pending) {
        (Some(job), Some(Ending { status, reason, .. })) => {
            let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
            format!("stopping ({status}{reason}){}", plus(&job.warnings))
        }
        (Some(job), None) if bench.said("a") == "-" => format!("-{}", plus(&job.warnings)),
        _ => bench.said("a"),
    }
}

/// The table: by phase and event.
fn table() -> BTreeMap<(String, String), Outcome> {
    let mut table = BTreeMap::new();
    let mut phase = String::new();
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(heading) = line.strip_prefix('[') {
            heading.split(']').next().expect("a heading").clone_into(&mut phase);
            continue;
        }
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [events, then, said, effects] = columns.as_slice() else { panic!("four columns: {line}") };
        for event in events.split(", ") {
            let outcome = Outcome { phase: (*then).into(), said: (*said).into(), effects: (*effects).into() };
            let twice = table.insert((phase.clone(), event.to_owned()), outcome);
            assert_eq!(twice, None, "{phase} has {event} twice");
        }
    }
    table
}

#[test]
fn the_table_has_every_phase_with_every_event_and_no_other() {
    let all = PHASES.iter().flat_map(|phase| EVENTS.iter().map(|event| ((*phase).to_owned(), (*event).to_owned())));
    let wanted: BTreeSet<(String, String)> = all.collect();
    let known: BTreeSet<(String, String)> = table().into_keys().collect();
    assert_eq!(wanted.difference(&known).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "missing");
    assert_eq!(known.difference(&wanted).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "unknown");
}

#[test]
fn every_phase_answers_every_event_as_the_table_says() {
    let mut wrong = Vec::new();
    for ((phase, event), expected) in table() {
        let mut bench = bench_in(&phase);
        assert_eq!(phase_of(&bench), phase, "the way to {phase}");
        let said = said_of(&bench);
        let effects = feed(&mut bench, &event);
        let same = |word: &str, before: &str| if word == "=" { before.to_owned() } else { word.to_owned() };
        let expected = Outcome {
            phase: same(&expected.phase, &phase),
            said: same(&expected.said, &said),
            effects: expected.effects,
        };
        let outcome = Outcome { phase: phase_of(&bench), said: said_of(&bench), effects };
        if outcome != expected {
            wrong.push(format!("{phase}, {event}:\n  expected {expected:?}\n  but came {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} pairs differ:\n{}", wrong.len(), wrong.join("\n"));
}
