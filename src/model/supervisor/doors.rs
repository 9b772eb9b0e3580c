//! What comes in through the doors: rows, settings, and the wish to end everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{
    Effect, Finished, Job, MISSING_FIELD_QUIET, Now, Phase, Prior, Renewals, SESSION_TIMEOUT_SHUTDOWN, SURVEY_TIMEOUT,
    SessionStates, Supervisor, Turn,
};
use crate::model::job::{Fields, JobId, JobSpec};
use crate::model::schema::{JobField, Reason, Source, Status, Warning};
use crate::model::settings::{AdminState, Settings};
use crate::model::status::Ending;

/// Rows without a port that are waited for at the same time.
pub(super) const INCOMPLETE_MAX: usize = 64;
/// A row that equals the one of a job that ended less than this ago may be a late echo of it.
const ECHO: Duration = Duration::from_secs(2);

impl Supervisor {
    pub(super) fn row(&mut self, door: Source, key: &str, fields: Option<Fields>, turn: &mut Turn) {
        if !self.listed.contains(&door) {
            // Until the door's first listing nobody knows whether the row is a new job or an earlier daemon's.
            return;
        }
        match (self.jobs.get(key).map(|job| job.door), fields) {
            (None, None) => {}
            // It came first through a door that has not been listed yet; the next listing says this row again.
            (None, Some(_)) if self.prior.contains_key(key) => {}
            (None, Some(fields)) => self.arrive(door, key, fields, turn.now),
            (Some(owner), Some(_)) if owner != door => {
                let line = format!("job {key} came through {door} while {owner} owns it: the {door} row is removed");
                turn.effects.push(Effect::log_of_rows(line));
                turn.effects.push(Effect::delete_row(door, key));
            }
            (Some(owner), None) if owner != door => {}
            (Some(_), Some(fields)) => self.changed(key, fields, turn.now),
            (Some(_), None) => self.gone(key, turn),
        }
    }

    /// A row that was there before anybody watched.
    pub(super) fn found(&mut self, door: Source, key: &str, fields: Fields, turn: &mut Turn) {
        let is_news = !self.prior.contains_key(key) && !self.jobs.contains_key(key);
        if is_news && self.listed.contains(&door) && !self.draining {
            self.recover_unknown(door, key, &fields, turn.now);
        }
        self.row(door, key, Some(fields), turn);
    }

    pub(super) fn rows(&mut self, door: Source, rows: BTreeMap<String, Fields>, turn: &mut Turn) {
        if self.draining && !self.listed.contains(&door) {
            // What an earlier daemon left is the next one's.
            return;
        }
        if self.listed.insert(door) {
            self.recover(door, &rows, turn.now);
        }
        let missing: Vec<String> = self
            .jobs
            .iter()
            .filter(|(key, job)| job.door == door && job.has_row() && !rows.contains_key(*key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in missing {
            self.row(door, &key, None, turn);
        }
        for (key, fields) in rows {
            self.row(door, &key, Some(fields), turn);
        }
    }

    pub(super) fn settings_changed(&mut self, settings: Settings, turn: &mut Turn) {
        self.settings = Arc::new(settings);
        if self.settings.admin_state == AdminState::Disabled {
            let message = "telegen was disabled: admin_state in TELEGEN|global is disabled";
            self.end_all(&Ending::stopped_by(Reason::AdminDisabled, message), turn);
        }
    }

    pub(super) fn shutdown(&mut self, turn: &mut Turn) {
        self.draining = true;
        // What has not been accepted stays in its table for the next daemon.
        let unsaid = |job: &Job| matches!(job.phase, Phase::Settling { .. } | Phase::Surveying { waiting: None, .. });
        let unsaid = self.jobs.iter().filter(|(_, job)| unsaid(job)).map(|(key, _)| key.clone());
        for key in unsaid.collect::<Vec<_>>() {
            self.jobs.remove(&key);
        }
        self.end_all(&Ending::stopped_by(Reason::DaemonStopped, "the telegen daemon was stopped"), turn);
        for key in self.jobs.keys() {
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            if let Phase::Releasing { deadline, .. } = &mut job.phase {
                *deadline = (*deadline).min(turn.now.mono + SESSION_TIMEOUT_SHUTDOWN);
            }
        }
    }

    fn end_all(&mut self, ending: &Ending, turn: &mut Turn) {
        for key in self.jobs.keys() {
            self.end(&key, ending.clone(), turn);
        }
    }

    /// A row without a job: a new job, unless everything is being ended.
    fn arrive(&mut self, door: Source, key: &str, fields: Fields, now: Now) {
        if self.draining {
            return;
        }
        let echo = self
            .finished
            .get(key)
            .is_some_and(|finished| finished.row.as_ref() == Some(&fields) && now.mono < finished.ended + ECHO);
        // Rows with expires_at were written by a program, whole; APPL_DB rows always are.
        let whole = door == Source::Appl || fields.contains_key(JobField::ExpiresAt.as_str());
        let quiet = if whole && !echo { Duration::ZERO } else { self.settings.settle };
        let phase = Phase::Settling { since: now.mono, due: now.mono + quiet };
        self.insert(door, key, Some(fields), phase, now.wall);
    }

    fn insert(&mut self, door: Source, key: &str, row: Option<Fields>, phase: Phase, created_at: Timestamp) {
        let job = Job {
            door,
            settings: Arc::clone(&self.settings),
            sequence: self.next_sequence,
            row,
            successor: None,
            phase,
            spec: None,
            plan: None,
            warnings: BTreeSet::new(),
            note: String::new(),
            states: SessionStates::default(),
            said_before: false,
            undeleted: None,
            failures: 0,
            gap: Duration::ZERO,
            renewals: Renewals::default(),
            kept: false,
            oids: BTreeMap::new(),
            created_at,
            expires: None,
            started: None,
            ended: None,
        };
        self.next_sequence += 1;
        self.jobs.insert(key.to_owned(), job);
    }

    /// The row has been quiet long enough: parse it and ask for the world.
    pub(super) fn take_up(&mut self, key: &str, since: Duration, turn: &mut Turn) {
        // A person who types a row field by field is one; a flood of rows without a port is not waited for.
        let may_wait = self.jobs.incomplete() < INCOMPLETE_MAX;
        let Some(job) = self.jobs.get_mut(key) else { return };
        let row = job.row.clone().unwrap_or_default();
        let whole = job.door == Source::Appl || row.contains_key(JobField::ExpiresAt.as_str());
        let spec = JobId::parse(key).and_then(|_| JobSpec::parse(&row, &self.settings));
        if let Err(error) = &spec
            && error.reason == Reason::MissingField
            && !whole
            && turn.now.mono < since + MISSING_FIELD_QUIET
            && may_wait
        {
            job.phase = Phase::Settling { since, due: since + MISSING_FIELD_QUIET };
            return;
        }
        if self.finished.remove(key).is_some() {
            turn.effects.push(Effect::clear_results(key.to_owned()));
        }
        job.settings = Arc::clone(&self.settings);
        job.created_at = turn.now.wall;
        let spec = match spec {
            Ok(spec) => Arc::new(spec),
            Err(error) => return self.publish(key, Ending::rejected(error.reason, error.message), turn.now),
        };
        job.spec = Some(Arc::clone(&spec));
        job.expires = spec.expires_at.map(|instant| on_steady_clock(instant, turn.now));
        if self.settings.admin_state == AdminState::Disabled {
            let message = "telegen is disabled; set admin_state to enabled in TELEGEN|global";
            return self.publish(key, Ending::rejected(Reason::AdminDisabled, message), turn.now);
        }
        if job.expires.is_some_and(|expires| expires <= turn.now.mono) {
            return self.publish(key, expired_before_start(), turn.now);
        }
        job.phase = Phase::Surveying { spec: Arc::clone(&spec), retry: turn.now.mono + SURVEY_TIMEOUT, waiting: None };
        if let Some(ending) = self.crowded_out(key, &spec, turn.now) {
            return self.publish(key, ending, turn.now);
        }
        turn.effects.extend(JobId::parse(key).ok().map(Effect::survey));
    }

    /// The row of a known job says something else than before.
    fn changed(&mut self, key: &str, fields: Fields, now: Now) {
        let settle = self.settings.settle;
        let Some(job) = self.jobs.get_mut(key) else { return };
        if job.row.as_ref() == Some(&fields) {
            return;
        }
        match &mut job.phase {
            Phase::Settling { since, due } => {
                let whole = job.door == Source::Appl || fields.contains_key(JobField::ExpiresAt.as_str());
                *since = now.mono;
                *due = now.mono + if whole { Duration::ZERO } else { settle };
                job.row = Some(fields);
            }
            Phase::Opening { then: Some(_), .. }
            | Phase::Releasing { .. }
            | Phase::Closing { .. }
            | Phase::Looking { .. }
            | Phase::Publishing { .. }
            | Phase::Removing { .. } => match job.row {
                None => job.successor = Some(fields),
                Some(_) => job.row = Some(fields),
            },
            Phase::Surveying { spec, .. }
            | Phase::Queued { spec, .. }
            | Phase::Provisioning { spec, .. }
            | Phase::Resolving { spec, .. }
            | Phase::Opening { spec, then: None, .. }
            | Phase::Running { spec, .. }
            | Phase::Renewing { spec, .. } => {
                let mut wanted = JobSpec::clone(spec);
                job.note.clear();
                match JobSpec::parse(&fields, &job.settings) {
                    Ok(new) => {
                        wanted.duration = new.duration;
                        if new != wanted {
                            job.warnings.insert(Warning::ChangeIgnored);
                        }
                    }
                    Err(error) => {
                        job.warnings.insert(Warning::ChangeIgnored);
                        job.note = format!("a change of the row was not followed: {error}");
                    }
                }
                *spec = Arc::new(wanted);
                job.spec = Some(Arc::clone(spec));
                job.row = Some(fields);
                job.reschedule();
            }
        }
    }

    /// Its user deleted the row.
    fn gone(&mut self, key: &str, turn: &mut Turn) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        job.row = None;
        job.successor = None;
        match &job.phase {
            // An earlier daemon has said `queued` of it.
            Phase::Settling { .. } | Phase::Surveying { waiting: None, .. } if job.said_before => {
                self.publish(key, Ending::stopped(), turn.now);
            }
            // Nothing has been said of it yet, so there is nothing to take back.
            Phase::Settling { .. } | Phase::Surveying { waiting: None, .. } => {
                self.jobs.remove(key);
            }
            Phase::Surveying { waiting: Some(_), .. }
            | Phase::Queued { .. }
            | Phase::Provisioning { .. }
            | Phase::Resolving { .. }
            | Phase::Opening { .. }
            | Phase::Running { .. }
            | Phase::Renewing { .. } => self.end(key, Ending::stopped(), turn),
            Phase::Releasing { .. } | Phase::Closing { .. } | Phase::Looking { .. } | Phase::Publishing { .. } => {}
            Phase::Removing { .. } => self.finish(key, turn.now),
        }
    }

    /// A job is over and its row is gone: remember it, or begin its successor.
    pub(super) fn finish(&mut self, key: &str, now: Now) {
        let Some(job) = self.jobs.remove(key) else { return };
        // A row that an earlier daemon's job had left over says nothing new of that job.
        if job.ended.is_some() {
            let status = job.status_of(key);
            let ending = status.status;
            let finished = Finished {
                status: Some(status),
                sequence: Some(job.sequence),
                row: job.row,
                ended: now.mono,
                age: Duration::ZERO,
                ending,
            };
            self.finished.insert(key.to_owned(), finished);
        }
        if let Some(fields) = job.successor {
            self.arrive(job.door, key, fields, now);
        }
    }

    /// The first listing of a door, beside what an earlier daemon said of its jobs.
    fn recover(&mut self, door: Source, rows: &BTreeMap<String, Fields>, now: Now) {
        let prior = std::mem::take(&mut self.prior);
        let (ours, others): (BTreeMap<_, _>, _) = prior.into_iter().partition(|(_, prior)| prior.source == door);
        self.prior = others;
        for (key, fields) in rows {
            if !ours.contains_key(key) && !self.prior.contains_key(key) && !self.jobs.contains_key(key) {
                self.recover_unknown(door, key, fields, now);
            }
        }
        // Those who waited wait on in the order in which they came.
        let mut ours: Vec<(String, Prior)> = ours.into_iter().collect();
        ours.sort_by_key(|(_, prior)| prior.created_at);
        for (key, prior) in ours {
            self.recover_known(door, &key, &prior, rows.get(&key).cloned(), now);
        }
    }

    /// A row of which nobody has said anything: it was written while no daemon ran, or came back with a saved configuration.
    fn recover_unknown(&mut self, door: Source, key: &str, fields: &Fields, now: Now) {
        if fields.contains_key(JobField::ExpiresAt.as_str()) || self.settings.run_saved_jobs {
            return;
        }
        let message = "the row was there before the daemon started and says no expires_at, so nobody knows whether it is still wanted; write it again, or set run_saved_jobs in TELEGEN|global";
        let phase = Phase::Publishing { ending: Ending::expired(message) };
        self.insert(door, key, Some(fields.clone()), phase, now.wall);
        self.note_spec(key, fields, now);
    }

    fn recover_known(&mut self, door: Source, key: &str, prior: &Prior, row: Option<Fields>, now: Now) {
        let created_at = prior.created_at.unwrap_or(now.wall);
        match prior.status {
            Status::Queued if row.is_some() => {
                let phase = Phase::Settling { since: now.mono, due: now.mono };
                self.insert(door, key, row, phase, created_at);
                if let Some(job) = self.jobs.get_mut(key) {
                    job.said_before = true;
                }
            }
            Status::Queued => {
                self.insert(door, key, None, Phase::Publishing { ending: Ending::stopped() }, created_at);
                self.note_spec(key, &prior.fields, now);
            }
            Status::Starting | Status::Running | Status::Stopping => {
                let message = "the telegen daemon ended while the job ran; its counts stop at the last result";
                let phase = Phase::Publishing { ending: Ending::failed(Reason::DaemonRestarted, message) };
                self.insert(door, key, row, phase, created_at);
                self.note_spec(key, &prior.fields, now);
                if let Some(job) = self.jobs.get_mut(key) {
                    job.started = prior.started_at.map(|wall| Now { mono: now.mono, wall });
                }
            }
            Status::Done | Status::Stopped | Status::Failed | Status::Rejected | Status::Expired => {
                let age = prior.ended_at.map_or(Duration::ZERO, |ended| elapsed(ended, now.wall));
                let ending = prior.status;
                let finished =
                    Finished { status: None, sequence: None, row: row.clone(), ended: now.mono, age, ending };
                self.finished.insert(key.to_owned(), finished);
                if row.is_some() {
                    // It was over; only the deletion of its row was cut off.
                    let ending = Ending { status: prior.status, reason: None, message: String::new() };
                    self.insert(door, key, row, Phase::Removing { ending, retry: Some(now.mono) }, created_at);
                }
            }
        }
    }

    /// What a row asked for, so that the final status of a job that is not run again still shows it.
    fn note_spec(&mut self, key: &str, fields: &Fields, now: Now) {
        let spec = JobSpec::parse(fields, &self.settings).ok().map(Arc::new);
        if let Some(job) = self.jobs.get_mut(key) {
            job.spec = spec;
            job.ended = Some(now);
        }
    }
}

impl Job {
    /// Whether a row, its own or its successor's, was there when it was last seen.
    fn has_row(&self) -> bool {
        self.row.is_some() || self.successor.is_some()
    }

    /// The end of a running job follows its duration, never past the row's `expires_at`.
    fn reschedule(&mut self) {
        let (Phase::Running { spec, ends, .. } | Phase::Renewing { spec, ends, .. }, Some(started)) =
            (&mut self.phase, self.started)
        else {
            return;
        };
        let wanted = started.mono + spec.duration;
        *ends = self.expires.map_or(wanted, |expires| wanted.min(expires));
        if *ends < wanted {
            self.note =
                format!("duration {} s would end after the row's expires_at, which stays", spec.duration.as_secs());
        }
    }
}

pub(super) fn expired_before_start() -> Ending {
    Ending::expired("the row's expires_at passed before the job could run")
}

/// When `instant` is, on the steady clock; at once if it is past.
fn on_steady_clock(instant: Timestamp, now: Now) -> Duration {
    now.mono + elapsed(now.wall, instant)
}

fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}
