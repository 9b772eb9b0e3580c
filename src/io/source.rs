//! What happens in the tables, as events of the supervisor. Everything is level-triggered: rows are re-read when they are
//! dirty and listed again after every loss and every 30 s; comparing is the supervisor's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::known::{self, Known};
use super::rows::JobRows;
pub use super::rows::Lanes;
use super::window::Window;
use crate::model::job::Fields;
use crate::model::schema::{SESSION_PREFIX, Source, appl_db, config_db, state_db};
use crate::model::seed_variables::Variables;
use crate::model::settings::Settings;
use crate::model::supervisor::{Event, Prior, SessionState, Supervisor};
use crate::sonic::subscriber_table::RESYNC;
use crate::sonic::{DatabaseConfig, DatabaseConfigError, TableWatch, WatchEvent, Watched};

/// What a source says.
#[derive(Debug)]
pub enum Input {
    /// For the supervisor.
    Event(Event),
    /// The settings changed; with what of them could not be taken.
    Settings(Box<Settings>, Vec<String>),
}

/// The rows of each door that are under way.
#[derive(Clone, Debug)]
pub struct Windows {
    /// CONFIG_DB.
    pub config: Arc<Window>,
    /// APPL_DB.
    pub appl: Arc<Window>,
}

impl Windows {
    /// Windows in which the rows of an earlier daemon's jobs are under way from the start.
    #[must_use]
    pub fn with(prior: &BTreeMap<String, Prior>) -> Windows {
        let of = |door: Source| {
            let keys = prior.iter().filter(|(_, prior)| prior.source == door).map(|(key, _)| key.clone());
            Arc::new(Window::with(keys))
        };
        Windows { config: of(Source::Config), appl: of(Source::Appl) }
    }

    /// The window of a door.
    #[must_use]
    pub fn of(&self, door: Source) -> &Window {
        match door {
            Source::Config => &self.config,
            Source::Appl => &self.appl,
        }
    }

    /// What became of the rows at `key`.
    pub fn put(&self, key: &str, supervisor: &Supervisor) {
        self.config.put(key, supervisor.standing(Source::Config, key));
        self.appl.put(key, supervisor.standing(Source::Appl, key));
    }
}

/// The sources. Dropping it ends them.
#[derive(Debug)]
pub struct Sources(Vec<JoinHandle<()>>);

impl Sources {
    /// Begins to watch; what happens is said on `inputs`. `variables` stand in for settings that the table does not have.
    ///
    /// # Errors
    /// The configuration lacks a database.
    pub fn start(
        databases: &DatabaseConfig,
        variables: &Variables,
        windows: &Windows,
        known: Known,
        lanes: &Lanes,
    ) -> Result<Sources, DatabaseConfigError> {
        let watched = [
            Watched::Row { table: config_db::SETTINGS, key: config_db::SETTINGS_KEY },
            Watched::Changes(config_db::PORT),
        ];
        let watched = [&watched[..], &known::TABLES.map(Watched::Keys)].concat();
        let config = TableWatch::new(databases, "CONFIG_DB", &watched, RESYNC)?;
        let state = TableWatch::new(databases, "STATE_DB", &[Watched::Rows(state_db::MIRROR_SESSION)], RESYNC)?;
        let rows = |door, name, table: &str, window| -> Result<JobRows, DatabaseConfigError> {
            let (database, table) = (databases.database(name)?.clone(), table.to_owned());
            let right = databases.right();
            Ok(JobRows {
                door,
                database,
                table,
                resync: RESYNC,
                window: Arc::clone(window),
                lanes: lanes.clone(),
                right,
            })
        };
        let configured = rows(Source::Config, "CONFIG_DB", config_db::JOB, &windows.config)?;
        let queued = rows(Source::Appl, "APPL_DB", appl_db::JOB, &windows.appl)?;
        Ok(Sources(vec![
            tokio::spawn(configured.run()),
            tokio::spawn(queued.run()),
            tokio::spawn(watch_config(config, variables.clone(), known, lanes.urgent.clone())),
            tokio::spawn(watch_states(state, lanes.urgent.clone())),
        ]))
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// CONFIG_DB: settings, names, and the fact that something else changed that jobs depend on. Whatever happened there while it was away is
/// looked at once; a listing at its time says nothing new of the switch, because the sweep looks by itself.
async fn watch_config(mut watch: TableWatch, variables: Variables, known: Known, inputs: mpsc::Sender<Input>) {
    let mut was_away = false;
    loop {
        let (table, key, fields) = match watch.next().await {
            WatchEvent::Resynchronised { table, mut rows } if table == config_db::SETTINGS => {
                if std::mem::take(&mut was_away) && inputs.send(Input::Event(Event::SwitchChanged)).await.is_err() {
                    return;
                }
                (table, config_db::SETTINGS_KEY.to_owned(), rows.remove(config_db::SETTINGS_KEY))
            }
            WatchEvent::Resynchronised { table, rows } => {
                known.listed(&table, rows.into_keys().collect());
                continue;
            }
            WatchEvent::Set { table, key, fields } => (table, key, Some(fields)),
            WatchEvent::Del { table, key } => (table, key, None),
            WatchEvent::Disconnected { error } => {
                tracing::warn!(%error, "the connection to CONFIG_DB is lost");
                known.lost();
                was_away = true;
                continue;
            }
        };
        known.changed(&table, &key, fields.is_some());
        let input = match table.as_str() {
            config_db::SETTINGS => settings(&variables, &fields.unwrap_or_default()),
            config_db::MIRROR_SESSION => Input::Event(Event::SessionRow { session: key, present: fields.is_some() }),
            _ => Input::Event(Event::SwitchChanged),
        };
        if inputs.send(input).await.is_err() {
            return;
        }
    }
}

/// STATE_DB: orchagent's word on our sessions.
async fn watch_states(mut watch: TableWatch, inputs: mpsc::Sender<Input>) {
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut was_away = false;
    loop {
        let events = match watch.next().await {
            WatchEvent::Resynchronised { rows, .. } => {
                let unseen = std::mem::take(&mut was_away).then_some(Event::SwitchChanged);
                all_states(&mut known, &rows).into_iter().chain(unseen).collect()
            }
            WatchEvent::Set { key, fields, .. } => {
                known.insert(key.clone());
                session_state(&key, Some(&fields)).into_iter().collect()
            }
            WatchEvent::Del { key, .. } => {
                known.remove(&key);
                session_state(&key, None).into_iter().collect()
            }
            WatchEvent::Disconnected { error } => {
                tracing::warn!(%error, "the connection to STATE_DB is lost");
                was_away = true;
                Vec::new()
            }
        };
        for event in events {
            if inputs.send(Input::Event(event)).await.is_err() {
                return;
            }
        }
    }
}

/// A listing says of every session that was known whether it is still there.
fn all_states(known: &mut BTreeSet<String>, rows: &BTreeMap<String, Fields>) -> Vec<Event> {
    let before = std::mem::take(known);
    *known = rows.keys().filter(|name| name.starts_with(SESSION_PREFIX)).cloned().collect();
    let gone = before.difference(known).filter_map(|name| session_state(name, None));
    let present = rows.iter().filter_map(|(name, fields)| session_state(name, Some(fields)));
    gone.chain(present).collect()
}

fn session_state(name: &str, fields: Option<&Fields>) -> Option<Event> {
    name.starts_with(SESSION_PREFIX).then_some(())?;
    let state = match fields.map(|fields| fields.get("status").map(String::as_str)) {
        None => SessionState::Absent,
        Some(Some("active")) => SessionState::Active,
        Some(_) => SessionState::Inactive,
    };
    Some(Event::SessionState { session: name.to_owned(), state })
}

fn settings(variables: &Variables, fields: &Fields) -> Input {
    let (settings, errors) = variables.settings(fields);
    Input::Settings(Box::new(settings), errors.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orchagents_word_is_taken_on_every_session_of_ours_also_on_those_that_no_job_can_have() {
        for name in ["telegen_a", "telegen__2_a", "telegen__unbind", "telegen_a-name-of-23-characters"] {
            let event = session_state(name, None);
            let Some(Event::SessionState { session, state: SessionState::Absent }) = event else {
                panic!("{name}: {event:?}")
            };
            assert_eq!(session, name);
        }
        assert!(session_state("everflow", None).is_none());
    }
}
