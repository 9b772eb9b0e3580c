//! The objects of the JSON results in which measures are.

use super::Part;

pub(super) const PROTOCOLS: &[&str] = &["protocols"];
pub(super) const ESTIMATE: &[&str] = &["estimate"];
pub(super) const HEALTH: &[&str] = &["health"];
pub(super) const SEGMENTS: &[&str] = &["health", "segments"];
pub(super) const ROCEV2: &[&str] = &["health", "rocev2"];
pub(super) const COPIES: &[&str] = &["copies"];
pub(super) const DISTINCT: &[&str] = &["distinct_flows"];

/// What the objects say that JSON has several measures in, where their names do not say it.
pub const PARTS: &[Part] = &[
    Part {
        path: ESTIMATE,
        help: "The port's packets where the ASIC copies 1 of mirror_sample_rate; all other counters are then of \
               copies. bytes is null where the copies are cut. packets_err95 is half the width of the 95 % interval.",
    },
    Part { path: HEALTH, help: "Counts of packets." },
    Part {
        path: SEGMENTS,
        help: "TCP segments as their flows saw them; null unless sample_rate is 1, result_detail is flows, and the \
               ASIC copies every packet whole.",
    },
    Part {
        path: COPIES,
        help: "Mirror copies that came encapsulated. lost: sent and not arrived, by gaps in their sequence numbers; \
               null if they have none. unreadable: without a frame to read.",
    },
    Part {
        path: DISTINCT,
        help: "How many different flows the analysed packets were of; err95 is half the width of the 95 % interval.",
    },
];
