//! Rows of STATE_DB, each written and read in one file: what is written is read back as the value it was made of, which
//! a test there holds.
//!
//! Pure. A field that is absent or empty was not measured, or is 0 where zeros are left out.

pub mod daemon;
pub mod flow;
pub mod histogram;
pub mod job;
pub mod results;

use std::str::FromStr;

pub use daemon::DaemonRow;
pub use histogram::HistogramRow;
pub use job::JobRow;
pub use results::ResultsRow;

use super::job::Fields;
use super::value::printable;

/// A value in STATE_DB that no telegen daemon of this version writes: the row's writer is another version, or not
/// telegen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table}|{key}: {field}: \"{value}\" is not {expected}; was it written by another version of telegen-sonic?")]
pub struct RowError {
    /// The table.
    pub table: &'static str,
    /// The row's key.
    pub key: String,
    /// The field.
    pub field: String,
    /// The value found; empty if the field is missing.
    pub value: String,
    /// What would have been read.
    pub expected: &'static str,
}

/// A row with its place, for messages.
struct Row<'a> {
    table: &'static str,
    key: &'a str,
    fields: &'a Fields,
}

impl Row<'_> {
    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn error(&self, field: &str, expected: &'static str) -> RowError {
        RowError {
            table: self.table,
            key: self.key.to_owned(),
            field: field.to_owned(),
            value: printable(self.text(field).unwrap_or_default()),
            expected,
        }
    }

    fn number<T: FromStr>(&self, field: &str, expected: &'static str) -> Result<Option<T>, RowError> {
        self.text(field).map(|text| text.parse().map_err(|_| self.error(field, expected))).transpose()
    }

    fn whole(&self, field: &str) -> Result<Option<u64>, RowError> {
        self.number(field, "a whole number")
    }
}
