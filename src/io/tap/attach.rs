//! Hangs a program on a hook and takes it off again.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::clsact::ClsactFilter;
use super::netdev;
use super::plan::Hook;
use super::program::Program;
use super::{Attach, TapError, TapHost};

/// A program on a hook; dropping it takes the program off.
#[derive(Debug)]
pub(super) enum Attached {
    Tcx(TcxLink),
    Clsact(ClsactFilter),
}

impl Attached {
    pub(super) fn by(&self) -> &'static str {
        match self {
            Attached::Tcx(_) => "tcx",
            Attached::Clsact(_) => "clsact",
        }
    }

    /// As a drop, but says what went wrong.
    pub(super) fn detach(self) -> Result<(), TapError> {
        match self {
            Attached::Tcx(link) => link.detach(),
            Attached::Clsact(filter) => filter.detach(),
        }
    }

    /// What became of the program's place on the hook, in words; `None` if the program hangs there still.
    pub(super) fn loss(&self) -> Result<Option<String>, TapError> {
        match self {
            Attached::Tcx(link) => link.loss(),
            Attached::Clsact(filter) => filter.loss(),
        }
    }
}

/// The index of a netdev in the thread's network namespace.
pub(super) fn ifindex(netdev: &str) -> Result<i32, TapError> {
    match netdev::index_of(netdev) {
        Ok(Some(index)) => Ok(index),
        Ok(None) => Err(TapError::NoNetdev { netdev: netdev.to_owned() }),
        Err(source) => Err(TapError::Netdev { netdev: netdev.to_owned(), source }),
    }
}

/// Attaches the program for this hook.
pub(super) fn attach(
    program: &Program,
    hook: Hook,
    netdev: &str,
    ifindex: i32,
    host: &TapHost,
) -> Result<Attached, TapError> {
    let failed = |by, source| TapError::Attach { netdev: netdev.to_owned(), hook, by, source };
    let Some(fd) = program.fd(hook) else {
        return Err(failed("any means", io::Error::from(io::ErrorKind::NotFound)));
    };
    let by_tcx = || TcxLink::new(fd, hook, netdev, ifindex).map(Attached::Tcx);
    let by_clsact = || ClsactFilter::new(fd, hook, netdev, ifindex, &host.state_dir).map(Attached::Clsact);
    match host.attach {
        Attach::Tcx => by_tcx().map_err(|source| failed("TCX", source)),
        Attach::Clsact => by_clsact(),
        Attach::Auto => match by_tcx() {
            Err(source) if source.raw_os_error() == Some(libc::EINVAL) && lacks_tcx(hook, ifindex) => by_clsact(),
            other => other.map_err(|source| failed("TCX", source)),
        },
    }
}

/// Whether the kernel does not know the attach type: then it does not know it in a question, either, which can be wrong in no other way.
fn lacks_tcx(hook: Hook, ifindex: i32) -> bool {
    let mut options = libbpf_sys::bpf_prog_query_opts {
        sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    // SAFETY: options lives through the call, and its sz is right.
    let result = unsafe { libbpf_sys::bpf_prog_query_opts(ifindex, attach_type(hook), &raw mut options) };
    result == -libc::EINVAL
}

fn attach_type(hook: Hook) -> libbpf_sys::bpf_attach_type {
    match hook {
        Hook::Ingress => libbpf_sys::BPF_TCX_INGRESS,
        Hook::Egress => libbpf_sys::BPF_TCX_EGRESS,
    }
}

/// Returns when every CPU has left the programs that it ran when this was called. Deleting a clsact filter does not wait for that.
///
/// `MEMBARRIER_CMD_GLOBAL` is the kernel's `synchronize_rcu()`, and tc programs run inside of RCU read sections.
pub(super) fn wait_for_running_programs() {
    // SAFETY: no pointers; the kernel checks the rest.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        let error = io::Error::last_os_error();
        tracing::warn!(%error, "membarrier: the last packet on another CPU may be missing in the last sample");
    }
}

/// A TCX link: the kernel takes the program off when its last descriptor is closed, also by a SIGKILL.
#[derive(Debug)]
pub(super) struct TcxLink {
    link: OwnedFd,
    hook: Hook,
    netdev: String,
    /// Whoever may use the link can put another program into it.
    program: u32,
}

impl TcxLink {
    /// In front of all other programs: whatever they do with a packet, it is counted first.
    fn new(program: BorrowedFd<'_>, hook: Hook, netdev: &str, ifindex: i32) -> io::Result<TcxLink> {
        let options = libbpf_sys::bpf_link_create_opts {
            sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
            flags: libbpf_sys::BPF_F_BEFORE,
            ..Default::default()
        };
        // SAFETY: options lives through the call, and its sz is right.
        let fd =
            unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), ifindex, attach_type(hook), &raw const options) };
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(-fd));
        }
        // SAFETY: a new descriptor that nobody else has.
        let link = unsafe { OwnedFd::from_raw_fd(fd) };
        let program = info(&link)?.prog_id;
        Ok(TcxLink { link, hook, netdev: netdev.to_owned(), program })
    }

    fn loss(&self) -> Result<Option<String>, TapError> {
        let info = info(&self.link).map_err(|source| TapError::Link { netdev: self.netdev.clone(), source })?;
        // SAFETY: the link was made as a TCX link, and no link changes its type.
        let ifindex = unsafe { info.__bindgen_anon_1.tcx.ifindex };
        let what = match (ifindex, info.prog_id) {
            (0, _) => "was detached",
            (_, program) if program != self.program => "was given another program",
            (_, _) => return Ok(None),
        };
        Ok(Some(format!("the TCX link of this job on {} ({}) {what}", self.netdev, self.hook)))
    }

    /// Detaches now and waits for RCU; closing the descriptor may leave it to a work queue.
    fn detach(self) -> Result<(), TapError> {
        // SAFETY: the descriptor is open as long as self lives.
        let result = unsafe { libbpf_sys::bpf_link_detach(self.link.as_raw_fd()) };
        if result < 0 {
            return Err(TapError::Detach { netdev: self.netdev, source: io::Error::from_raw_os_error(-result) });
        }
        Ok(())
    }
}

/// What the kernel says of a link; a detached one has no netdev (index 0).
fn info(link: &OwnedFd) -> io::Result<libbpf_sys::bpf_link_info> {
    let mut info = libbpf_sys::bpf_link_info::default();
    #[allow(clippy::cast_possible_truncation)] // some hundred bytes
    let mut length = size_of_val(&info) as u32;
    // SAFETY: info lives through the call and is as long as said.
    let result = unsafe { libbpf_sys::bpf_link_get_info_by_fd(link.as_raw_fd(), &raw mut info, &raw mut length) };
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(info) }
}
