//! Carries the supervisor's effects out and reports what came of them. The only `match` over [`Effect`]; it translates, it
//! decides nothing.
//!
//! Everything that goes to Redis passes through one queue, in the order in which it was said; taps have their own threads.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::asic::AsicReader;
use super::mirror::MirrorSessions;
use super::survey::Surveyor;
use super::taps::Taps;
use super::unbind::Unbinder;
use crate::model::schema::{Source, appl_db, config_db};
use crate::model::supervisor::{Effect, Event};
use crate::sonic::{DatabaseConfig, DatabaseConfigError, Error, Reconnecting};

/// Carries effects out.
pub struct Executor {
    redis: mpsc::UnboundedSender<Effect>,
    task: JoinHandle<()>,
    asic: AsicReader,
    unbinder: Unbinder,
}

impl Executor {
    /// Starts the queue; outcomes are said on `outcomes`.
    ///
    /// # Errors
    /// The configuration lacks a database.
    pub fn start(
        databases: &DatabaseConfig,
        surveyor: Surveyor,
        outcomes: mpsc::Sender<Event>,
    ) -> Result<Executor, DatabaseConfigError> {
        // The supervisor never has more than a few effects per job under way, so the queue is bounded by the number of rows.
        let (redis, queue) = mpsc::unbounded_channel();
        let worker = Worker {
            surveyor,
            mirrors: MirrorSessions::new(databases)?,
            config: Reconnecting::new(databases, "CONFIG_DB")?,
            appl: Reconnecting::new(databases, "APPL_DB")?,
            outcomes: outcomes.clone(),
        };
        let asic = AsicReader::start(databases, outcomes.clone())?;
        let unbinder = Unbinder::start(databases, outcomes)?;
        Ok(Executor { redis, task: tokio::spawn(worker.run(queue)), asic, unbinder })
    }

    /// Begins an effect. `ClearResults` is not for this queue: the sink that writes the results deletes them, in its own order;
    /// it is handed back.
    pub fn submit(&self, effect: Effect, taps: &mut Taps) -> Option<String> {
        match effect {
            Effect::OpenTap { id, spec, netdev, hooks, outer } => taps.open(&id, &spec, netdev, hooks, outer),
            Effect::CloseTap { id } => taps.close(&id),
            Effect::Log { line } => tracing::warn!("{line}"),
            Effect::ClearResults { key } => return Some(key),
            Effect::AskAsic { id, question } => self.asic.ask(id, question),
            Effect::AskObjects { key, oids } => self.asic.ask_objects(key, oids),
            Effect::Free { session, row, target } => self.unbinder.free(session, row, target),
            Effect::Survey { .. }
            | Effect::SetMirror { .. }
            | Effect::DeleteMirror { .. }
            | Effect::DeleteOrphan { .. }
            | Effect::ListSessions
            | Effect::DeleteRow { .. } => {
                if self.redis.send(effect).is_err() {
                    tracing::error!("the executor's queue has ended");
                }
            }
        }
        None
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Worker {
    surveyor: Surveyor,
    mirrors: MirrorSessions,
    config: Reconnecting,
    appl: Reconnecting,
    outcomes: mpsc::Sender<Event>,
}

impl Worker {
    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Effect>) {
        while let Some(effect) = queue.recv().await {
            if let Some(outcome) = self.carry_out(effect).await
                && self.outcomes.send(outcome).await.is_err()
            {
                return;
            }
        }
    }

    async fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Survey { id } => {
                let world = self.surveyor.survey().await.map(Arc::new).map_err(|error| error.to_string());
                Some(Event::Surveyed { id, world })
            }
            Effect::ListSessions => Some(match self.surveyor.look().await {
                Ok(world) => Event::Sessions { world: Box::new(world) },
                Err(error) => Event::SessionsUnlisted { error: error.to_string() },
            }),
            Effect::SetMirror { id, plan } => {
                let result = self.mirrors.set(&plan).await.map_err(text);
                Some(Event::MirrorSet { id, result })
            }
            Effect::DeleteMirror { id, plan } => {
                let result = self.mirrors.delete_all(&plan).await.map_err(text);
                Some(Event::MirrorDeleted { id, result })
            }
            Effect::DeleteOrphan { session } => {
                // The supervisor says that it is being deleted, and that it is still there; and tries again.
                if let Err(error) = self.mirrors.delete(&session).await {
                    tracing::debug!(session, %error, "a mirror session that no job owns could not be deleted");
                }
                None
            }
            Effect::DeleteRow { door, key } => {
                let result = self.delete_row(door, &key).await.map_err(text);
                Some(Event::RowDeleted { door, key, result })
            }
            Effect::OpenTap { .. }
            | Effect::CloseTap { .. }
            | Effect::ClearResults { .. }
            | Effect::AskAsic { .. }
            | Effect::AskObjects { .. }
            | Effect::Free { .. }
            | Effect::Log { .. } => None,
        }
    }

    async fn delete_row(&mut self, door: Source, key: &str) -> Result<(), Error> {
        let (link, table) = match door {
            Source::Config => (&mut self.config, config_db::JOB),
            Source::Appl => (&mut self.appl, appl_db::JOB),
        };
        let connection = link.connection().await?;
        connection.del(&connection.database().key(table, key)).await.map(|_| ())
    }
}

// A function for `map_err`, which hands the error over.
#[allow(clippy::needless_pass_by_value)]
fn text(error: Error) -> String {
    error.to_string()
}
