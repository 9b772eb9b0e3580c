//! Raw Ethernet frames in and out of one device: AF_PACKET (packet(7)).

#![expect(clippy::cast_possible_truncation, reason = "constants and sizes of the C interface, in the types it wants")]

use std::ffi::CString;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

/// Most frames that one [`PacketSocket::send`] call takes.
pub const MOST_PER_CALL: usize = 64;

/// What a socket receives. Sending is possible with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    /// Nothing.
    Nothing,
    /// Frames of one EtherType that arrive.
    EtherType(u16),
    /// Every frame that arrives or leaves.
    All,
}

/// A raw socket on one device of the namespace in which it was opened.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
}

/// A received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The frame's bytes; a VLAN tag that the kernel took out is put back.
    pub frame: Vec<u8>,
    /// Whether this host sent it through the device, instead of receiving it.
    pub outgoing: bool,
}

impl PacketSocket {
    /// Opens a socket on `device`.
    ///
    /// # Errors
    /// There is no such device in the calling thread's network namespace, or the caller is not root.
    pub fn open(device: &str, receive: Receive) -> io::Result<PacketSocket> {
        // SAFETY: socket(2) with constants; protocol 0 receives nothing until bind(2) says more.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us.
        let socket = PacketSocket { fd: unsafe { OwnedFd::from_raw_fd(fd) } };
        let protocol = match receive {
            Receive::Nothing => 0,
            Receive::EtherType(ethertype) => ethertype,
            Receive::All => libc::ETH_P_ALL as u16,
        };
        socket.enable(libc::PACKET_AUXDATA)?;
        socket.bind(device, protocol)?;
        Ok(socket)
    }

    fn enable(&self, option: libc::c_int) -> io::Result<()> {
        let on: libc::c_int = 1;
        // SAFETY: the option's value is an int that lives through the call.
        let result = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                option,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        check(result)
    }

    fn bind(&self, device: &str, protocol: u16) -> io::Result<()> {
        let name = CString::new(device)?;
        // SAFETY: a C string that lives through the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all zeros is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = index.cast_signed();
        // SAFETY: an address of the size that is passed with it.
        check(unsafe {
            libc::bind(self.fd.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
        })
    }

    /// How long [`PacketSocket::receive`] waits before it fails with `WouldBlock`.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        let (seconds, micros) = (patience.as_secs().cast_signed(), i64::from(patience.subsec_micros()));
        Ok(setsockopt(&self.fd, sockopt::ReceiveTimeout, &TimeVal::new(seconds, micros))?)
    }

    /// Bytes of frames (and the kernel's own overhead) that may wait for [`PacketSocket::receive`].
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn set_receive_buffer(&self, bytes: usize) -> io::Result<()> {
        Ok(setsockopt(&self.fd, sockopt::RcvBufForce, &bytes)?)
    }

    /// Sends frames from the first on, at most [`MOST_PER_CALL`], and says how many the device took: at least one, unless
    /// there was none or it is an error.
    ///
    /// # Errors
    /// The kernel's refusal of the first frame; `ENOBUFS` if a queue behind the device is full.
    pub fn send(&self, frames: &[&[u8]]) -> io::Result<usize> {
        let frames = &frames[..frames.len().min(MOST_PER_CALL)];
        // SAFETY: all zeros is a valid iovec and a valid mmsghdr.
        let (mut vectors, mut messages) =
            unsafe { (zeroed::<[libc::iovec; MOST_PER_CALL]>(), zeroed::<[libc::mmsghdr; MOST_PER_CALL]>()) };
        for ((frame, vector), message) in frames.iter().zip(&mut vectors).zip(&mut messages) {
            vector.iov_base = frame.as_ptr().cast_mut().cast();
            vector.iov_len = frame.len();
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: as many messages as are said, each with one vector over a borrowed frame that is only read.
        let sent =
            unsafe { libc::sendmmsg(self.fd.as_raw_fd(), messages.as_mut_ptr(), frames.len() as libc::c_uint, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    /// `WouldBlock` if none came in time; the kernel's refusal.
    pub fn receive(&self) -> io::Result<Received> {
        let mut frame = vec![0; 1 << 16];
        let mut control = [0_u64; 8];
        // SAFETY: all zeros is a valid sockaddr_ll and a valid msghdr.
        let (mut address, mut message) = unsafe { (zeroed::<libc::sockaddr_ll>(), zeroed::<libc::msghdr>()) };
        let mut vector = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
        message.msg_name = (&raw mut address).cast();
        message.msg_namelen = size_of_val(&address) as libc::socklen_t;
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: every pointer is to a local of the stated size that outlives the call.
        let length = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, 0) };
        frame.truncate(usize::try_from(length).map_err(|_| io::Error::last_os_error())?);
        if let Some(tag) = vlan_tag(&message) {
            frame.splice(12..12, tag);
        }
        Ok(Received { frame, outgoing: address.sll_pkttype == libc::PACKET_OUTGOING })
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The VLAN tag that the kernel took out of the frame, as its four bytes (`struct tpacket_auxdata`).
fn vlan_tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: the kernel has filled the message's control buffer; the macros walk it by its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: the macros return null or a whole header inside of the control buffer.
    while let Some(control) = unsafe { header.as_ref() } {
        if (control.cmsg_level, control.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
            // SAFETY: a control message of this type carries a tpacket_auxdata, perhaps unaligned.
            let data = unsafe { libc::CMSG_DATA(control).cast::<libc::tpacket_auxdata>().read_unaligned() };
            if data.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
                let [(p1, p2), (t1, t2)] =
                    [data.tp_vlan_tpid, data.tp_vlan_tci].map(|half| (half.to_be_bytes()[0], half.to_be_bytes()[1]));
                return Some([p1, p2, t1, t2]);
            }
        }
        // SAFETY: as for the first header.
        header = unsafe { libc::CMSG_NXTHDR(message, control) };
    }
    None
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
