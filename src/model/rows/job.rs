//! `TELEGEN_JOB_TABLE` of STATE_DB: what is said of a job. Written of a [`JobStatus`]; read as a [`JobRow`] by whoever
//! shows it, and as a [`Prior`] by the next daemon.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Row, RowError};
use crate::model::job::{Fields, JobSpec, rfc3339};
use crate::model::kind;
use crate::model::schema::{JobField, Reason, Source, Status, StatusField, Warning, state_db};
use crate::model::status::JobStatus;
use crate::model::supervisor::Prior;
use crate::model::value::{items, printable};
use crate::row::{base_name, join_list};

impl JobStatus {
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
            StatusField::Warning => (!self.warnings.is_empty()).then(|| join_list(words(&self.warnings))),
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
            let field = JobField::from_word(base_name(name).0)?;
            (field != JobField::ExpiresAt).then(|| (field.table_name(), printable(value)))
        })
    }
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// The job's id, as its user wrote it.
    pub id: String,
    /// Where it is.
    pub status: Status,
    /// Why it ended so.
    pub reason: Option<Reason>,
    /// What its user should know.
    pub warnings: Vec<Warning>,
    /// Every field of the row as it stands.
    pub fields: Fields,
}

impl JobRow {
    /// Reads a row.
    ///
    /// # Errors
    /// `status`, `reason` or `warning` hold a word that this version does not know.
    pub fn parse(id: &str, fields: Fields) -> Result<JobRow, RowError> {
        let row = Row { table: state_db::JOB, key: id, fields: &fields };
        let status = row.word(StatusField::Status.as_str(), Status::from_word, "a job's status")?;
        let status = status.ok_or_else(|| row.error(StatusField::Status.as_str(), "a job's status"))?;
        let reason = row.word(StatusField::Reason.as_str(), Reason::from_word, "a reason")?;
        let named = row.text(StatusField::Warning.as_str()).unwrap_or_default();
        let warnings: Option<Vec<Warning>> = items(named).map(Warning::from_word).collect();
        let warnings = warnings.ok_or_else(|| row.error(StatusField::Warning.as_str(), "a list of warnings"))?;
        Ok(JobRow { id: id.to_owned(), status, reason, warnings, fields })
    }

    /// One of the job's own fields; `None` if it is absent or empty.
    #[must_use]
    pub fn job_field(&self, field: JobField) -> Option<&str> {
        let value = self.fields.get(&field.table_name()).or_else(|| self.fields.get(field.as_str()));
        value.map(String::as_str).filter(|value| !value.is_empty())
    }

    /// What the job is: a row says it where the job's user did.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.job_field(JobField::Kind).unwrap_or(kind::DEFAULT.as_str())
    }

    /// One of the fields that the daemon adds; `None` if it is absent or empty.
    #[must_use]
    pub fn added(&self, field: StatusField) -> Option<&str> {
        self.fields.get(field.as_str()).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The sentence that explains the status; empty if there is none.
    #[must_use]
    pub fn message(&self) -> &str {
        self.added(StatusField::Message).unwrap_or_default()
    }

    /// The instant in `field`; `None` if it is absent or unreadable.
    #[must_use]
    pub fn instant(&self, field: StatusField) -> Option<Timestamp> {
        self.added(field)?.parse().ok()
    }
}

/// What an earlier daemon said of a job; `None` for a row that no daemon wrote.
#[must_use]
pub fn prior(row: &Fields) -> Option<Prior> {
    let instant = |field: StatusField| row.get(field.as_str()).and_then(|text| text.parse::<Timestamp>().ok());
    let is_own = |name: &str| JobField::from_word(base_name(name).0).is_some();
    Some(Prior {
        status: Status::from_word(row.get(StatusField::Status.as_str())?)?,
        source: row
            .get(StatusField::Source.as_str())
            .and_then(|word| Source::from_word(word))
            .unwrap_or(Source::Config),
        created_at: instant(StatusField::CreatedAt),
        started_at: instant(StatusField::StartedAt),
        ended_at: instant(StatusField::EndedAt),
        fields: row
            .iter()
            .filter(|(name, _)| is_own(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    })
}

impl Row<'_> {
    fn word<T>(
        &self,
        field: &str,
        from_word: fn(&str) -> Option<T>,
        expected: &'static str,
    ) -> Result<Option<T>, RowError> {
        self.text(field).map(|text| from_word(text).ok_or_else(|| self.error(field, expected))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            ("kind", "traffic"),
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
            "kind=traffic",
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

    #[test]
    fn a_row_is_read_back_as_the_status_it_was_made_of() {
        let until = "2024-10-04T00:02:01Z";
        let raw = row(&[("port", "Ethernet0"), ("duration", "60"), ("dscp@", "46"), ("expires_at", until)]);
        let spec = JobSpec::parse(&raw, &Settings::default()).expect("a well-formed job");
        let status = status(raw, Some(spec.clone()));
        let fields: Fields = status.to_fields().into_iter().collect();
        let read = JobRow::parse("a", fields.clone()).expect("our own row");
        assert_eq!((read.id.as_str(), read.status, read.reason), ("a", status.status, status.reason));
        assert_eq!(read.warnings.iter().copied().collect::<BTreeSet<_>>(), status.warnings);
        assert_eq!((read.message(), read.added(StatusField::Tap)), ("gone", status.tap.as_deref()));
        let second = |instant: Option<Timestamp>| instant.map(Timestamp::as_second);
        for (field, instant) in [
            (StatusField::CreatedAt, Some(status.created_at)),
            (StatusField::StartedAt, status.started_at),
            (StatusField::ExpiresAt, status.expires_at),
            (StatusField::EndedAt, status.ended_at),
        ] {
            assert_eq!(second(read.instant(field)), second(instant), "{field}");
        }
        // What the next daemon takes over of it is the same job.
        let prior = prior(&fields).expect("a daemon's row");
        assert_eq!((prior.status, prior.source), (status.status, status.source));
        assert_eq!(second(prior.ended_at), second(status.ended_at));
        assert_eq!(JobSpec::parse(&prior.fields, &Settings::default()), Ok(spec));
    }

    #[test]
    fn a_job_row_says_status_reason_and_warnings_and_keeps_every_field() {
        let pairs =
            [("status", "failed"), ("reason", "mirror_lost"), ("warning", "no_copies,port_down"), ("dscp@", "46")];
        let row = JobRow::parse("a", row(&pairs)).expect("a row");
        assert_eq!((row.status, row.reason), (Status::Failed, Some(Reason::MirrorLost)));
        assert_eq!(row.warnings, [Warning::NoCopies, Warning::PortDown]);
        assert_eq!((row.job_field(JobField::Dscp), row.message()), (Some("46"), ""));
    }

    #[test]
    fn a_word_of_another_version_is_an_error_that_names_it() {
        let error = JobRow::parse("a", row(&[("status", "paused")])).unwrap_err();
        let expected = "TELEGEN_JOB_TABLE|a: status: \"paused\" is not a job's status";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(JobRow::parse("a", Fields::new()).unwrap_err().value, "");
    }
}
