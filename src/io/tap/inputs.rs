//! What a tap is given besides packets: when it was opened, hash keys, and where random numbers come from. The kernel's
//! clock and random numbers in the daemon; values of the caller's in tests and in the native form, so that the same
//! packets give the same numbers.

use std::sync::atomic::Ordering;

use super::TapError;
use super::bpf::types;
use super::mapped::MappedArray;
use super::plan::{HASH_KEYS, Switches, TapPlan, first_skip};

/// A clock and random numbers that are the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// All random numbers follow from it: the hash keys, which packets are analysed, which flows leave a full table.
    pub seed: u64,
    /// The time at which counting begins, nanoseconds.
    pub opened_ns: u64,
}

/// Where random numbers come from.
#[derive(Clone, Debug)]
pub(super) enum Random {
    Kernel,
    /// SplitMix64 (Steele, Lea, Flood 2014).
    Seeded(u64),
}

impl Random {
    pub fn of(inputs: Option<Inputs>) -> Random {
        inputs.map_or(Random::Kernel, |inputs| Random::Seeded(inputs.seed))
    }

    fn next(&mut self) -> Result<u64, TapError> {
        match self {
            Random::Kernel => {
                let mut bytes = [0; 8];
                getrandom::fill(&mut bytes).map_err(TapError::Random)?;
                Ok(u64::from_ne_bytes(bytes))
            }
            Random::Seeded(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = *state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                Ok(mixed ^ (mixed >> 31))
            }
        }
    }

    /// The keys of the flow table.
    pub fn hash_keys(&mut self, switches: Switches) -> Result<[u64; HASH_KEYS], TapError> {
        let mut keys = [0_u64; HASH_KEYS];
        if !switches.zero_hash_keys {
            for key in &mut keys {
                *key = self.next()?;
            }
        }
        Ok(keys)
    }
}

/// Draws the first distances of every CPU, see [`first_skip`]; with `inputs`, the clock and the generator begin there.
pub(super) fn prime(cpus: &MappedArray, plan: &TapPlan, inputs: Option<Inputs>) -> Result<(), TapError> {
    // The two halves of a word, little-endian.
    const SKIP: usize = std::mem::offset_of!(types::cpu, skip);
    const { assert!(SKIP.is_multiple_of(8) && std::mem::offset_of!(types::cpu, gap_skip) == SKIP + 4) };
    #[allow(clippy::cast_possible_truncation)] // two halves of one random number
    let draw = |rate, random: u64| u64::from(first_skip(rate, [random as u32, (random >> 32) as u32]));
    for cpu in 0..cpus.len::<types::cpu>() {
        // Anew for each CPU: given inputs, it does not matter on which the packets are seen.
        let mut random = Random::of(inputs);
        let words = cpus.element::<types::cpu>(cpu);
        let skips = draw(plan.sample_rate, random.next()?) | draw(plan.gap_rate(), random.next()?) << 32;
        words[SKIP / 8].store(skips.to_le(), Ordering::Relaxed);
        if let Some(inputs) = inputs {
            // The program's generator must not begin with 0.
            words[std::mem::offset_of!(types::cpu, random) / 8].store(random.next()? | 1, Ordering::Relaxed);
            set_clock(words, inputs.opened_ns);
        }
    }
    Ok(())
}

/// Sets the clock in the words of one CPU.
pub(super) fn set_clock(cpu: &[std::sync::atomic::AtomicU64], now_ns: u64) {
    cpu[std::mem::offset_of!(types::cpu, clock_ns) / 8].store(now_ns, Ordering::Relaxed);
}

/// `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
pub(super) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: now is a timespec, and this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let [seconds, nanoseconds] = [now.tv_sec, now.tv_nsec].map(i64::unsigned_abs);
    seconds * 1_000_000_000 + nanoseconds
}
