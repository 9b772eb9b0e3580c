//! What other people have on the switch is bit-identical before, during and after our jobs.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use telegen_sonic::lab::profiles::Profile;

use crate::fixture::{DEADLINE, Options, Switch, wait_for};
use crate::kernel::{in_network, tc_on_switch, tcx_programs};
use crate::redis_db::{Db, Row};

/// A session of somebody else's, on ports that no job here uses.
const THEIRS: [(&str, &str); 4] =
    [("type", "SPAN"), ("src_port", "Ethernet8"), ("dst_port", "Ethernet20"), ("direction", "BOTH")];

/// Everything of theirs, as they would see it.
#[derive(Debug, PartialEq, Eq)]
struct Theirs {
    session: Row,
    state: Row,
    bindings: Vec<String>,
    tc: Vec<String>,
    tcx: Vec<u32>,
}

impl Theirs {
    /// As it is now; without the binding of our port and the filter of our program, which has priority 9.
    fn look(switch: &Switch, program: &Program) -> Theirs {
        let ours =
            |line: &str| line.contains("telegen_") || line.contains(" pref 9 ") || line.starts_with("Ethernet0 rx");
        let tcx = in_network(&switch.lab, || tcx_programs("Ethernet24", libbpf_sys::BPF_TCX_INGRESS));
        Theirs {
            session: switch.redis(Db::Config).row("MIRROR_SESSION|theirs"),
            state: switch.redis(Db::State).row("MIRROR_SESSION_TABLE|theirs"),
            bindings: switch.bindings().into_iter().filter(|line| !ours(line)).collect(),
            tc: tc_on_switch(&switch.lab).into_iter().filter(|line| !ours(line)).collect(),
            tcx: tcx.into_iter().filter(|id| *id == program.id).collect(),
        }
    }
}

/// Somebody's TCX program: it lets everything pass.
struct Program {
    id: u32,
    _link: OwnedFd,
}

impl Program {
    /// Attaches it to the ingress of a netdev of this thread's namespace.
    fn attach(netdev: &str) -> Program {
        // r0 = TCX_NEXT; exit (linux/bpf.h, linux/filter.h).
        let instruction = |code, imm| libbpf_sys::bpf_insn { code, imm, ..Default::default() };
        let code = [instruction(0xb7, -1), instruction(0x95, 0)];
        let kind = libbpf_sys::BPF_PROG_TYPE_SCHED_CLS;
        let (name, licence) = (c"somebody", c"GPL");
        // SAFETY: all pointers live through the call, and the length is that of `code`.
        let fd = unsafe {
            libbpf_sys::bpf_prog_load(
                kind,
                name.as_ptr(),
                licence.as_ptr(),
                code.as_ptr(),
                code.len() as libbpf_sys::size_t,
                std::ptr::null_mut(),
            )
        };
        let program = owned(fd);
        let index = i32::try_from(nix::net::if_::if_nametoindex(netdev).unwrap()).unwrap();
        let hook = libbpf_sys::BPF_TCX_INGRESS;
        // SAFETY: no options.
        let link = unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), index, hook, std::ptr::null()) };
        let link = owned(link);
        Program { id: tcx_programs(netdev, hook)[0], _link: link }
    }
}

fn owned(fd: i32) -> OwnedFd {
    assert!(fd >= 0, "{}", std::io::Error::from_raw_os_error(-fd));
    // SAFETY: a new descriptor that nobody else has.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Filters on the netdev that will be tapped and on the observed port's, behind ours in priority.
fn add_filters(switch: &Switch) {
    for netdev in ["Ethernet24", "Ethernet0"] {
        switch.run_ok(&["tc", "qdisc", "add", "dev", netdev, "clsact"]);
        for (side, protocol, handle) in [("ingress", "ip", "0x11"), ("egress", "all", "0x12")] {
            let filter =
                ["tc", "filter", "add", "dev", netdev, side, "prio", "100", "handle", handle, "protocol", protocol];
            switch.run_ok(&[&filter[..], &["u32", "match", "u32", "0", "0", "classid", "1:1"]].concat());
        }
    }
}

fn assert_untouched(arguments: &'static [&'static str]) {
    let Some(switch) = Switch::with(&Options { arguments, ..Options::default() }) else { return };
    switch.redis(Db::Config).set("MIRROR_SESSION|theirs", &THEIRS);
    switch.await_session("theirs", Some("active"));
    add_filters(&switch);
    let program = in_network(&switch.lab, || Program::attach("Ethernet24"));
    let before = Theirs::look(&switch, &program);
    assert_eq!((before.bindings.len(), before.tcx.len()), (2, 1), "{before:?}");
    assert!(before.tc.len() > 6, "{before:?}");
    let leftovers = switch.leftovers();

    for round in ["one", "two"] {
        switch.run_job(round, "Ethernet0", &[("sample_rate", "1")]);
        assert_eq!(Theirs::look(&switch, &program), before, "while job {round} runs");
        let sent = switch.send("Ethernet0", Profile::Mixed, 500, 1);
        // Their own copies go where they went.
        let their_copies = switch.send("Ethernet8", Profile::Udp64, 100, 1).copies.delivered;
        switch.stop_job(round);
        assert_eq!((switch.results(round)["packets_total"].as_str(), their_copies), (&*sent.packets.to_string(), 100));
        wait_for("the row is deleted", DEADLINE, || switch.rows_left().is_empty().then_some(()));
        assert_eq!(Theirs::look(&switch, &program), before, "after job {round}");
        assert_eq!(switch.leftovers(), leftovers, "after job {round}");
    }
}

#[test]
fn a_users_session_filters_and_programs_are_untouched_by_taps_on_tcx() {
    assert_untouched(&["--attach", "tcx"]);
}

#[test]
fn a_users_session_filters_and_programs_are_untouched_by_taps_on_clsact() {
    assert_untouched(&["--attach", "clsact"]);
}

#[test]
fn a_users_filters_and_session_survive_a_killed_daemon_and_the_next_ones_sweep() {
    let options = Options { arguments: &["--attach", "clsact"], ..Options::default() };
    let Some(mut switch) = Switch::with(&options) else { return };
    switch.redis(Db::Config).set("MIRROR_SESSION|theirs", &THEIRS);
    add_filters(&switch);
    let program = in_network(&switch.lab, || Program::attach("Ethernet24"));
    wait_for("their session copies", DEADLINE, || (switch.bindings().len() == 2).then_some(()));
    let before = Theirs::look(&switch, &program);
    let leftovers = switch.leftovers();
    switch.run_job("killed", "Ethernet0", &[]);
    switch.kill9();
    assert!(
        tc_on_switch(&switch.lab).iter().any(|line| line.contains("telegen_")),
        "a clsact filter outlives its process"
    );
    switch.start_daemon();
    switch.assert_ended("killed", "failed", "daemon_restarted", DEADLINE);
    wait_for("only theirs is left", DEADLINE, || (switch.leftovers() == leftovers).then_some(()));
    assert_eq!(Theirs::look(&switch, &program), before);
}

#[test]
fn a_flushed_state_db_does_not_cost_a_session_over_ours_the_port_that_it_has() {
    let Some(switch) = Switch::start() else { return };
    switch.asic_db.excuse_kept("telegen_ours");
    switch.run_job("ours", "Ethernet0", &[]);
    let (mut config, mut state) = (switch.redis(Db::Config), switch.redis(Db::State));
    let over_ours = THEIRS.map(|(name, value)| (name, if name == "src_port" { "Ethernet0" } else { value }));
    config.set("MIRROR_SESSION|theirs", &over_ours);
    switch.assert_ended("ours", "failed", "mirror_conflict", DEADLINE);
    // orchagent keeps both sessions; nothing says so any more but ASIC_DB.
    for session in ["telegen_ours", "theirs"] {
        state.delete(&format!("MIRROR_SESSION_TABLE|{session}"));
    }
    wait_for("ours has been judged again", DEADLINE, || {
        switch.daemon().log().contains("mirror session telegen_ours stays until theirs is removed").then_some(())
    });
    assert_eq!(switch.bindings(), ["Ethernet0 rx is copied to port 5", "Ethernet0 tx is copied to port 5"]);
    assert!(config.exists("MIRROR_SESSION|telegen_ours"));
    config.delete("MIRROR_SESSION|theirs");
    switch.assert_clean();
}
