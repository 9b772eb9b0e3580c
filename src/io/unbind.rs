//! Looks into a session of ours that orchagent does not remove, and unbinds the ports that hold it, if `model::stuck` finds that
//! harmless (observed fact S17).
//!
//! What the judgement rests on is read at once before the writing, and again if that took long: a guess could take a port from
//! somebody else's session.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::asic::AsicDb;
use super::known::Known;
use super::mirror::MirrorSessions;
use super::survey::{SurveyError, Surveyor};
use crate::model::asic::{Binding, Question};
use crate::model::overtaken::Taken;
use crate::model::provision::mirror::{MirrorPlan, MirrorTarget, SessionPlan};
use crate::model::schema::{UNBIND_SESSION, state_db};
use crate::model::stuck::{Verdict, judge};
use crate::model::supervisor::{Event, Freed};
use crate::model::world::{Session, TapCost};
use crate::sonic::{DatabaseConfig, DatabaseConfigError, Error, Reconnecting};

/// What was read counts for this long.
const FRESH: Duration = Duration::from_secs(1);
/// How long orchagent has to make a session active, or to remove it: hundreds of times what it takes.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);
/// Requests that wait at the most; the supervisor has one under way at a time.
const WAITING: usize = 2;

/// Why a session could not be looked into or freed.
#[derive(Debug, thiserror::Error)]
enum UnbindError {
    #[error(transparent)]
    Redis(#[from] Error),
    #[error(transparent)]
    Survey(#[from] SurveyError),
    #[error("Redis took longer than a second to say what is bound, which may have changed since")]
    Stale,
    #[error("mirror session {theirs} copies {port} now")]
    Taken { theirs: String, port: String },
    #[error("{0} is still bound after it was unbound")]
    StillBound(Binding),
    #[error("orchagent did not {what} {UNBIND_SESSION} within {limit} s", limit = PATIENCE.as_secs())]
    NoAnswer { what: &'static str },
}

struct Request {
    session: String,
    row: Session,
    target: MirrorTarget,
}

/// Frees sessions, one after the other. Dropping it ends that.
pub struct Unbinder {
    requests: mpsc::Sender<Request>,
    task: JoinHandle<()>,
}

impl Unbinder {
    /// Starts; what became of a session is said on `outcomes`.
    ///
    /// # Errors
    /// The configuration lacks a database.
    pub fn start(
        databases: &DatabaseConfig,
        known: Known,
        outcomes: mpsc::Sender<Event>,
    ) -> Result<Unbinder, DatabaseConfigError> {
        let (requests, asked) = mpsc::channel(WAITING);
        let worker = Worker {
            // What a tap takes is of no account here.
            surveyor: Surveyor::new(databases, TapCost::default(), None)?,
            asic: AsicDb::new(databases)?,
            mirrors: MirrorSessions::new(databases, known)?,
            state: Reconnecting::new(databases, "STATE_DB")?,
            outcomes,
        };
        Ok(Unbinder { requests, task: tokio::spawn(worker.run(asked)) })
    }

    /// Begins to look into `session`, whose row was `row` and whose copies went to `target`; answered by [`Event::Freed`].
    pub fn free(&self, session: String, row: Session, target: MirrorTarget) {
        if self.requests.try_send(Request { session, row, target }).is_err() {
            tracing::warn!("a stuck mirror session is not looked into now: another one is");
        }
    }
}

impl Drop for Unbinder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Worker {
    surveyor: Surveyor,
    asic: AsicDb,
    mirrors: MirrorSessions,
    state: Reconnecting,
    outcomes: mpsc::Sender<Event>,
}

impl Worker {
    async fn run(mut self, mut asked: mpsc::Receiver<Request>) {
        while let Some(request) = asked.recv().await {
            let result = self.free(&request).await.map_err(|error| error.to_string());
            if self.outcomes.send(Event::Freed { session: request.session, result }).await.is_err() {
                return;
            }
        }
    }

    async fn free(&mut self, request: &Request) -> Result<Freed, UnbindError> {
        let Request { session, target, .. } = request;
        let mut unbound = Vec::new();
        // Each round unbinds one port and looks again, so that every writing rests on a reading of its own.
        loop {
            let (stray, read) = match self.judge(request).await? {
                (Verdict::Unbind(strays), read) => match strays.into_iter().next() {
                    Some(stray) if !unbound.contains(&stray) => (stray, read),
                    Some(stray) => return Err(UnbindError::StillBound(stray)),
                    None => break,
                },
                (Verdict::Leave(why), _) if unbound.is_empty() => return Ok(Freed::Left(why)),
                (Verdict::Leave(_), _) => break,
            };
            if read.elapsed() >= FRESH {
                return Err(UnbindError::Stale);
            }
            self.unbind(&stray, target).await?;
            unbound.push(stray);
        }
        self.mirrors.delete(session).await?;
        let words = unbound.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if self.wait(session, |status| status.is_none()).await? {
            Ok(Freed::Done(format!("{words} was bound to it, and was unbound by a session that is gone again")))
        } else {
            Ok(Freed::Left(format!("{words} was unbound from it, and orchagent keeps it all the same")))
        }
    }

    /// The verdict, and when what it rests on was read.
    async fn judge(&mut self, request: &Request) -> Result<(Verdict, Instant), UnbindError> {
        let Request { session, row, target } = request;
        let read = Instant::now();
        let world = self.surveyor.look().await?;
        let ports = world.ports.keys().map(|port| (port.clone(), None)).collect();
        let view = self.asic.view(&Question { ports, target: target.clone(), sampled: false }).await?;
        Ok((judge(session, row, target, &view, &world), read))
    }

    /// A session on the port takes the binding over, and its deletion clears it.
    async fn unbind(&mut self, stray: &Binding, target: &MirrorTarget) -> Result<(), UnbindError> {
        let session = SessionPlan {
            name: UNBIND_SESSION.to_owned(),
            sources: vec![stray.port.clone()],
            // Not the stuck session's: the other direction of the port may be somebody else's.
            direction: stray.direction,
        };
        let plan = MirrorPlan {
            direction: session.direction,
            sessions: vec![session],
            target: target.clone(),
            sample_rate: None,
            truncate: None,
        };
        // The judgement has looked for others on the port, and so does this; who comes in between is told by the next round.
        let set = self.mirrors.set(&plan).await;
        if let Ok(Some(Taken { theirs, port })) = set {
            // Nothing was written.
            return Err(UnbindError::Taken { theirs, port });
        }
        let active = self.wait(UNBIND_SESSION, |status| status == Some("active")).await;
        // Whatever came of it, it does not stay.
        self.mirrors.delete(UNBIND_SESSION).await?;
        let gone = self.wait(UNBIND_SESSION, |status| status.is_none()).await?;
        set?;
        match (active?, gone) {
            (true, true) => Ok(()),
            (false, _) => Err(UnbindError::NoAnswer { what: "make active" }),
            (true, false) => Err(UnbindError::NoAnswer { what: "remove" }),
        }
    }

    /// Whether the session's `status` in STATE_DB becomes as wanted in time.
    async fn wait(&mut self, session: &str, wanted: impl Fn(Option<&str>) -> bool) -> Result<bool, UnbindError> {
        let state = self.state.connection().await?;
        let key = state.database().key(state_db::MIRROR_SESSION, session);
        let end = Instant::now() + PATIENCE;
        loop {
            let row = state.hgetall(&key).await?;
            let status = (!row.is_empty()).then(|| row.get("status").map_or("", String::as_str));
            if wanted(status) {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
