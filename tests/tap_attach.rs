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
use telegen_sonic::io::tap::{Attach, Hooks, Swept, Tap, TapError, TapPlan, netdev};
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

/// What a running tap says of itself after each of these commands, the first of which is none.
fn losses(attach: Attach, commands: &'static [&'static str]) -> Vec<Option<String>> {
    with_veth(move || {
        let (tap, _dir) = open(&plan(Hooks::Both), attach);
        let mut said = vec![tap.loss().unwrap()];
        for command in commands {
            run(command);
            said.push(tap.loss().unwrap());
        }
        tap.close().unwrap();
        said
    })
}

#[allow(clippy::unnecessary_wraps)] // what a loss is
fn said(words: &str) -> Option<String> {
    Some(words.to_owned())
}

#[test]
fn a_clsact_filter_or_qdisc_that_somebody_removes_is_noticed_and_named() {
    const REMOVED: &str = "tc filter del dev tap ingress prio 9";
    let of_ours = said("the tc filter of this job on tap (ingress) was removed");
    assert_eq!(losses(Attach::Clsact, &[REMOVED]), [None, of_ours.clone()]);
    let egress = said("the tc filter of this job on tap (egress) was removed");
    assert_eq!(losses(Attach::Clsact, &["tc filter del dev tap egress"]), [None, egress]);
    let qdisc = said("the clsact qdisc of tap, with the filter of this job, was removed");
    assert_eq!(losses(Attach::Clsact, &["tc qdisc del dev tap clsact"]), [None, qdisc]);
    // The qdisc of somebody who makes it anew has no filter of ours.
    let anew: &[&str] = &["tc qdisc del dev tap clsact", "tc qdisc add dev tap clsact"];
    assert_eq!(losses(Attach::Clsact, anew)[2], of_ours);
}

#[test]
fn a_qdisc_that_somebody_made_after_ours_was_removed_is_left_to_them() {
    let (noticed, left) = with_veth(|| {
        let (tap, _dir) = open(&plan(Hooks::Ingress), Attach::Clsact);
        run("tc qdisc del dev tap clsact");
        let noticed = tap.loss().unwrap().is_some();
        run("tc qdisc add dev tap clsact");
        tap.close().unwrap();
        (noticed, filters_on_tap().contains("qdisc clsact"))
    });
    assert_eq!((noticed, left), (true, true));
}

#[test]
fn other_peoples_filters_that_come_and_go_are_no_loss() {
    let commands: &[&str] = &[
        "tc qdisc replace dev tap clsact",
        "tc filter add dev tap ingress prio 5 protocol ip u32 match u32 0 0 classid 1:1",
        "tc filter del dev tap ingress prio 5",
        "ip link set tap down",
        "ip link set tap up",
    ];
    assert_eq!(losses(Attach::Clsact, commands), vec![None; 6]);
}

#[test]
fn a_filter_that_was_replaced_by_another_program_is_noticed() {
    let said = with_veth(|| {
        let (tap, _dir) = open(&plan(Hooks::Ingress), Attach::Clsact);
        let handle = 0x7e1e_9e00;
        veth::replace_filter("tap", 9, handle);
        let said = tap.loss().unwrap();
        tap.close().unwrap();
        // Theirs now: closing the tap leaves it alone.
        (said, filters_on_tap().contains("7e1e9e00"))
    });
    assert_eq!(said, (self::said("the tc filter of this job on tap (ingress) was replaced"), true));
}

#[test]
fn a_tcx_link_that_somebody_detaches_is_noticed_and_named() {
    if lacks_tcx("a_tcx_link_that_somebody_detaches_is_noticed_and_named") {
        return;
    }
    let (before, after, left) = with_veth(|| {
        let (tap, _dir) = open(&plan(Hooks::Both), Attach::Tcx);
        let before = tap.loss().unwrap();
        veth::detach_tcx_links("tap", libbpf_sys::BPF_TCX_EGRESS);
        let after = tap.loss().unwrap();
        tap.close().unwrap();
        (before, after, tcx_programs())
    });
    let detached = said("the TCX link of this job on tap (egress) was detached");
    assert_eq!((before, after, left), (None, detached, 0));
}

fn a_netdev_that_goes_or_comes_again_under_its_name_is_noticed(attach: Attach) {
    let removed = said("the network device tap was removed");
    let another = said("the network device tap was removed, and another one has its name");
    let commands = &["ip link del tap", "ip link add wire mtu 9200 type veth peer name tap mtu 9200"];
    assert_eq!(losses(attach, commands), [None, removed, another]);
    let renamed = said("the network device tap was renamed to other");
    // Kernels before 6.2 rename no interface that is up.
    let commands = &["ip link set tap down", "ip link set tap name other"];
    assert_eq!(losses(attach, commands), [None, None, renamed]);
}

by_each_attach!(a_netdev_that_goes_or_comes_again_under_its_name_is_noticed);

/// The kernel gives an index a second time if it is asked for; the name and the index alone do not tell.
fn a_netdev_that_comes_again_with_its_name_and_index_is_noticed(attach: Attach) {
    let (before, after) = with_veth(move || {
        let (tap, _dir) = open(&plan(Hooks::Ingress), attach);
        let before = tap.loss().unwrap();
        let index = nix::net::if_::if_nametoindex("tap").unwrap();
        run("ip link del tap");
        run(&format!("ip link add tap index {index} type veth peer name wire"));
        let after = tap.loss().unwrap();
        tap.close().unwrap();
        (before, after)
    });
    let words = match attach {
        Attach::Clsact => "the clsact qdisc of tap, with the filter of this job, was removed",
        Attach::Tcx | Attach::Auto => "the TCX link of this job on tap (ingress) was detached",
    };
    assert_eq!((before, after), (None, said(words)));
}

by_each_attach!(a_netdev_that_comes_again_with_its_name_and_index_is_noticed);

/// Not a test: what [`a_process_without_a_descriptor_concludes_nothing`] runs as a child, whose descriptors it uses up.
#[test]
fn child_without_descriptors() {
    let Ok(by) = std::env::var(STARVED_CHILD) else { return };
    let attach = if by == "clsact" { Attach::Clsact } else { Attach::Tcx };
    let (tap, dir) = open(&plan(Hooks::Ingress), attach);
    let few = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: the limit lives through the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const few) }, 0);
    let mut held = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        held.push(file);
    }
    let starved = tap.loss();
    let listed = netdev::names();
    let opened = Tap::open(&plan(Hooks::Ingress), &host(attach, dir.path()));
    held.clear();
    let error = starved.unwrap_err();
    assert!(error.to_string().ends_with("Too many open files (os error 24)"), "{error}");
    assert_eq!(listed.unwrap_err().raw_os_error(), Some(libc::EMFILE));
    let refused = opened.unwrap_err();
    assert_ne!(refused.reason(), Reason::TapMissing, "{refused}");
    assert_eq!(tap.loss().unwrap(), None);
    tap.close().unwrap();
    println!("\nnothing concluded");
}

fn a_process_without_a_descriptor_concludes_nothing(attach: Attach) {
    let output = with_veth(move || {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "child_without_descriptors", "--nocapture"]);
        child.env(STARVED_CHILD, if attach == Attach::Clsact { "clsact" } else { "tcx" }).output().unwrap()
    });
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("nothing concluded"), "{said}{errors}");
}

by_each_attach!(a_process_without_a_descriptor_concludes_nothing);

/// How many TCX programs hang on the ingress of `tap`.
fn tcx_programs() -> u32 {
    veth::tcx_programs("tap").unwrap()
}

const CHILD: &str = "TELEGEN_TEST_TAP_CHILD";
const STARVED_CHILD: &str = "TELEGEN_TEST_STARVED_CHILD";

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
