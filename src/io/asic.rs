//! Reads ASIC_DB: which mirror objects ports are bound to, and whether an object is still there.
//!
//! By point reads only. ASIC_DB has an object for each route, a million of them, so nothing here lists or follows it. A task of its own
//! answers, so that a slow Redis holds up no session.

use std::collections::{BTreeMap, BTreeSet};

use redis::Pipeline;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::model::asic::{Oid, Question, View};
use crate::model::job::{Fields, JobId};
use crate::model::schema::{asic_db, counters_db};
use crate::model::supervisor::Event;
use crate::sonic::connection::CHUNK;
use crate::sonic::{DatabaseConfig, DatabaseConfigError, Error, Reconnecting, RedisConnection};

/// Questions that wait at the most. The supervisor asks one per job that ends, and waits for no answer for longer than 2 s: what finds the
/// queue full is not asked.
const WAITING: usize = 32;

/// What is read of a mirror object.
const OBJECT: [&str; 3] = [asic_db::MIRROR_MONITOR_PORT, asic_db::MIRROR_SRC_IP, asic_db::MIRROR_DST_IP];

enum Asked {
    Bindings { id: JobId, question: Question },
    Objects { job: u64, oids: BTreeMap<String, Oid> },
}

/// Answers the supervisor's questions. Dropping it ends that.
pub struct AsicReader {
    questions: mpsc::Sender<Asked>,
    task: JoinHandle<()>,
}

impl AsicReader {
    /// Starts; answers are said on `answers`.
    ///
    /// # Errors
    /// The configuration lacks COUNTERS_DB or ASIC_DB.
    pub fn start(databases: &DatabaseConfig, answers: mpsc::Sender<Event>) -> Result<AsicReader, DatabaseConfigError> {
        let (questions, asked) = mpsc::channel(WAITING);
        let worker = Worker { asic: AsicDb::new(databases)?, answers };
        Ok(AsicReader { questions, task: tokio::spawn(worker.run(asked)) })
    }

    /// Asks for a job's ports; answered by [`Event::Asic`], or not at all.
    pub fn ask(&self, id: JobId, question: Question) {
        self.send(Asked::Bindings { id, question });
    }

    /// Asks whether objects are there; answered by [`Event::Objects`], or not at all.
    pub fn ask_objects(&self, job: u64, oids: BTreeMap<String, Oid>) {
        self.send(Asked::Objects { job, oids });
    }

    fn send(&self, asked: Asked) {
        if self.questions.try_send(asked).is_err() {
            tracing::warn!("ASIC_DB is not asked: {WAITING} questions wait already");
        }
    }
}

impl Drop for AsicReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Worker {
    asic: AsicDb,
    answers: mpsc::Sender<Event>,
}

impl Worker {
    async fn run(mut self, mut asked: mpsc::Receiver<Asked>) {
        while let Some(asked) = asked.recv().await {
            let event = match asked {
                Asked::Bindings { id, question } => {
                    let view = self.asic.view(&question).await.map_err(|error| error.to_string());
                    Event::Asic { id, view }
                }
                Asked::Objects { job, oids } => {
                    let held = self.asic.held(&oids).await.map_err(|error| error.to_string());
                    Event::Objects { job, held }
                }
            };
            if self.answers.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// ASIC_DB, and the table that says which object a port is.
pub(super) struct AsicDb {
    counters: Reconnecting,
    asic: Reconnecting,
}

impl AsicDb {
    pub(super) fn new(databases: &DatabaseConfig) -> Result<AsicDb, DatabaseConfigError> {
        Ok(AsicDb {
            counters: Reconnecting::new(databases, "COUNTERS_DB")?,
            asic: Reconnecting::new(databases, "ASIC_DB")?,
        })
    }

    /// What ASIC_DB shows of these ports.
    pub(super) async fn view(&mut self, question: &Question) -> Result<View, Error> {
        let mut view = View { oids: self.oids(question).await?, ..View::default() };
        let asic = self.asic.connection().await?;
        let asked: Vec<(&String, &Oid)> =
            question.ports.keys().filter_map(|port| Some((port, view.oids.get(port)?))).collect();
        let keys: Vec<String> = asked.iter().map(|(_, oid)| key(&asic, asic_db::PORT, oid)).collect();
        let rows = hmget(&asic, &keys, &question.attributes()).await?;
        let ports: Vec<String> = asked.into_iter().map(|(port, _)| port.clone()).collect();
        for (port, row) in ports.iter().zip(&rows) {
            view.add_port(port, row);
        }
        let objects: BTreeSet<Oid> = view.bindings.iter().map(|binding| binding.object.clone()).collect();
        let keys: Vec<String> = objects.iter().map(|oid| key(&asic, asic_db::MIRROR_SESSION, oid)).collect();
        for (oid, row) in objects.iter().zip(hmget(&asic, &keys, &OBJECT).await?) {
            if !row.is_empty() {
                view.add_object(oid, &row);
            }
        }
        Ok(view)
    }

    /// The oids of the ports and of the destination: those in force, and for a port that is in no table any more the one it had.
    async fn oids(&mut self, question: &Question) -> Result<BTreeMap<String, Oid>, Error> {
        let names: Vec<&str> = question.ports.keys().map(String::as_str).chain(question.destination_port()).collect();
        let counters = self.counters.connection().await?;
        let found = hmget(&counters, &[counters_db::PORT_NAME_MAP.to_owned()], &names).await?;
        let known = question.ports.iter().filter_map(|(port, oid)| Some((port.clone(), oid.clone()?)));
        Ok(known.chain(found.into_iter().flatten()).collect())
    }

    /// The ports whose object is still there.
    async fn held(&mut self, oids: &BTreeMap<String, Oid>) -> Result<Vec<String>, Error> {
        let asic = self.asic.connection().await?;
        let mut pipeline = Pipeline::with_capacity(oids.len());
        for oid in oids.values() {
            pipeline.cmd("EXISTS").arg(key(&asic, asic_db::PORT, oid));
        }
        let there: Vec<bool> = asic.run("EXISTS", &pipeline).await?;
        Ok(oids.keys().zip(there).filter(|(_, there)| *there).map(|(port, _)| port.clone()).collect())
    }
}

/// `ASIC_STATE:SAI_OBJECT_TYPE_PORT:oid:0x1000000000002`
fn key(asic: &RedisConnection, object_type: &str, oid: &str) -> String {
    asic.database().key(object_type, oid)
}

/// These fields of each of the hashes; fields that one does not have are left out of it.
async fn hmget(connection: &RedisConnection, keys: &[String], fields: &[&str]) -> Result<Vec<Fields>, Error> {
    let mut rows = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(CHUNK) {
        let mut pipeline = Pipeline::with_capacity(chunk.len());
        for key in chunk {
            pipeline.cmd("HMGET").arg(key).arg(fields);
        }
        let answers: Vec<Vec<Option<String>>> = connection.run("HMGET", &pipeline).await?;
        let row = |values: Vec<Option<String>>| {
            fields.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?))).collect()
        };
        rows.extend(answers.into_iter().map(row));
    }
    Ok(rows)
}
