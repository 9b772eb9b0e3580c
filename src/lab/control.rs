//! The lab process's control socket: one JSON line in, one JSON line out, then the connection ends.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::gre::GreOptions;
use super::orchagent::hardware::{Fault, NoRoom};
use super::state::files;

/// What `telegen-lab fault` asks of the lab process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRequest {
    /// The fault.
    pub fault: FaultName,
    /// The only mirror session that it concerns; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// [`Fault`] in the form of the control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultName {
    /// [`Fault::Reject`]
    Reject,
    /// [`Fault::Inactive`]
    Inactive,
    /// [`Fault::Unresolved`]
    Unresolved,
    /// [`Fault::Erspan`]
    Erspan(GreOptions),
    /// [`Fault::Lose`]
    Lose,
    /// [`Fault::Slow`], milliseconds.
    Slow(u64),
    /// [`Fault::Dead`]
    Dead,
    /// [`Fault::Sessions`]
    Sessions {
        /// How many mirror sessions there is room for.
        room: usize,
        /// [`NoRoom::OrchagentEnds`] instead of [`NoRoom::Refused`].
        #[serde(default)]
        orchagent_ends: bool,
    },
    /// [`Fault::Restart`]
    Restart,
    /// [`Fault::Clear`]
    Clear,
}

impl From<FaultName> for Fault {
    fn from(name: FaultName) -> Fault {
        match name {
            FaultName::Reject => Fault::Reject,
            FaultName::Inactive => Fault::Inactive,
            FaultName::Unresolved => Fault::Unresolved,
            FaultName::Erspan(options) => Fault::Erspan(options),
            FaultName::Lose => Fault::Lose,
            FaultName::Slow(milliseconds) => Fault::Slow(Duration::from_millis(milliseconds)),
            FaultName::Dead => Fault::Dead,
            FaultName::Sessions { room, orchagent_ends } => {
                Fault::Sessions { room, outcome: if orchagent_ends { NoRoom::OrchagentEnds } else { NoRoom::Refused } }
            }
            FaultName::Restart => Fault::Restart,
            FaultName::Clear => Fault::Clear,
        }
    }
}

/// The lab process's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The orchagent has the fault.
    Done,
    /// Why it does not.
    Error(String),
}

/// A path by which the socket in `dir` can be bound and reached, however long `dir` is: a socket's address holds 107 bytes.
#[must_use]
pub fn socket_path(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(files::CONTROL)
}

/// Sends a request to the lab in `dir` and waits for its answer.
///
/// # Errors
/// The lab does not answer within 10 s, or refuses.
pub fn request(dir: &Path, request: &FaultRequest) -> Result<()> {
    let what = || format!("asking the lab in {}", dir.display());
    let handle = File::open(dir).with_context(what)?;
    let mut stream = UnixStream::connect(socket_path(&handle)).with_context(what)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).with_context(what)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).with_context(what)?;
    match serde_json::from_str(&line).with_context(|| format!("the lab answered '{}'", line.trim_end()))? {
        Answer::Done => Ok(()),
        Answer::Error(reason) => bail!("the lab refused: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_single_lines_of_json() {
        let slow = FaultRequest { fault: FaultName::Slow(20), session: Some("telegen_a".to_owned()) };
        let text = serde_json::to_string(&slow).unwrap();
        assert_eq!(text, r#"{"fault":{"slow":20},"session":"telegen_a"}"#);
        assert_eq!(serde_json::from_str::<FaultRequest>(&text).unwrap(), slow);
        let dead: FaultRequest = serde_json::from_str(r#"{"fault":"dead"}"#).unwrap();
        assert_eq!((Fault::from(dead.fault), dead.session), (Fault::Dead, None));
        assert_eq!(Fault::from(slow.fault), Fault::Slow(Duration::from_millis(20)));
        let two: FaultRequest = serde_json::from_str(r#"{"fault":{"sessions":{"room":2}}}"#).unwrap();
        assert_eq!(Fault::from(two.fault), Fault::Sessions { room: 2, outcome: NoRoom::Refused });
        assert_eq!(serde_json::to_string(&Answer::Done).unwrap(), r#""done""#);
    }
}
