//! What the server takes at the most: connections, descriptors and time. Pure, except that the process is asked for its own limit.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

/// Connections that are served at once. More than a switch's own clients ever need, and few enough for the memory that each may hold.
pub const CONNECTIONS: usize = 256;
/// Connections that are being turned away at once: each has its answer already and is only waited for.
pub const TURNED_AWAY: usize = 32;
/// Descriptors that are never used for clients: two taps with their maps and links, the databases, the collector, the log.
pub const RESERVED_DESCRIPTORS: usize = 224;
/// Fewer connections than this are no service; so many are served whatever is left.
const CONNECTIONS_MIN: usize = 16;
/// What a connection's socket holds for a client that does not read; the kernel doubles it.
pub(super) const SEND_BUFFER: usize = 64 * 1024;
/// What is read of a request before it is looked at: its head must fit.
pub(super) const READ_BUFFER: usize = 16 * 1024;

/// The limits of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are served at once.
    pub connections: usize,
    /// From the beginning of a connection, or the end of an answer, until the whole head of the next request is there.
    pub head: Duration,
    /// From a request's head until the whole of its body is there.
    pub body: Duration,
    /// From a request's head until the head of its answer; it is longer than stopping a job may take.
    pub answer: Duration,
    /// A client that takes less than `SLOWEST` bytes of its answer in this time is dropped.
    pub write: Duration,
    /// A client that has kept its connection waiting for so long gives way if there is no other place.
    pub patience: Duration,
}

/// Bytes of an answer that a client takes within [`Limits::write`], unless it takes all of it.
pub const SLOWEST: usize = 256 * 1024;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: CONNECTIONS,
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            write: Duration::from_secs(10),
            patience: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// The limits of a process that may have `descriptors` open, and what is to be said of it.
    #[must_use]
    pub fn within(descriptors: u64) -> (Limits, Option<String>) {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let whole = RESERVED_DESCRIPTORS + TURNED_AWAY + CONNECTIONS;
        let left = descriptors.saturating_sub(RESERVED_DESCRIPTORS + TURNED_AWAY);
        let connections = left.clamp(CONNECTIONS_MIN, CONNECTIONS);
        let complaint = (descriptors < whole).then(|| {
            format!(
                "the process may have {descriptors} descriptors (RLIMIT_NOFILE); with fewer than {whole}, REST serves {connections} \
                 connections instead of {CONNECTIONS}, so that jobs keep theirs; set LimitNOFILE={whole} or more"
            )
        });
        (Limits { connections, ..Limits::default() }, complaint)
    }

    /// The limits of this process.
    #[must_use]
    pub fn of_process() -> (Limits, Option<String>) {
        match getrlimit(Resource::RLIMIT_NOFILE) {
            Ok((soft, _)) => Limits::within(soft),
            Err(error) => {
                let complaint = format!(
                    "how many descriptors the process may have could not be asked ({error}); REST serves {CONNECTIONS_MIN} connections"
                );
                (Limits { connections: CONNECTIONS_MIN, ..Limits::default() }, Some(complaint))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_is_left_of_the_descriptors_and_jobs_keep_theirs() {
        let (limits, complaint) = Limits::within(512);
        assert_eq!((limits.connections, complaint), (256, None));
        assert_eq!(Limits::within(u64::MAX), (Limits::default(), None));
        let (limits, complaint) = Limits::within(300);
        assert_eq!(limits.connections, 300 - 256);
        assert_eq!(
            complaint.unwrap(),
            "the process may have 300 descriptors (RLIMIT_NOFILE); with fewer than 512, REST serves 44 connections instead of 256, \
             so that jobs keep theirs; set LimitNOFILE=512 or more"
        );
        assert_eq!(Limits::within(64).0.connections, 16);
    }
    #[test]
    fn unit_and_image_give_the_daemon_what_it_needs() {
        let whole = RESERVED_DESCRIPTORS + TURNED_AWAY + CONNECTIONS;
        let unit = include_str!("../../../debian/telegen-sonic.service");
        assert!(unit.lines().any(|line| line == format!("LimitNOFILE={whole}")));
        let image = include_str!("../../../sonic/image/supervisord.conf");
        assert!(image.lines().any(|line| line == format!("minfds={whole}")));
    }
}
