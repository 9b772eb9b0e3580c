//! What can go wrong between a program and a SONiC database.

use std::time::Duration;

use super::database_config::DatabaseConfigError;

/// A failed conversation with a database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration does not say where the database is.
    #[error(transparent)]
    Config(#[from] DatabaseConfigError),
    /// No connection came about.
    #[error("{database} at {endpoint}: cannot connect: {source}")]
    Connect {
        /// The database's name.
        database: String,
        /// Unix socket or `host:port`.
        endpoint: String,
        /// What the Redis client said.
        source: redis::RedisError,
    },
    /// Redis refused the command, or the connection broke under it.
    #[error("{database}: {command}: {source}")]
    Command {
        /// The database's name.
        database: String,
        /// The command, or what was being done.
        command: &'static str,
        /// What Redis or its client said.
        source: redis::RedisError,
    },
    /// Redis did not answer in time. Whether it carried the command out is unknown.
    #[error("{database}: {command}: no answer within {after:?}")]
    Timeout {
        /// The database's name.
        database: String,
        /// The command, or what was being done.
        command: &'static str,
        /// The limit.
        after: Duration,
    },
    /// Redis ended the connection that listens: events are lost.
    #[error("{database}: Redis closed the connection")]
    Closed {
        /// The database's name.
        database: String,
    },
    /// More messages came than may wait, and those that waited were dropped. The connection is of use: list anew.
    #[error("{database}: more notifications came than may wait: {bytes} bytes")]
    Missed {
        /// The database's name.
        database: String,
        /// How much may wait.
        bytes: usize,
    },
    /// The last attempt to connect failed, and the next one is not due yet.
    #[error("{database}: away, next attempt in {next_attempt:?}; the last one: {last}")]
    Away {
        /// The database's name.
        database: String,
        /// Time until the next attempt.
        next_attempt: Duration,
        /// Why the last attempt failed.
        last: String,
    },
    /// The right without which nothing is done here is not held, or was not a moment ago: somebody else may have it.
    #[error("{database}: the right to serve this switch is not held now")]
    NotHeld {
        /// The database's name.
        database: String,
    },
}

impl Error {
    /// Whether the connection is of no further use. A refused command (wrong type, bad script) leaves it usable.
    #[must_use]
    pub fn breaks_connection(&self) -> bool {
        match self {
            Error::Config(_)
            | Error::Connect { .. }
            | Error::Timeout { .. }
            | Error::Closed { .. }
            | Error::Away { .. } => true,
            Error::Missed { .. } | Error::NotHeld { .. } => false,
            Error::Command { source, .. } => source.is_unrecoverable_error() || source.is_io_error(),
        }
    }
}
