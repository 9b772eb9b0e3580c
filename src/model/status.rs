//! What is said of a job: its STATE_DB row as a value.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::job::{Fields, JobId, JobSpec, rfc3339};
use super::schema::{JobField, Reason, Source, Status, StatusField, Warning};

/// How a job ended, or is about to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// A final status.
    pub status: Status,
    /// Why; `None` for a job that simply ran its time or was stopped by its user.
    pub reason: Option<Reason>,
    /// One sentence a person can act on; may be empty.
    pub message: String,
}

impl Ending {
    /// Says one thing more.
    pub fn add(&mut self, more: &str) {
        add(&mut self.message, more);
    }

    /// Something went wrong while the job was ending: one that would have been done has failed, any other keeps its first reason.
    pub fn spoil(&mut self, reason: Reason, message: &str) {
        match self.status {
            Status::Done => *self = Ending::failed(reason, message),
            _ => self.add(message),
        }
    }

    /// The job ran its time.
    #[must_use]
    pub fn done() -> Ending {
        Ending { status: Status::Done, reason: None, message: String::new() }
    }

    /// Somebody deleted the row.
    #[must_use]
    pub fn stopped() -> Ending {
        Ending { status: Status::Stopped, reason: None, message: String::new() }
    }

    /// Stopped, but not by the job's user.
    pub fn stopped_by(reason: Reason, message: impl Into<String>) -> Ending {
        Ending { status: Status::Stopped, reason: Some(reason), message: message.into() }
    }

    /// Refused before anything was taken.
    pub fn rejected(reason: Reason, message: impl Into<String>) -> Ending {
        Ending { status: Status::Rejected, reason: Some(reason), message: message.into() }
    }

    /// Ended by trouble after something was taken.
    pub fn failed(reason: Reason, message: impl Into<String>) -> Ending {
        Ending { status: Status::Failed, reason: Some(reason), message: message.into() }
    }

    /// Its time was over before it could run.
    pub fn expired(message: impl Into<String>) -> Ending {
        Ending { status: Status::Expired, reason: None, message: message.into() }
    }
}

fn add(message: &mut String, more: &str) {
    if !message.is_empty() {
        message.push_str("; ");
    }
    message.push_str(more);
}

/// What was refused, and how much of it nothing is said of any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Rows that were refused since the daemon was started.
    pub total: u64,
    /// Those of them that made room for newer ones before their retention ended.
    pub not_kept: u64,
}

/// Everything that is said of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// The row's key, as its user wrote it: a refused one need not be a well-formed [`JobId`].
    pub key: String,
    /// What was asked for; `None` if the row could not be parsed.
    pub spec: Option<JobSpec>,
    /// The row as it came, shown where it could not be parsed.
    pub raw: Fields,
    /// Where the job is.
    pub status: Status,
    /// Why it ended so.
    pub reason: Option<Reason>,
    /// One sentence.
    pub message: String,
    /// What its user should know.
    pub warnings: BTreeSet<Warning>,
    /// The door it came through.
    pub source: Source,
    /// The netdev that is tapped.
    pub tap: Option<String>,
    /// The mirror session, while there is one or if there was one.
    pub mirror_session: Option<String>,
    /// When the daemon took the row up.
    pub created_at: Timestamp,
    /// When counting began.
    pub started_at: Option<Timestamp>,
    /// When it will end, or would have ended.
    pub expires_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

impl JobStatus {
    /// Says one thing more.
    pub fn add(&mut self, more: &str) {
        add(&mut self.message, more);
    }

    /// The job's id, unless the key is none.
    #[must_use]
    pub fn id(&self) -> Option<JobId> {
        JobId::parse(&self.key).ok()
    }

    /// The STATE_DB row: every parsed field, then what the daemon adds. Absent values are left out.
    #[must_use]
    pub fn to_fields(&self) -> Vec<(String, String)> {
        let spec_fields = self.spec.as_ref().map(JobSpec::to_fields).unwrap_or_default();
        let mut row: Vec<(String, String)> = spec_fields
            .into_iter()
            .filter(|(field, _)| *field != JobField::ExpiresAt)
            .map(|(field, value)| (field.table_name(), value))
            .collect();
        if self.spec.is_none() {
            row.extend(self.raw_fields());
        }
        let added = StatusField::ALL.iter().filter_map(|field| Some((field.to_string(), self.added(*field)?)));
        row.extend(added);
        row
    }

    fn added(&self, field: StatusField) -> Option<String> {
        let words = |warnings: &BTreeSet<Warning>| -> Vec<&str> { warnings.iter().map(|w| w.as_str()).collect() };
        match field {
            StatusField::Status => Some(self.status.to_string()),
            StatusField::Reason => self.reason.map(|reason| reason.to_string()),
            StatusField::Message => (!self.message.is_empty()).then(|| self.message.clone()),
            StatusField::Warning => (!self.warnings.is_empty()).then(|| words(&self.warnings).join(",")),
            StatusField::Source => Some(self.source.to_string()),
            StatusField::Tap => self.tap.clone(),
            StatusField::MirrorSession => self.mirror_session.clone(),
            StatusField::CreatedAt => Some(rfc3339(self.created_at)),
            StatusField::StartedAt => self.started_at.map(rfc3339),
            StatusField::ExpiresAt => self.expires_at.map(rfc3339),
            StatusField::EndedAt => self.ended_at.map(rfc3339),
        }
    }

    /// The known fields of a row that could not be parsed, so that its user recognises it.
    fn raw_fields(&self) -> impl Iterator<Item = (String, String)> {
        self.raw.iter().filter_map(|(name, value)| {
            let field = JobField::from_word(name.strip_suffix('@').unwrap_or(name))?;
            (field != JobField::ExpiresAt).then(|| (field.table_name(), super::value::printable(value)))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::JobStatus;
    use crate::model::job::{Fields, JobSpec};
    use crate::model::schema::{JobField, Reason, Source, Status, StatusField, Warning};
    use crate::model::settings::Settings;

    fn instant(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    fn row(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn status(raw: Fields, spec: Option<JobSpec>) -> JobStatus {
        JobStatus {
            key: "a".to_owned(),
            spec,
            raw,
            status: Status::Failed,
            reason: Some(Reason::MirrorLost),
            message: "gone".to_owned(),
            warnings: BTreeSet::from([Warning::PortDown, Warning::NoCopies]),
            source: Source::Appl,
            tap: Some("cpu120".to_owned()),
            mirror_session: Some("telegen_a".to_owned()),
            created_at: instant("2024-10-04T00:00:00.1234Z"),
            started_at: Some(instant("2024-10-04T02:00:01+02:00")),
            expires_at: Some(instant("2024-10-04T00:02:01Z")),
            ended_at: Some(instant("2024-10-04T00:00:59.9999Z")),
        }
    }

    fn shown(status: &JobStatus) -> Vec<String> {
        status.to_fields().into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn one_thing_more_stands_behind_what_was_said_and_alone_otherwise() {
        let mut status = status(Fields::new(), None);
        status.add("and stays away");
        assert_eq!(status.message, "gone; and stays away");
        status.message.clear();
        status.add("it stays away");
        assert_eq!(status.message, "it stays away");
    }

    #[test]
    fn a_row_has_every_parsed_field_in_its_canonical_form_and_then_what_the_daemon_adds() {
        let every = [
            ("port", "Ethernet0"),
            ("direction", "both"),
            ("span_method", "none"),
            ("duration", "060"),
            ("sample_rate", "1"),
            ("mirror_sample_rate", "50"),
            ("mirror_truncate", "128"),
            ("vlan", "7"),
            ("ip_proto", "6, UDP"),
            ("l4_sport@", "1-2"),
            ("l4_dport", "443"),
            ("src_cidr", "10.1.2.3/8"),
            ("dst_cidr", "10.9.9.9"),
            ("dscp", "46"),
            ("inner", "true"),
            ("result_detail", "summary"),
            ("otlp_export", "false"),
            ("anonymize", "true"),
            ("expires_at", "2024-10-05T00:00:00Z"),
            ("description", "why not"),
            ("owner", "me"),
        ];
        assert_eq!(every.len(), JobField::COUNT);
        let raw = row(&every);
        let spec = JobSpec::parse(&raw, &Settings::default()).expect("a well-formed job");
        let expected = [
            "port=Ethernet0",
            "direction=both",
            "span_method=none",
            "duration=60",
            "sample_rate=1",
            "mirror_sample_rate=50",
            "mirror_truncate=128",
            "vlan=7",
            "ip_proto@=tcp,udp",
            "l4_sport@=1-2",
            "l4_dport@=443",
            "src_cidr=10.0.0.0/8",
            "dst_cidr=10.9.9.9/32",
            "dscp@=46",
            "inner=true",
            "result_detail=summary",
            "otlp_export=false",
            "anonymize=true",
            "description=why not",
            "owner=me",
            "status=failed",
            "reason=mirror_lost",
            "message=gone",
            "warning=no_copies,port_down",
            "source=appl",
            "tap=cpu120",
            "mirror_session=telegen_a",
            "created_at=2024-10-04T00:00:00.123Z",
            "started_at=2024-10-04T00:00:01.000Z",
            "expires_at=2024-10-04T00:02:01.000Z",
            "ended_at=2024-10-04T00:00:59.999Z",
        ];
        // expires_at is in both lists and shown once: as the daemon computed it.
        assert_eq!(expected.len(), JobField::COUNT + StatusField::COUNT - 1);
        assert_eq!(shown(&status(raw, Some(spec))), expected);
    }

    #[test]
    fn what_is_not_known_is_left_out_rather_than_empty() {
        let bare = JobStatus {
            status: Status::Queued,
            reason: None,
            message: String::new(),
            warnings: BTreeSet::new(),
            tap: None,
            mirror_session: None,
            started_at: None,
            expires_at: None,
            ended_at: None,
            ..status(Fields::new(), None)
        };
        assert_eq!(shown(&bare), ["status=queued", "source=appl", "created_at=2024-10-04T00:00:00.123Z"]);
    }

    #[test]
    fn a_row_that_could_not_be_parsed_shows_its_known_fields_and_no_control_characters() {
        let raw =
            row(&[("port", "Eth\u{1b}[2J"), ("dscp@", "64"), ("zzz", "1"), ("expires_at", "soon"), ("NULL", "NULL")]);
        let shown = shown(&status(raw, None));
        assert_eq!(shown[..3], ["dscp@=64", "port=Eth\u{fffd}[2J", "status=failed"]);
    }
}
