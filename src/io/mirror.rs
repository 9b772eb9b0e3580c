//! MIRROR_SESSION rows: one whole HSET to add, DEL to remove, never an update in place (observed facts M7 and M9).
//!
//! Only rows named `telegen_*` are ever written or deleted; which ones, the supervisor says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::asic::AsicDb;
use super::known::Known;
use super::survey::foreign_sessions;
use crate::model::admission::over;
use crate::model::asic::Question;
use crate::model::overtaken::{Taken, Verdict, is_unbound, judge};
use crate::model::provision::mirror::{MirrorPlan, MirrorTarget};
use crate::model::schema::{SESSION_PREFIX, config_db, state_db};
use crate::model::world::Session;
use crate::sonic::{DatabaseConfig, DatabaseConfigError, Error, Fields, Reconnecting, RedisConnection};

/// How long a session of somebody else's that was just written may take to get its port: hundreds of times what was observed (fact M1).
const SETTLING: Duration = Duration::from_secs(1);
/// A session that is still to be deleted is asked for again sooner: the longest back-off is half of that.
const NOTED: Duration = Duration::from_secs(120);

/// A session of ours under one of somebody else's that had not got the port.
#[derive(Clone, Debug)]
struct Settling {
    /// Theirs.
    theirs: String,
    /// Since when that is known.
    since: Instant,
    /// When the deletion of ours was asked for last.
    asked: Instant,
}

/// What became of a session that was to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its row is gone.
    Deleted,
    /// Its row is gone, and somebody else's session over it had not got its port, and has not now.
    Alone {
        /// Their session.
        theirs: String,
        /// The port.
        port: String,
    },
    /// It stays: the port is bound to somebody else's session, and its deletion would unbind it.
    Kept {
        /// Their session.
        theirs: String,
        /// The port.
        port: String,
    },
}

/// Why a session was not deleted. Whoever asked asks again.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// Redis is away or did not answer.
    #[error(transparent)]
    Redis(#[from] Error),
    /// Theirs is new, and may be about to get the port.
    #[error("{theirs}, which copies {port}, too, may be about to get the port")]
    Settling {
        /// Theirs.
        theirs: String,
        /// The port.
        port: String,
    },
    /// Nobody can tell whose the port is.
    #[error(
        "COUNTERS_DB names no object of {port}, so that ASIC_DB cannot be asked whether that would take {port} from {theirs}; it is deleted once it can, or once {theirs} is gone"
    )]
    NoObject {
        /// Theirs.
        theirs: String,
        /// The port.
        port: String,
    },
    /// orchagent may be about to give the port to theirs.
    #[error(
        "orchagent has said nothing of {theirs} yet, which could lose {port} by that; it is deleted once {theirs} has a row in STATE_DB, or none in CONFIG_DB"
    )]
    Unanswered {
        /// Theirs.
        theirs: String,
        /// The port.
        port: String,
    },
}

/// Writes and deletes our sessions.
pub struct MirrorSessions {
    config: Reconnecting,
    state: Reconnecting,
    asic: AsicDb,
    known: Known,
    /// Sessions of ours that wait for others to settle, by name.
    settling: BTreeMap<String, Settling>,
}

impl MirrorSessions {
    /// The sessions of the switch that `databases` describes.
    ///
    /// # Errors
    /// The configuration lacks a database.
    pub fn new(databases: &DatabaseConfig, known: Known) -> Result<MirrorSessions, DatabaseConfigError> {
        Ok(MirrorSessions {
            config: Reconnecting::new(databases, "CONFIG_DB")?,
            state: Reconnecting::new(databases, "STATE_DB")?,
            asic: AsicDb::new(databases)?,
            known,
            settling: BTreeMap::new(),
        })
    }

    /// Adds the sessions, each in one HSET; unless somebody else's copies one of their ports now, which was not so when they were planned:
    /// ours would take the port from it. Then nothing is written, and theirs is named, with the port.
    ///
    /// # Errors
    /// Redis is away or did not answer: rows may have been written all the same.
    pub async fn set(&mut self, plan: &MirrorPlan) -> Result<Option<Taken>, Error> {
        let connection = self.config.connection().await?;
        let world = foreign_sessions(&connection, self.known.names()).await?;
        if let Some((theirs, port)) = over(&plan.as_sessions(), &world.foreign(), &world) {
            return Ok(Some(Taken { theirs, port }));
        }
        for session in &plan.sessions {
            let row = plan.row(session);
            let fields: Fields = row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let key = connection.database().key(config_db::MIRROR_SESSION, &session.name);
            connection.hset_whole(&key, &fields).await?;
        }
        Ok(None)
    }

    /// Deletes a session of ours, unless that would unbind a port from somebody else's (`model::overtaken`).
    ///
    /// # Errors
    /// Redis is away or did not answer, or it is not known yet what that would do to somebody else's.
    pub async fn end(&mut self, session: &str) -> Result<Ended, EndError> {
        self.settling.retain(|_, settling| settling.asked.elapsed() < NOTED);
        let alone = match self.judge(session).await? {
            Verdict::Keep { theirs, port } => {
                self.settling.remove(session);
                return Ok(Ended::Kept { theirs, port });
            }
            Verdict::Delete => None,
            Verdict::Unsettled { theirs, port } => {
                // Others wait for this worker, so it does not wait for theirs.
                if self.since(session, &theirs).elapsed() < SETTLING {
                    return Err(EndError::Settling { theirs, port });
                }
                if self.said(&theirs).await?.is_empty() {
                    return Err(EndError::Unanswered { theirs, port });
                }
                Some((theirs, port))
            }
        };
        self.delete(session).await?;
        self.settling.remove(session);
        Ok(alone.map_or(Ended::Deleted, |(theirs, port)| Ended::Alone { theirs, port }))
    }

    /// Since when a session of ours has waited for `theirs`.
    fn since(&mut self, session: &str, theirs: &str) -> Instant {
        let now = Instant::now();
        let before = self.settling.remove(session).filter(|settling| settling.theirs == theirs);
        let since = before.map_or(now, |settling| settling.since);
        self.settling.insert(session.to_owned(), Settling { theirs: theirs.to_owned(), since, asked: now });
        since
    }

    /// orchagent's row of a session in STATE_DB.
    async fn said(&mut self, session: &str) -> Result<Fields, Error> {
        let state = self.state.connection().await?;
        state.hgetall(&state.database().key(state_db::MIRROR_SESSION, session)).await
    }

    async fn judge(&mut self, session: &str) -> Result<Verdict, EndError> {
        let config = self.config.connection().await?;
        let fields = config.hgetall(&config.database().key(config_db::MIRROR_SESSION, session)).await?;
        if is_unbound(&self.said(session).await?) {
            return Ok(Verdict::Delete);
        }
        let row = Session::from_fields(&fields);
        let Some(target) = MirrorTarget::of(&row) else { return Ok(Verdict::Delete) };
        let world = foreign_sessions(&config, self.known.names()).await?;
        // ASIC_DB is asked only if there is somebody who could lose a port.
        if over(&[(session.to_owned(), row.clone())].into(), &world.foreign(), &world).is_none() {
            return Ok(Verdict::Delete);
        }
        let ports = world.expand(row.src_ports.iter().map(String::as_str));
        let ports = ports.into_iter().map(|port| (port, None)).collect();
        let view = self.asic.view(&Question { ports, target: target.clone(), sampled: row.sampled }).await?;
        match judge(session, &row, &target, &view, &world) {
            Verdict::Unsettled { theirs, port } if !view.oids.contains_key(&port) => {
                Err(EndError::NoObject { theirs, port })
            }
            verdict => Ok(verdict),
        }
    }

    /// Deletes a session of ours, see [`delete`].
    ///
    /// # Errors
    /// Redis is away or did not answer.
    pub async fn delete(&mut self, session: &str) -> Result<(), Error> {
        delete(&self.config.connection().await?, &self.state.connection().await?, session).await
    }
}

/// Deletes a session of ours by way of CONFIG_DB; STATE_DB is asked whether orchagent still has it.
///
/// A row that is not there is deleted without an event, so orchagent would keep its session (a flushed CONFIG_DB, EXPIRE and
/// RENAME all end like that, observed fact M8). If STATE_DB still knows the session, the row is therefore written and deleted
/// in one transaction: orchagent ignores the writing and acts on the deletion.
///
/// # Errors
/// Redis is away or did not answer.
pub async fn delete(config: &RedisConnection, state: &RedisConnection, session: &str) -> Result<(), Error> {
    debug_assert!(session.starts_with(SESSION_PREFIX), "{session} is not ours");
    let key = config.database().key(config_db::MIRROR_SESSION, session);
    if config.del(&key).await? {
        return Ok(());
    }
    let known = state.hgetall(&state.database().key(state_db::MIRROR_SESSION, session)).await?;
    if known.is_empty() {
        return Ok(());
    }
    let mut revive = redis::pipe();
    revive.atomic().cmd("HSET").arg(&key).arg("type").arg("SPAN").ignore();
    revive.cmd("DEL").arg(&key).ignore();
    config.run::<()>("HSET and DEL", &revive).await
}
