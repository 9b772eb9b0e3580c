//! The results of a job, for a person at three in the morning: the verdict first, then what it rests on.

use std::fmt::Write;

use super::number::{bit_rate, bytes, counted, duration, rounded, share, thousands};
use super::table::{Column, table};
use super::{Glyphs, health, mix, words};
use crate::io::tables::json::five_tuple;
use crate::io::tables::{HistogramRow, JobReport, JobRow, ResultsRow};
use crate::model::report::{FlowRow, Results};
use crate::model::sample::Counter;
use crate::model::schema::{CounterFamily, HistogramName, JobField, StatusField};

/// Characters of the longest bar.
const BAR: u64 = 40;

/// Everything that is known of what a job saw.
#[must_use]
pub fn results(report: &JobReport, glyphs: Glyphs) -> String {
    let job = &report.job;
    let mut text = match &report.results {
        Some(row) => format!("{}\n", verdict(job, row)),
        None => format!("{}: nothing has been counted\n", subject(job)),
    };
    text.push_str(&status_line(job));
    for warning in &job.warnings {
        let _ = writeln!(text, "warning {warning}: {}", words::warning(*warning));
    }
    let Some(row) = &report.results else { return text };
    text.push_str(&found(report, row, glyphs));
    text
}

/// What was counted, and what it means: all that follows the verdict.
pub(super) fn found(report: &JobReport, row: &ResultsRow, glyphs: Glyphs) -> String {
    let job = &report.job;
    let mut text = filter_line(job, &row.results);
    text.push_str(&thinning_lines(&row.results, glyphs));
    text.push_str(&copies_line(&row.results));
    text.push_str(&health::health(job, &row.results));
    text.push_str(&protocols(&row.results));
    text.push_str(&mix::tunnels_line(job, &row.results));
    text.push_str(&mix::mix(&row.results));
    text.push_str(&flows(&report.flows, row, glyphs));
    for histogram in &report.histograms {
        text.push_str(&bars(histogram, glyphs));
    }
    text
}

fn subject(job: &JobRow) -> String {
    let field = |field| job.job_field(field).unwrap_or_default();
    format!("{} {}", field(JobField::Port), field(JobField::Direction)).trim().to_owned()
}

/// One line: what was observed, how much of it, and how much could not be seen.
fn verdict(job: &JobRow, row: &ResultsRow) -> String {
    amount(&subject(job), &row.results, &words::coverage(job, row))
}

/// What was observed, for how long, how much of it, and what share of all that is.
#[expect(clippy::cast_precision_loss, reason = "rates are shown rounded")]
pub(super) fn amount(subject: &str, results: &Results, coverage: &str) -> String {
    let window = results.window.as_secs_f64();
    let rates = if window > 0.0 {
        let packets = rounded(results.total.packets as f64 / window);
        format!(", {packets} packets/s and {} on average", bit_rate(8.0 * results.total.bytes as f64 / window))
    } else {
        String::new()
    };
    format!(
        "{subject}, {}: {} packets ({}){rates}; {coverage}",
        duration(results.window),
        thousands(results.total.packets),
        bytes(results.total.bytes)
    )
}

fn status_line(job: &JobRow) -> String {
    let mut line = format!("job {}: {}", job.id, job.status);
    if let Some(reason) = job.reason {
        let _ = write!(line, ", {reason}");
    }
    if !job.message().is_empty() {
        let _ = write!(line, ": {}", job.message());
    }
    if !job.status.is_final()
        && let (Some(_), Some(until)) = (job.added(StatusField::StartedAt), job.added(StatusField::ExpiresAt))
    {
        let _ = write!(line, " until {until}");
    }
    line.push('\n');
    line
}

/// With a filter, the totals are a part of what arrived.
fn filter_line(job: &JobRow, results: &Results) -> String {
    const FILTERS: [JobField; 7] = [
        JobField::Vlan,
        JobField::IpProto,
        JobField::L4Sport,
        JobField::L4Dport,
        JobField::SrcCidr,
        JobField::DstCidr,
        JobField::Dscp,
    ];
    let filters: Vec<String> =
        FILTERS.iter().filter_map(|field| Some(format!("{field} {}", job.job_field(*field)?))).collect();
    if filters.is_empty() {
        return String::new();
    }
    let inside =
        if job.job_field(JobField::Inner) == Some("true") { ", inside of tunnels where there are any" } else { "" };
    format!(
        "filter {}{inside}: {} of {} packets that arrived passed it\n",
        filters.join(", "),
        thousands(results.total.packets),
        thousands(results.delivered.packets)
    )
}

/// A sampled or cut mirror makes the numbers those of copies: that comes before any of them is read.
fn thinning_lines(results: &Results, glyphs: Glyphs) -> String {
    let Some(thinning) = results.thinning else { return String::new() };
    let mut text = String::new();
    if let Some(estimate) = results.estimate {
        let bytes = estimate.bytes.map(|count| format!(" ({})", bytes(count))).unwrap_or_default();
        let _ = writeln!(
            text,
            "the ASIC copied 1 of {} packets, and all counts are of copies: about {} {}{} packets{bytes} of the port",
            thousands(u64::from(thinning.sample_rate)),
            thousands(estimate.packets),
            glyphs.pick("±", "+/-"),
            thousands(estimate.packets_err95)
        );
    }
    if let Some(limit) = thinning.truncate {
        let _ = writeln!(
            text,
            "copies are cut to {limit} B: bytes and lengths are of what is left, and headers that end early are not counted as errors"
        );
    }
    text
}

/// What is known of the copies themselves, where they come encapsulated.
fn copies_line(results: &Results) -> String {
    let Some(copies) = results.copies else { return String::new() };
    let sent = results.delivered.packets + copies.unreadable + copies.lost.unwrap_or_default();
    let lost = match copies.lost {
        None => "whether some were lost on the way is not known, they have no sequence numbers".to_owned(),
        Some(0) => "none was lost on the way".to_owned(),
        Some(lost) => {
            format!("{} were lost on the way ({} of those sent)", thousands(lost), share(lost, sent))
        }
    };
    match copies.unreadable {
        0 => format!("copies: {lost}\n"),
        unreadable => format!("copies: {lost}; {} held no frame that could be read\n", thousands(unreadable)),
    }
}

fn protocols(results: &Results) -> String {
    let heading = |family| match family {
        CounterFamily::Eth => "ETHERNET",
        CounterFamily::Ip => "IP",
        CounterFamily::Service => "SERVICE",
        CounterFamily::Tunnel => "TUNNEL",
        CounterFamily::Inner => "IN TUNNELS",
    };
    let classes = |family: &CounterFamily| classes(heading(*family), family.seen(results), results.total);
    CounterFamily::ALL.iter().map(classes).collect()
}

/// The classes that occurred, largest first, with their share of all packets and bytes.
fn classes(heading: &'static str, mut seen: Vec<(&str, Counter)>, total: Counter) -> String {
    if seen.is_empty() {
        return String::new();
    }
    seen.sort_by_key(|(_, counter)| std::cmp::Reverse(counter.packets));
    let columns = [
        Column::Left(heading),
        Column::Right("PACKETS"),
        Column::Right("SHARE"),
        Column::Right("BYTES"),
        Column::Right("SHARE"),
    ];
    let rows = seen.into_iter().map(|(name, counter)| {
        vec![
            name.to_owned(),
            thousands(counter.packets),
            share(counter.packets, total.packets),
            thousands(counter.bytes),
            share(counter.bytes, total.bytes),
        ]
    });
    format!("\n{}", table(&columns, rows))
}

fn flows(flows: &[FlowRow], row: &ResultsRow, glyphs: Glyphs) -> String {
    if flows.is_empty() {
        return String::new();
    }
    let columns = [
        Column::Right("#"),
        Column::Left("FLOW"),
        Column::Right("VLAN"),
        Column::Right("PACKETS"),
        Column::Right("SHARE"),
        Column::Right("BYTES"),
    ];
    let rows = flows.iter().enumerate().map(|(index, flow)| {
        vec![
            (index + 1).to_string(),
            five_tuple(flow).replace("->", glyphs.pick("→", "->")),
            if flow.vlan == 0 { String::new() } else { flow.vlan.to_string() },
            estimate(flow, glyphs),
            share(flow.estimated.packets, row.results.packets_of_port()),
            thousands(flow.estimated.bytes),
        ]
    });
    let mut text = format!("\n{}", table(&columns, rows));
    if row.results.analysis_factor() > 1 {
        let _ = writeln!(
            text,
            "estimates: 1 of {} packets was analysed; {} is half the width of the 95 % interval",
            thousands(row.results.analysis_factor()),
            glyphs.pick("±", "+/-")
        );
    }
    text.push_str(&flows_line(row, glyphs));
    text
}

/// How many flows there were: counted as long as all of them found room, estimated afterwards.
fn flows_line(row: &ResultsRow, glyphs: Glyphs) -> String {
    let among = if row.results.analysis_factor() > 1 { " among the analysed packets" } else { "" };
    let (Some(seen), Some(evicted)) = (row.flows.seen, row.flows.evicted) else { return String::new() };
    if evicted == 0 {
        return format!("{}{among}\n", counted(seen, "different flow"));
    }
    let different = match row.flows.distinct {
        Some(distinct) => {
            let error = format!("{}{}", glyphs.pick("±", "+/-"), thousands(distinct.err95));
            format!("about {} {error} different flows{among}", thousands(distinct.estimate))
        }
        None => "more flows than the table holds".to_owned(),
    };
    format!("{different}; {} times one had to make room, so small ones may be missing\n", thousands(evicted))
}

/// `12,300 ±410`; without ± where the count is exact.
fn estimate(flow: &FlowRow, glyphs: Glyphs) -> String {
    let packets = thousands(flow.estimated.packets);
    match flow.packets_err95 {
        0 => packets,
        error => format!("{packets} {}{}", glyphs.pick("±", "+/-"), thousands(error)),
    }
}

/// A histogram as bars, from the first bucket that holds something to the last.
#[expect(clippy::cast_precision_loss, reason = "the mean is shown rounded")]
fn bars(histogram: &HistogramRow, glyphs: Glyphs) -> String {
    let (what, values) = match histogram.name {
        HistogramName::PacketSize => ("packet size", "packet"),
        HistogramName::Interarrival => ("time between packets", "pair"),
    };
    let chosen = match histogram.sample_rate {
        Some(rate @ 2..) => format!(" (1 of {})", thousands(u64::from(rate))),
        Some(0 | 1) | None => String::new(),
    };
    let largest = histogram.counts.iter().copied().max().unwrap_or_default();
    if largest == 0 {
        return String::new();
    }
    let mean = histogram.sum as f64 / histogram.count.max(1) as f64;
    let mut text = format!(
        "\n{what}, {}{chosen}, mean {}\n",
        counted(histogram.count, values),
        quantity(histogram.name, mean, glyphs)
    );
    let is_seen = |count: &u64| *count > 0;
    let first = histogram.counts.iter().position(is_seen).unwrap_or_default();
    let last = histogram.counts.iter().rposition(is_seen).unwrap_or_default();
    let label = |index: usize| match (histogram.bounds.get(index), histogram.bounds.last()) {
        (Some(bound), _) => format!("{} {}", glyphs.pick("≤", "<="), quantity(histogram.name, *bound as f64, glyphs)),
        (None, Some(bound)) => format!("> {}", quantity(histogram.name, *bound as f64, glyphs)),
        (None, None) => "all".to_owned(),
    };
    let labels: Vec<String> = (first..=last).map(label).collect();
    let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or_default();
    let counts = &histogram.counts[first..=last];
    let digits = thousands(largest).len();
    for (label, count) in labels.iter().zip(counts) {
        let (bar, blank) = bar(*count, largest, glyphs);
        let share = share(*count, histogram.count);
        let _ = writeln!(text, "  {label:>width$}  {bar}{blank}  {:>digits$}  {share:>7}", thousands(*count));
    }
    text
}

/// A bar and the blanks behind it. In Unicode with eighths of a character; what is there at all shows at least one.
fn bar(count: u64, largest: u64, glyphs: Glyphs) -> (String, String) {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let scaled = |steps: u64| u128::from(count) * u128::from(steps) / u128::from(largest.max(1));
    let at_least_one = u128::from(count > 0);
    let bar = match glyphs {
        Glyphs::Unicode => {
            let eighths = usize::try_from(scaled(8 * BAR).max(at_least_one)).unwrap_or_default();
            format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
        }
        Glyphs::Ascii => "#".repeat(usize::try_from(scaled(BAR).max(at_least_one)).unwrap_or_default()),
    };
    let blanks = usize::try_from(BAR).unwrap_or_default() - bar.chars().count();
    (bar, " ".repeat(blanks))
}

/// A value of the histogram with its unit.
fn quantity(name: HistogramName, value: f64, glyphs: Glyphs) -> String {
    match name {
        HistogramName::PacketSize => format!("{} B", rounded(value)),
        HistogramName::Interarrival => {
            let (unit, per_unit) = match value {
                value if value < 1e3 => ("ns", 1.0),
                value if value < 1e6 => (glyphs.pick("µs", "us"), 1e3),
                value if value < 1e9 => ("ms", 1e6),
                _ => ("s", 1e9),
            };
            let scaled = value / per_unit;
            let digits = usize::from(scaled < 10.0 && scaled.fract() > 0.0);
            format!("{scaled:.digits$} {unit}")
        }
    }
}
