//! What the kernel says of a netdev by its name. That there is none is an answer; that the kernel could not be asked is not.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::net::if_::if_nameindex;

/// The index of a netdev of the thread's network namespace; `None` if that has none of this name.
///
/// Not by the C library's `if_nametoindex`, which without a descriptor for the question says `ENOENT`.
///
/// # Errors
/// The kernel could not be asked, as by a process that has no descriptor left for the question.
pub fn index_of(netdev: &str) -> io::Result<Option<i32>> {
    // SAFETY: all-zero is a value of this struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // With a NUL behind it; no netdev has a longer name, or one with a NUL in it.
    if netdev.len() >= request.ifr_name.len() || netdev.contains('\0') {
        return Ok(None);
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(netdev.bytes()) {
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    // SAFETY: no pointers; the result is checked.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the request lives through the call and is what this ioctl reads and writes.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFINDEX, &raw mut request) } == 0 {
        // SAFETY: the kernel has filled this member.
        return Ok(Some(unsafe { request.ifr_ifru.ifru_ifindex }));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENODEV) { Ok(None) } else { Err(error) }
}

/// The names of all netdevs of the thread's network namespace, asked of the kernel: /sys may show another namespace's.
///
/// # Errors
/// The kernel could not be asked.
pub fn names() -> io::Result<BTreeSet<String>> {
    let all = if_nameindex()?;
    Ok(all.iter().map(|interface| interface.name().to_string_lossy().into_owned()).collect())
}

/// What became of the netdev that was called `netdev` and had this index, in words; `None` if it is still there.
pub(super) fn loss(netdev: &str, ifindex: i32) -> io::Result<Option<String>> {
    match index_of(netdev)? {
        Some(index) if index == ifindex => return Ok(None),
        Some(_) => return Ok(Some(format!("the network device {netdev} was removed, and another one has its name"))),
        None => {}
    }
    let all = if_nameindex()?;
    let renamed = all.iter().find(|interface| i32::try_from(interface.index()) == Ok(ifindex));
    Ok(Some(match renamed {
        Some(interface) => {
            format!("the network device {netdev} was renamed to {}", interface.name().to_string_lossy())
        }
        None => format!("the network device {netdev} was removed"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_netdev_that_is_not_there_is_no_error() {
        assert_eq!(index_of("lo").unwrap(), Some(1));
        for none in ["telegen-none", "", "longer than any can be", "lo\0"] {
            assert_eq!(index_of(none).unwrap(), None, "{none:?}");
        }
    }
}
