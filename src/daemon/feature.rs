//! STATE_DB `FEATURE|telegen`: that the feature is up, for system-health, where CONFIG_DB says that it is to be waited for
//! (`check_up_status`, set by whoever packages the daemon).
//!
//! Fields as sonic-buildimage's `sysmonitor.py` reads them: `up_status`, and `fail_reason` while it is false.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::model::schema::{FEATURE_NAME, config_db, state_db};
use crate::sink::Closing;
use crate::sonic::{DatabaseConfig, DatabaseConfigError, Error, Fields, Reconnecting};

/// How soon the word stands again after STATE_DB was flushed.
const CHECK: Duration = Duration::from_secs(2);
/// How soon the word is there after the feature was registered, or is not kept any more.
const WANTED: Duration = Duration::from_secs(10);

/// Keeps the word standing.
pub struct Feature {
    config: Reconnecting,
    state: Reconnecting,
    /// Whether the word is wanted, and until when that need not be asked again.
    wanted: Option<(bool, Instant)>,
}

impl Feature {
    /// Of the switch that `databases` describes.
    ///
    /// # Errors
    /// The configuration lacks CONFIG_DB or STATE_DB.
    pub fn new(databases: &DatabaseConfig) -> Result<Feature, DatabaseConfigError> {
        let (config, state) = (Reconnecting::new(databases, "CONFIG_DB")?, Reconnecting::new(databases, "STATE_DB")?);
        Ok(Feature { config, state, wanted: None })
    }

    /// Says that the daemon is up until `closing`, and then that it is not, unless another one is.
    pub async fn run(mut self, mut closing: watch::Receiver<Option<Closing>>) {
        let mut ticks = interval(CHECK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = async { drop(closing.wait_for(Option::is_some).await) } => break,
                _ = ticks.tick() => self.try_say(&[("up_status", "true")]).await,
            }
        }
        if *closing.borrow() != Some(Closing::Ousted) {
            self.try_say(&[("up_status", "false"), ("fail_reason", "the daemon was stopped")]).await;
        }
    }

    async fn try_say(&mut self, fields: &[(&str, &str)]) {
        if let Err(error) = self.say(fields).await {
            tracing::debug!(%error, "FEATURE cannot be written; trying again");
        }
    }

    async fn say(&mut self, fields: &[(&str, &str)]) -> Result<(), Error> {
        if !self.is_wanted().await? {
            return Ok(());
        }
        let state = self.state.connection().await?;
        let key = state.database().key(state_db::FEATURE, FEATURE_NAME);
        let word = fields[0].1;
        if state.hget(&key, fields[0].0).await?.as_deref() == Some(word) {
            return Ok(());
        }
        let mut row: Fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        row.insert("update_time".to_owned(), Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string());
        state.hset_whole(&key, &row).await
    }

    async fn is_wanted(&mut self) -> Result<bool, Error> {
        if let Some((wanted, until)) = self.wanted
            && Instant::now() < until
        {
            return Ok(wanted);
        }
        let config = self.config.connection().await?;
        let word = config.hget(&config.database().key(config_db::FEATURE, FEATURE_NAME), "check_up_status").await?;
        // As sysmonitor.py compares it.
        let wanted = word.is_some_and(|word| word.eq_ignore_ascii_case("true"));
        self.wanted = Some((wanted, Instant::now() + WANTED));
        Ok(wanted)
    }
}
