//! A database that may go away and come back: connects when needed, and not more often than its back-off allows.
//!
//! Nothing is sent a second time by itself: whether a command whose answer was lost was carried out is unknown, and only the
//! caller knows whether doing it again is harmless.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::connection::{COMMAND_TIMEOUT, RedisConnection};
use super::database_config::{Database, DatabaseConfig, DatabaseConfigError};
use super::error::Error;
use super::hold::Right;

/// One database, connected on demand.
#[derive(Debug)]
pub struct Reconnecting {
    database: Database,
    timeout: Duration,
    backoff: Backoff,
    state: State,
    right: Option<Right>,
}

#[derive(Debug)]
enum State {
    /// Nothing was tried yet, or the connection broke just now.
    Idle,
    Connected(RedisConnection),
    /// An attempt failed; the next one is not due before `retry_at`.
    Away {
        retry_at: Instant,
        last: String,
    },
}

impl Reconnecting {
    /// The database called `name`; connects on first use. Of a configuration with a right, only while that is held.
    ///
    /// # Errors
    /// The configuration does not name it.
    pub fn new(config: &DatabaseConfig, name: &str) -> Result<Reconnecting, DatabaseConfigError> {
        let link = Reconnecting::to(config.database(name)?.clone(), COMMAND_TIMEOUT);
        Ok(Reconnecting { right: config.right(), ..link })
    }

    /// `database`, with a time limit for connecting and for every command.
    #[must_use]
    pub fn to(database: Database, timeout: Duration) -> Reconnecting {
        Reconnecting { database, timeout, backoff: Backoff::new(), state: State::Idle, right: None }
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// A connection that is not known to be broken; connects if there is none. Never waits for a back-off to pass.
    ///
    /// # Errors
    /// Redis cannot be reached, or could not a moment ago ([`Error::Away`]); or the right is not held, and was not regained as long as a
    /// command may take ([`Error::NotHeld`]).
    pub async fn connection(&mut self) -> Result<RedisConnection, Error> {
        if let Some(right) = &mut self.right
            && !right.is_held(self.timeout).await
        {
            return Err(Error::NotHeld { database: self.database.name.clone() });
        }
        match &self.state {
            State::Connected(connection) if !connection.is_broken() => return Ok(connection.clone()),
            State::Away { retry_at, last } => {
                let next_attempt = retry_at.saturating_duration_since(Instant::now());
                if !next_attempt.is_zero() {
                    return Err(Error::Away { database: self.database.name.clone(), next_attempt, last: last.clone() });
                }
            }
            State::Connected(_) | State::Idle => {}
        }
        match RedisConnection::open(&self.database, self.timeout).await {
            Ok(connection) => {
                self.backoff.succeeded();
                self.state = State::Connected(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                self.state = State::Away { retry_at: Instant::now() + self.backoff.failed(), last: error.to_string() };
                Err(error)
            }
        }
    }

    /// A connection, however long it takes. Safe to cancel.
    pub async fn wait(&mut self) -> RedisConnection {
        loop {
            match self.connection().await {
                Ok(connection) => return connection,
                Err(Error::Away { next_attempt, .. }) => tokio::time::sleep(next_attempt).await,
                // The next round finds the state `Away` and sleeps, or waits for the right.
                Err(error) => tracing::debug!(%error, "waiting for Redis"),
            }
        }
    }
}
