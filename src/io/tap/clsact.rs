//! Filters on the clsact qdisc, for kernels without TCX. Neither filter nor qdisc ends with the process, so both are made such
//! that they can be told from other people's: a filter by its priority, handle and program name, a qdisc by a note in
//! the state directory, written before the qdisc is made.
//!
//! The rule of the qdisc: it is removed if we made it and it has no filter left, whoever's.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::netdev;
use super::netlink::{self, TcFilter};
use super::plan::Hook;
use super::{Swept, TapError};

/// Early enough to see what other filters drop or redirect, and a number that nobody counts up to.
const PRIORITY: u32 = 9;

/// Our filters have this handle or one of the next; two jobs can tap one netdev.
const FIRST_HANDLE: u32 = 0x7e1e_9e00;
const HANDLES: u32 = 16;

/// What the names of our programs begin with; libbpf names a filter `program:[id]`.
const NAME_PREFIX: &str = "telegen_";

/// The names of our notes begin with this; the rest is the netdev's index.
const NOTE_PREFIX: &str = "clsact-";

/// One at a time in this process: between "no filter left" and the removal of a qdisc, none may come.
static QDISCS: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    QDISCS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A filter of ours. Dropping it removes it, and the qdisc by the rule.
#[derive(Debug)]
pub(super) struct ClsactFilter {
    place: Place,
    /// What [`ClsactFilter::drop`] has to remove; `None` when that is done.
    filter: Option<Identity>,
}

#[derive(Debug)]
struct Place {
    netdev: String,
    ifindex: i32,
    hook: Hook,
    state_dir: PathBuf,
}

#[derive(Clone, Copy, Debug)]
struct Identity {
    handle: u32,
    program: u32,
}

impl ClsactFilter {
    pub(super) fn new(
        program: BorrowedFd<'_>,
        hook: Hook,
        netdev: &str,
        ifindex: i32,
        state_dir: &Path,
    ) -> Result<ClsactFilter, TapError> {
        let _alone = alone();
        let place = Place { netdev: netdev.to_owned(), ifindex, hook, state_dir: state_dir.to_owned() };
        place.make_qdisc()?;
        match place.add_filter(program) {
            Ok(filter) => Ok(ClsactFilter { place, filter: Some(filter) }),
            Err(error) => {
                place.note().release()?;
                Err(error)
            }
        }
    }

    pub(super) fn detach(mut self) -> Result<(), TapError> {
        self.remove()
    }

    /// What became of the filter, in words; `None` if it is there with our program.
    pub(super) fn loss(&self) -> Result<Option<String>, TapError> {
        let Some(filter) = self.filter else { return Ok(None) };
        let Place { netdev, ifindex, hook, .. } = &self.place;
        let found = list(*ifindex, *hook, Some(PRIORITY))?;
        let what = match found.iter().find(|found| found.priority == PRIORITY && found.handle == filter.handle) {
            Some(found) if found.bpf_id == Some(filter.program) => return Ok(None),
            Some(_) => "replaced",
            // Not before the filter: who removes a qdisc removes its filters.
            None if !has_qdisc(*ifindex)? => {
                // One that comes there now is somebody else's.
                let _alone = alone();
                self.place.note().release()?;
                return Ok(Some(format!("the clsact qdisc of {netdev}, with the filter of this job, was removed")));
            }
            None => "removed",
        };
        Ok(Some(format!("the tc filter of this job on {netdev} ({hook}) was {what}")))
    }

    fn remove(&mut self) -> Result<(), TapError> {
        let Some(filter) = self.filter.take() else { return Ok(()) };
        let _alone = alone();
        self.place.remove_filter(filter)?;
        self.place.note().release().map(drop)
    }
}

impl Drop for ClsactFilter {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(%error, netdev = self.place.netdev, "a tap's filter may be left behind");
        }
    }
}

impl Place {
    fn note(&self) -> Note {
        Note { path: self.state_dir.join(format!("{NOTE_PREFIX}{}", self.ifindex)), ifindex: self.ifindex }
    }

    fn error(&self, source: io::Error) -> TapError {
        TapError::Attach { netdev: self.netdev.clone(), hook: self.hook, by: "clsact", source }
    }

    /// Makes the qdisc if there is none. An `ingress` qdisc will do for ingress.
    fn make_qdisc(&self) -> Result<(), TapError> {
        if has_qdisc(self.ifindex)? {
            return Ok(());
        }
        self.note().write(&self.netdev)?;
        match qdisc(self.ifindex, libbpf_sys::bpf_tc_hook_create) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.note().remove()?;
                // Somebody else was faster: then it is theirs.
                if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(self.error(error)) }
            }
        }
    }

    fn add_filter(&self, program: BorrowedFd<'_>) -> Result<Identity, TapError> {
        let taken = list(self.ifindex, self.hook, Some(PRIORITY))?;
        let is_free =
            |handle: &u32| !taken.iter().any(|filter| filter.handle == *handle && filter.priority == PRIORITY);
        let handle = (FIRST_HANDLE..FIRST_HANDLE + HANDLES).find(is_free);
        let handle = handle.ok_or_else(|| self.error(io::ErrorKind::AddrInUse.into()))?;
        let mut options = libbpf_sys::bpf_tc_opts {
            sz: size_of::<libbpf_sys::bpf_tc_opts>() as libbpf_sys::size_t,
            prog_fd: program.as_raw_fd(),
            handle,
            priority: PRIORITY,
            ..Default::default()
        };
        let hook = tc_hook(self.ifindex, attach_point(self.hook));
        // SAFETY: both structs live through the call, and their sz is right.
        let result = unsafe { libbpf_sys::bpf_tc_attach(&raw const hook, &raw mut options) };
        checked(result).map_err(|error| self.error(error))?;
        Ok(Identity { handle, program: options.prog_id })
    }

    /// Removes the filter if it is still there and still ours.
    fn remove_filter(&self, filter: Identity) -> Result<(), TapError> {
        let ours = |found: &TcFilter| {
            found.priority == PRIORITY && found.handle == filter.handle && found.bpf_id == Some(filter.program)
        };
        let is_there =
            || -> Result<bool, TapError> { Ok(list(self.ifindex, self.hook, Some(PRIORITY))?.iter().any(ours)) };
        if !is_there()? {
            return Ok(());
        }
        match delete(self.ifindex, self.hook, filter.handle) {
            // Somebody was quicker, or the netdev went in between: then it is gone all the same.
            Err(_) if !is_there()? => Ok(()),
            result => result.map_err(|source| TapError::Detach { netdev: self.netdev.clone(), source }),
        }
    }
}

/// Removes what an earlier process left: our filters, then the qdiscs by the rule.
pub(super) fn sweep(state_dir: &Path) -> Result<Swept, TapError> {
    let _alone = alone();
    let mut swept = Swept::default();
    let qdiscs = netlink::clsact_qdiscs().map_err(|source| TapError::Netlink { what: "list qdiscs", source })?;
    for qdisc in qdiscs {
        for hook in [Hook::Ingress, Hook::Egress] {
            for filter in list(qdisc.ifindex, hook, Some(PRIORITY))?.iter().filter(|filter| is_ours(filter)) {
                delete(qdisc.ifindex, hook, filter.handle)
                    .map_err(|source| TapError::Netlink { what: "remove a filter", source })?;
                swept.filters += 1;
            }
        }
    }
    for note in Note::all(state_dir)? {
        swept.qdiscs += usize::from(note.release()?);
    }
    Ok(swept)
}

fn is_ours(filter: &TcFilter) -> bool {
    filter.priority == PRIORITY
        && (FIRST_HANDLE..FIRST_HANDLE + HANDLES).contains(&filter.handle)
        && filter.bpf_name.as_ref().is_some_and(|name| name.starts_with(NAME_PREFIX))
}

/// The note that we made a netdev's qdisc. It holds the netdev's name, so that a later netdev with its index is not taken for it.
struct Note {
    path: PathBuf,
    ifindex: i32,
}

impl Note {
    fn all(state_dir: &Path) -> Result<Vec<Note>, TapError> {
        let failed = |source| TapError::Journal { path: state_dir.to_owned(), source };
        let entries = match fs::read_dir(state_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut notes = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let index = name.and_then(|name| name.strip_prefix(NOTE_PREFIX)?.parse().ok());
            notes.extend(index.map(|ifindex| Note { path, ifindex }));
        }
        Ok(notes)
    }

    fn failed(&self, source: io::Error) -> TapError {
        TapError::Journal { path: self.path.clone(), source }
    }

    fn write(&self, netdev: &str) -> Result<(), TapError> {
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(dir).and_then(|()| fs::write(&self.path, netdev)).map_err(|error| self.failed(error))
    }

    fn remove(&self) -> Result<(), TapError> {
        fs::remove_file(&self.path).map_err(|error| self.failed(error))
    }

    /// Applies the rule of the qdisc; whether one was removed.
    fn release(&self) -> Result<bool, TapError> {
        let netdev = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            netdev => netdev.map_err(|error| self.failed(error))?,
        };
        let index = netdev::index_of(&netdev).map_err(|source| TapError::Netdev { netdev, source })?;
        if index != Some(self.ifindex) || !has_qdisc(self.ifindex)? {
            return self.remove().map(|()| false);
        }
        if !list(self.ifindex, Hook::Ingress, None)?.is_empty() || !list(self.ifindex, Hook::Egress, None)?.is_empty() {
            return Ok(false);
        }
        if let Err(source) = qdisc(self.ifindex, libbpf_sys::bpf_tc_hook_destroy)
            // As with a filter, it may be gone all the same.
            && has_qdisc(self.ifindex)?
        {
            return Err(TapError::Netlink { what: "remove a qdisc", source });
        }
        self.remove().map(|()| true)
    }
}

/// The filters of one priority, or all.
fn list(ifindex: i32, hook: Hook, priority: Option<u32>) -> Result<Vec<TcFilter>, TapError> {
    netlink::filters(ifindex, hook, priority).map_err(|source| TapError::Netlink { what: "list filters", source })
}

fn has_qdisc(ifindex: i32) -> Result<bool, TapError> {
    let qdiscs = netlink::clsact_qdiscs().map_err(|source| TapError::Netlink { what: "list qdiscs", source })?;
    Ok(qdiscs.iter().any(|qdisc| qdisc.ifindex == ifindex))
}

fn delete(ifindex: i32, hook: Hook, handle: u32) -> io::Result<()> {
    let options = libbpf_sys::bpf_tc_opts {
        sz: size_of::<libbpf_sys::bpf_tc_opts>() as libbpf_sys::size_t,
        handle,
        priority: PRIORITY,
        ..Default::default()
    };
    let hook = tc_hook(ifindex, attach_point(hook));
    // SAFETY: both structs live through the call, and their sz is right.
    checked(unsafe { libbpf_sys::bpf_tc_detach(&raw const hook, &raw const options) })
}

/// Makes or removes the whole qdisc, which both sides share.
fn qdisc(
    ifindex: i32,
    call: unsafe extern "C" fn(*mut libbpf_sys::bpf_tc_hook) -> std::os::raw::c_int,
) -> io::Result<()> {
    let mut hook = tc_hook(ifindex, libbpf_sys::BPF_TC_INGRESS | libbpf_sys::BPF_TC_EGRESS);
    // SAFETY: the struct lives through the call, and its sz is right.
    checked(unsafe { call(&raw mut hook) })
}

fn tc_hook(ifindex: i32, attach_point: libbpf_sys::bpf_tc_attach_point) -> libbpf_sys::bpf_tc_hook {
    libbpf_sys::bpf_tc_hook {
        sz: size_of::<libbpf_sys::bpf_tc_hook>() as libbpf_sys::size_t,
        ifindex,
        attach_point,
        ..Default::default()
    }
}

fn attach_point(hook: Hook) -> libbpf_sys::bpf_tc_attach_point {
    match hook {
        Hook::Ingress => libbpf_sys::BPF_TC_INGRESS,
        Hook::Egress => libbpf_sys::BPF_TC_EGRESS,
    }
}

fn checked(result: std::os::raw::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}
