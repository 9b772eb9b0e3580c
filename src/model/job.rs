//! A job as its user wrote it, parsed: after [`JobSpec::parse`] illegal values cannot be expressed.
//!
//! The only place that knows what a job row may say. What the switch can do is `admission`'s business, how the job lives is
//! the `supervisor`'s.

mod id;
mod row;

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;

use super::filter::{Filter, PortRange};
use super::kind::Kind;
use super::schema::{JobField, Reason, words};
use super::settings::Settings;
use super::source_ports::SourcePorts;
use super::value::{FieldError, ip_protocol_name};
pub use crate::row::Fields;
pub use id::JobId;
use row::{Row, reader};
pub use row::{no_hash, too_large};

words! {
    /// Which of the port's traffic is observed, seen from the switch.
    Direction { Ingress = "ingress", Egress = "egress", Both = "both" }
}

impl Direction {
    /// The single directions that it stands for.
    #[must_use]
    pub const fn each(self) -> &'static [Direction] {
        match self {
            Direction::Ingress => &[Direction::Ingress],
            Direction::Egress => &[Direction::Egress],
            Direction::Both => &[Direction::Ingress, Direction::Egress],
        }
    }

    /// Whether the two have a single direction in common.
    #[must_use]
    pub fn overlaps(self, other: Direction) -> bool {
        self.each().iter().any(|single| other.each().contains(single))
    }
}

words! {
    /// How the traffic reaches the tap.
    SpanMethod {
        /// A SPAN session to a port of the pool.
        Span = "span",
        /// An ERSPAN session: copies come in GRE to the address and netdev of the `erspan_*` settings.
        Erspan = "erspan",
        /// No session: the port's own netdev, so CPU-bound traffic only.
        None = "none",
    }
}

words! {
    /// How much a job finds out.
    ResultDetail {
        /// Totals and protocols.
        Summary = "summary",
        /// Flows and histograms too.
        Flows = "flows",
    }
}

/// What one job is to observe, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// What the job is, where its row says so; `None`: `kind::DEFAULT`.
    pub kind: Option<Kind>,
    /// PORTs and PORTCHANNELs; whether they exist is not known here.
    pub ports: SourcePorts,
    /// Which of the port's traffic.
    pub direction: Direction,
    /// How it reaches the tap.
    pub span_method: SpanMethod,
    /// How long, from the moment the job runs.
    pub duration: Duration,
    /// 1 of this many packets is analysed.
    pub sample_rate: NonZeroU32,
    /// The ASIC copies 1 of this many packets; `None`: every one.
    pub mirror_sample_rate: Option<NonZeroU32>,
    /// The ASIC cuts copies to this many bytes; `None`: they stay whole.
    pub mirror_truncate: Option<u16>,
    /// Which packets count.
    pub filter: Filter,
    /// Whether it looks into tunnels: filter and flows then speak of what is inside of them, where there is something.
    pub inner: bool,
    /// How much is found out.
    pub result_detail: ResultDetail,
    /// Whether the job's metrics go to the collector.
    pub otlp_export: bool,
    /// Whether addresses leave the daemon only as keyed hashes.
    pub anonymize: bool,
    /// Nothing of this job runs past this instant.
    pub expires_at: Option<Timestamp>,
    /// Shown, never interpreted.
    pub description: Option<String>,
    /// Shown, never interpreted.
    pub owner: Option<String>,
}

impl JobSpec {
    /// Parses a row. `NULL` fields are ignored; lists are read as `name@` or `name`.
    ///
    /// # Errors
    /// The first field that cannot be taken, in the order of [`JobField::ALL`]; before them fields that its kind does
    /// not have, and then those that it lacks.
    pub fn parse(fields: &Fields, settings: &Settings) -> Result<JobSpec, FieldError> {
        let row = Row::new(fields)?;
        match row.kind {
            Kind::Traffic => JobSpec::traffic(&row, settings),
        }
    }

    fn traffic(row: &Row<'_>, settings: &Settings) -> Result<JobSpec, FieldError> {
        let spec = JobSpec {
            kind: row.word(JobField::Kind, Kind::from_word)?,
            // It is there: the kind needs it.
            ports: reader(JobField::Port).ports(row.get(JobField::Port).unwrap_or_default())?,
            direction: row.or_default(JobField::Direction, |reader, text| reader.word(text, Direction::from_word))?,
            span_method: row.word(JobField::SpanMethod, SpanMethod::from_word)?.unwrap_or(settings.span_method),
            duration: row
                .one(JobField::Duration, |reader, text| reader.integer(text))?
                .map_or(settings.default_duration, Duration::from_secs),
            sample_rate: row
                .one(JobField::SampleRate, |reader, text| reader.integer(text))?
                .and_then(NonZeroU32::new)
                .unwrap_or(settings.default_sample_rate),
            mirror_sample_rate: row
                .one(JobField::MirrorSampleRate, |reader, text| reader.integer(text))?
                .and_then(NonZeroU32::new),
            mirror_truncate: row.one(JobField::MirrorTruncate, |reader, text| reader.integer(text))?,
            filter: row.filter()?,
            inner: row.or_default(JobField::Inner, |reader, text| reader.boolean(text))?,
            result_detail: row
                .or_default(JobField::ResultDetail, |reader, text| reader.word(text, ResultDetail::from_word))?,
            otlp_export: row.or_default(JobField::OtlpExport, |reader, text| reader.boolean(text))?,
            anonymize: row.or_default(JobField::Anonymize, |reader, text| reader.boolean(text))?,
            expires_at: row.one(JobField::ExpiresAt, |reader, text| reader.timestamp(text))?,
            description: row.one(JobField::Description, |reader, text| reader.text(text))?,
            owner: row.one(JobField::Owner, |reader, text| reader.text(text))?,
        };
        spec.check_together()?;
        Ok(spec)
    }

    /// What no field says alone.
    fn check_together(&self) -> Result<(), FieldError> {
        let refuse = |field: JobField, message: String| {
            Err(FieldError { reason: Reason::InvalidField, field: field.to_string(), message })
        };
        if self.span_method == SpanMethod::None && self.ports.only().is_none() {
            let message = format!(
                "port: span_method none taps the one network device of a port, and \"{}\" are several; give one port, or another span_method",
                self.ports
            );
            return refuse(JobField::Port, message);
        }
        if self.sample_rate.checked_mul(self.mirror_factor()).is_none() {
            let message = format!(
                "mirror_sample_rate: {} times the sample_rate of {} is more than 4294967295; give smaller ones",
                self.mirror_factor(),
                self.sample_rate
            );
            return refuse(JobField::MirrorSampleRate, message);
        }
        Ok(())
    }

    /// Each copy stands for this many packets of the port.
    #[must_use]
    pub fn mirror_factor(&self) -> NonZeroU32 {
        self.mirror_sample_rate.unwrap_or(NonZeroU32::MIN)
    }

    /// Each analysed packet stands for this many of the port: what the mirror and the tap leave out, together.
    #[must_use]
    pub fn analysis_factor(&self) -> NonZeroU32 {
        // `check_together` has seen to it that there is a product.
        self.sample_rate.saturating_mul(self.mirror_factor())
    }

    /// Every field that has a value, in its canonical form and the order of [`JobField::ALL`].
    #[must_use]
    pub fn to_fields(&self) -> Vec<(JobField, String)> {
        JobField::ALL.iter().filter_map(|field| Some((*field, self.field(*field)?))).collect()
    }

    fn field(&self, field: JobField) -> Option<String> {
        let filter = &self.filter;
        match field {
            JobField::Kind => self.kind.map(|kind| kind.to_string()),
            JobField::Port => Some(self.ports.to_string()),
            JobField::Direction => Some(self.direction.to_string()),
            JobField::SpanMethod => Some(self.span_method.to_string()),
            JobField::Duration => Some(self.duration.as_secs().to_string()),
            JobField::SampleRate => Some(self.sample_rate.to_string()),
            JobField::MirrorSampleRate => self.mirror_sample_rate.map(|rate| rate.to_string()),
            JobField::MirrorTruncate => self.mirror_truncate.map(|bytes| bytes.to_string()),
            JobField::Vlan => filter.vlan.map(|vlan| vlan.get().to_string()),
            JobField::IpProto => joined(filter.ip_protos.iter().map(|number| ip_protocol_name(*number))),
            JobField::L4Sport => joined(filter.l4_sports.iter().copied().map(port_range)),
            JobField::L4Dport => joined(filter.l4_dports.iter().copied().map(port_range)),
            JobField::SrcCidr => filter.src_cidr.map(|net| net.to_string()),
            JobField::DstCidr => filter.dst_cidr.map(|net| net.to_string()),
            JobField::Dscp => joined(filter.dscps.iter().map(|dscp| dscp.get().to_string())),
            JobField::Inner => Some(self.inner.to_string()),
            JobField::ResultDetail => Some(self.result_detail.to_string()),
            JobField::OtlpExport => Some(self.otlp_export.to_string()),
            JobField::Anonymize => Some(self.anonymize.to_string()),
            JobField::ExpiresAt => self.expires_at.map(rfc3339),
            JobField::Description => self.description.clone(),
            JobField::Owner => self.owner.clone(),
        }
    }
}

/// RFC 3339, UTC, milliseconds: the one form in which instants leave the daemon.
#[must_use]
pub fn rfc3339(instant: Timestamp) -> String {
    format!("{instant:.3}")
}

fn joined(texts: impl Iterator<Item = String>) -> Option<String> {
    let texts: Vec<String> = texts.collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

fn port_range(range: PortRange) -> String {
    if range.lo() == range.hi() { range.lo().to_string() } else { format!("{}-{}", range.lo(), range.hi()) }
}

#[cfg(test)]
mod tests;
