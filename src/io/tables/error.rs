//! What can go wrong between a door and the tables.

use crate::sonic;

/// The tables could not be read or written, or a row says what no telegen daemon writes.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// Redis is away or refused a command.
    #[error(transparent)]
    Redis(#[from] sonic::Error),
    /// `database_config.json` does not name a database that telegen needs.
    #[error(transparent)]
    Config(#[from] sonic::DatabaseConfigError),
    /// A row holds a value that this version cannot read.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The kernel gave no random number for a job id.
    #[error("no random number for a job id: {0}")]
    Random(getrandom::Error),
}

/// A value in STATE_DB that is not what the contract says: the row's writer is another version, or not telegen.
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
