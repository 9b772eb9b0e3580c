//! `TELEGEN_DAEMON_TABLE`: what the daemon says of itself.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::job::{Fields, rfc3339};
use crate::model::report::{Report, Snapshot};
use crate::model::schema::{DaemonField, Status};

/// Between two heartbeats.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// A daemon whose heartbeat is older is taken for dead: three heartbeats.
pub const HEARTBEAT_LIMIT: Duration = Duration::from_secs(3 * HEARTBEAT.as_secs());

/// The daemon's row.
#[must_use]
pub fn write(snapshot: &Snapshot, now: Timestamp) -> Fields {
    let info = &snapshot.daemon;
    let is_active =
        |report: &&Arc<Report>| matches!(report.status.status, Status::Starting | Status::Running | Status::Stopping);
    let value = |field: &DaemonField| match field {
        DaemonField::Version => Some(info.version.to_owned()),
        DaemonField::Commit => Some(info.commit.to_owned()),
        DaemonField::BuiltAt => Some(info.built_at.to_owned()),
        DaemonField::Pid => Some(info.pid.to_string()),
        DaemonField::StartedAt => Some(rfc3339(info.started_at)),
        DaemonField::Heartbeat => Some(rfc3339(now)),
        DaemonField::ActiveJobs => Some(snapshot.jobs.values().filter(is_active).count().to_string()),
        DaemonField::RefusedTotal => Some(snapshot.refused.total.to_string()),
        DaemonField::RefusedNotKept => Some(snapshot.refused.not_kept.to_string()),
        DaemonField::SettingsErrors => {
            Some(info.settings_errors.join("; ")).filter(|_| !info.settings_errors.is_empty())
        }
        // What the host and the switch are like is among the capabilities.
        DaemonField::Kernel
        | DaemonField::MirrorPorts
        | DaemonField::TapBytesSummary
        | DaemonField::TapBytesFlows
        | DaemonField::SessionsHeld => None,
    };
    let mut row = info.capabilities.clone();
    row.extend(DaemonField::ALL.iter().filter_map(|field| Some((field.to_string(), value(field)?))));
    row
}

/// A row, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonRow {
    /// Every field; empty if no daemon ever ran, or it removed its row.
    pub fields: Fields,
}

impl DaemonRow {
    /// One of its fields; `None` if it is absent.
    #[must_use]
    pub fn field(&self, field: DaemonField) -> Option<&str> {
        self.fields.get(field.as_str()).map(String::as_str)
    }

    /// When the daemon last said that it lives.
    #[must_use]
    pub fn heartbeat(&self) -> Option<Timestamp> {
        self.field(DaemonField::Heartbeat)?.parse().ok()
    }

    /// Whether its heartbeat is younger than [`HEARTBEAT_LIMIT`]. One from the future by more than that is no sign of
    /// life: the clock was set back, and a living daemon would have written again.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.silence(now).is_some_and(|silence| silence < HEARTBEAT_LIMIT)
    }

    /// How far from `now` the last heartbeat is, in either direction; `None` if there never was one.
    #[must_use]
    pub fn silence(&self, now: Timestamp) -> Option<Duration> {
        Some(now.duration_since(self.heartbeat()?).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::report::{DaemonInfo, Device};
    use crate::model::settings::Settings;
    use crate::model::status::Refused;

    #[test]
    fn a_row_says_when_the_daemon_was_alive_and_keeps_what_the_switch_can_do() {
        let at = |text: &str| -> Timestamp { text.parse().expect("a time") };
        let daemon = DaemonInfo {
            version: "0.1.0",
            commit: "abc",
            built_at: "2026-01-01T00:00:00Z",
            pid: 42,
            started_at: at("2026-01-31T02:00:00Z"),
            instance_id: "run-1".to_owned(),
            device: Device::default(),
            capabilities: BTreeMap::from([("span".to_owned(), "true".to_owned())]),
            settings_errors: vec!["max_jobs: 9".to_owned(), "max_queue: x".to_owned()],
        };
        let refused = Refused { total: 5, not_kept: 2 };
        let settings = Arc::new(Settings::default());
        let snapshot = Snapshot { daemon: Arc::new(daemon), settings, refused, jobs: BTreeMap::new() };
        let row = DaemonRow { fields: write(&snapshot, at("2026-01-31T03:00:00Z")) };
        assert_eq!(row.heartbeat(), Some(at("2026-01-31T03:00:00Z")));
        let said = |field| row.field(field).unwrap_or_default();
        assert_eq!([said(DaemonField::Pid), said(DaemonField::ActiveJobs)], ["42", "0"]);
        assert_eq!([said(DaemonField::RefusedTotal), said(DaemonField::RefusedNotKept)], ["5", "2"]);
        assert_eq!(said(DaemonField::SettingsErrors), "max_jobs: 9; max_queue: x");
        assert_eq!(row.fields.get("span").map(String::as_str), Some("true"));
        assert_eq!(row.fields.len(), 11);
    }

    #[test]
    fn a_daemon_lives_until_its_heartbeat_is_15_s_old() {
        let heartbeat = ("heartbeat".to_owned(), "2026-01-31T03:00:00.000Z".to_owned());
        let daemon = DaemonRow { fields: Fields::from([heartbeat]) };
        let at = |time: &str| daemon.is_alive(time.parse().expect("a time"));
        assert!(at("2026-01-31T03:00:14.999Z"));
        assert!(!at("2026-01-31T03:00:15Z"));
        assert!(!at("2026-01-31T02:00:00Z"));
        assert!(!DaemonRow::default().is_alive("2026-01-31T03:00:00Z".parse().expect("a time")));
    }
}
