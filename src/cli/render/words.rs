//! Warnings, errors and coverage in words: what happened, and what that means for the numbers.

use super::number::percent;
use crate::io::tables::{JobRow, ResultsRow};
use crate::model::job::SpanMethod;
use crate::model::schema::{ErrorKind, JobField, Warning};

/// A warning as a sentence with what to do.
pub fn warning(warning: Warning) -> &'static str {
    match warning {
        Warning::NoCopies => {
            "the port counts packets, but no copies arrive: the port in TELEGEN_MIRROR_PORT does not return them to the CPU, or orchagent \
             does not answer; see show mirror_session"
        }
        Warning::ChangeIgnored => {
            "a field other than duration was changed while the job ran; the change has no effect, start another job for it"
        }
        Warning::SessionUnconfirmed => {
            "orchagent did not confirm the removal of the mirror session within 5 s; see show mirror_session, and whether swss runs"
        }
        Warning::PortDown => "the port is down: there may be nothing to see",
        Warning::Oversubscribed => {
            "the port is faster than the one that copies are sent to: some are lost when it is busy"
        }
        Warning::LeftBound => {
            "ASIC_DB shows a port that orchagent did not free when the job ended; the job's message says which, and what frees it"
        }
    }
}

/// What was wrong with packets: its name, and what it is.
pub fn error(kind: ErrorKind) -> (&'static str, &'static str) {
    match kind {
        ErrorKind::TruncatedEth => ("truncated Ethernet", "end inside the Ethernet or VLAN header"),
        ErrorKind::TruncatedIp => ("truncated IP", "end inside the IP header"),
        ErrorKind::TruncatedL4 => ("truncated L4", "end inside the TCP, UDP, ICMP or SCTP header"),
        ErrorKind::MalformedIp => ("malformed IP", "an IP header that contradicts the frame"),
        ErrorKind::MalformedL4 => ("malformed L4", "an impossible TCP data offset or UDP length"),
        ErrorKind::ChecksumIp => ("IPv4 checksum", "damaged on the way, or sent wrong"),
        ErrorKind::TooDeep => ("too deep", "more VLAN tags or extension headers than are followed"),
    }
}

/// How much of the port's traffic the numbers speak of.
pub fn coverage(job: &JobRow, results: &ResultsRow) -> String {
    if job.job_field(JobField::SpanMethod) == Some(SpanMethod::None.as_str()) {
        return "coverage unknown: without a mirror session only traffic to and from the CPU is seen".to_owned();
    }
    let Some(ratio) = results.results.coverage else {
        let why = if job.status.is_final() {
            "coverage unknown: the port's counters were not read twice during the job"
        } else {
            "coverage not known yet"
        };
        return why.to_owned();
    };
    let meaning = if results.results.delivered.packets == 0 {
        "no copies arrived; nothing is known of the traffic"
    } else if ratio < 0.9 {
        "copies are rate-limited on the way to the CPU; totals are of what arrived"
    } else if ratio < 0.995 {
        "some copies were lost on the way; totals are of what arrived"
    } else if ratio <= 1.05 {
        "what the port counted has arrived"
    } else {
        "more arrived than the port counted; its counters and the tap are not read at the same moment"
    };
    format!("coverage {}: {meaning}", percent(ratio))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::Fields;

    fn said(job: &[(&str, &str)], coverage_text: &str, delivered: &str) -> String {
        let fields = |pairs: &[(&str, &str)]| -> Fields {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let row = fields(&[
            ("updated_at", "2026-01-31T03:00:00Z"),
            ("coverage", coverage_text),
            ("packets_delivered", delivered),
        ]);
        coverage(&JobRow::parse("a", fields(job)).unwrap(), &ResultsRow::parse("a", &row).unwrap())
    }

    #[test]
    fn coverage_says_what_could_not_be_seen() {
        let running = [("status", "running")];
        assert_eq!(
            said(&running, "0.12", "5"),
            "coverage 12 %: copies are rate-limited on the way to the CPU; totals are of what arrived"
        );
        assert_eq!(
            said(&running, "0.97", "5"),
            "coverage 97 %: some copies were lost on the way; totals are of what arrived"
        );
        assert_eq!(said(&running, "1", "5"), "coverage 100 %: what the port counted has arrived");
        assert_eq!(said(&running, "0", "0"), "coverage 0 %: no copies arrived; nothing is known of the traffic");
        assert_eq!(said(&running, "", "5"), "coverage not known yet");
        assert!(said(&[("status", "done")], "", "5").starts_with("coverage unknown: the port's counters"));
        assert!(
            said(&[("status", "done"), ("span_method", "none")], "", "5").contains("only traffic to and from the CPU")
        );
    }
}
