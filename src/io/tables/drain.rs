//! Draining: ending every job, or those that touch one port, and seeing to it that nothing of them is left, also with no daemon to help.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::JobTables;
use super::error::TablesError;
use super::watch::Changes;
use crate::io::{mirror, survey};
use crate::model::admission::over;
use crate::model::job::{Fields, JobId};
use crate::model::schema::{DAEMON_HOLD, JobField, SESSION_PREFIX, Status, config_db, state_db};
use crate::sonic::hold;

/// How long everything may take to end.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// A session whose removal orchagent does not confirm is deleted again after this long: it may have started meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Between two looks at the least: each lists three tables, and the end of one job is a dozen notifications.
const PAUSE: Duration = Duration::from_millis(50);

/// What draining did, and what it could not do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// The port that was drained; `None`: the switch.
    pub port: Option<String>,
    /// Jobs whose rows were deleted, or which were ending already, with what is said of each at the end.
    pub jobs: BTreeMap<String, Option<Status>>,
    /// Whether a daemon was there to end them, and still is.
    pub by_daemon: bool,
    /// Sessions that were there at the beginning.
    pub sessions: Vec<String>,
    /// Sessions whose rows are still there.
    pub sessions_left: Vec<String>,
    /// Sessions whose removal orchagent has not confirmed.
    pub unconfirmed: Vec<String>,
    /// Sessions of somebody else's that copy a port of one of ours in the same direction, each with the port: the deletion of ours unbinds it
    /// (observed fact M5).
    pub bereft: BTreeMap<String, String>,
}

impl Drained {
    /// Whether nothing of telegen's is left on the switch, or on the port.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.sessions_left.is_empty() && self.unconfirmed.is_empty() && (!self.by_daemon || self.live_jobs().is_empty())
    }

    /// Jobs of which STATE_DB still does not say that they are over.
    #[must_use]
    pub fn live_jobs(&self) -> Vec<&str> {
        let live = self.jobs.iter().filter(|(_, status)| status.is_some_and(|status| !status.is_final()));
        live.map(|(id, _)| id.as_str()).collect()
    }

    /// Whether a session is to go.
    fn concerns(&self, session: &str) -> bool {
        let of_job = || JobId::of_session(session).is_some_and(|id| self.jobs.contains_key(id.as_str()));
        session.starts_with(SESSION_PREFIX)
            && (self.port.is_none() || of_job() || self.sessions.iter().any(|known| known == session))
    }

    /// Sessions that nobody but us would remove. A daemon removes those of its jobs before it calls them over; one that is left then it keeps on
    /// purpose, or could not remove.
    fn forsaken(&self) -> Vec<&String> {
        let is_over = |session: &String| {
            let job = JobId::of_session(session);
            let status = job.and_then(|id| self.jobs.get(id.as_str()).copied());
            status.is_none_or(|status| status.is_none_or(Status::is_final))
        };
        let left = self.sessions_left.iter().chain(&self.unconfirmed);
        left.filter(|session| !self.by_daemon || (self.sessions.contains(session) && is_over(session))).collect()
    }
}

/// Whether a daemon is there to end jobs: it holds the right to, and gives signs of life.
#[derive(Default)]
struct Helper {
    unheld_since: Option<Instant>,
}

impl Helper {
    async fn is_there(&mut self, tables: &JobTables) -> Result<bool, TablesError> {
        if !tables.daemon().await?.is_alive(Timestamp::now()) {
            return Ok(false);
        }
        if hold::is_held(&tables.config.connection().await?, DAEMON_HOLD).await? {
            self.unheld_since = None;
            return Ok(true);
        }
        // After a restart of Redis a living daemon needs a moment to have it again.
        let since = *self.unheld_since.get_or_insert_with(Instant::now);
        Ok(since.elapsed() < hold::REGAINED_WITHIN)
    }
}

impl JobTables {
    /// Ends every job, or those that observe `port` or send their copies there, and sees to it that no session of theirs is left. What no
    /// daemon does is done here, also if the daemon goes away meanwhile.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn drain(&self, port: Option<&str>) -> Result<Drained, TablesError> {
        let (config, state) = (&self.config.database, &self.state.database);
        let watched = [(config, config_db::MIRROR_SESSION), (state, state_db::JOB), (state, state_db::MIRROR_SESSION)];
        let mut changes = Changes::of_tables(&watched).await?;
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        let mut helper = Helper::default();
        let mut drained = Drained { port: port.map(str::to_owned), ..Drained::default() };
        drained.by_daemon = helper.is_there(self).await?;
        // Before the rows go: a daemon is quick to remove a session, and the account would miss it.
        drained.sessions = self.sessions_at(port).await?;
        drained.bereft = self.others_over(&drained.sessions).await?;
        for id in self.jobs_at(port, &drained.sessions).await? {
            let row = self.job(&id).await?;
            self.delete_everywhere(&id, row.as_ref()).await?;
            drained.jobs.insert(id, None);
        }
        let mut asked: BTreeMap<String, Instant> = BTreeMap::new();
        loop {
            drained.by_daemon = drained.by_daemon && helper.is_there(self).await?;
            self.look_again(&mut drained).await?;
            // Deleting is a change, too, that this loop wakes up by.
            let is_due = |session: &&String| asked.get(*session).is_none_or(|at| at.elapsed() >= ASK_AGAIN);
            let forsaken: Vec<String> = drained.forsaken().into_iter().filter(is_due).cloned().collect();
            if !forsaken.is_empty() {
                self.delete_sessions(&forsaken).await?;
                asked.extend(forsaken.into_iter().map(|session| (session, Instant::now())));
                self.look_again(&mut drained).await?;
            }
            if drained.is_complete() || Instant::now() >= deadline {
                return Ok(drained);
            }
            changes.next(deadline).await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether CONFIG_DB has a port or port channel of this name.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn is_port(&self, name: &str) -> Result<bool, TablesError> {
        let connection = self.config.connection().await?;
        let mut rows = Vec::new();
        for table in [config_db::PORT, config_db::PORTCHANNEL] {
            rows.push(connection.database().key(table, name));
        }
        Ok(connection.hgetall_many(&rows).await?.iter().any(|row| !row.is_empty()))
    }

    async fn look_again(&self, drained: &mut Drained) -> Result<(), TablesError> {
        let said: BTreeMap<String, Status> = self.jobs().await?.into_iter().map(|job| (job.id, job.status)).collect();
        for (id, status) in &mut drained.jobs {
            *status = said.get(id).copied();
        }
        let left = self.sessions().await?;
        drained.sessions_left = left.into_iter().filter(|name| drained.concerns(name)).collect();
        let states = self.state.connection().await?.keys(state_db::MIRROR_SESSION).await?;
        let is_stale = |name: &String| drained.concerns(name) && !drained.sessions_left.contains(name);
        drained.unconfirmed = states.into_iter().filter(is_stale).collect();
        Ok(())
    }

    /// Names of our sessions, of all or of those whose row names the port: with a row, or with orchagent's word alone.
    async fn sessions_at(&self, port: Option<&str>) -> Result<Vec<String>, TablesError> {
        let Some(port) = port else {
            let mut all = self.sessions().await?;
            let states = self.state.connection().await?.keys(state_db::MIRROR_SESSION).await?;
            all.extend(states.into_iter().filter(|name| name.starts_with(SESSION_PREFIX)));
            all.sort_unstable();
            all.dedup();
            return Ok(all);
        };
        let channels = self.channels_of(port).await?;
        let rows = self.config.connection().await?.rows(config_db::MIRROR_SESSION).await?;
        let names_port = |fields: &Fields| {
            let lists = ["src_port", "dst_port"].map(|field| fields.get(field).map(String::as_str).unwrap_or_default());
            lists.iter().any(|list| names_any(list, port, &channels))
        };
        let ours = rows.iter().filter(|(name, fields)| name.starts_with(SESSION_PREFIX) && names_port(fields));
        let mut found: Vec<String> = ours.map(|(name, _)| name.clone()).collect();
        // Of one without a row, what is said of its job tells the port.
        for name in self.state.connection().await?.keys(state_db::MIRROR_SESSION).await? {
            let Some(id) = JobId::of_session(&name).filter(|_| !rows.contains_key(&name)) else { continue };
            if self.wished_ports(id.as_str()).await?.iter().any(|list| names_any(list, port, &channels)) {
                found.push(name);
            }
        }
        Ok(found)
    }

    /// The sessions of somebody else's that lie over these of ours.
    async fn others_over(&self, ours: &[String]) -> Result<BTreeMap<String, String>, TablesError> {
        let config = self.config.connection().await?;
        let world = survey::foreign_sessions(&config, None).await?;
        let mine = survey::sessions(&config, ours.to_vec()).await?;
        let mut others = world.sessions.clone();
        let mut found = BTreeMap::new();
        while let Some((theirs, port)) = over(&mine, &others, &world) {
            others.remove(&theirs);
            found.insert(theirs, port);
        }
        Ok(found)
    }

    /// The jobs that are not over, all of them or those that name the port or whose sessions are among these.
    async fn jobs_at(&self, port: Option<&str>, sessions: &[String]) -> Result<Vec<String>, TablesError> {
        let all = self.live_jobs().await?;
        let Some(port) = port else { return Ok(all) };
        let channels = self.channels_of(port).await?;
        let of_sessions: BTreeSet<JobId> = sessions.iter().filter_map(|name| JobId::of_session(name)).collect();
        let mut found = Vec::new();
        for id in all {
            let has_session = of_sessions.iter().any(|known| known.as_str() == id);
            if has_session || self.wished_ports(&id).await?.iter().any(|list| names_any(list, port, &channels)) {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// The field `port` of all rows of a job: what its user wrote, which STATE_DB repeats.
    async fn wished_ports(&self, id: &str) -> Result<Vec<String>, TablesError> {
        let field = JobField::Port.as_str();
        let mut found = self.state_row(state_db::JOB, id).await?.remove(field).into_iter().collect::<Vec<_>>();
        found.extend(self.configured(id).await?.and_then(|mut row| row.remove(field)));
        found.extend(self.appl_rows(id).await?.into_iter().filter_map(|mut row| row.remove(field)));
        Ok(found)
    }

    /// The port channels that a port is a member of: what is written of them is written of it.
    async fn channels_of(&self, port: &str) -> Result<BTreeSet<String>, TablesError> {
        let connection = self.config.connection().await?;
        let separator = &connection.database().separator;
        let members = connection.keys(config_db::PORTCHANNEL_MEMBER).await?;
        let of_port = |key: &String| {
            let (channel, member) = key.split_once(separator.as_str())?;
            (member == port).then(|| channel.to_owned())
        };
        Ok(members.iter().filter_map(of_port).collect())
    }

    /// Deletes sessions of ours, as the daemon does.
    async fn delete_sessions(&self, sessions: &[String]) -> Result<(), TablesError> {
        let (config, state) = (self.config.connection().await?, self.state.connection().await?);
        for name in sessions {
            mirror::delete(&config, &state, name).await?;
        }
        Ok(())
    }
}

/// Whether a list with commas names the port, or a port channel that it is a member of.
fn names_any(list: &str, port: &str, channels: &BTreeSet<String>) -> bool {
    list.split(',').map(str::trim).any(|name| name == port || channels.contains(name))
}
