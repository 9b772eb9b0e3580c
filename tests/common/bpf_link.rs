//! BPF links by their ids, as any other process with the right to can have them.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `BPF_LINK_DETACH`.
pub fn detach(id: u32) {
    // SAFETY: takes an integer, returns a new descriptor or a negative error.
    let fd = unsafe { libbpf_sys::bpf_link_get_fd_by_id(id) };
    assert!(fd >= 0, "link {id}: {}", std::io::Error::from_raw_os_error(-fd));
    // SAFETY: a new descriptor that nobody else has.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the descriptor is open.
    assert_eq!(unsafe { libbpf_sys::bpf_link_detach(link.as_raw_fd()) }, 0);
}
