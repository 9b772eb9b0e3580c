//! From readings of a tap and polls of the port's counters to what is reported of a job. Pure: one [`Aggregator`] per job, time
//! comes in with the values.
//!
//! Totals pass through unchanged: they are exact. What is estimated here, and only here: rates, coverage, flows.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use siphasher::sip::SipHasher24;

use super::job::{Direction, JobSpec, ResultDetail};
use super::report::{Detail, Estimate, FlowRow, Flows, Results, Thinning};
use super::sample::{Counter, Flow, FlowTable, Sample};
use super::schema::{ErrorKind, HistogramName, Warning};
use super::traffic::Traffic;

/// The port's counter grew by this much …
const NO_COPIES_PACKETS: u64 = 100;
/// … in this time, and nothing was delivered: then copies do not reach the tap.
const NO_COPIES_WINDOW: Duration = Duration::from_secs(5);
/// COUNTERS_DB is up to a second behind (SONiC polls ports every second), and our poll up to another: growth within this time
/// after a delivery may be of packets that were delivered.
const COUNTER_LAG: Duration = Duration::from_secs(2);
/// 97.5 % quantile of the normal distribution: half the width of a 95 % interval, in standard deviations.
const NORMAL_95: f64 = 1.96;

/// What COUNTERS_DB said of a job's source ports at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPoll {
    /// `port -> (oid, packets in, packets out)`; a LAG has its members here.
    pub ports: BTreeMap<String, PortCounters>,
}

/// One port's counters. They belong to the oid: another oid counts from zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortCounters {
    /// The counter object.
    pub oid: String,
    /// Unicast and other packets received.
    pub packets_in: u64,
    /// Unicast and other packets sent.
    pub packets_out: u64,
}

/// A poll beside what had been delivered when it was made.
#[derive(Clone, Debug)]
struct Paired {
    at: Duration,
    delivered: u64,
    poll: PortPoll,
}

/// How long nothing has been delivered.
#[derive(Debug, Default)]
struct Silence {
    /// The first poll, or the latest one that saw more delivered than the one before.
    since: Option<Duration>,
    delivered: u64,
    /// The first poll whose counters are certainly later than the last delivery.
    baseline: Option<Paired>,
}

/// The numbers of one job.
#[derive(Debug)]
pub struct Aggregator {
    spec: Arc<JobSpec>,
    topk_flows: usize,
    anonymize_key: [u8; 16],
    opened_ns: u64,
    last: Option<(Sample, Timestamp)>,
    rates: (f64, f64),
    first_poll: Option<Paired>,
    last_poll: Option<Paired>,
    /// Packets of the ports and packets delivered while the job copied other ports than now.
    earlier: (u64, u64),
    /// A counter's oid changed, so coverage is not known any more.
    coverage_lost: bool,
    /// The watch for copies that do not come.
    silence: Silence,
    detail: Option<Arc<Detail>>,
}

impl Aggregator {
    /// For a tap opened at `opened_ns` (`CLOCK_MONOTONIC`). `anonymize_key` is secret and new with every daemon.
    #[must_use]
    pub fn new(spec: Arc<JobSpec>, topk_flows: usize, anonymize_key: [u8; 16], opened_ns: u64) -> Aggregator {
        Aggregator {
            spec,
            topk_flows,
            anonymize_key,
            opened_ns,
            last: None,
            rates: (0.0, 0.0),
            first_poll: None,
            last_poll: None,
            earlier: (0, 0),
            coverage_lost: false,
            silence: Silence::default(),
            detail: None,
        }
    }

    /// The tap was read; `wall` is the time of the reading.
    pub fn sample(&mut self, sample: Sample, wall: Timestamp) {
        if let Some((before, _)) = &self.last {
            let seconds = seconds(sample.taken_at_ns.saturating_sub(before.taken_at_ns));
            if seconds > 0.0 {
                let packets = sample.total.packets.saturating_sub(before.total.packets);
                let bytes = sample.total.bytes.saturating_sub(before.total.bytes);
                self.rates = (float(packets) / seconds, float(bytes) * 8.0 / seconds);
            }
        }
        if sample.flows.is_some() || self.spec.result_detail == ResultDetail::Summary || self.detail.is_none() {
            self.detail = Some(Arc::new(self.detail(&sample, wall)));
        }
        // What the flows come to is in the detail. The table itself can be as large as the tap's maps, and a job's numbers stay long after its
        // end.
        self.last = Some((Sample { flows: None, ..sample }, wall));
    }

    /// The port's counters were polled, at `at` on the steady clock. Returns what the user should be told.
    pub fn poll(&mut self, poll: PortPoll, at: Duration) -> Option<Warning> {
        let delivered = self.last.as_ref().map_or(0, |(sample, _)| sample.delivered.packets);
        let paired = Paired { at, delivered, poll };
        match &self.first_poll {
            None => self.first_poll = Some(paired.clone()),
            Some(first) if grown(&first.poll, &paired.poll, self.spec.direction).is_none() => {
                self.coverage_lost = true;
            }
            Some(_) => self.last_poll = Some(paired.clone()),
        }
        self.watch_for_copies(paired)
    }

    /// The job copies other ports from now on. What was counted between the last poll of those before and the first one of these is left
    /// out of the coverage: copies were missing then.
    pub fn sources_changed(&mut self) {
        if let (Some(first), Some(last)) = (self.first_poll.take(), self.last_poll.take()) {
            match grown(&first.poll, &last.poll, self.spec.direction) {
                Some(packets) => {
                    self.earlier.0 += packets;
                    self.earlier.1 += last.delivered.saturating_sub(first.delivered);
                }
                None => self.coverage_lost = true,
            }
        }
        self.silence = Silence::default();
    }

    /// Nothing delivered for five seconds, while the port's counter grew by enough since the lag was over.
    fn watch_for_copies(&mut self, now: Paired) -> Option<Warning> {
        let silence = &mut self.silence;
        if now.delivered > silence.delivered || silence.since.is_none() {
            *silence = Silence { since: Some(now.at), delivered: now.delivered, baseline: None };
            return None;
        }
        let since = silence.since?;
        let Some(baseline) = &silence.baseline else {
            silence.baseline = (now.at >= since + COUNTER_LAG).then_some(now);
            return None;
        };
        let grown = grown(&baseline.poll, &now.poll, self.spec.direction).unwrap_or(0);
        // The session makes a copy of 1 in so many, and it takes as many packets more until one would be expected.
        let enough = NO_COPIES_PACKETS * u64::from(self.spec.mirror_factor().get());
        if grown >= enough && now.at >= since + NO_COPIES_WINDOW {
            return Some(Warning::NoCopies);
        }
        if now.at >= baseline.at + NO_COPIES_WINDOW {
            silence.baseline = Some(now);
        }
        None
    }

    /// The latest totals; `None` before the first reading.
    #[must_use]
    pub fn results(&self) -> Option<Results> {
        let (sample, wall) = self.last.as_ref()?;
        let (coverage, thinning) = (self.coverage(), self.thinning());
        Some(Results {
            updated_at: *wall,
            window: Duration::from_nanos(sample.taken_at_ns.saturating_sub(self.opened_ns)),
            traffic: self.traffic(sample),
            sample_rate: self.spec.sample_rate.get(),
            packets_per_sec: self.rates.0,
            bits_per_sec: self.rates.1,
            port_packets: coverage.map(|(port_packets, _)| port_packets),
            coverage: coverage.and_then(|(_, coverage)| coverage),
            thinning,
            estimate: self.estimate(sample.total),
        })
    }

    /// The latest flows and histograms.
    #[must_use]
    pub fn latest_detail(&self) -> Option<Arc<Detail>> {
        self.detail.clone()
    }

    /// Port packets between the first and the last poll, and the share that was delivered of the copies that the session should have made of
    /// them (none if there were none).
    fn coverage(&self) -> Option<(u64, Option<f64>)> {
        if self.coverage_lost {
            return None;
        }
        let (mut port_packets, mut delivered) = self.earlier;
        match (&self.first_poll, &self.last_poll) {
            (Some(first), Some(last)) => {
                port_packets += grown(&first.poll, &last.poll, self.spec.direction)?;
                delivered += last.delivered.saturating_sub(first.delivered);
            }
            (_, None) | (None, _) if self.earlier == (0, 0) => return None,
            (_, None) | (None, _) => {}
        }
        let expected = float(port_packets) / f64::from(self.spec.mirror_factor().get());
        Some((port_packets, (port_packets > 0).then(|| float(delivered) / expected)))
    }

    fn thinning(&self) -> Option<Thinning> {
        let (sample_rate, truncate) = (self.spec.mirror_factor().get(), self.spec.mirror_truncate);
        (sample_rate > 1 || truncate.is_some()).then_some(Thinning { sample_rate, truncate })
    }

    fn estimate(&self, total: Counter) -> Option<Estimate> {
        let rate = u64::from(self.spec.mirror_sample_rate?.get());
        Some(Estimate {
            packets: total.packets * rate,
            bytes: self.spec.mirror_truncate.is_none().then_some(total.bytes * rate),
            packets_err95: packets_err95(total.packets, 0, rate),
        })
    }

    /// What was counted, but for what the mirror's thinning makes meaningless.
    fn traffic(&self, sample: &Sample) -> Traffic {
        let mut traffic = sample.traffic.clone();
        // Of a sampled or cut mirror, segments and gaps are missing that were never lost.
        if self.thinning().is_some() {
            traffic.segments = None;
        }
        // Where copies are cut, that a header ends early or contradicts the length is the mirror's doing: it is not
        // counted.
        if self.spec.mirror_truncate.is_some() {
            for kind in
                [ErrorKind::TruncatedEth, ErrorKind::TruncatedIp, ErrorKind::TruncatedL4, ErrorKind::MalformedIp]
            {
                traffic.errors[kind as usize] = 0;
            }
        }
        traffic
    }

    fn detail(&self, sample: &Sample, wall: Timestamp) -> Detail {
        // Copies of a sampled mirror follow each other at another distance than the packets did.
        let interarrival = self.spec.mirror_sample_rate.is_none();
        let interarrival = interarrival.then(|| (HistogramName::Interarrival, sample.interarrival.clone()));
        let sizes = (HistogramName::PacketSize, sample.packet_size.clone());
        Detail {
            updated_at: wall,
            sample_rate: self.spec.analysis_factor().get(),
            mirror_sample_rate: self.spec.mirror_factor().get(),
            flows: sample.flows.as_ref().map(|table| self.flows(table, sample.taken_at_ns, wall)),
            histograms: std::iter::once(sizes).chain(interarrival).collect(),
        }
    }

    fn flows(&self, table: &FlowTable, taken_at_ns: u64, wall: Timestamp) -> Flows {
        let mut ranked: Vec<&Flow> = table.flows.iter().collect();
        // The key breaks ties, so that a flow does not wander between ranks without reason.
        ranked.sort_by_key(|flow| (std::cmp::Reverse(flow.packets + flow.base), flow.key));
        let (top, rest) = ranked.split_at(self.topk_flows.min(ranked.len()));
        Flows {
            top: top.iter().map(|flow| self.flow_row(flow, taken_at_ns, wall)).collect(),
            below_top: rest.iter().map(|flow| Counter { packets: flow.packets, bytes: flow.bytes }).sum(),
            other: table.other,
            non_ip: table.non_ip,
            seen: table.seen,
            evicted: table.evicted,
            distinct: table.distinct,
        }
    }

    fn flow_row(&self, flow: &Flow, taken_at_ns: u64, wall: Timestamp) -> FlowRow {
        let rate = u64::from(self.spec.analysis_factor().get());
        let ago = |seen_ns: u64| wall - SignedDuration::from_nanos(signed(taken_at_ns.saturating_sub(seen_ns)));
        FlowRow {
            src: self.address(flow.key.src),
            dst: self.address(flow.key.dst),
            is_ipv6: flow.key.src.is_ipv6(),
            l4_sport: flow.key.sport,
            l4_dport: flow.key.dport,
            ip_proto: flow.key.ip_proto,
            vlan: flow.key.vlan,
            analysed: Counter { packets: flow.packets, bytes: flow.bytes },
            estimated: Counter { packets: flow.packets * rate, bytes: flow.bytes * rate },
            packets_err95: packets_err95(flow.packets, flow.base, rate),
            first_seen: ago(flow.first_seen_ns),
            last_seen: ago(flow.last_seen_ns),
        }
    }

    /// The address, or 16 hexadecimal digits of its keyed hash: equal addresses stay equal within one daemon's life, and
    /// nobody without the key can tell which they were.
    fn address(&self, address: IpAddr) -> String {
        if !self.spec.anonymize {
            return address.to_string();
        }
        let mut hasher = SipHasher24::new_with_key(&self.anonymize_key);
        match address {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        format!("anon-{:016x}", hasher.finish())
    }
}

/// Half the width of the 95 % interval of a flow's packets when 1 of `rate` was analysed and `analysed` of them were its.
///
/// `rate` is of sampling by the mirror and by the tap together: two independent choices, 1 of N and 1 of M, are one of 1 in NM.
/// Sampling: 1.96 standard deviations of the binomial estimate, `sqrt(c (1 - 1/N))` analysed packets (the sFlow rule
/// `196 sqrt(1/c) %` with the factor for small N, so that it is 0 where every packet is analysed). `base` analysed packets that the
/// flow may have had before it entered the table are added whole.
#[must_use]
pub fn packets_err95(analysed: u64, base: u64, rate: u64) -> u64 {
    let (count, per) = (float(analysed), float(rate));
    let sampling = NORMAL_95 * (count * (1.0 - 1.0 / per)).sqrt() * per;
    rounded_up(sampling) + base * rate
}

/// What the counters grew by in the job's direction; `None` if an oid changed, a port is missing, or a counter fell.
fn grown(first: &PortPoll, last: &PortPoll, direction: Direction) -> Option<u64> {
    let mut sum = 0;
    for (port, before) in &first.ports {
        let after = last.ports.get(port).filter(|after| after.oid == before.oid)?;
        let packets_in = after.packets_in.checked_sub(before.packets_in)?;
        let packets_out = after.packets_out.checked_sub(before.packets_out)?;
        sum += match direction {
            Direction::Ingress => packets_in,
            Direction::Egress => packets_out,
            Direction::Both => packets_in + packets_out,
        };
    }
    (!first.ports.is_empty()).then_some(sum)
}

fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Counts beyond 2^53 lose their last digits here: rates and shares have no use for them.
#[allow(clippy::cast_precision_loss)]
fn float(value: u64) -> f64 {
    value as f64
}

/// A half-width is never negative, and saturates far beyond any count.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn rounded_up(value: f64) -> u64 {
    value.ceil() as u64
}

#[cfg(test)]
mod tests;
