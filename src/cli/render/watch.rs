//! A running job at a glance: a few lines for a terminal, one line for a log.

use jiff::Timestamp;

use super::jobs::time;
use super::number::{bit_rate, bytes, rounded, share, thousands};
use super::{ended, words};
use crate::io::tables::{JobRow, ResultsRow};
use crate::model::job::rfc3339;
use crate::model::report::Results;
use crate::model::schema::{EthClass, IpClass, JobField};

/// Protocols that fit a line.
const TOP: usize = 5;

/// A frame of lines, each ended.
#[must_use]
pub fn watch_frame(job: &JobRow, row: Option<&ResultsRow>, now: Timestamp) -> String {
    let field = |field| job.job_field(field).unwrap_or_default();
    let mut lines = vec![format!(
        "job {} on {} {}: {}{}",
        job.id,
        field(JobField::Port),
        field(JobField::Direction),
        job.status,
        comma(&time(job, now))
    )];
    match row {
        Some(row) => {
            let results = &row.results;
            lines.push(format!("{}    {}", rates(results), totals(results)));
            lines.push(words::coverage(job, row));
            lines.extend(Some(top(results)).filter(|line| !line.is_empty()));
        }
        None => lines.push("nothing has been counted yet".to_owned()),
    }
    if let Some(reason) = job.reason {
        lines.push(format!("{reason}: {}", job.message()));
    }
    lines.extend(job.warnings.iter().map(|warning| format!("warning {warning}: {}", words::warning(*warning))));
    ended(lines)
}

/// One line.
#[must_use]
pub fn watch_line(job: &JobRow, row: Option<&ResultsRow>, now: Timestamp) -> String {
    let mut parts = vec![format!("{} {}", rfc3339(now), job.status)];
    parts.extend(Some(time(job, now)).filter(|time| !time.is_empty()));
    if let Some(row) = row {
        parts.push(rates(&row.results));
        parts.push(totals(&row.results));
        parts.extend(row.results.coverage.map(|ratio| format!("coverage {}", super::number::percent(ratio))));
        parts.extend(Some(top(&row.results)).filter(|line| !line.is_empty()));
    }
    parts.extend(job.reason.map(|reason| reason.to_string()));
    parts.extend(job.warnings.iter().map(|warning| format!("warning {warning}")));
    parts.join(", ")
}

fn comma(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(", {text}") }
}

fn rates(results: &Results) -> String {
    format!("{} packets/s {}", rounded(results.packets_per_sec), bit_rate(results.bits_per_sec))
}

fn totals(results: &Results) -> String {
    format!("{} packets ({})", thousands(results.total.packets), bytes(results.total.bytes))
}

/// The largest protocols with their share of the packets: IP ones by name, and Ethernet ones that are not IP.
fn top(results: &Results) -> String {
    let ip = IpClass::ALL.iter().zip(results.ip).map(|(class, counter)| match class {
        IpClass::Other | IpClass::Truncated => (format!("ip {class}"), counter.packets),
        _ => (class.to_string(), counter.packets),
    });
    let ethernet = EthClass::ALL
        .iter()
        .zip(results.eth)
        .filter(|(class, _)| !matches!(class, EthClass::Ipv4 | EthClass::Ipv6))
        .map(|(class, counter)| (class.to_string(), counter.packets));
    let mut seen: Vec<(String, u64)> = ip.chain(ethernet).filter(|(_, packets)| *packets > 0).collect();
    seen.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
    let shown =
        seen.iter().take(TOP).map(|(name, packets)| format!("{name} {}", share(*packets, results.total.packets)));
    shown.collect::<Vec<_>>().join(", ")
}
