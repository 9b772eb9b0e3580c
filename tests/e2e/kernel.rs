//! What is in the kernel: BPF objects by id, and what hangs on the netdevs of a network namespace.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::{FromRawFd, OwnedFd};
use std::thread;

use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};
use telegen_sonic::lab::handle::Lab;
use telegen_sonic::lab::namespaces::enter_network;

/// BPF objects by their ids, which the kernel does not give a second time while a test runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BpfObjects {
    pub programs: BTreeSet<u32>,
    pub maps: BTreeSet<u32>,
    pub links: BTreeSet<u32>,
}

impl BpfObjects {
    /// What a process holds by descriptors, and the maps of the programs among them.
    pub fn of_process(pid: u32) -> BpfObjects {
        let mut objects = BpfObjects::default();
        // The process may have ended.
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten() {
            let info = entry.and_then(|entry| fs::read_to_string(entry.path())).unwrap_or_default();
            let id = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok());
            if let Some(link) = id("link_id:") {
                // A link's fdinfo also names its program.
                objects.links.insert(link);
            } else if let Some(program) = id("prog_id:") {
                objects.programs.insert(program);
            } else if let Some(map) = id("map_id:") {
                objects.maps.insert(map);
            }
        }
        objects.maps.extend(maps_of(&objects.programs));
        objects
    }

    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.maps.is_empty() && self.links.is_empty()
    }

    pub fn extend(&mut self, more: BpfObjects) {
        self.programs.extend(more.programs);
        self.maps.extend(more.maps);
        self.links.extend(more.links);
    }

    /// Those that still exist, in words.
    pub fn alive(&self) -> Vec<String> {
        type Open = unsafe extern "C" fn(u32) -> i32;
        let exists = |open: Open, id: u32| {
            // SAFETY: takes an integer, returns a new descriptor or a negative error.
            let fd = unsafe { open(id) };
            // SAFETY: a new descriptor that nobody else has; dropped at once.
            fd >= 0 && drop_fd(unsafe { OwnedFd::from_raw_fd(fd) })
        };
        let alive = |kind: &str, open: Open, ids: &BTreeSet<u32>| -> Vec<String> {
            ids.iter().filter(|id| exists(open, **id)).map(|id| format!("BPF {kind} {id}")).collect()
        };
        let mut all = alive("program", libbpf_sys::bpf_prog_get_fd_by_id, &self.programs);
        all.extend(alive("map", libbpf_sys::bpf_map_get_fd_by_id, &self.maps));
        all.extend(alive("link", libbpf_sys::bpf_link_get_fd_by_id, &self.links));
        all
    }
}

fn drop_fd(fd: OwnedFd) -> bool {
    drop(fd);
    true
}

fn maps_of(programs: &BTreeSet<u32>) -> BTreeSet<u32> {
    if programs.is_empty() {
        return BTreeSet::new();
    }
    let options = ProgInfoQueryOptions::default().include_map_ids(true);
    let infos = ProgInfoIter::with_query_opts(options).filter(|info| programs.contains(&info.id));
    infos.flat_map(|info| info.map_ids).collect()
}

/// Runs `work` on a thread in the switch's network namespace.
pub fn in_network<T: Send>(lab: &Lab, work: impl FnOnce() -> T + Send) -> T {
    let namespace: OwnedFd = File::open(format!("/proc/{}/ns/net", lab.state().process.pid)).unwrap().into();
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter_network(&namespace).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// The ids of the TCX programs at a hook of a netdev of this thread's namespace, in their order.
pub fn tcx_programs(netdev: &str, hook: libbpf_sys::bpf_attach_type) -> Vec<u32> {
    const MOST: u32 = 16;
    let mut ids = [0_u32; MOST as usize];
    let index = i32::try_from(nix::net::if_::if_nametoindex(netdev).unwrap()).unwrap();
    let mut options = libbpf_sys::bpf_prog_query_opts {
        sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as libbpf_sys::size_t,
        prog_ids: ids.as_mut_ptr(),
        ..Default::default()
    };
    options.__bindgen_anon_1.count = MOST;
    // SAFETY: options and ids live through the call; their sizes are right.
    let result = unsafe { libbpf_sys::bpf_prog_query_opts(index, hook, &raw mut options) };
    assert_eq!(result, 0, "{netdev}: {}", std::io::Error::from_raw_os_error(-result));
    // SAFETY: the kernel fills count, the only member of its union that this query has.
    let count = unsafe { options.__bindgen_anon_1.count };
    ids[..count as usize].to_vec()
}

/// Every TCX program on a netdev of the switch, in words.
pub fn tcx_on_switch(lab: &Lab) -> Vec<String> {
    in_network(lab, || {
        let mut found = Vec::new();
        for netdev in &nix::net::if_::if_nameindex().unwrap() {
            let name = netdev.name().to_string_lossy();
            for (side, hook) in [("ingress", libbpf_sys::BPF_TCX_INGRESS), ("egress", libbpf_sys::BPF_TCX_EGRESS)] {
                let programs = tcx_programs(&name, hook);
                found.extend(programs.into_iter().map(|id| format!("TCX program {id} on {name} {side}")));
            }
        }
        found
    })
}

/// clsact qdiscs of the switch and the filters on them, as `tc` shows them.
pub fn tc_on_switch(lab: &Lab) -> Vec<String> {
    let tc = |words: &[&str]| {
        let output = lab.run_command(&[&["tc"], words].concat()).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let mut found = Vec::new();
    for line in tc(&["qdisc", "show"]).lines().filter(|line| line.starts_with("qdisc clsact")) {
        found.push(line.trim().to_owned());
        let netdev = line.split(' ').nth(4).unwrap();
        for side in ["ingress", "egress"] {
            let filters = tc(&["-d", "filter", "show", "dev", netdev, side]);
            found.extend(filters.lines().map(|filter| format!("{netdev} {side}: {}", filter.trim())));
        }
    }
    found
}
