//! The health of a job's traffic: what is wrong first, then what is worth knowing, then what was not measured and why.
//!
//! Nothing is said of what did not happen, except where that is the answer somebody looks for: no retransmissions, no lost copies.

use super::number::{share, thousands};
use super::table::{Column, table};
use super::words;
use crate::io::tables::JobRow;
use crate::model::job::ResultDetail;
use crate::model::measure::{Among, Scalar, Value, scalars};
use crate::model::report::{FlowCounts, Results};
use crate::model::schema::{ErrorKind, EthClass, IpClass, JobField};
use crate::model::traffic::{Ecn, HealthEvent, Rocev2Op};

/// One line of the table.
struct Finding {
    what: &'static str,
    packets: u64,
    /// The share is of these packets …
    of: u64,
    /// … which are called so.
    among: &'static str,
    means: &'static str,
}

/// The section, with a blank line before it; empty without packets.
pub fn health(job: &JobRow, results: &Results) -> String {
    if results.total.packets == 0 {
        return String::new();
    }
    let wrong = wrong(results);
    let notes = notes(results);
    let mut text = "\n".to_owned();
    // Every frame that is not cut inside of its destination is unicast, multicast or broadcast.
    if results.health.cast.iter().sum::<u64>() == 0 && results.eth[EthClass::Truncated as usize].packets == 0 {
        text.push_str("health: not measured by the version that ran this job, but for broken packets\n");
    } else if wrong.is_empty() {
        text.push_str("health: nothing wrong was seen\n");
    }
    let findings: Vec<Finding> = wrong.into_iter().chain(notes).collect();
    if !findings.is_empty() {
        text.push_str(&findings_table(findings));
    }
    for line in segment_lines(job, results) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn findings_table(findings: Vec<Finding>) -> String {
    let columns = [
        Column::Left("HEALTH"),
        Column::Right("PACKETS"),
        Column::Right("SHARE"),
        Column::Left("OF"),
        Column::Left("MEANS"),
    ];
    let rows = findings.into_iter().map(|finding| {
        let Finding { what, packets, of, among, means } = finding;
        vec![what.to_owned(), thousands(packets), share(packets, of), among.to_owned(), means.to_owned()]
    });
    table(&columns, rows)
}

/// What should not be, the most telling first.
fn wrong(results: &Results) -> Vec<Finding> {
    let event = |event: HealthEvent| results.health.events[event as usize];
    let tcp = results.ip[IpClass::Tcp as usize].packets;
    let ip = ip_packets(results);
    let all = results.total.packets;
    let (ecn, ce) = (&results.health.ecn, Ecn::Ce as usize);
    let ecn_capable = ecn[Ecn::Ect0 as usize] + ecn[Ecn::Ect1 as usize] + ecn[ce];
    let rocev2: u64 = results.health.rocev2.iter().sum();
    let finding = |what, packets, of, among, means| Finding { what, packets, of, among, means };
    let mut findings = vec![
        finding("TCP resets", event(HealthEvent::TcpReset), tcp, "TCP", "refused, or broken off"),
        finding("TCP zero windows", event(HealthEvent::TcpZeroWindow), tcp, "TCP", "a receiver cannot take more"),
        finding(
            "ICMP unreachable",
            event(HealthEvent::IcmpUnreachable),
            all,
            "all",
            "no route, no listener, or a filter that says so",
        ),
        finding("ICMP too big", event(HealthEvent::IcmpTooBig), all, "all", "packets exceed the MTU of their path"),
        finding(
            "ICMP time exceeded",
            event(HealthEvent::IcmpTimeExceeded),
            all,
            "all",
            "a routing loop, or somebody traces routes",
        ),
        finding("TTL 0", event(HealthEvent::Ttl0), ip, "IP", "must not be forwarded"),
        finding("ECN congestion", ecn[ce], ecn_capable, "ECN-capable", "queues on the way were congested"),
        finding(
            "RoCEv2 CNP",
            results.health.rocev2[Rocev2Op::Cnp as usize],
            rocev2,
            "RoCEv2",
            "senders are told to slow down",
        ),
        finding(
            "RoCEv2 congestion",
            results.health.rocev2_ecn[ce],
            rocev2,
            "RoCEv2",
            "marked ECN-CE: the lossless queues fill",
        ),
    ];
    findings.extend(ErrorKind::ALL.iter().map(|kind| {
        let (of, among) = match kind {
            ErrorKind::ChecksumIp => (results.eth[EthClass::Ipv4 as usize].packets, "IPv4"),
            ErrorKind::TruncatedEth
            | ErrorKind::TruncatedIp
            | ErrorKind::TruncatedL4
            | ErrorKind::MalformedIp
            | ErrorKind::MalformedL4
            | ErrorKind::TooDeep => (all, "all"),
        };
        let (what, means) = words::error(*kind);
        finding(what, results.errors[*kind as usize], of, among, means)
    }));
    findings.push(finding("runts", event(HealthEvent::Runt), all, "all", "shorter than Ethernet allows"));
    findings.retain(|finding| finding.packets > 0);
    let mut measured = of_measures(results, true);
    measured.append(&mut findings);
    measured
}

/// The findings among the numbers that a job has once. Of those which are wrong and stand beside one field, all or none
/// are shown: where there is one, the zero of the other is an answer.
fn of_measures(results: &Results, is_wrong: bool) -> Vec<Finding> {
    let packets = |scalar: &Scalar| match scalar.of(results, &FlowCounts::default()) {
        Some(Value::Whole(packets)) => packets,
        Some(Value::Decimal(_) | Value::Instant(_)) | None => 0,
    };
    let findings = || {
        let found = scalars().filter_map(|scalar| Some((scalar, scalar.finding?)));
        found.filter(|(_, finding)| finding.is_wrong == is_wrong)
    };
    let is_shown = |scalar: &Scalar| {
        let beside = |other: &Scalar| is_wrong && other.beside.is_some() && other.beside == scalar.beside;
        packets(scalar) > 0 || findings().any(|(other, _)| beside(other) && packets(other) > 0)
    };
    let shown = findings().filter(|(scalar, _)| is_shown(scalar)).map(|(scalar, finding)| {
        let (of, among) = match finding.among {
            Among::Ip => (ip_packets(results), "IP"),
            Among::TrackedTcp => (results.segments.unwrap_or_default().tracked, "tracked TCP"),
        };
        Finding { what: finding.title, packets: packets(scalar), of, among, means: finding.means }
    });
    shown.collect()
}

/// What may be as it should be.
fn notes(results: &Results) -> Vec<Finding> {
    let event = |event: HealthEvent| results.health.events[event as usize];
    let (all, ip) = (results.total.packets, ip_packets(results));
    let finding = |what, packets, of, among, means| Finding { what, packets, of, among, means };
    let mut findings = vec![
        finding("TTL 1", event(HealthEvent::Ttl1), ip, "IP", "the next router drops it; normal between neighbours"),
        finding("jumbo frames", event(HealthEvent::Jumbo), all, "all", "above 1518 bytes"),
    ];
    findings.retain(|finding| finding.packets > 0);
    findings.extend(of_measures(results, false));
    findings
}

/// What is known of retransmissions where the table does not say it, and what is not.
fn segment_lines(job: &JobRow, results: &Results) -> Vec<String> {
    let Some(segments) = results.segments else {
        return if results.ip[IpClass::Tcp as usize].packets > 0 {
            vec![not_measured(job, results)]
        } else {
            Vec::new()
        };
    };
    let mut lines = Vec::new();
    if segments.tracked > 0 && segments.retransmitted + segments.out_of_order == 0 {
        let tracked = thousands(segments.tracked);
        lines.push(format!("retransmissions: none, and nothing out of order, among {tracked} tracked TCP packets"));
    }
    if segments.untracked > 0 {
        lines.push(format!(
            "retransmissions: not known of {} TCP packets ({}) whose flows were not tracked",
            thousands(segments.untracked),
            share(segments.untracked, segments.tracked + segments.untracked)
        ));
    }
    lines
}

fn not_measured(job: &JobRow, results: &Results) -> String {
    let is_summary = job.job_field(JobField::ResultDetail) == Some(ResultDetail::Summary.as_str());
    let needs = match (results.sample_rate > 1, is_summary) {
        (true, true) => "; needs --sample-rate 1 and --detail flows",
        (true, false) => "; needs --sample-rate 1",
        (false, true) => "; needs --detail flows",
        (false, false) => "",
    };
    format!("retransmissions: not measured{needs}")
}

fn ip_packets(results: &Results) -> u64 {
    results.eth[EthClass::Ipv4 as usize].packets + results.eth[EthClass::Ipv6 as usize].packets
}
