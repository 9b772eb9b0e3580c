//! How many flows there were, from the program's HyperLogLog registers. Pure.

use crate::model::counter::Counter;
use crate::model::sample::FlowTable;
use crate::model::traffic::DistinctFlows;

/// As in bpf/types.h.
pub(super) const REGISTERS: usize = 2048;
const REGISTERS_F: f64 = 2048.0;
/// Bias correction, for many registers (Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog", 2007).
const ALPHA: f64 = 0.7213 / (1.0 + 1.079 / REGISTERS_F);
/// Below this, the number of registers without a flow says more than their values do (same paper).
const LINEAR_BELOW: f64 = 2.5 * REGISTERS_F;
/// Half the width of a 95 % interval, in standard deviations.
const NORMAL_95: f64 = 1.96;

/// What several CPUs saw.
pub(super) fn merge(all: &mut [u8; REGISTERS], cpu: &[u8]) {
    for (all, cpu) in all.iter_mut().zip(cpu) {
        *all = (*all).max(*cpu);
    }
}

/// Exact as long as no flow had to leave the table, or stay outside.
pub(super) fn flows(registers: &[u8; REGISTERS], table: &FlowTable) -> DistinctFlows {
    if table.evicted == 0 && table.other == Counter::default() {
        return DistinctFlows { estimate: table.flows.len() as u64, err95: 0 };
    }
    estimate(registers)
}

// Counts far below 2^52, never negative.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn estimate(registers: &[u8; REGISTERS]) -> DistinctFlows {
    let sum: f64 = registers.iter().map(|rank| f64::from(-i32::from(*rank)).exp2()).sum();
    let empty: u32 = registers.iter().map(|rank| u32::from(*rank == 0)).sum();
    let mut estimate = ALPHA * REGISTERS_F * REGISTERS_F / sum;
    let mut sigma = 1.04 / REGISTERS_F.sqrt() * estimate;
    if estimate <= LINEAR_BELOW && empty > 0 {
        // Linear counting (Whang, Vander-Zanden, Taylor 1990).
        let load = (REGISTERS_F / f64::from(empty)).ln();
        estimate = REGISTERS_F * load;
        sigma = (REGISTERS_F * (load.exp() - load - 1.0)).sqrt();
    }
    DistinctFlows { estimate: estimate.round() as u64, err95: (NORMAL_95 * sigma).ceil() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64 (Steele, Lea, Flood 2014): a different, good hash for each number.
    fn hash(number: u64) -> u64 {
        let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn the_truth_lies_in_the_interval_nineteen_times_out_of_twenty() {
        for flows in [100_u64, 1000, 4000, 10_000, 100_000] {
            let mut inside = 0;
            for run in 0..200 {
                let mut registers = [0_u8; REGISTERS];
                for flow in 0..flows {
                    let hash = hash(run << 32 | flow);
                    let register = &mut registers[usize::try_from(hash >> 53).unwrap()];
                    *register = (*register).max(u8::try_from((hash << 11 | 1 << 10).leading_zeros()).unwrap() + 1);
                }
                let DistinctFlows { estimate, err95 } = estimate(&registers);
                inside += i32::from(estimate.abs_diff(flows) <= err95);
                assert!(err95 * 20 <= flows + 100, "{flows}: {err95}");
            }
            // 190 of 200 are expected, with a standard deviation of 3.
            assert!(inside >= 175, "{flows}: {inside} of 200");
        }
    }

    #[test]
    fn while_every_flow_is_in_the_table_their_number_is_exact() {
        let table = FlowTable::default();
        assert_eq!(flows(&[3; REGISTERS], &table), DistinctFlows::default());
        assert!(flows(&[3; REGISTERS], &FlowTable { evicted: 1, ..table }).estimate > 1000);
    }
}
