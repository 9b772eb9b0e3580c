//! What a daemon that crashed left on network devices: drain removes it where no daemon is there to do so at its start.

use std::path::PathBuf;

use super::JobTables;
use crate::io::tap::{Attach, Swept, TapError, TapHost};
use crate::model::schema::DAEMON_HOLD;
use crate::sonic::hold::{Hold, HoldError};

/// Why it is not known that nothing is left there.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A daemon started meanwhile, and removed it itself; or one that hangs has the right, and its filters may be at work.
    #[error("a daemon has the right to them: {0}")]
    Held(HoldError),
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
    /// A daemon has the right, or the kernel refuses; what could be removed before is removed.
    pub async fn sweep_filters(&self, state_dir: PathBuf) -> Result<Swept, SweepError> {
        let who = format!("pid {}, drain", std::process::id());
        let _alone = Hold::take(&self.config.database, DAEMON_HOLD, &who).await.map_err(SweepError::Held)?;
        let host = TapHost { attach: Attach::Auto, state_dir };
        Ok(tokio::task::spawn_blocking(move || host.sweep()).await??)
    }
}
