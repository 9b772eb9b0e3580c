//! How a tap comes and goes: what it leaves on a netdev, and that it leaves other people's filters alone. Needs root, `ip` and `tc`.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/packets.rs"]
mod packets;
#[macro_use]
#[path = "common/veth.rs"]
mod veth;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use packets::ethernet;
use telegen_sonic::io::tap::{Attach, Hooks, Swept, Tap, TapError, TapPlan};
use telegen_sonic::model::schema::Reason;
use veth::{DEADLINE, EXPERIMENTAL, Wire, close_after, host, lacks_tcx, open, plan, run, with_veth};

fn filters_on_tap() -> String {
    ["qdisc show dev tap", "filter show dev tap ingress", "filter show dev tap egress"]
        .map(|show| run(&format!("tc {show}")))
        .join("--\n")
}

fn other_peoples_filters_are_bit_identical_before_and_after(attach: Attach) {
    with_veth(move || {
        run("tc qdisc add dev tap clsact");
        run("tc filter add dev tap ingress prio 5 protocol ip u32 match u32 0 0 classid 1:1");
        run("tc filter add dev tap egress prio 9 handle 0x10 protocol all u32 match u32 0 0 classid 1:2");
        let before = filters_on_tap();
        // A filter of another kind at our priority on egress: there we may fail, but must not harm.
        let (tap, dir) = open(&plan(Hooks::Ingress), attach);
        assert_eq!(filters_on_tap() == before, attach == Attach::Tcx);
        tap.close().unwrap();
        assert_eq!(filters_on_tap(), before);
        let refused = Tap::open(&plan(Hooks::Both), &host(Attach::Clsact, dir.path())).unwrap_err();
        assert_eq!(refused.reason(), Reason::AttachFailed, "{refused}");
        assert_eq!(filters_on_tap(), before);
        assert_eq!(host(attach, dir.path()).sweep().unwrap(), Swept::default());
        assert_eq!(filters_on_tap(), before);
    });
}

by_each_attach!(other_peoples_filters_are_bit_identical_before_and_after);

#[test]
fn a_qdisc_that_we_made_goes_with_the_last_filter_on_it_whoevers_it_is() {
    with_veth(|| {
        let before = filters_on_tap();
        let dir = tempfile::tempdir().unwrap();
        let host = host(Attach::Clsact, dir.path());
        let first = Tap::open(&plan(Hooks::Both), &host).unwrap();
        let second = Tap::open(&plan(Hooks::Ingress), &host).unwrap();
        assert_eq!(first.attached_by(), "clsact");
        Wire::on("wire", 0).send(&ethernet(&[], EXPERIMENTAL, &[]));
        assert_eq!(close_after(first, 1).total.packets, 1);
        assert_ne!(filters_on_tap(), before);
        run("tc filter add dev tap ingress prio 5 protocol ip u32 match u32 0 0 classid 1:1");
        let foreign = || run("tc filter show dev tap ingress prio 5");
        let foreign_before = foreign();
        assert_eq!(close_after(second, 1).total.packets, 1);
        // Somebody uses it now.
        assert_eq!((foreign(), filters_on_tap().contains("telegen_")), (foreign_before, false));
        run("tc filter del dev tap ingress prio 5");
        assert_eq!(host.sweep().unwrap(), Swept { filters: 0, qdiscs: 1 });
        assert_eq!(filters_on_tap(), before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // And without anybody else, or by a mere drop, at once.
        drop(Tap::open(&plan(Hooks::Both), &host).unwrap());
        assert_eq!(filters_on_tap(), before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    });
}

/// `scripts/test_kernels.sh` reads what this prints.
#[test]
fn a_tap_that_may_choose_takes_tcx_where_the_kernel_has_it_and_clsact_elsewhere() {
    let by = with_veth(|| {
        let before = filters_on_tap();
        let (tap, _dir) = open(&plan(Hooks::Both), Attach::Auto);
        let by = tap.attached_by();
        assert_eq!(
            (veth::tcx_programs("tap").unwrap_or(0), filters_on_tap() != before),
            if by == "tcx" { (1, false) } else { (0, true) }
        );
        tap.close().unwrap();
        assert_eq!((veth::tcx_programs("tap").unwrap_or(0), filters_on_tap()), (0, before));
        by
    });
    println!("ATTACHED BY: {by}");
    assert_eq!(by, if veth::has_tcx() { "tcx" } else { "clsact" });
}

#[test]
fn a_tap_on_a_netdev_that_is_not_there_says_so() {
    with_veth(|| {
        let dir = tempfile::tempdir().unwrap();
        let missing = TapPlan { netdev: "Ethernet999".to_owned(), ..plan(Hooks::Ingress) };
        let error = Tap::open(&missing, &host(Attach::Auto, dir.path())).unwrap_err();
        assert!(matches!(&error, TapError::NoNetdev { netdev } if netdev == "Ethernet999"));
        assert_eq!(error.reason(), Reason::TapMissing);
    });
}

fn a_tap_survives_its_netdev_and_keeps_what_it_counted(attach: Attach) {
    let (sample, left) = with_veth(move || {
        let (tap, dir) = open(&plan(Hooks::Both), attach);
        let far = Wire::on("tap", EXPERIMENTAL);
        Wire::on("wire", 0).send(&ethernet(&[], EXPERIMENTAL, &[]));
        assert_eq!(far.received(1), 1);
        run("ip link del tap");
        (tap.close().unwrap(), fs::read_dir(dir.path()).unwrap().count())
    });
    assert_eq!((sample.total.packets, left), (1, 0), "{attach:?}");
}

by_each_attach!(a_tap_survives_its_netdev_and_keeps_what_it_counted);

/// How many TCX programs hang on the ingress of `tap`.
fn tcx_programs() -> u32 {
    veth::tcx_programs("tap").unwrap()
}

const CHILD: &str = "TELEGEN_TEST_TAP_CHILD";

/// Not a test: what [`hold_and_kill`] runs as a child.
#[test]
fn child_that_holds_a_tap() {
    let Ok(state_dir) = std::env::var(CHILD) else { return };
    let attach = if state_dir.ends_with("clsact") { Attach::Clsact } else { Attach::Tcx };
    let _tap = Tap::open(&plan(Hooks::Both), &host(attach, Path::new(&state_dir))).unwrap();
    println!("\nattached");
    loop {
        thread::park();
    }
}

/// Starts a process that holds a tap in this namespace, and kills it.
fn hold_and_kill(state_dir: &Path, look: impl FnOnce()) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_holds_a_tap", "--nocapture"])
        .env(CHILD, state_dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said =
        BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).any(|line| line == "attached");
    look();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said, "the child did not attach");
}

#[test]
fn a_killed_process_leaves_no_tcx_program() {
    if lacks_tcx("a_killed_process_leaves_no_tcx_program") {
        return;
    }
    with_veth(|| {
        let dir = tempfile::tempdir().unwrap();
        let before = filters_on_tap();
        hold_and_kill(&dir.path().join("tcx"), || assert_eq!(tcx_programs(), 1));
        let deadline = Instant::now() + DEADLINE;
        while tcx_programs() > 0 && Instant::now() < deadline {
            thread::yield_now();
        }
        assert_eq!((tcx_programs(), filters_on_tap()), (0, before));
    });
}

#[test]
fn a_killed_process_leaves_no_clsact_filter_that_is_not_swept() {
    with_veth(|| {
        let dir = tempfile::tempdir().unwrap();
        let before = filters_on_tap();
        let state_dir = dir.path().join("clsact");
        let host = host(Attach::Clsact, &state_dir);
        hold_and_kill(&state_dir, || ());
        assert!(filters_on_tap().contains("telegen_ingress"));
        assert_eq!(host.sweep().unwrap(), Swept { filters: 2, qdiscs: 1 });
        assert_eq!(filters_on_tap(), before);

        // The same where somebody else has the qdisc, and a filter on it.
        run("tc qdisc add dev tap clsact");
        run("tc filter add dev tap egress prio 5 protocol ip u32 match u32 0 0 classid 1:1");
        let foreign = filters_on_tap();
        hold_and_kill(&state_dir, || ());
        assert_eq!(host.sweep().unwrap(), Swept { filters: 2, qdiscs: 0 });
        assert_eq!(filters_on_tap(), foreign);
        assert_eq!(fs::read_dir(&state_dir).unwrap().count(), 0);
    });
}
