//! Where text goes: stdout, as a terminal or not; and failures, to stderr with their exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::render::{Glyphs, harmless};
use crate::io::tables::TablesError;
use crate::model::value::FieldError;
use crate::sonic::syslog::one_line;

/// Standard output, and what it can show.
pub struct Out {
    /// Which characters its reader can see.
    pub glyphs: Glyphs,
    /// Whether it is a terminal: only then escape codes are written.
    pub is_terminal: bool,
}

impl Out {
    /// The process's stdout; the character set by `LC_ALL`, `LC_CTYPE`, `LANG`, in POSIX' order.
    #[must_use]
    pub fn standard() -> Out {
        let variables = ["LC_ALL", "LC_CTYPE", "LANG"].map(|name| std::env::var(name).unwrap_or_default());
        let locale = variables.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
        Out { glyphs: Glyphs::of_locale(&locale), is_terminal: io::stdout().is_terminal() }
    }

    /// Writes `text` without its control characters: what stands in tables must not do anything to a terminal.
    ///
    /// # Errors
    /// As [`Out::raw`].
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.raw(&harmless(text))
    }

    /// Writes `text` as it is.
    ///
    /// # Errors
    /// stdout cannot be written. That nobody reads any more (`| head`) is the end of the command, not its failure.
    pub fn raw(&mut self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => Err(Failure::trouble("internal", format!("stdout: {error}"))),
            Ok(()) => Ok(()),
        }
    }

    /// Writes `text` and a new line.
    ///
    /// # Errors
    /// As [`Out::text`].
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.text(&format!("{text}\n"))
    }

    /// Writes a JSON document, indented for a person.
    ///
    /// # Errors
    /// As [`Out::text`].
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(&format!("{value:#}"))
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    is_usage: bool,
    /// A reason of the contract, or a word of the same kind.
    reason: String,
    message: String,
    field: Option<String>,
}

impl Failure {
    /// The job failed, was refused or is unknown, or the switch is in no state to answer: exit code 1.
    pub fn trouble(reason: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure { is_usage: false, reason: reason.into(), message: message.into(), field: None }
    }

    /// An argument that cannot be taken: exit code 2.
    #[must_use]
    pub fn usage(error: &FieldError) -> Failure {
        let field = Some(error.field.clone());
        Failure { is_usage: true, reason: error.reason.to_string(), message: error.message.clone(), field }
    }

    /// No table knows the job.
    #[must_use]
    pub fn unknown_job(id: &str) -> Failure {
        Failure::trouble("unknown_job", format!("no job \"{id}\" is known; telegen-sonic list shows those that are"))
    }

    /// The failure as REST would say it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "error": self.reason, "message": self.message, "field": self.field })
    }

    /// One line on stderr.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        let separator = if self.message.is_empty() { "" } else { ": " };
        // If stderr is closed there is nobody left to tell.
        let text = one_line(&format!("{}{separator}{}", self.reason, self.message));
        let _ = writeln!(io::stderr(), "telegen-sonic: {text}");
        ExitCode::from(if self.is_usage { 2 } else { 1 })
    }
}

impl From<TablesError> for Failure {
    fn from(error: TablesError) -> Failure {
        let reason = match &error {
            TablesError::Redis(_) | TablesError::Config(_) => "database_unavailable",
            TablesError::Row(_) | TablesError::Random(_) => "internal",
        };
        Failure::trouble(reason, error.to_string())
    }
}
