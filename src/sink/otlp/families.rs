//! The families of a job's counters, and the numbers that a job has once, as OTLP metrics: name, unit and attribute of each. Pure.
//!
//! None of these points add up with `network.packets`: a packet is in some of them and not in others, which the descriptions say.

use opentelemetry_proto::tonic::metrics::v1::Metric;

use super::attribute::{self, int, text};
use super::metrics::{Export, Instrument, gauge, sum};
use crate::model::report::{Detail, Flows, Results};
use crate::model::sample::Counter;
use crate::model::schema::{CountFamily, CounterFamily};

/// A family's metric, and the attribute that tells its points apart.
#[derive(Clone, Copy)]
struct Family {
    instrument: Instrument,
    attribute: &'static str,
}

const fn family(name: &'static str, unit: &'static str, attribute: &'static str, description: &'static str) -> Family {
    Family { instrument: Instrument { name, unit, description }, attribute }
}

const PACKET: &str = "{packet}";
const BYTE: &str = "By";

/// Packets and bytes of a family; `None` for those whose points make up `network.packets` and `network.bytes`.
const fn of_counters(of: CounterFamily) -> Option<[Family; 2]> {
    match of {
        CounterFamily::Eth | CounterFamily::Ip => None,
        CounterFamily::Service => {
            let (attribute, description) = (attribute::PROTOCOL_NAME, "By service, as well-known ports say");
            Some([
                family("telegen.service.packets", PACKET, attribute, description),
                family("telegen.service.bytes", BYTE, attribute, description),
            ])
        }
        CounterFamily::Tunnel => {
            let (attribute, description) = (attribute::TUNNEL_TYPE, "In tunnels, of jobs that look into them");
            Some([
                family("telegen.tunnel.packets", PACKET, attribute, description),
                family("telegen.tunnel.bytes", BYTE, attribute, description),
            ])
        }
        CounterFamily::Inner => {
            let attribute = attribute::INNER_TYPE;
            let description = "What was in the tunnels, by IP protocol; bytes are those of the whole frames";
            Some([
                family("telegen.inner.packets", PACKET, attribute, description),
                family("telegen.inner.bytes", BYTE, attribute, description),
            ])
        }
    }
}

const fn of_counts(of: CountFamily) -> Family {
    match of {
        CountFamily::Error => family(
            "network.errors",
            "{error}",
            attribute::ERROR_TYPE,
            "Truncated, malformed and corrupt packets; one packet can have several errors",
        ),
        CountFamily::Health => family(
            "telegen.health.events",
            "{event}",
            attribute::HEALTH_EVENT,
            "Packets that an operator looks for; one packet can be several events",
        ),
        CountFamily::Cast => family("telegen.cast.packets", PACKET, attribute::CAST_TYPE, "By destination MAC"),
        CountFamily::Ecn => family("telegen.ecn.packets", PACKET, attribute::ECN, "IP packets by their ECN field"),
        CountFamily::Dscp => family("telegen.dscp.packets", PACKET, attribute::DSCP, "IP packets by their DSCP"),
        CountFamily::TcpFlags => {
            family("telegen.tcp.packets", PACKET, attribute::TCP_FLAGS, "TCP packets by their combination of flags")
        }
        CountFamily::Rocev2 => {
            family("telegen.rocev2.packets", PACKET, attribute::ROCEV2_OPERATION, "RoCEv2 packets by what they do")
        }
        CountFamily::Rocev2Ecn => {
            family("telegen.rocev2.ecn.packets", PACKET, attribute::ECN, "RoCEv2 packets by their ECN field")
        }
    }
}

/// Name, unit, description and value.
type Once<T, V> = (&'static str, &'static str, &'static str, fn(&T) -> V);

/// Numbers that a job has once, if they are measured: then they are sent at 0, too.
const ONCE: [Once<Results, Option<u64>>; 6] = [
    ("telegen.tcp.tracked", PACKET, "TCP packets of flows that were tracked", |totals| {
        totals.segments.map(|segments| segments.tracked)
    }),
    ("telegen.tcp.untracked", PACKET, "TCP packets of flows that were not tracked", |totals| {
        totals.segments.map(|segments| segments.untracked)
    }),
    ("telegen.tcp.retransmitted", "{segment}", "Segments of tracked flows that repeat what had been seen", |totals| {
        totals.segments.map(|segments| segments.retransmitted)
    }),
    (
        "telegen.tcp.out_of_order",
        "{segment}",
        "Segments of tracked flows that came later than others behind them",
        |totals| totals.segments.map(|segments| segments.out_of_order),
    ),
    (
        "telegen.copies.lost",
        PACKET,
        "Encapsulated mirror copies that were sent and did not arrive, by their sequence numbers",
        |totals| totals.copies.and_then(|copies| copies.lost),
    ),
    ("telegen.copies.unreadable", PACKET, "Encapsulated mirror copies without a frame to read", |totals| {
        totals.copies.map(|copies| copies.unreadable)
    }),
];

const DISTINCT: [Once<Flows, u64>; 2] = [
    ("telegen.flow.distinct", "{flow}", "Different flows among the analysed packets, estimated", |flows| {
        flows.distinct.estimate
    }),
    (
        "telegen.flow.distinct_err95",
        "{flow}",
        "Half the width of the 95 % interval around telegen.flow.distinct",
        |flows| flows.distinct.err95,
    ),
];

const FRAGMENTS: Instrument = Instrument {
    name: "telegen.ip.fragments",
    unit: PACKET,
    description: "IP fragments, the first of their packet and the later ones",
};

/// Everything of `totals` but the classes that make up `network.packets` and `network.bytes`.
pub(super) fn of_totals(export: &Export, totals: &Results) -> Vec<Metric> {
    let point = |attribute: &str, name: &str, value| export.point([text(attribute, name)], totals.updated_at, value);
    let counts = CountFamily::ALL.iter().map(|of| {
        let Family { instrument, attribute } = of_counts(*of);
        sum(instrument, of.seen(totals).iter().map(|(name, count)| point(attribute, name, *count)).collect())
    });
    let packets: fn(&Counter) -> u64 = |counter| counter.packets;
    let bytes: fn(&Counter) -> u64 = |counter| counter.bytes;
    let counters =
        CounterFamily::ALL.iter().filter_map(|of| Some((of, of_counters(*of)?))).flat_map(|(of, families)| {
            families.into_iter().zip([packets, bytes]).map(move |(Family { instrument, attribute }, value)| {
                sum(
                    instrument,
                    of.seen(totals).iter().map(|(name, counter)| point(attribute, name, value(counter))).collect(),
                )
            })
        });
    let first = totals.fragments.saturating_sub(totals.fragments_later);
    let fragments = [("first", first), ("later", totals.fragments_later)].into_iter().filter(|(_, count)| *count > 0);
    let fragments = fragments.map(|(which, count)| point(attribute::FRAGMENT_POSITION, which, count)).collect();
    let once = ONCE.iter().map(|(name, unit, description, value)| {
        let points = value(totals).map(|value| export.point([], totals.updated_at, value));
        sum(Instrument { name, unit, description }, points.into_iter().collect())
    });
    counts.chain(counters).chain([sum(FRAGMENTS, fragments)]).chain(once).collect()
}

/// How many flows there are, as gauges: an estimate may fall again. Nothing before the first flow.
pub(super) fn of_flows(export: &Export, detail: &Detail, flows: &Flows) -> Vec<Metric> {
    if flows.distinct.estimate == 0 {
        return Vec::new();
    }
    let metrics = DISTINCT.iter().map(|(name, unit, description, value)| {
        let rate = int(attribute::SAMPLING_RATE, detail.sample_rate);
        gauge(Instrument { name, unit, description }, vec![export.point([rate], detail.updated_at, value(flows))])
    });
    metrics.collect()
}
