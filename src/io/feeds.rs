//! The running feeds, each on a thread of its own that opens, reads and closes it: loading a program takes tens of
//! milliseconds, detaching waits for the kernel, and neither may hold the daemon up.
//!
//! A thread ends by `Close`, or because this process gives its end of the channel up; the feed is closed either way.

mod vigil;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::tap::{DEFAULT_MEMORY, Encapsulation, FlowSlots, Hooks, Tap, TapHost, TapPlan, possible_cpus};
use crate::model::erspan::Outer;
use crate::model::feed::{Feed, HooksFeed};
use crate::model::filter::Filter;
use crate::model::job::{Direction, JobId, JobSpec, ResultDetail};
use crate::model::sample::Sample;
use crate::model::schema::Reason;
use crate::model::supervisor::FeedEffect;
use crate::model::world::TapCost;
use vigil::Vigil;

/// What a feed's thread says.
#[derive(Debug)]
pub enum FeedEvent {
    /// The feed is open, or why not. The first sample is empty and says when counting began.
    Opened {
        /// Whose.
        id: JobId,
        /// Its first reading.
        result: Result<Sample, (Reason, String)>,
    },
    /// A reading.
    Read {
        /// Whose.
        id: JobId,
        /// The numbers.
        sample: Sample,
    },
    /// No packets come from it any more: its tap does not hang where it was hung, whoever took it off.
    Lost {
        /// Whose.
        id: JobId,
        /// What was seen.
        message: String,
    },
    /// The feed is closed; the last reading, or why there is none.
    Closed {
        /// Whose.
        id: JobId,
        /// The numbers.
        result: Result<Sample, String>,
    },
}

/// How often a feed is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Totals.
    pub results: Duration,
    /// Flows as well.
    pub flows: Duration,
}

enum Command {
    Intervals(Intervals),
    Close,
}

/// All running feeds.
pub struct Feeds {
    host: TapHost,
    events: mpsc::Sender<FeedEvent>,
    running: BTreeMap<JobId, Sender<Command>>,
    intervals: Intervals,
}

impl Feeds {
    /// No feeds yet; what happens to them is said on `events`.
    #[must_use]
    pub fn new(host: TapHost, events: mpsc::Sender<FeedEvent>, intervals: Intervals) -> Feeds {
        Feeds { host, events, running: BTreeMap::new(), intervals }
    }

    /// Begins to open or close a feed.
    pub fn begin(&mut self, effect: FeedEffect) {
        match effect {
            FeedEffect::Open { id, spec, feed: Feed::Hooks(feed) } => self.open(&id, &spec, feed),
            FeedEffect::Close { id } => self.close(&id),
        }
    }

    /// Opens a feed; answered by [`FeedEvent::Opened`].
    fn open(&mut self, id: &JobId, spec: &JobSpec, feed: HooksFeed) {
        let (commands, receiver) = channel();
        let plan = match plan(spec, feed) {
            Ok(plan) => plan,
            Err(error) => {
                let message =
                    format!("the number of CPUs, and so the size of the flow table, cannot be found out: {error}");
                return self.say(FeedEvent::Opened { id: id.clone(), result: Err((Reason::Internal, message)) });
            }
        };
        let reader =
            Reader { id: id.clone(), host: self.host.clone(), events: self.events.clone(), intervals: self.intervals };
        let thread = std::thread::Builder::new().name(format!("tap-{id}"));
        match thread.spawn(move || reader.run(&plan, &receiver)) {
            Ok(_) => {
                self.running.insert(id.clone(), commands);
            }
            Err(error) => {
                let result = Err((Reason::Internal, format!("no thread for the tap: {error}")));
                self.say(FeedEvent::Opened { id: id.clone(), result });
            }
        }
    }

    /// Closes a feed; answered by [`FeedEvent::Closed`].
    fn close(&mut self, id: &JobId) {
        let told = self.running.remove(id).is_some_and(|thread| thread.send(Command::Close).is_ok());
        if !told {
            self.say(FeedEvent::Closed { id: id.clone(), result: Err("its thread had ended".to_owned()) });
        }
    }

    /// A feed that could not be opened has no thread any more.
    pub fn forget(&mut self, id: &JobId) {
        self.running.remove(id);
    }

    /// Reads all feeds at another rate from now on.
    pub fn set_intervals(&mut self, intervals: Intervals) {
        self.intervals = intervals;
        for thread in self.running.values() {
            // A thread that has ended has said so itself.
            let _ = thread.send(Command::Intervals(intervals));
        }
    }

    /// An answer that does not come from a thread. The daemon's loop is the caller, so it must not wait for itself.
    fn say(&self, event: FeedEvent) {
        let events = self.events.clone();
        tokio::spawn(async move {
            // The receiver is gone only when the daemon is: nobody is left to be told.
            let _ = events.send(event).await;
        });
    }
}

/// What a tap takes on this host.
///
/// # Errors
/// The kernel does not say how many CPUs it may have.
pub fn cost() -> std::io::Result<TapCost> {
    let cpus = possible_cpus()?;
    let bytes = |flows: Option<FlowSlots>| {
        let plan = TapPlan {
            netdev: String::new(),
            hooks: Hooks::Ingress,
            filter: Filter::default(),
            sample_rate: NonZeroU32::MIN,
            flows,
            inner: false,
            encapsulation: None,
        };
        plan.memory_bytes(cpus)
    };
    Ok(TapCost { summary_bytes: bytes(None), flows_bytes: bytes(FlowSlots::within(DEFAULT_MEMORY, cpus)) })
}

fn plan(spec: &JobSpec, feed: HooksFeed) -> std::io::Result<TapPlan> {
    Ok(TapPlan {
        netdev: feed.netdev,
        hooks: match feed.hooks {
            Direction::Ingress => Hooks::Ingress,
            Direction::Egress => Hooks::Egress,
            Direction::Both => Hooks::Both,
        },
        filter: spec.filter.clone(),
        sample_rate: spec.sample_rate,
        flows: match spec.result_detail {
            ResultDetail::Summary => None,
            ResultDetail::Flows => FlowSlots::within(DEFAULT_MEMORY, possible_cpus()?),
        },
        inner: spec.inner,
        encapsulation: feed.outer.map(|Outer { src, dst }| Encapsulation { src, dst }),
    })
}

/// One feed's thread.
struct Reader {
    id: JobId,
    host: TapHost,
    events: mpsc::Sender<FeedEvent>,
    intervals: Intervals,
}

impl Reader {
    fn run(mut self, plan: &TapPlan, commands: &Receiver<Command>) {
        let id = self.id.clone();
        let tap = match Tap::open(plan, &self.host) {
            Ok(tap) => tap,
            Err(error) => {
                let result = Err((error.reason(), error.to_string()));
                return self.say(FeedEvent::Opened { id, result });
            }
        };
        self.say(FeedEvent::Opened { id: id.clone(), result: Ok(tap.read(false)) });
        let mut vigil = Vigil::new(&plan.netdev, Instant::now());
        if self.read_until_closed(&tap, &mut vigil, commands) {
            // What was lost since the last look would be missing in the numbers of a job that says it is done.
            let lost = vigil.look_now(Instant::now(), || tap.loss());
            self.say_lost(lost);
            let result = tap.close().map_err(|error| error.to_string());
            self.say(FeedEvent::Closed { id, result });
        }
    }

    /// True when asked to close; false when nobody is left to ask.
    fn read_until_closed(&mut self, tap: &Tap, vigil: &mut Vigil, commands: &Receiver<Command>) -> bool {
        let mut next_results = Instant::now() + self.intervals.results;
        let mut next_flows = Instant::now() + self.intervals.flows;
        loop {
            let next = vigil.next().map_or(next_results, |look| look.min(next_results));
            match commands.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Command::Close) => return true,
                Ok(Command::Intervals(intervals)) => {
                    let now = Instant::now();
                    self.intervals = intervals;
                    next_results = next_results.min(now + intervals.results);
                    next_flows = next_flows.min(now + intervals.flows);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now >= next_results {
                let with_flows = now >= next_flows;
                self.say(FeedEvent::Read { id: self.id.clone(), sample: tap.read(with_flows) });
                next_results = now + self.intervals.results;
                if with_flows {
                    next_flows = now + self.intervals.flows;
                }
            }
            let lost = vigil.look(now, || tap.loss());
            self.say_lost(lost);
        }
    }

    fn say_lost(&self, lost: Option<String>) {
        if let Some(message) = lost {
            self.say(FeedEvent::Lost { id: self.id.clone(), message });
        }
    }

    fn say(&self, event: FeedEvent) {
        // The receiver is gone only when the daemon is: nobody is left to be told.
        let _ = self.events.blocking_send(event);
    }
}
