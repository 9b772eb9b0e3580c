//! Waiting until the switch has loaded its configuration.
//!
//! `CONFIG_DB_INITIALIZED` is a plain string in CONFIG_DB that the database container sets last; SONiC's own `ConfigDBConnector` blocks
//! on it in the same way (sonic-swss-common `configdb.py`). Before it is there, a table that is empty means nothing.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::connection::{COMMAND_TIMEOUT, RedisConnection};
use super::database_config::{Database, DatabaseConfig, DatabaseConfigError};
use super::error::Error;
use super::pubsub::{Subscription, keyspace_prefix};

/// Set, and not empty, once CONFIG_DB holds the switch's configuration.
pub const INITIALIZED_KEY: &str = "CONFIG_DB_INITIALIZED";
/// A notification normally ends the wait; this is for one that was lost.
const RECHECK: Duration = Duration::from_secs(5);

/// Waits until CONFIG_DB is loaded, however long it takes and however often Redis goes away meanwhile. Safe to cancel.
///
/// # Errors
/// The configuration does not name CONFIG_DB.
pub async fn wait_for_config_db(config: &DatabaseConfig) -> Result<(), DatabaseConfigError> {
    let database = config.database("CONFIG_DB")?;
    let mut backoff = Backoff::new();
    let mut told = false;
    loop {
        match wait_on_one_connection(database, &mut told).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "waiting for Redis");
                sleep(backoff.failed()).await;
            }
        }
    }
}

async fn wait_on_one_connection(database: &Database, told: &mut bool) -> Result<(), Error> {
    let channel = format!("{}{INITIALIZED_KEY}", keyspace_prefix(database));
    let mut subscription = Subscription::open(database, &[], &[channel], COMMAND_TIMEOUT).await?;
    let connection = RedisConnection::open(database, COMMAND_TIMEOUT).await?;
    loop {
        if connection.get(INITIALIZED_KEY).await?.is_some_and(|value| !value.is_empty()) {
            return Ok(());
        }
        if !std::mem::replace(told, true) {
            tracing::info!("waiting for {INITIALIZED_KEY}: the switch has not loaded its configuration yet");
        }
        // A message and a time-out are both reasons to look again.
        match timeout(RECHECK, subscription.next()).await {
            Ok(Ok(_) | Err(Error::Missed { .. })) | Err(_) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
}
