//! The rows, in the order in which JSON has them.

use super::parts::{COPIES, DISTINCT, ESTIMATE, HEALTH, PROTOCOLS, ROCEV2, SEGMENTS};
use super::row::{PACKET, counters, counts, gauge, sum};
use super::value::Number;
use super::{Absent, Among, Cell, Form, Measure, Unit};
use crate::model::schema::{CountFamily, CounterFamily};

/// A field of the traffic, of the results or of the flow counts.
macro_rules! field {
    ($cell:ident, $($field:ident).+) => {
        Cell::$cell {
            of: |holder| holder.$($field).+.value(),
            set: |holder, value| {
                holder.$($field).+ = Number::read(value)?;
                Some(())
            },
        }
    };
}

/// A field of a part of them that may not be there.
macro_rules! optional {
    ($cell:ident, $part:ident . $field:ident) => {
        Cell::$cell {
            of: |holder| holder.$part.as_ref()?.$field.value(),
            set: |holder, value| {
                holder.$part.get_or_insert_default().$field = Number::read(value)?;
                Some(())
            },
        }
    };
}

/// Every measure. Prometheus' names begin with `telegen_job_`, and those of sums end with `_total`.
pub const MEASURES: &[Measure] = &[
    gauge("updated_at", Unit::Time, "When the tap was read last", field!(Results, updated_at))
        .form(Form::Instant)
        .absent(Absent::Refused)
        .metric("telegen_job_updated_timestamp_seconds")
        .row(),
    gauge("window_sec", Unit::Seconds, "How long the job has counted", field!(Results, window))
        .form(Form::Decimal(3))
        .metric("telegen_job_window_seconds")
        .row(),
    sum("packets_total", Unit::Packets, "Packets that passed the job's filters", field!(Traffic, total.packets))
        .metric("telegen_job_packets_total")
        .row(),
    sum("bytes_total", Unit::Bytes, "Frame bytes that passed the job's filters", field!(Traffic, total.bytes))
        .metric("telegen_job_bytes_total")
        .row(),
    sum("packets_delivered", Unit::Packets, "Packets that reached the tap", field!(Traffic, delivered.packets))
        .metric("telegen_job_delivered_packets_total")
        .row(),
    sum("bytes_delivered", Unit::Bytes, "Frame bytes that reached the tap", field!(Traffic, delivered.bytes))
        .metric("telegen_job_delivered_bytes_total")
        .row(),
    // Their bytes are in no row.
    sum("packets_analysed", Unit::Packets, "Packets that sampling chose for detail", field!(Traffic, analysed.packets))
        .metric("telegen_job_analysed_packets_total")
        .row(),
    gauge("sample_rate", Unit::OneOf, "One of this many packets is analysed", field!(Results, sample_rate))
        .metric("telegen_job_sample_rate")
        .row(),
    gauge("pps", Unit::PacketsPerSecond, "Packets per second over the last interval", field!(Results, packets_per_sec))
        .form(Form::Decimal(1))
        .metric("telegen_job_packets_per_second")
        .row(),
    gauge("bps", Unit::BitsPerSecond, "Bits per second over the last interval", field!(Results, bits_per_sec))
        .form(Form::Decimal(0))
        .metric("telegen_job_bits_per_second")
        .row(),
    gauge(
        "port_packets",
        Unit::Packets,
        "Packets that the port itself counted meanwhile",
        field!(Results, port_packets),
    )
    .absent(Absent::NotMeasured("while unknown"))
    .metric("telegen_job_port_packets")
    .row(),
    gauge("coverage", Unit::Ratio, "Delivered packets over those the port counted", field!(Results, coverage))
        .form(Form::Decimal(4))
        .absent(Absent::NotMeasured("while unknown"))
        .metric("telegen_job_coverage_ratio")
        .row(),
    gauge(
        "mirror_sample_rate",
        Unit::OneOf,
        "The ASIC copies 1 of so many packets; other counters are of copies",
        optional!(Results, thinning.sample_rate),
    )
    .absent(Absent::NotMeasured("where it copies each of them whole"))
    .metric("telegen_job_mirror_sample_rate")
    .row(),
    gauge(
        "mirror_truncate",
        Unit::Bytes,
        "The ASIC cuts copies to so many bytes",
        optional!(Results, thinning.truncate),
    )
    .absent(Absent::NotMeasured("where copies are whole"))
    .beside("mirror_sample_rate")
    .row(),
    gauge(
        "packets_est",
        Unit::Packets,
        "The port's packets, estimated from the copies",
        optional!(Results, estimate.packets),
    )
    .absent(Absent::NotMeasured("where each of them is copied"))
    .part(ESTIMATE, "packets")
    .row(),
    gauge("bytes_est", Unit::Bytes, "Their bytes", optional!(Results, estimate.bytes))
        .absent(Absent::NotMeasured("where the copies are cut"))
        .part(ESTIMATE, "bytes")
        .beside("packets_est")
        .row(),
    gauge(
        "packets_err95",
        Unit::Packets,
        "Half the width of the 95 % interval around packets_est",
        optional!(Results, estimate.packets_err95),
    )
    .part(ESTIMATE, "packets_err95")
    .beside("packets_est")
    .row(),
    counters(
        CounterFamily::Eth,
        "By Ethernet class; each packet is in exactly one",
        (PROTOCOLS, "ethernet"),
        ("ethernet", "class"),
        None,
    ),
    counters(
        CounterFamily::Ip,
        "By IP protocol class; each IP packet is in exactly one",
        (PROTOCOLS, "ip"),
        ("ip", "class"),
        None,
    ),
    counters(
        CounterFamily::Service,
        "By well-known port; most packets are of no service",
        (&[], "services"),
        ("service", "service"),
        Some(("telegen.service", "network.protocol.name")),
    ),
    counters(
        CounterFamily::Tunnel,
        "In tunnels, of jobs that look into them",
        (&[], "tunnels"),
        ("tunnel", "tunnel"),
        Some(("telegen.tunnel", "telegen.tunnel.type")),
    ),
    counters(
        CounterFamily::Inner,
        "What was in the tunnels, by IP protocol class; bytes are those of the whole frames",
        (&[], "inner"),
        ("inner", "class"),
        Some(("telegen.inner", "telegen.inner.type")),
    ),
    counts(
        CountFamily::Error,
        "Packets with something wrong, by what; a packet can have several",
        (&[], "errors"),
        ("packet_errors", "class"),
        ("network.errors", "{error}", "error.type"),
    ),
    sum("fragments", Unit::Packets, "IP fragments", field!(Traffic, fragments))
        .absent(Absent::Zero)
        .metric("telegen_job_fragments_total")
        .note("IP fragments", Among::Ip, "parts of larger packets")
        .row(),
    sum(
        "fragments_later",
        Unit::Packets,
        "IP fragments that are not the first of their packet",
        field!(Traffic, fragments_later),
    )
    .absent(Absent::Zero)
    .metric("telegen_job_fragments_later_total")
    .note("later fragments", Among::Ip, "without ports: in no service, and flows of their own")
    .row(),
    sum("ipv4_options", Unit::Packets, "IPv4 packets with options in their header", field!(Traffic, ipv4_options))
        .absent(Absent::Zero)
        .metric("telegen_job_ipv4_options_packets_total")
        .otlp("telegen.ipv4.options")
        .note("IPv4 options", Among::Ip, "routers tend to handle them in software, or to drop them")
        .row(),
    counts(
        CountFamily::Health,
        "Packets that an operator looks for; a packet can be of several",
        (HEALTH, "events"),
        ("health_events", "event"),
        ("telegen.health.events", "{event}", "telegen.health.event"),
    ),
    counts(
        CountFamily::Cast,
        "By destination MAC",
        (HEALTH, "cast"),
        ("cast_packets", "cast"),
        ("telegen.cast.packets", PACKET, "telegen.cast.type"),
    ),
    counts(
        CountFamily::Ecn,
        "IP packets by their ECN field",
        (HEALTH, "ecn"),
        ("ecn_packets", "ecn"),
        ("telegen.ecn.packets", PACKET, "telegen.ecn.codepoint"),
    ),
    counts(
        CountFamily::Dscp,
        "IP packets by their DSCP",
        (HEALTH, "dscp"),
        ("dscp_packets", "dscp"),
        ("telegen.dscp.packets", PACKET, "telegen.dscp.codepoint"),
    ),
    counts(
        CountFamily::TcpFlags,
        "TCP packets by their combination of flags",
        (HEALTH, "tcp_flags"),
        ("tcp_flags_packets", "flags"),
        ("telegen.tcp.packets", PACKET, "telegen.tcp.flags"),
    ),
    sum("tcp_tracked", Unit::Packets, "TCP packets of flows that were tracked", optional!(Traffic, segments.tracked))
        .absent(UNLESS_ALL)
        .part(SEGMENTS, "tracked")
        .metric("telegen_job_tcp_tracked_packets_total")
        .otlp("telegen.tcp.tracked")
        .row(),
    sum(
        "tcp_untracked",
        Unit::Packets,
        "TCP packets of flows that were not tracked",
        optional!(Traffic, segments.untracked),
    )
    .absent(Absent::Refused)
    .part(SEGMENTS, "untracked")
    .beside("tcp_tracked")
    .metric("telegen_job_tcp_untracked_packets_total")
    .otlp("telegen.tcp.untracked")
    .row(),
    sum(
        "tcp_retransmitted",
        Unit::Segments,
        "Segments of tracked flows that repeat what had been seen",
        optional!(Traffic, segments.retransmitted),
    )
    .absent(Absent::Refused)
    .part(SEGMENTS, "retransmitted")
    .beside("tcp_tracked")
    .metric("telegen_job_tcp_retransmitted_segments_total")
    .otlp("telegen.tcp.retransmitted")
    .wrong("TCP retransmissions", Among::TrackedTcp, "lost or late on the way")
    .row(),
    sum(
        "tcp_out_of_order",
        Unit::Segments,
        "Segments of tracked flows that came later than others behind them",
        optional!(Traffic, segments.out_of_order),
    )
    .absent(Absent::Refused)
    .part(SEGMENTS, "out_of_order")
    .beside("tcp_tracked")
    .metric("telegen_job_tcp_out_of_order_segments_total")
    .otlp("telegen.tcp.out_of_order")
    .wrong("TCP out of order", Among::TrackedTcp, "paths of different delay")
    .row(),
    counts(
        CountFamily::Rocev2,
        "RoCEv2 packets by what they do",
        (ROCEV2, "ops"),
        ("rocev2_packets", "op"),
        ("telegen.rocev2.packets", PACKET, "telegen.rocev2.operation"),
    ),
    counts(
        CountFamily::Rocev2Ecn,
        "RoCEv2 packets by their ECN field",
        (ROCEV2, "ecn"),
        ("rocev2_ecn_packets", "ecn"),
        ("telegen.rocev2.ecn.packets", PACKET, "telegen.ecn.codepoint"),
    ),
    sum(
        "copies_lost",
        Unit::Packets,
        "Encapsulated mirror copies that were sent and did not arrive, by their sequence numbers",
        optional!(Traffic, copies.lost),
    )
    .absent(Absent::NotMeasured("without them"))
    .part(COPIES, "lost")
    .beside("copies_unreadable")
    .metric("telegen_job_copies_lost_total")
    .otlp("telegen.copies.lost")
    .row(),
    sum(
        "copies_unreadable",
        Unit::Packets,
        "Encapsulated mirror copies without a frame to read",
        optional!(Traffic, copies.unreadable),
    )
    .absent(Absent::NotMeasured("where copies come bare"))
    .part(COPIES, "unreadable")
    .metric("telegen_job_copies_unreadable_total")
    .otlp("telegen.copies.unreadable")
    .row(),
    sum("flows_seen", Unit::Times, "How often a flow entered the flow table", field!(Flows, seen))
        .absent(NO_FLOWS)
        .metric("telegen_job_flows_seen_total")
        .row(),
    sum("flows_evicted", Unit::Times, "How often a flow had to leave the flow table", field!(Flows, evicted))
        .absent(NO_FLOWS)
        .metric("telegen_job_flows_evicted_total")
        .row(),
    gauge(
        "flows_distinct_est",
        Unit::Flows,
        "Different flows among the analysed packets, estimated",
        optional!(Flows, distinct.estimate),
    )
    .absent(NO_FLOWS)
    .part(DISTINCT, "estimate")
    .metric("telegen_job_distinct_flows")
    .otlp("telegen.flow.distinct")
    .row(),
    gauge(
        "flows_distinct_err95",
        Unit::Flows,
        "Half the width of the 95 % interval around the number of different flows",
        optional!(Flows, distinct.err95),
    )
    .part(DISTINCT, "err95")
    .beside("flows_distinct_est")
    .metric("telegen_job_distinct_flows_err95")
    .otlp("telegen.flow.distinct_err95")
    .row(),
];

const UNLESS_ALL: Absent = Absent::NotMeasured("unless every packet is copied whole and analysed, with a flow table");
const NO_FLOWS: Absent = Absent::NotMeasured("without a flow table");
