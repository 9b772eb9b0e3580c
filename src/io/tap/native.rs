//! The tap's program in this process (`bpf/native.c`): the same C as in the kernel, the same maps in plain memory, read
//! by the same code. It is given one packet after the other, with the time at which each came, and asks neither the
//! kernel nor a clock for anything.

use std::ffi::c_void;
use std::io;

use super::bpf::types;
use super::inputs::{self, Inputs, Random};
use super::mapped::{MappedArray, Plain};
use super::plan::{Circumstances, Switches, TapPlan};
use super::{TapError, reader, tables};
use crate::model::sample::Sample;

/// Ticks of a flow's times have 32 bits (bpf/types.h): later packets have the latest time that there is.
const LONGEST_NS: u64 = (u32::MAX as u64) << 20;

// SAFETY: integers and arrays of them, without padding; its size is asserted below.
unsafe impl Plain for types::segment_set {}

const _: () = assert!(size_of::<types::segment_set>().is_multiple_of(8));

/// A packet as a driver or a capture hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Buffer<'a> {
    /// Its bytes, as far as they are there.
    pub bytes: &'a [u8],
    /// How many bytes of it the kernel would have in front of `data_end`; the rest is copied out.
    pub linear: usize,
    /// How many bytes it had: at least as many as are there.
    pub len: u32,
    /// The control information of a VLAN tag that is not among the bytes.
    pub vlan_tci: Option<u16>,
    /// Payload of each TCP segment or UDP datagram, if the buffer is several packets; else 0.
    pub gso_size: u32,
    /// How many packets it is then; 0: not known.
    pub gso_segs: u32,
    /// When it came, on the clock of [`Inputs::opened_ns`].
    pub at_ns: u64,
}

impl<'a> Buffer<'a> {
    /// One packet, whole.
    ///
    /// # Panics
    /// It has 4 GiB or more.
    #[must_use]
    pub fn of(bytes: &'a [u8], at_ns: u64) -> Buffer<'a> {
        let len = u32::try_from(bytes.len()).expect("no packet has 4 GiB");
        Buffer { bytes, linear: bytes.len(), len, vlan_tci: None, gso_size: 0, gso_segs: 0, at_ns }
    }
}

/// `struct array` of bpf/platform.h.
#[repr(C)]
#[derive(Debug)]
struct Array {
    elements: *mut c_void,
    count: u32,
    size: u32,
}

/// `struct engine` of bpf/platform.h.
#[repr(C)]
#[derive(Debug)]
struct Engine {
    config: *const types::config,
    size_buckets: *const u8,
    service_slots: *const types::service_slot,
    cpus: Array,
    flows: Array,
    segments: Array,
}

/// `struct given` of bpf/native.c.
#[repr(C)]
struct Given {
    bytes: *const u8,
    at_ns: u64,
    held: u32,
    linear: u32,
    len: u32,
    gso_size: u32,
    gso_segs: u32,
    vlan_tci: u16,
    vlan_present: u8,
    layers_only: u8,
}

unsafe extern "C" {
    fn telegen_engine_size() -> usize;
    fn telegen_given_size() -> usize;
    fn telegen_observe(engine: *const Engine, given: *const Given);
}

/// What `Engine` points to.
#[derive(Debug)]
struct Memory {
    // Each in a box of its own: `Engine` has their addresses.
    constants: Box<types::rodata>,
    cpus: MappedArray,
    flows: Option<MappedArray>,
    segments: Option<MappedArray>,
}

/// A tap without a kernel. It sees no netdev, so [`TapPlan::netdev`] and [`TapPlan::hooks`] say nothing here.
#[derive(Debug)]
pub struct Native {
    memory: Memory,
    opened_ns: u64,
    latest_ns: u64,
    layers_only: bool,
    scope: reader::Scope,
}

impl Native {
    /// A tap that has seen nothing.
    ///
    /// # Errors
    /// [`TapError::Map`]: there is no memory for its maps.
    pub fn open(plan: &TapPlan, inputs: Inputs) -> Result<Native, TapError> {
        Self::open_with(plan, Switches::default(), inputs)
    }

    /// As [`Native::open`], for tests and measurements; `inputs` take the place of [`Switches::fixed`].
    ///
    /// # Errors
    /// As [`Native::open`].
    ///
    /// # Panics
    /// The structs of the C part are not those of this file.
    pub fn open_with(plan: &TapPlan, switches: Switches, inputs: Inputs) -> Result<Native, TapError> {
        // SAFETY: two functions without arguments that return a constant.
        let sizes = unsafe { (telegen_engine_size(), telegen_given_size()) };
        assert_eq!(sizes, (size_of::<Engine>(), size_of::<Given>()), "bpf/native.c has the structs of this file");
        let hash_keys = Random::of(Some(inputs)).hash_keys(switches)?;
        let opened_ns = inputs.opened_ns;
        let config = plan.config(&Circumstances { opened_ns, hash_keys, switches });
        let cpus = array::<types::cpu>("telegen_cpus", 1)?;
        inputs::prime(&cpus, plan, Some(inputs))?;
        let sets = plan.flows.map(|_| config.sets_per_cpu as usize);
        let flows = sets.map(|sets| array::<types::flow_set>("telegen_flows", sets)).transpose()?;
        let followed = sets.filter(|_| config.segments != 0);
        let segments = followed.map(|sets| array::<types::segment_set>("telegen_segments", sets)).transpose()?;
        let scope =
            reader::Scope { inner: plan.inner, segments: segments.is_some(), copies: plan.encapsulation.is_some() };
        let constants = Box::new(types::rodata {
            config,
            size_buckets: tables::size_buckets(),
            service_slots: tables::Services::new().slots,
        });
        let memory = Memory { constants, cpus, flows, segments };
        Ok(Native { memory, opened_ns, latest_ns: opened_ns, layers_only: switches.layers_only, scope })
    }

    /// Counts one packet. A time before the one when counting began is taken for that.
    pub fn observe(&mut self, buffer: &Buffer<'_>) {
        let at_ns = buffer.at_ns.max(self.opened_ns);
        self.latest_ns = self.latest_ns.max(at_ns);
        let held = u32::try_from(buffer.bytes.len()).unwrap_or(u32::MAX);
        let given = Given {
            bytes: buffer.bytes.as_ptr(),
            at_ns: at_ns.min(self.opened_ns.saturating_add(LONGEST_NS)),
            held,
            linear: u32::try_from(buffer.linear).unwrap_or(held).min(held),
            len: buffer.len.max(held),
            gso_size: buffer.gso_size,
            gso_segs: buffer.gso_segs,
            vlan_tci: buffer.vlan_tci.unwrap_or_default(),
            vlan_present: u8::from(buffer.vlan_tci.is_some()),
            layers_only: u8::from(self.layers_only),
        };
        let engine = self.memory.engine();
        // SAFETY: both structs and all that they point to live through the call, with their lengths; the maps' memory
        // is only written through these pointers, and `&mut self` says that nobody reads it meanwhile.
        unsafe { telegen_observe(&raw const engine, &raw const given) };
    }

    /// What was counted so far; with the flow table if `flows` and the plan has one.
    #[must_use]
    pub fn read(&self, flows: bool) -> Sample {
        let table = self.memory.flows.as_ref().filter(|_| flows);
        let flows = table.map(|table| reader::flows(table, 1, self.opened_ns));
        reader::sample(&self.memory.cpus, self.latest_ns, flows, self.scope)
    }
}

impl Memory {
    fn engine(&self) -> Engine {
        let array = |array: Option<&MappedArray>, size: usize| Array {
            elements: array.map_or(std::ptr::null_mut(), MappedArray::as_ptr),
            count: array.map_or(0, |array| u32::try_from(array.len_bytes() / size).unwrap_or(u32::MAX)),
            size: u32::try_from(size).unwrap_or(u32::MAX),
        };
        Engine {
            config: &raw const self.constants.config,
            size_buckets: self.constants.size_buckets.as_ptr(),
            service_slots: self.constants.service_slots.as_ptr(),
            cpus: array(Some(&self.cpus), size_of::<types::cpu>()),
            flows: array(self.flows.as_ref(), size_of::<types::flow_set>()),
            segments: array(self.segments.as_ref(), size_of::<types::segment_set>()),
        }
    }
}

fn array<T: Plain>(map: &'static str, elements: usize) -> Result<MappedArray, TapError> {
    MappedArray::anonymous::<T>(elements).map_err(|source: io::Error| TapError::Map { map, source })
}
