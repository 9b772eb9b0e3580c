//! The row of a job, before its values are read: which kind it is of, which fields it has, and what each says.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::model::filter::{Dscp, Filter, PortRanges, VlanId};
use crate::model::kind::Kind;
use crate::model::limits::{self, JOB_ROW_BYTES};
use crate::model::schema::{JobField, Reason};
use crate::model::value::{FieldError, Reader, describe, items, printable};
use crate::row::{Fields, NULL, base_name};

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
/// A row's fields under their `JobField`s: only fields that its kind has, and all that it needs.
pub(super) struct Row<'a> {
    /// Which fields there may be.
    pub(super) kind: Kind,
    fields: BTreeMap<JobField, &'a str>,
}

impl<'a> Row<'a> {
    pub(super) fn new(fields: &'a Fields) -> Result<Row<'a>, FieldError> {
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
            let is_named = |field: &&JobField| field.as_str() == base && (field.is_list() || !is_marked);
            let field = kind.fields().iter().find(is_named).ok_or_else(|| unknown_field(kind, name))?;
            if known.insert(*field, value.as_str()).is_some() {
                let message = format!("{field}: given twice, as {field} and {field}@; give one of them");
                return Err(FieldError { reason: Reason::InvalidField, field: field.to_string(), message });
            }
        }
        match kind.needs().iter().find(|field| !known.contains_key(*field)) {
            Some(field) => Err(missing_field(*field)),
            None => Ok(Row { kind, fields: known }),
        }
    }

    pub(super) fn get(&self, field: JobField) -> Option<&'a str> {
        self.fields.get(&field).copied()
    }

    pub(super) fn one<T>(
        &self,
        field: JobField,
        read: impl Fn(Reader<'_>, &str) -> Result<T, FieldError>,
    ) -> Result<Option<T>, FieldError> {
        self.get(field).map(|text| read(reader(field), text)).transpose()
    }

    /// The value in the row, or the default of `limits`.
    pub(super) fn or_default<T>(
        &self,
        field: JobField,
        read: impl Fn(Reader<'_>, &str) -> Result<T, FieldError>,
    ) -> Result<T, FieldError> {
        read(reader(field), self.get(field).unwrap_or_else(|| default_of(field)))
    }

    pub(super) fn word<T>(&self, field: JobField, from_word: fn(&str) -> Option<T>) -> Result<Option<T>, FieldError> {
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

    pub(super) fn filter(&self) -> Result<Filter, FieldError> {
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

pub(super) fn reader(field: JobField) -> Reader<'static> {
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

fn missing_field(field: JobField) -> FieldError {
    let message = format!("{field}: the job names no {field}; give {}", describe(limits::job(field).kind));
    FieldError { reason: Reason::MissingField, field: field.to_string(), message }
}

fn unknown_field(kind: Kind, name: &str) -> FieldError {
    let known: Vec<String> = kind.fields().iter().map(|field| field.table_name()).collect();
    let message = format!("{}: no such field; a job has {}", printable(name), known.join(", "));
    FieldError { reason: Reason::InvalidField, field: printable(name), message }
}
