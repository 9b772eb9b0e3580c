//! Lines for the system log, as SONiC's own daemons write them: a datagram in RFC 3164's form on `/dev/log`, which the container's or the
//! host's rsyslog forwards with the container's name in front of the tag.
//!
//! Values and one socket; what is worth a line is not known here. The words of the levels are those of sonic-swss-common `logger.cpp`.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Where syslog listens (syslog(3)).
pub const DEV_LOG: &str = "/dev/log";
/// Facility `daemon` (RFC 3164 §4.1.1).
const FACILITY: u8 = 3;

/// How serious a line is: the number is that of RFC 3164.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Severity {
    /// `EMERG`
    Emergency,
    /// `ALERT`
    Alert,
    /// `CRIT`
    Critical,
    /// `ERROR`
    Error,
    /// `WARN`
    Warning,
    /// `NOTICE`, what SONiC's daemons say by default.
    Notice,
    /// `INFO`
    Info,
    /// `DEBUG`
    Debug,
}

/// Every level by its word in CONFIG_DB `LOGGER`.
const WORDS: [(&str, Severity); 8] = [
    ("EMERG", Severity::Emergency),
    ("ALERT", Severity::Alert),
    ("CRIT", Severity::Critical),
    ("ERROR", Severity::Error),
    ("WARN", Severity::Warning),
    ("NOTICE", Severity::Notice),
    ("INFO", Severity::Info),
    ("DEBUG", Severity::Debug),
];

impl Severity {
    /// The level of a word, as `swssloglevel` writes it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Severity> {
        WORDS.iter().find(|(known, _)| *known == word).map(|(_, severity)| *severity)
    }

    /// The word of a level.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        WORDS[self as usize].0
    }
}

/// `<29>telegen-sonic[411]: ` and the text, which is [`one_line`]: priority and tag (RFC 3164 §4.1). Without a time, as is usual on `/dev/log`: rsyslog puts its own.
#[must_use]
pub fn line(severity: Severity, tag: &str, pid: u32, text: &str) -> String {
    format!("<{}>{tag}[{pid}]: {text}", FACILITY * 8 + severity as u8)
}

/// `text` with its control characters escaped as Rust writes them (`\n`, `\u{1b}`): one record is one line, wherever it goes. A line break
/// in a name or a value, which anybody may have chosen, begins no other one.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// The socket of the system log.
#[derive(Debug)]
pub struct Syslog {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Syslog {
    /// A socket that sends to `path`; whether anybody listens there shows with each line.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn to(path: &Path) -> io::Result<Syslog> {
        let socket = UnixDatagram::unbound()?;
        // A log that nobody reads must not hold the daemon up.
        socket.set_nonblocking(true)?;
        Ok(Syslog { socket, path: path.to_owned() })
    }

    /// Sends one line.
    ///
    /// # Errors
    /// Nobody listens, or does not keep up: the line is not sent.
    pub fn send(&self, line: &str) -> io::Result<()> {
        // By its path every time: rsyslog may have been restarted since.
        self.socket.send_to(line.as_bytes(), &self.path).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_priority_tag_and_process() {
        assert_eq!(
            line(Severity::Notice, "telegen-sonic", 411, "job a started"),
            "<29>telegen-sonic[411]: job a started"
        );
    }

    #[test]
    fn control_characters_and_line_breaks_are_escaped_and_nothing_else() {
        assert_eq!(one_line("a\nb\u{1b}[0m\r\u{85}é\u{2028}"), r"a\nb\u{1b}[0m\r\u{85}é\u{2028}");
    }

    #[test]
    fn levels_are_the_words_of_swssloglevel_and_the_numbers_of_rfc_3164() {
        for (number, word) in ["EMERG", "ALERT", "CRIT", "ERROR", "WARN", "NOTICE", "INFO", "DEBUG"].iter().enumerate()
        {
            let severity = Severity::from_word(word).expect("a level");
            assert_eq!((severity as usize, severity.as_str()), (number, *word));
        }
        assert_eq!((Severity::from_word("notice"), Severity::from_word("WARNING")), (None, None));
    }

    #[test]
    fn lines_arrive_where_syslog_listens_and_it_is_said_when_nobody_does() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let syslog = Syslog::to(&path).expect("a socket");
        assert!(syslog.send("early").is_err());
        let listener = UnixDatagram::bind(&path).expect("a listener");
        syslog.send("<29>x[1]: late").expect("sent");
        let mut buffer = [0; 64];
        let length = listener.recv(&mut buffer).expect("a line");
        assert_eq!(&buffer[..length], b"<29>x[1]: late");
    }
}
