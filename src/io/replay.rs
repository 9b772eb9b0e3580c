//! Captures through the tap's program in this process: neither a kernel with BPF nor a switch is needed, and no
//! privileges.

use std::num::NonZeroU32;

use super::capture::{Capture, Flaw, Frame};
use super::tap::{Buffer, FlowSlots, Hooks, Inputs, Native, TapError, TapPlan};
use crate::model::job::{JobSpec, ResultDetail};
use crate::model::sample::Sample;

/// What the maps may take: room for some 120,000 flows. With what is made of them at the end, and the program, that
/// stays below 48 MiB.
const MEMORY: u64 = 12 << 20;

/// One tap for any number of captures, one after the other.
#[derive(Debug)]
pub struct Replay {
    plan: TapPlan,
    seed: u64,
    tap: Option<Native>,
    /// Times are known: the first frame has one.
    is_timed: bool,
    opened_ns: u64,
    latest_ns: u64,
}

/// What became of a capture.
#[derive(Debug)]
pub struct Passed {
    /// Frames that were counted.
    pub frames: u64,
    /// Of them, those of which the capture holds only the beginning.
    pub cut: u64,
    /// Why there may have been more.
    pub flaw: Option<Flaw>,
}

impl Replay {
    /// For what a job with this specification would count, where every frame is its copy; all random numbers follow
    /// from `seed`.
    #[must_use]
    pub fn new(spec: &JobSpec, seed: u64) -> Replay {
        let flows = match spec.result_detail {
            ResultDetail::Summary => None,
            ResultDetail::Flows => FlowSlots::within(MEMORY, NonZeroU32::MIN),
        };
        let plan = TapPlan {
            netdev: String::new(),
            hooks: Hooks::Ingress,
            filter: spec.filter.clone(),
            sample_rate: spec.sample_rate,
            flows,
            inner: spec.inner,
            encapsulation: None,
        };
        Replay { plan, seed, tap: None, is_timed: false, opened_ns: 0, latest_ns: 0 }
    }

    /// Counts a capture, to its end or to its first flaw. Time begins with the first frame of the first capture, and
    /// stands still if that has none; a frame that says it came before the one in front of it is taken to have come
    /// with that one.
    ///
    /// # Errors
    /// [`TapError::Map`]: there is no memory.
    pub fn pass(&mut self, capture: &mut Capture) -> Result<Passed, TapError> {
        let mut passed = Passed { frames: 0, cut: 0, flaw: None };
        loop {
            match capture.next_frame() {
                Ok(Some(frame)) => {
                    passed.frames += 1;
                    passed.cut += u64::from(frame.bytes.len() < frame.len as usize);
                    self.observe(&frame)?;
                }
                Ok(None) => return Ok(passed),
                Err(flaw) => return Ok(Passed { flaw: Some(flaw), ..passed }),
            }
        }
    }

    fn observe(&mut self, frame: &Frame<'_>) -> Result<(), TapError> {
        let tap = if let Some(tap) = &mut self.tap {
            tap
        } else {
            self.is_timed = frame.at_ns.is_some();
            self.opened_ns = frame.at_ns.unwrap_or_default();
            self.latest_ns = self.opened_ns;
            let inputs = Inputs { seed: self.seed, opened_ns: self.opened_ns };
            self.tap.insert(Native::open(&self.plan, inputs)?)
        };
        if let Some(at_ns) = frame.at_ns.filter(|_| self.is_timed) {
            self.latest_ns = self.latest_ns.max(at_ns);
        }
        tap.observe(&Buffer {
            bytes: frame.bytes,
            linear: frame.bytes.len(),
            len: frame.len,
            vlan_tci: None,
            gso_size: 0,
            gso_segs: 0,
            at_ns: self.latest_ns,
        });
        Ok(())
    }

    /// When counting began, nanoseconds since 1970; 0 if there was no frame, or none with a time.
    #[must_use]
    pub fn opened_ns(&self) -> u64 {
        self.opened_ns
    }

    /// What was counted.
    ///
    /// # Errors
    /// As [`Replay::pass`], if no frame was passed.
    pub fn sample(&self) -> Result<Sample, TapError> {
        match &self.tap {
            Some(tap) => Ok(tap.read(true)),
            None => Ok(Native::open(&self.plan, Inputs { seed: self.seed, opened_ns: 0 })?.read(true)),
        }
    }
}
