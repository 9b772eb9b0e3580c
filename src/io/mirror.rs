//! MIRROR_SESSION rows: one whole HSET to add, DEL to remove, never an update in place (observed facts 7 and 9).
//!
//! Only rows named `telegen_*` are ever written or deleted; which ones, the supervisor says.

use crate::model::admission::MirrorPlan;
use crate::model::schema::{SESSION_PREFIX, config_db, state_db};
use crate::sonic::{DatabaseConfig, DatabaseConfigError, Error, Fields, Reconnecting, RedisConnection};

/// Writes and deletes our sessions.
#[derive(Debug)]
pub struct MirrorSessions {
    config: Reconnecting,
    state: Reconnecting,
}

impl MirrorSessions {
    /// The sessions of the switch that `databases` describes.
    ///
    /// # Errors
    /// The configuration lacks CONFIG_DB or STATE_DB.
    pub fn new(databases: &DatabaseConfig) -> Result<MirrorSessions, DatabaseConfigError> {
        Ok(MirrorSessions {
            config: Reconnecting::new(databases, "CONFIG_DB")?,
            state: Reconnecting::new(databases, "STATE_DB")?,
        })
    }

    /// Adds the sessions, each in one HSET.
    ///
    /// # Errors
    /// Redis is away or did not answer: rows may have been written all the same.
    pub async fn set(&mut self, plan: &MirrorPlan) -> Result<(), Error> {
        let connection = self.config.connection().await?;
        for session in &plan.sessions {
            let row = plan.row(session);
            let fields: Fields = row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let key = connection.database().key(config_db::MIRROR_SESSION, &session.name);
            connection.hset_whole(&key, &fields).await?;
        }
        Ok(())
    }

    /// Deletes all sessions of a job.
    ///
    /// # Errors
    /// Redis is away or did not answer; those before the failure are deleted.
    pub async fn delete_all(&mut self, plan: &MirrorPlan) -> Result<(), Error> {
        for name in plan.names() {
            self.delete(name).await?;
        }
        Ok(())
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
/// RENAME all end like that, observed fact 8). If STATE_DB still knows the session, the row is therefore written and deleted
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
