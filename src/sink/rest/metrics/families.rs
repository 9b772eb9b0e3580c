//! The families of a job's counters as Prometheus has them: name, label and help of each. Pure.

use super::{Labelled, Text};
use crate::model::counter::Counter;
use crate::model::report::Results;
use crate::model::schema::{CountFamily, CounterFamily};

/// A family of series: the middle of its name, the label that tells its members apart, and what they are.
struct Family {
    name: &'static str,
    label: &'static str,
    help: &'static str,
}

const fn family(name: &'static str, label: &'static str, help: &'static str) -> Family {
    Family { name, label, help }
}

const fn of_counters(of: CounterFamily) -> Family {
    match of {
        CounterFamily::Eth => family("ethernet", "class", "By Ethernet class; each packet is in exactly one."),
        CounterFamily::Ip => family("ip", "class", "By IP protocol class; each IP packet is in exactly one."),
        CounterFamily::Service => family("service", "service", "By well-known port; most packets are of no service."),
        CounterFamily::Tunnel => family("tunnel", "tunnel", "In tunnels, of jobs that look into them."),
        CounterFamily::Inner => family(
            "inner",
            "class",
            "What was in the tunnels, by IP protocol class; bytes are those of the whole frames.",
        ),
    }
}

const fn of_counts(of: CountFamily) -> Family {
    match of {
        CountFamily::Error => {
            family("packet_errors", "class", "Packets with something wrong, by what; a packet can have several.")
        }
        CountFamily::Health => {
            family("health_events", "event", "Packets that an operator looks for; a packet can be of several.")
        }
        CountFamily::Cast => family("cast_packets", "cast", "By destination MAC."),
        CountFamily::Ecn => family("ecn_packets", "ecn", "IP packets by their ECN field."),
        CountFamily::Dscp => family("dscp_packets", "dscp", "IP packets by their DSCP."),
        CountFamily::TcpFlags => family("tcp_flags_packets", "flags", "TCP packets by their combination of flags."),
        CountFamily::Rocev2 => family("rocev2_packets", "op", "RoCEv2 packets by what they do."),
        CountFamily::Rocev2Ecn => family("rocev2_ecn_packets", "ecn", "RoCEv2 packets by their ECN field."),
    }
}

/// Zeros are left out: most classes never occur on a port.
pub(super) fn families(text: &mut Text, jobs: &[Labelled<'_>]) {
    let packets: fn(&Counter) -> u64 = |counter| counter.packets;
    let bytes: fn(&Counter) -> u64 = |counter| counter.bytes;
    for of in CounterFamily::ALL {
        let Family { name, label, help } = of_counters(*of);
        for (unit, value) in [("packets", packets), ("bytes", bytes)] {
            let series = format!("telegen_job_{name}_{unit}_total");
            text.family(&series, "counter", help);
            for (job, results) in with_results(jobs) {
                for (member, counter) in of.seen(results) {
                    text.sample(&series, &job.with(label, member), value(&counter));
                }
            }
        }
    }
    for of in CountFamily::ALL {
        let Family { name, label, help } = of_counts(*of);
        let series = format!("telegen_job_{name}_total");
        text.family(&series, "counter", help);
        for (job, results) in with_results(jobs) {
            for (member, count) in of.seen(results) {
                text.sample(&series, &job.with(label, &member), count);
            }
        }
    }
}

fn with_results<'a, 'b>(jobs: &'a [Labelled<'b>]) -> impl Iterator<Item = (&'a Labelled<'b>, &'b Results)> {
    jobs.iter().filter_map(|job| Some((job, job.report.results.as_deref()?)))
}
