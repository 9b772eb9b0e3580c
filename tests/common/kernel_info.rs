//! What the kernel says of loaded programs.

// Each target uses a part of it, and helpers panic as tests do.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libbpf_sys::bpf_prog_info;

fn ask(program: BorrowedFd<'_>, info: &mut bpf_prog_info) {
    let mut len = u32::try_from(size_of_val(info)).unwrap();
    // SAFETY: info is a bpf_prog_info, its length is right, and its map_ids is as long as nr_map_ids says.
    let result = unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), info, &raw mut len) };
    assert_eq!(result, 0);
}

/// How many instructions the verifier went through.
pub fn verified_instructions(program: BorrowedFd<'_>) -> u32 {
    let mut info = bpf_prog_info::default();
    ask(program, &mut info);
    info.verified_insns
}

/// Of all maps that the program uses, as the kernel charges them.
pub fn maps_bytes(program: BorrowedFd<'_>) -> u64 {
    let mut ids = [0_u32; 16];
    let mut info = bpf_prog_info {
        nr_map_ids: u32::try_from(ids.len()).unwrap(),
        map_ids: ids.as_mut_ptr() as u64,
        ..Default::default()
    };
    ask(program, &mut info);
    ids[..info.nr_map_ids as usize].iter().map(|id| map_bytes(*id)).sum()
}

fn map_bytes(id: u32) -> u64 {
    // SAFETY: no pointers.
    let fd = unsafe { libbpf_sys::bpf_map_get_fd_by_id(id) };
    assert!(fd >= 0, "map {id}");
    // SAFETY: a new descriptor.
    let map = unsafe { OwnedFd::from_raw_fd(fd) };
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd())).unwrap();
    let memlock = info.lines().find_map(|line| line.strip_prefix("memlock:")).unwrap();
    memlock.trim().parse().unwrap()
}
