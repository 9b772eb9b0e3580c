//! What a daemon that crashed left on network devices: drain removes it where no daemon is there to do so at its start.

use std::path::PathBuf;

use super::JobTables;
use crate::io::tap::{Attach, Swept, TapError, TapHost};
use crate::model::schema::DAEMON_HOLD;
use crate::sonic::Error;
use crate::sonic::hold::{Hold, HoldError};

/// Why it is not known that nothing is left there.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Another process has the right: a daemon that started meanwhile or hangs, or another drain; in its own words, which.
    #[error("another process has the right to them: {}", .0.join("; "))]
    Held(Vec<String>),
    /// Redis did not say whether anybody has the right.
    #[error(transparent)]
    Redis(#[from] Error),
    /// The kernel refused, or could not be asked.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// The thread that asked the kernel panicked.
    #[error("the kernel could not be asked: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

impl JobTables {
    /// Removes tc filters and qdiscs of ours from the network devices of this network namespace, as a daemon does when it starts; `state_dir`
    /// is where daemons note the qdiscs that they made. No daemon can start meanwhile.
    ///
    /// # Errors
    /// Another process has the right, Redis does not say so, or the kernel refuses; what could be removed before is removed.
    pub async fn sweep_filters(&self, state_dir: PathBuf) -> Result<Swept, SweepError> {
        let who = format!("pid {}, drain", std::process::id());
        let right = Hold::take(&self.config.database, DAEMON_HOLD, &who).await;
        let _alone = right.map_err(|error| match error {
            HoldError::Held { holders } => SweepError::Held(holders),
            HoldError::Redis(error) => SweepError::Redis(error),
        })?;
        let host = TapHost { attach: Attach::Auto, state_dir };
        Ok(tokio::task::spawn_blocking(move || host.sweep()).await??)
    }
}
