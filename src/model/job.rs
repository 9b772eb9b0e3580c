//! A job as its user wrote it, parsed: after [`JobSpec::parse`] illegal values cannot be expressed.
//!
//! The only place that knows what a job row may say. What the switch can do is `admission`'s business, how the job lives is
//! the `supervisor`'s.

mod id;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;

use super::filter::{Dscp, Filter, PortRange, PortRanges, VlanId};
use super::kind::Kind;
use super::limits::{self, JOB_ROW_BYTES};
use super::schema::{JobField, Reason, words};
use super::settings::Settings;
use super::source_ports::SourcePorts;
use super::value::{FieldError, Reader, describe, ip_protocol_name, items, printable};
pub use crate::row::Fields;
use crate::row::{NULL, base_name};
pub use id::JobId;

/// The field of a row that was too large to be read. No field of a job is called so: a row that holds it is refused in either case.
const TOO_LARGE: &str = "(too large)";

/// The field of a row that is none, because its key holds another type of Redis.
const NO_HASH: &str = "(no hash)";

/// What stands for a row whose key holds something other than a hash.
#[must_use]
pub fn no_hash() -> Fields {
    Fields::from([(NO_HASH.to_owned(), String::new())])
}

/// What stands for a row of more than [`JOB_ROW_BYTES`], so that it is answered as any other that cannot be taken.
#[must_use]
pub fn too_large() -> Fields {
    Fields::from([(TOO_LARGE.to_owned(), String::new())])
}

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

/// A row's fields under their `JobField`s: only fields that its kind has, and all that it needs.
struct Row<'a> {
    kind: Kind,
    fields: BTreeMap<JobField, &'a str>,
}

impl<'a> Row<'a> {
    fn new(fields: &'a Fields) -> Result<Row<'a>, FieldError> {
        if fields.contains_key(TOO_LARGE) {
            let message = format!(
                "row: larger than any job and not read; give the fields of a job only, which take at most {JOB_ROW_BYTES} bytes of Redis' memory"
            );
            return Err(FieldError { reason: Reason::InvalidField, field: "row".to_owned(), message });
        }
        if fields.contains_key(NO_HASH) {
            let message = "row: not a hash; write the fields of a job with HSET".to_owned();
            return Err(FieldError { reason: Reason::InvalidField, field: "row".to_owned(), message });
        }
        let kind = kind_of(fields)?;
        let mut known = BTreeMap::new();
        for (name, value) in fields {
            if name == NULL {
                continue;
            }
            let (base, is_marked) = base_name(name);
            let field = kind.fields().iter().copied();
            let field = field
                .filter(|field| field.is_list() || !is_marked)
                .find(|field| field.as_str() == base)
                .ok_or_else(|| unknown_field(kind, name))?;
            if known.insert(field, value.as_str()).is_some() {
                let message = format!("{field}: given twice, as {field} and {field}@; give one of them");
                return Err(FieldError { reason: Reason::InvalidField, field: field.to_string(), message });
            }
        }
        match kind.needs().iter().find(|field| !known.contains_key(*field)) {
            Some(field) => Err(missing_field(*field)),
            None => Ok(Row { kind, fields: known }),
        }
    }

    fn get(&self, field: JobField) -> Option<&'a str> {
        self.fields.get(&field).copied()
    }

    fn one<T>(
        &self,
        field: JobField,
        read: impl Fn(Reader<'_>, &str) -> Result<T, FieldError>,
    ) -> Result<Option<T>, FieldError> {
        self.get(field).map(|text| read(reader(field), text)).transpose()
    }

    /// The value in the row, or the default of `limits`.
    fn or_default<T>(
        &self,
        field: JobField,
        read: impl Fn(Reader<'_>, &str) -> Result<T, FieldError>,
    ) -> Result<T, FieldError> {
        read(reader(field), self.get(field).unwrap_or_else(|| default_of(field)))
    }

    fn word<T>(&self, field: JobField, from_word: fn(&str) -> Option<T>) -> Result<Option<T>, FieldError> {
        self.one(field, |reader, text| reader.word(text, from_word))
    }

    fn many<T>(
        &self,
        field: JobField,
        read: impl Fn(Reader<'_>, &str) -> Result<T, FieldError>,
    ) -> Result<Vec<T>, FieldError> {
        let text = self.get(field).unwrap_or_default();
        let values: Vec<T> = items(text).map(|item| read(reader(field), item)).collect::<Result<_, _>>()?;
        match limits::job(field).max_items {
            Some(max) if values.len() > max => {
                let message = format!("{field}: {} items are too many; give at most {max}", values.len());
                Err(FieldError { reason: Reason::InvalidField, field: field.to_string(), message })
            }
            _ => Ok(values),
        }
    }

    fn ports(&self, field: JobField) -> Result<PortRanges, FieldError> {
        let ranges = self.many(field, |reader, text| reader.port_range(text))?;
        PortRanges::try_from(ranges).map_err(|error| FieldError {
            reason: Reason::InvalidField,
            field: field.to_string(),
            message: format!("{field}: {error}"),
        })
    }

    fn filter(&self) -> Result<Filter, FieldError> {
        let prefix = |reader: Reader<'_>, text: &str| -> Result<IpNet, FieldError> { reader.prefix(text) };
        let filter = Filter {
            vlan: self.one(JobField::Vlan, |reader, text| reader.integer(text))?.and_then(VlanId::new),
            ip_protos: self.many(JobField::IpProto, |reader, text| reader.ip_protocol(text))?,
            l4_sports: self.ports(JobField::L4Sport)?,
            l4_dports: self.ports(JobField::L4Dport)?,
            src_cidr: self.one(JobField::SrcCidr, prefix)?,
            dst_cidr: self.one(JobField::DstCidr, prefix)?,
            dscps: self
                .many(JobField::Dscp, |reader, text| reader.integer(text))?
                .into_iter()
                .filter_map(Dscp::new)
                .collect(),
        };
        match (filter.src_cidr, filter.dst_cidr) {
            (Some(src), Some(dst)) if src.addr().is_ipv4() != dst.addr().is_ipv4() => Err(FieldError {
                reason: Reason::InvalidField,
                field: JobField::DstCidr.to_string(),
                message: format!(
                    "dst_cidr: \"{dst}\" and src_cidr \"{src}\" are of different IP versions, so no packet could match; give two of the same"
                ),
            }),
            _ => Ok(filter),
        }
    }
}

fn reader(field: JobField) -> Reader<'static> {
    Reader::new(limits::job(field))
}

/// The default of a field that has one of its own.
fn default_of(field: JobField) -> &'static str {
    let limits::Default::Value(default) = limits::job(field).default else {
        unreachable!("{field} has a default in limits::JOB")
    };
    default
}

/// The kind comes before everything else that the row says: it decides what that may be.
fn kind_of(fields: &Fields) -> Result<Kind, FieldError> {
    let word = fields.get(JobField::Kind.as_str()).map_or_else(|| default_of(JobField::Kind), String::as_str);
    reader(JobField::Kind).word(word, Kind::from_word)
}

fn joined(texts: impl Iterator<Item = String>) -> Option<String> {
    let texts: Vec<String> = texts.collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

fn port_range(range: PortRange) -> String {
    if range.lo() == range.hi() { range.lo().to_string() } else { format!("{}-{}", range.lo(), range.hi()) }
}

fn missing_field(field: JobField) -> FieldError {
    let message = format!("{field}: the job names no {field}; give {}", describe(limits::job(field).kind));
    FieldError { reason: Reason::MissingField, field: field.to_string(), message }
}

fn unknown_field(kind: Kind, name: &str) -> FieldError {
    let known: Vec<String> = kind.fields().iter().map(|field| field.table_name()).collect();
    let message = format!("{}: no such field; a job has {}", printable(name), known.join(", "));
    FieldError { reason: Reason::InvalidField, field: printable(name), message }
}

#[cfg(test)]
mod tests;
