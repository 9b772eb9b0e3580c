//! What can go wrong between a door and the tables.

use crate::model::rows::RowError;
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
