//! A loaded program with its maps, attached to nothing.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, OpenMapMut};

use super::bpf::{ObserveSkelBuilder, types};
use super::inputs::{self, Random, monotonic_ns};
use super::mapped::{MappedArray, Plain};
use super::plan::{Circumstances, Hook, Switches, TapPlan};
use super::{Inputs, TapError, reader, tables};
use crate::model::sample::Sample;

// SAFETY: integers and arrays of them, without padding that matters; sizes are asserted below.
unsafe impl Plain for types::cpu {}
// SAFETY: as above.
unsafe impl Plain for types::flow_set {}

const _: () = assert!(size_of::<types::cpu>().is_multiple_of(64) && size_of::<types::flow_set>() == 320);

/// How many CPUs this machine can ever have: each has its own counters, also those that are offline today.
///
/// # Errors
/// The kernel's list cannot be read or understood.
pub fn possible_cpus() -> io::Result<NonZeroU32> {
    let list = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let highest = list.trim().rsplit([',', '-']).next().and_then(|cpu| cpu.parse::<u32>().ok());
    highest.and_then(|cpu| NonZeroU32::MIN.checked_add(cpu)).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the list of possible CPUs is {list:?}, a list of ranges is expected"),
        )
    })
}

/// The programs of one tap and what they count. Everything is freed when this is dropped and nothing is attached.
#[derive(Debug)]
pub struct Program {
    ingress: Option<OwnedFd>,
    egress: Option<OwnedFd>,
    cpus: MappedArray,
    flows: Option<MappedArray>,
    opened_ns: u64,
    /// The time, if it is not the kernel's.
    clock_ns: Option<AtomicU64>,
    scope: reader::Scope,
}

impl Program {
    /// Loads the programs for the plan's hooks, with the plan's knobs as constants.
    ///
    /// # Errors
    /// [`TapError::Load`], [`TapError::Map`] or [`TapError::Random`].
    pub fn load(plan: &TapPlan) -> Result<Program, TapError> {
        Self::load_with(plan, Switches::default())
    }

    /// As [`Program::load`], for tests and measurements.
    ///
    /// # Errors
    /// As [`Program::load`].
    pub fn load_with(plan: &TapPlan, switches: Switches) -> Result<Program, TapError> {
        let cpus = possible_cpus().map_err(|error| TapError::Load(error.into()))?;
        let hash_keys = Random::of(switches.fixed).hash_keys(switches)?;
        let opened_ns = switches.fixed.map_or_else(monotonic_ns, |Inputs { opened_ns, .. }| opened_ns);
        let config = plan.config(&Circumstances { opened_ns, hash_keys, switches });
        // The object holds its programs and maps only while this function runs; duplicates of their descriptors keep them
        // afterwards. So no tap borrows from storage that would have to be pinned or leaked.
        let mut storage = MaybeUninit::uninit();
        let mut open = ObserveSkelBuilder::default().open(&mut storage).map_err(TapError::Load)?;
        let rodata = open.maps.rodata_data.as_deref_mut().ok_or_else(|| missing(".rodata"))?;
        rodata.config = config;
        rodata.size_buckets = tables::size_buckets();
        rodata.service_slots = tables::Services::new().slots;
        let wants = |hook| plan.hooks.each().contains(&hook);
        let wrapped = plan.encapsulation.is_some();
        let slow = switches.layers_only;
        open.progs.telegen_ingress.set_autoload(wants(Hook::Ingress) && !wrapped && !slow);
        open.progs.telegen_copies.set_autoload(wants(Hook::Ingress) && wrapped);
        open.progs.telegen_layers.set_autoload(wants(Hook::Ingress) && slow && !wrapped);
        open.progs.telegen_egress.set_autoload(wants(Hook::Egress));
        let sets = flow_sets(plan, cpus);
        resize(&mut open.maps.telegen_cpus, cpus.get())?;
        match sets {
            Some(sets) => resize(&mut open.maps.telegen_flows, sets)?,
            None => open.maps.telegen_flows.set_autocreate(false).map_err(TapError::Load)?,
        }
        match sets.filter(|_| config.segments != 0) {
            Some(sets) => resize(&mut open.maps.telegen_segments, sets)?,
            None => open.maps.telegen_segments.set_autocreate(false).map_err(TapError::Load)?,
        }
        let loaded = open.load().map_err(TapError::Load)?;
        let mapped = |map: &dyn MapCore, name, elements: Mapper| {
            elements(map.as_fd()).map_err(|source| TapError::Map { map: name, source })
        };
        let cpu_array = mapped(&loaded.maps.telegen_cpus, "telegen_cpus", &|fd| {
            MappedArray::new::<types::cpu>(fd, cpus.get() as usize)
        })?;
        let flow_array = sets
            .map(|sets| {
                mapped(&loaded.maps.telegen_flows, "telegen_flows", &|fd| {
                    MappedArray::new::<types::flow_set>(fd, sets as usize)
                })
            })
            .transpose()?;
        inputs::prime(&cpu_array, plan, switches.fixed)?;
        let duplicate = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(|error| TapError::Load(error.into()));
        let at_ingress = match (wrapped, slow) {
            (true, _) => loaded.progs.telegen_copies.as_fd(),
            (false, true) => loaded.progs.telegen_layers.as_fd(),
            (false, false) => loaded.progs.telegen_ingress.as_fd(),
        };
        let ingress = wants(Hook::Ingress).then(|| duplicate(at_ingress)).transpose()?;
        let egress = wants(Hook::Egress).then(|| duplicate(loaded.progs.telegen_egress.as_fd())).transpose()?;
        let scope = reader::Scope { inner: plan.inner, segments: config.segments != 0, copies: wrapped };
        let clock_ns = switches.fixed.map(|Inputs { opened_ns, .. }| AtomicU64::new(opened_ns));
        Ok(Program { ingress, egress, cpus: cpu_array, flows: flow_array, opened_ns, clock_ns, scope })
    }

    /// The program for this hook; `None` if the plan has nothing to do there.
    #[must_use]
    pub fn fd(&self, hook: Hook) -> Option<BorrowedFd<'_>> {
        match hook {
            Hook::Ingress => self.ingress.as_ref(),
            Hook::Egress => self.egress.as_ref(),
        }
        .map(AsFd::as_fd)
    }

    /// The time of the packets that come next, for a program that was loaded with [`Switches::fixed`]; any other has
    /// the kernel's.
    pub fn set_clock(&self, now_ns: u64) {
        if let Some(clock) = &self.clock_ns {
            clock.store(now_ns, Ordering::Relaxed);
            for cpu in 0..self.cpus.len::<types::cpu>() {
                inputs::set_clock(self.cpus.element::<types::cpu>(cpu), now_ns);
            }
        }
    }

    /// What was counted since it was loaded; with the flow table if `flows` and the plan has one.
    #[must_use]
    pub fn read(&self, flows: bool) -> Sample {
        let table = self.flows.as_ref().filter(|_| flows);
        let taken_at_ns = self.clock_ns.as_ref().map_or_else(monotonic_ns, |clock| clock.load(Ordering::Relaxed));
        // Flows first: what arrives meanwhile is missing in them rather than in the totals.
        let flows = table.map(|table| reader::flows(table, self.cpus.len::<types::cpu>(), self.opened_ns));
        reader::sample(&self.cpus, taken_at_ns, flows, self.scope)
    }
}

type Mapper<'a> = &'a dyn Fn(BorrowedFd<'_>) -> io::Result<MappedArray>;

fn flow_sets(plan: &TapPlan, cpus: NonZeroU32) -> Option<u32> {
    plan.flows.map(|slots| slots.sets_per_cpu().saturating_mul(cpus.get()))
}

fn missing(map: &'static str) -> TapError {
    TapError::Map { map, source: io::ErrorKind::NotFound.into() }
}

fn resize(map: &mut OpenMapMut<'_>, entries: u32) -> Result<(), TapError> {
    map.set_max_entries(entries).map_err(TapError::Load)
}
