//! Carries the supervisor's effects on the switch out and reports what came of them; it translates, it decides nothing.
//!
//! Three queues go to Redis, each in the order in which it was said, each of its own group of effects. What makes and ends sessions passes
//! through one of them; surveys, and the deletion of rows, of which there may be thousands, through one each, in batches: one survey
//! answers all that wait for one, and no row waits for it to be deleted.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;

use super::asic::AsicReader;
use super::known::Known;
use super::mirror::{EndError, Ended, MirrorSessions};
use super::survey::Surveyor;
use super::unbind::Unbinder;
use super::window::ROWS;
use crate::model::job::JobId;
use crate::model::provision::Provision;
use crate::model::schema::{Source, appl_db, config_db};
use crate::model::supervisor::{About, AsicEffect, Event, ProvisionEffect, RowKey};
use crate::model::world::World;
use crate::sonic::connection::CHUNK;
use crate::sonic::{DatabaseConfig, DatabaseConfigError, Error, Reconnecting};

/// Sessions that are written or deleted and have not been answered, at the most: a few of each job, and the sweep's.
const URGENT: usize = 1024;
/// Surveys, and deletions of rows, that wait at the most: one of each row that is under way, and the sweep's looks.
const BULK: usize = 2 * ROWS + 64;
/// The answer to what found no place in a queue.
const TOO_MUCH: &str = "too much waits for Redis";
/// What is taken off the bulk queue at once.
const TURN: usize = 1024;

/// Where outcomes are said.
#[derive(Clone, Debug)]
pub struct Outcomes {
    /// Of sessions.
    pub urgent: mpsc::Sender<Event>,
    /// Of surveys and rows.
    pub bulk: mpsc::Sender<Vec<Event>>,
}

/// Carries effects out.
pub struct Executor {
    sessions: mpsc::Sender<ProvisionEffect>,
    looks: mpsc::Sender<Look>,
    rows: mpsc::Sender<RowKey>,
    tasks: [JoinHandle<()>; 3],
    asic: AsicReader,
    unbinder: Unbinder,
}

/// For which job the switch's tables are read; `None`: to look for what changed.
type Look = Option<JobId>;

impl Executor {
    /// Starts the queues; outcomes are said on `outcomes`.
    ///
    /// # Errors
    /// The configuration lacks a database.
    pub fn start(
        databases: &DatabaseConfig,
        surveyor: Surveyor,
        known: &Known,
        outcomes: Outcomes,
    ) -> Result<Executor, DatabaseConfigError> {
        let (sessions, sessions_queue) = mpsc::channel(URGENT);
        let (looks, looks_queue) = mpsc::channel(BULK);
        let (rows, rows_queue) = mpsc::channel(BULK);
        let writer = SessionWorker {
            mirrors: MirrorSessions::new(databases, known.clone())?,
            outcomes: outcomes.urgent.clone(),
        };
        let asic = AsicReader::start(databases, outcomes.urgent.clone())?;
        let unbinder = Unbinder::start(databases, known.clone(), outcomes.urgent.clone())?;
        let looker = LookWorker { surveyor, outcomes: outcomes.clone() };
        let deleter = RowWorker {
            config: Reconnecting::new(databases, "CONFIG_DB")?,
            appl: Reconnecting::new(databases, "APPL_DB")?,
            outcomes,
        };
        let tasks = [
            tokio::spawn(writer.run(sessions_queue)),
            tokio::spawn(looker.run(looks_queue)),
            tokio::spawn(deleter.run(rows_queue)),
        ];
        Ok(Executor { sessions, looks, rows, tasks, asic, unbinder })
    }

    /// Begins to write or remove what jobs have in the switch; if too much waits, the answer, by which the supervisor tries
    /// again. The sweep asks for an orphan again by itself.
    #[must_use]
    pub fn provision(&self, effect: ProvisionEffect) -> Option<Event> {
        match refused(self.sessions.try_send(effect))? {
            ProvisionEffect::Write { id, .. } => Some(Event::Provisioned { id, result: Err(TOO_MUCH.to_owned()) }),
            ProvisionEffect::Remove { id, .. } => Some(Event::Released { id, result: Err(TOO_MUCH.to_owned()) }),
            ProvisionEffect::RemoveOrphan { .. } => None,
        }
    }

    /// Begins to ask ASIC_DB.
    pub fn asic(&self, effect: AsicEffect) {
        match effect {
            AsicEffect::Ask { id, question } => self.asic.ask(id, question),
            AsicEffect::AskObjects { job, oids } => self.asic.ask_objects(job, oids),
            AsicEffect::Free { session, row, target } => self.unbinder.free(session, row, target),
        }
    }

    /// Begins to read the switch's tables; if too much waits, the answer, by which the supervisor tries again.
    #[must_use]
    pub fn read_switch(&self, job: Option<JobId>) -> Option<Event> {
        Some(match refused(self.looks.try_send(job))? {
            Some(id) => Event::Surveyed { id, world: Err(TOO_MUCH.to_owned()) },
            None => Event::SessionsUnlisted { error: TOO_MUCH.to_owned() },
        })
    }

    /// Begins to delete a job's row; if too much waits, the answer, by which the supervisor tries again.
    #[must_use]
    pub fn delete_row(&self, row: RowKey) -> Option<Event> {
        let RowKey { door, key } = refused(self.rows.try_send(row))?;
        Some(Event::RowDeleted { door, key, result: Err(TOO_MUCH.to_owned()) })
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Says a line, each kind at a place of its own: the log counts lines by the place that they come from.
pub(crate) fn say(about: About, line: &str) {
    match about {
        About::Rows => tracing::warn!("{line}"),
        About::Switch => tracing::warn!("{line}"),
    }
}

/// What found no place in a queue.
fn refused<T>(sent: Result<(), TrySendError<T>>) -> Option<T> {
    match sent {
        Ok(()) => None,
        Err(TrySendError::Full(refused) | TrySendError::Closed(refused)) => Some(refused),
    }
}

/// Writes and deletes sessions.
struct SessionWorker {
    mirrors: MirrorSessions,
    outcomes: mpsc::Sender<Event>,
}

impl SessionWorker {
    async fn run(mut self, mut queue: mpsc::Receiver<ProvisionEffect>) {
        while let Some(effect) = queue.recv().await {
            for outcome in self.carry_out(effect).await {
                if self.outcomes.send(outcome).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn carry_out(&mut self, effect: ProvisionEffect) -> Vec<Event> {
        match effect {
            ProvisionEffect::Write { id, provision: Provision::Mirror(plan) } => {
                let result = self.mirrors.set(&plan).await.map_err(text);
                vec![Event::Provisioned { id, result }]
            }
            ProvisionEffect::Remove { id, provision: Provision::Mirror(plan) } => {
                let (mut result, mut outcomes) = (Ok(()), Vec::new());
                for session in plan.names() {
                    match self.end(session).await {
                        Ok(overtaken) => outcomes.extend(overtaken),
                        Err(error) => result = Err(error.to_string()),
                    }
                }
                let is_kept = |event: &Event| matches!(event, Event::Overtaken { kept: true, .. });
                if !outcomes.iter().any(is_kept) {
                    outcomes.push(Event::Released { id, result });
                } else if let Err(error) = result {
                    // The job is over with the one that is kept; this one is the sweep's now.
                    tracing::warn!("a mirror session of job {id} is not deleted yet: {error}");
                }
                outcomes
            }
            ProvisionEffect::RemoveOrphan { session } => match self.end(&session).await {
                Ok(overtaken) => overtaken.into_iter().collect(),
                Err(why @ (EndError::NoObject { .. } | EndError::Unanswered { .. } | EndError::Settling { .. })) => {
                    vec![Event::Withheld { session, why: why.to_string() }]
                }
                Err(EndError::Redis(error)) => {
                    // The supervisor says that it is being deleted, and that it is still there; and tries again.
                    tracing::debug!(session, %error, "a mirror session that no job owns could not be deleted");
                    Vec::new()
                }
            },
        }
    }

    /// Deletes a session; what there is to say if somebody else's lies over it.
    async fn end(&mut self, session: &str) -> Result<Option<Event>, EndError> {
        let ended = self.mirrors.end(session).await?;
        let said = |theirs, port, kept| Some(Event::Overtaken { session: session.to_owned(), theirs, port, kept });
        Ok(match ended {
            Ended::Deleted => None,
            Ended::Alone { theirs, port } => said(theirs, port, false),
            Ended::Kept { theirs, port } => said(theirs, port, true),
        })
    }
}

/// Looks at the switch.
struct LookWorker {
    surveyor: Surveyor,
    outcomes: Outcomes,
}

impl LookWorker {
    async fn run(mut self, mut queue: mpsc::Receiver<Look>) {
        let mut looks = Vec::new();
        // Whoever has asked by now is answered by this look.
        while queue.recv_many(&mut looks, BULK).await > 0 {
            let look = looks.contains(&None);
            if self.look(looks.drain(..).flatten().collect(), look).await.is_none() {
                return;
            }
        }
    }

    /// One look at the switch for all who wait for one; `None` when nobody is left to be told.
    async fn look(&mut self, surveys: Vec<JobId>, look: bool) -> Option<()> {
        if surveys.is_empty() && !look {
            return Some(());
        }
        let world = if surveys.is_empty() { self.surveyor.look().await } else { self.surveyor.survey().await };
        let world = world.map(Arc::new).map_err(|error| error.to_string());
        if look {
            let outcome = match &world {
                Ok(world) => Event::Sessions { world: Box::new(World::clone(world)) },
                Err(error) => Event::SessionsUnlisted { error: error.clone() },
            };
            self.outcomes.urgent.send(outcome).await.ok()?;
        }
        for chunk in surveys.chunks(CHUNK) {
            let outcome = |id: &JobId| Event::Surveyed { id: id.clone(), world: world.clone() };
            self.outcomes.bulk.send(chunk.iter().map(outcome).collect()).await.ok()?;
        }
        Some(())
    }
}

/// Deletes rows.
struct RowWorker {
    config: Reconnecting,
    appl: Reconnecting,
    outcomes: Outcomes,
}

impl RowWorker {
    async fn run(mut self, mut queue: mpsc::Receiver<RowKey>) {
        let mut rows = Vec::new();
        while queue.recv_many(&mut rows, TURN).await > 0 {
            let [mut config, mut appl] = [Vec::new(), Vec::new()];
            for RowKey { door, key } in rows.drain(..) {
                match door {
                    Source::Config => config.push(key),
                    Source::Appl => appl.push(key),
                }
            }
            for (door, keys) in [(Source::Config, config), (Source::Appl, appl)] {
                if self.delete(door, &keys).await.is_none() {
                    return;
                }
            }
        }
    }

    /// `None` when nobody is left to be told.
    async fn delete(&mut self, door: Source, keys: &[String]) -> Option<()> {
        for chunk in keys.chunks(CHUNK) {
            let result = self.delete_rows(door, chunk).await.map_err(text);
            let outcome = |key: &String| Event::RowDeleted { door, key: key.clone(), result: result.clone() };
            self.outcomes.bulk.send(chunk.iter().map(outcome).collect()).await.ok()?;
        }
        Some(())
    }

    async fn delete_rows(&mut self, door: Source, keys: &[String]) -> Result<(), Error> {
        let (link, table) = match door {
            Source::Config => (&mut self.config, config_db::JOB),
            Source::Appl => (&mut self.appl, appl_db::JOB),
        };
        let connection = link.connection().await?;
        let keys: Vec<String> = keys.iter().map(|key| connection.database().key(table, key)).collect();
        connection.del_many(&keys).await
    }
}

// A function for `map_err`, which hands the error over.
#[allow(clippy::needless_pass_by_value)]
fn text(error: Error) -> String {
    error.to_string()
}
