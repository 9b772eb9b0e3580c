//! Frames at a pace, from a packet socket: live frames of one call cannot be paced, and each call waits for an RCU grace period.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::net::if_::if_nametoindex;

use crate::FLOWS;
use crate::frames;
use crate::random::Seeded;

/// How many different frames are sent, over and over.
const FRAMES: usize = 1 << 16;

/// How often a burst is sent: a millisecond's frames.
const BURSTS_PER_SECOND: usize = 1000;

/// Frames ready to be sent.
pub struct Paced {
    socket: OwnedFd,
    frames: Vec<Vec<u8>>,
    per_second: usize,
}

impl Paced {
    /// By a netdev of this thread's namespace.
    pub fn new(netdev: &str, per_second: usize) -> Paced {
        let kinds = frames::untagged_kinds();
        let mut random = Seeded::new(13);
        let frame = |flow: u32| {
            let (mut frame, at) = kinds[flow as usize % kinds.len()].clone();
            let at = usize::try_from(at).unwrap();
            frame[at..at + 4].copy_from_slice(&(10 << 24 | flow).to_be_bytes());
            frame
        };
        Paced { socket: socket(netdev), frames: (0..FRAMES).map(|_| frame(random.below(FLOWS))).collect(), per_second }
    }

    /// Sends so many of them.
    pub fn send(&self, count: usize) {
        let begin = Instant::now();
        let mut sent = 0;
        let mut frames = self.frames.iter().cycle();
        while sent < count {
            let burst = (self.per_second / BURSTS_PER_SECOND).min(count - sent);
            self.send_burst(&frames.by_ref().take(burst).collect::<Vec<_>>());
            sent += burst;
            let due =
                begin + Duration::from_secs(1) * u32::try_from(sent).unwrap() / u32::try_from(self.per_second).unwrap();
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }

    fn send_burst(&self, frames: &[&Vec<u8>]) {
        let vector =
            |frame: &&Vec<u8>| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
        let mut vectors: Vec<libc::iovec> = frames.iter().map(vector).collect();
        let message = |vector: &mut libc::iovec| {
            // SAFETY: all-zero is a value of this struct.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (vector, 1);
            message
        };
        let mut messages: Vec<libc::mmsghdr> = vectors.iter_mut().map(message).collect();
        let mut rest = &mut messages[..];
        while !rest.is_empty() {
            let count = u32::try_from(rest.len()).unwrap();
            // SAFETY: the messages point to frames that live through the call.
            let sent = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), rest.as_mut_ptr(), count, 0) };
            assert!(sent > 0, "{}", std::io::Error::last_os_error());
            rest = &mut rest[usize::try_from(sent).unwrap()..];
        }
    }
}

/// Receives nothing, and sends past all queueing disciplines.
fn socket(netdev: &str) -> OwnedFd {
    // SAFETY: no pointers; the result is checked.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: a new descriptor.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let on: libc::c_int = 1;
    // SAFETY: all-zero is a value of this struct.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
    address.sll_ifindex = i32::try_from(if_nametoindex(netdev).unwrap()).unwrap();
    let [on_len, address_len] = [size_of_val(&on), size_of_val(&address)].map(|len| u32::try_from(len).unwrap());
    // SAFETY: the values live through the calls, and their lengths are right.
    let results = unsafe {
        [
            libc::setsockopt(fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, (&raw const on).cast(), on_len),
            libc::bind(fd, (&raw const address).cast(), address_len),
        ]
    };
    assert_eq!(results, [0; 2], "{}", std::io::Error::last_os_error());
    socket
}
