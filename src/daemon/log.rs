//! Where the daemon's lines go and which of them: as CONFIG_DB `LOGGER|telegen-sonic` says, at any moment, which is how every SONiC daemon is
//! told (`swssloglevel`, `config syslog level`). What is worth a line is said elsewhere, by `tracing`.
//!
//! SONiC's levels have one more than `tracing`'s: NOTICE, which its daemons say by default. `info!` is a NOTICE here, `debug!` an INFO, `trace!`
//! a DEBUG.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::interval;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::repeats::{Line, Repeats};
use crate::model::job::rfc3339;
use crate::model::schema::{LOGGER_COMPONENT as COMPONENT, config_db};
use crate::sonic::subscriber_table::RESYNC;
use crate::sonic::syslog::{self, Severity, Syslog};
use crate::sonic::{DatabaseConfig, Fields, RedisConnection, TableWatch, WatchEvent, Watched, connect};

const LEVEL: &str = "LOGLEVEL";
const OUTPUT: &str = "LOGOUTPUT";
/// Events of other crates count as ours down to this level; what they say below is for their own developers.
const OTHERS: Level = Level::INFO;
/// How late the number of lines that were left out may be said.
const FLUSH: Duration = Duration::from_secs(10);

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Output {
    /// The system log; stderr where nobody listens there.
    Syslog,
    Stdout,
    Stderr,
}

impl Output {
    const WORDS: [(&'static str, Output); 3] =
        [("SYSLOG", Output::Syslog), ("STDOUT", Output::Stdout), ("STDERR", Output::Stderr)];

    fn from_word(word: &str) -> Option<Output> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, output)| *output)
    }
}

/// What is in force; shared by the layer that writes and the task that follows the table.
#[derive(Debug)]
pub struct Log {
    level: AtomicU8,
    output: AtomicU8,
    syslog: Option<Syslog>,
    /// systemd keeps what is written to stderr and reads a priority in front of it (sd-daemon(3)).
    to_journal: bool,
    started: Instant,
    repeats: Mutex<Repeats<Severity>>,
}

impl Log {
    /// NOTICE to the system log at `syslog`, as sonic-swss-common begins.
    #[must_use]
    pub fn new(syslog: &Path, to_journal: bool) -> Log {
        Log {
            level: AtomicU8::new(Severity::Notice as u8),
            output: AtomicU8::new(Output::Syslog as u8),
            syslog: Syslog::to(syslog).ok(),
            to_journal,
            started: Instant::now(),
            repeats: Mutex::default(),
        }
    }

    /// Makes this the process's log.
    ///
    /// # Errors
    /// It has one already.
    pub fn install(self) -> anyhow::Result<Arc<Log>> {
        let log = Arc::new(self);
        tracing_subscriber::registry().with(Lines(Arc::clone(&log))).try_init()?;
        Ok(log)
    }

    fn says(&self, metadata: &Metadata<'_>) -> bool {
        severity(*metadata.level()) as u8 <= self.level.load(Ordering::Relaxed)
    }

    /// Says a line, unless the like of it has just been said often enough.
    fn say(&self, metadata: &Metadata<'_>, text: &str) {
        let severity = severity(*metadata.level());
        let is_trouble = severity <= Severity::Warning;
        let now = self.started.elapsed();
        self.say_left_out();
        // A callsite is a static: its address is its name.
        let place = std::ptr::from_ref(metadata).addr();
        let said = self.repeats().admit(place, severity, is_trouble, text, now);
        if said {
            self.write(severity, text);
        }
    }

    /// Says how many lines were left out in the minute before.
    fn say_left_out(&self) {
        let over = self.repeats().over(self.started.elapsed());
        for Line { kind, text } in over {
            self.write(kind, &text);
        }
    }

    fn repeats(&self) -> std::sync::MutexGuard<'_, Repeats<Severity>> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, severity: Severity, text: &str) {
        let pid = std::process::id();
        let text = &syslog::one_line(text);
        let output = self.output.load(Ordering::Relaxed);
        let sent = output == Output::Syslog as u8
            && self.syslog.as_ref().is_some_and(|log| log.send(&syslog::line(severity, COMPONENT, pid, text)).is_ok());
        if sent {
            return;
        }
        let line = if self.to_journal {
            format!("<{}>{text}\n", severity as u8)
        } else {
            format!("{} {} {text}\n", rfc3339(Timestamp::now()), severity.as_str())
        };
        // There is no third place to say that neither of them can be written.
        let _ = if output == Output::Stdout as u8 {
            std::io::stdout().write_all(line.as_bytes())
        } else {
            std::io::stderr().write_all(line.as_bytes())
        };
    }

    /// Puts a row in force. A word that is none counts as the default, as in sonic-swss-common.
    fn apply(&self, row: &Fields) {
        let word = |name: &str| row.get(name).map(String::as_str);
        let level = word(LEVEL).map_or(Ok(Severity::Notice), |word| Severity::from_word(word).ok_or(word));
        let output = word(OUTPUT).map_or(Ok(Output::Syslog), |word| Output::from_word(word).ok_or(word));
        self.level.store(level.unwrap_or(Severity::Notice) as u8, Ordering::Relaxed);
        self.output.store(output.unwrap_or(Output::Syslog) as u8, Ordering::Relaxed);
        if let Err(word) = level {
            tracing::error!("LOGGER|{COMPONENT}: {LEVEL} \"{word}\" is no level; NOTICE is in force");
        }
        if let Err(word) = output {
            tracing::error!("LOGGER|{COMPONENT}: {OUTPUT} \"{word}\" is not accepted; SYSLOG is in force");
        }
    }

    /// Follows the table until the task is aborted, from now on.
    ///
    /// # Errors
    /// CONFIG_DB is away.
    pub async fn follow(self: Arc<Log>, databases: &DatabaseConfig) -> anyhow::Result<JoinHandle<()>> {
        register(&connect(databases, "CONFIG_DB").await?).await?;
        let row = Watched::Row { table: config_db::LOGGER, key: COMPONENT };
        let mut watch = TableWatch::new(databases, "CONFIG_DB", &[row], RESYNC)?;
        Ok(tokio::spawn(async move {
            let mut flush = interval(FLUSH);
            loop {
                let event = tokio::select! {
                    event = watch.next() => event,
                    _ = flush.tick() => {
                        self.say_left_out();
                        continue;
                    }
                };
                match event {
                    WatchEvent::Resynchronised { rows, .. } => {
                        if let Some(row) = rows.get(COMPONENT) {
                            self.apply(row);
                        }
                    }
                    WatchEvent::Set { fields, .. } => self.apply(&fields),
                    // A deleted row changes nothing before the next start, as with SONiC's own daemons.
                    WatchEvent::Del { .. } | WatchEvent::Disconnected { .. } => {}
                }
            }
        }))
    }
}

/// `swssloglevel` only knows components that have a row: without one, the defaults are written.
async fn register(config: &RedisConnection) -> Result<(), crate::sonic::Error> {
    let key = config.database().key(config_db::LOGGER, COMPONENT);
    let row = config.hgetall(&key).await?;
    let defaults = [(LEVEL, "NOTICE"), (OUTPUT, "SYSLOG")].into_iter().filter(|(name, _)| !row.contains_key(*name));
    let missing: Fields = defaults.map(|(name, word)| (name.to_owned(), word.to_owned())).collect();
    if missing.is_empty() { Ok(()) } else { config.hset_whole(&key, &missing).await }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO => Severity::Notice,
        Level::DEBUG => Severity::Info,
        Level::TRACE => Severity::Debug,
    }
}

/// The end of `tracing` that makes lines of events.
struct Lines(Arc<Log>);

impl<S: Subscriber> Layer<S> for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let ours = metadata.target().starts_with(env!("CARGO_CRATE_NAME"));
        // The level may change at any time, so no answer is for good but this one.
        if ours || *metadata.level() <= OTHERS { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.0.says(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.say(event.metadata(), &text.whole());
    }
}

/// An event's message, and its fields behind it: `taps are open job=a count=2`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn whole(self) -> String {
        self.message + &self.fields
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn row(level: &str, output: &str) -> Fields {
        Fields::from([(LEVEL.to_owned(), level.to_owned()), (OUTPUT.to_owned(), output.to_owned())])
    }

    /// What reaches the system log of what is said at every level.
    fn said(row: &Fields) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let listener = UnixDatagram::bind(&path).expect("a listener");
        listener.set_nonblocking(true).expect("a flag");
        let log = Arc::new(Log::new(&path, false));
        let subscriber = tracing_subscriber::registry().with(Lines(Arc::clone(&log)));
        tracing::subscriber::with_default(subscriber, || {
            log.apply(row);
            tracing::error!("e");
            tracing::warn!(job = "a", count = 2, "w");
            tracing::info!("i");
            tracing::debug!("d");
            tracing::trace!("t");
        });
        let mut lines = Vec::new();
        let mut buffer = [0; 256];
        while let Ok(length) = listener.recv(&mut buffer) {
            let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
            lines.push(line.replace(&format!("telegen-sonic[{}]: ", std::process::id()), ""));
        }
        lines
    }

    #[test]
    fn the_level_says_which_lines_there_are_and_each_has_its_priority() {
        let all = ["<27>e", "<28>w job=a count=2", "<29>i", "<30>d", "<31>t"];
        for (level, lines) in [("ERROR", 1), ("WARN", 2), ("NOTICE", 3), ("INFO", 4), ("DEBUG", 5), ("CRIT", 0)] {
            assert_eq!(said(&row(level, "SYSLOG")), all[..lines], "{level}");
        }
        assert_eq!(said(&Fields::new()), all[..3], "the default");
    }

    #[test]
    fn a_line_that_repeats_itself_is_said_once() {
        let log = Arc::new(Log::new(Path::new("/nonexistent"), false));
        let subscriber = tracing_subscriber::registry().with(Lines(Arc::clone(&log)));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..1000 {
                tracing::warn!("the same");
            }
        });
        let left_out = log.repeats().over(Duration::from_secs(3600));
        let text = "the same (and 999 more in the last minute)".to_owned();
        assert_eq!(left_out, [Line { kind: Severity::Warning, text }]);
    }

    #[test]
    fn a_line_break_in_a_value_begins_no_line() {
        let complaint =
            r#"<27>LOGGER|telegen-sonic: LOGLEVEL "x\n<27>forged\u{1b}[0m" is no level; NOTICE is in force"#;
        assert_eq!(said(&row("x\n<27>forged\u{1b}[0m", "SYSLOG"))[0], complaint);
    }

    #[test]
    fn a_word_that_is_none_is_said_and_counts_as_the_default() {
        let complaint = "<27>LOGGER|telegen-sonic: LOGLEVEL \"loud\" is no level; NOTICE is in force";
        assert_eq!(said(&row("loud", "SYSLOG")), [complaint, "<27>e", "<28>w job=a count=2", "<29>i"]);
        assert_eq!(said(&row("NOTICE", "PAPER")).len(), 4);
        assert_eq!(said(&row("NOTICE", "STDERR")), [""; 0]);
    }
}
