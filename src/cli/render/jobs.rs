//! Jobs and the daemon: who they are and where they are.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::number::duration;
use super::table::{Column, table};
use super::words;
use crate::io::tables::{DaemonRow, JobRow};
use crate::model::ability::Ability;
use crate::model::job::Fields;
use crate::model::schema::{DaemonField, JobField, StatusField};

/// The line after a start.
#[must_use]
pub fn started(job: &JobRow) -> String {
    let port = job.job_field(JobField::Port).unwrap_or_default();
    let tap = job.added(StatusField::Tap).map(|tap| format!(", copies arrive on {tap}")).unwrap_or_default();
    let until = match (job.added(StatusField::StartedAt), job.added(StatusField::ExpiresAt)) {
        (Some(_), Some(until)) => format!(" until {until}"),
        // Before it runs, expires_at is only the latest moment at which it could end.
        _ => String::new(),
    };
    let mut line = format!("job {} on {port}: {}{until}{tap}", job.id, job.status);
    for warning in &job.warnings {
        let _ = write!(line, "\nwarning {warning}: {}", words::warning(*warning));
    }
    line
}

/// A row as it would be written.
#[must_use]
pub fn row(table: &str, key: &str, fields: &Fields) -> String {
    let mut text = format!("would write {table}|{key}\n");
    let width = fields.keys().map(String::len).max().unwrap_or_default();
    for (name, value) in fields {
        let _ = writeln!(text, "  {name:width$}  {value}");
    }
    text
}

/// Everything that is known of a job, a line each.
#[must_use]
pub fn job(job: &JobRow, now: Timestamp) -> String {
    let mut text = format!("job {}: {}", job.id, job.status);
    if let Some(reason) = job.reason {
        let _ = write!(text, ", {reason}");
    }
    text.push('\n');
    if !job.message().is_empty() {
        let _ = writeln!(text, "  {}", job.message());
    }
    for warning in &job.warnings {
        let _ = writeln!(text, "  warning {warning}: {}", words::warning(*warning));
    }
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:15}{value}");
        }
    };
    line("time", time(job, now));
    for field in JobField::ALL {
        line(field.as_str(), job.job_field(*field).unwrap_or_default().to_owned());
    }
    let added = [
        StatusField::Source,
        StatusField::Tap,
        StatusField::MirrorSession,
        StatusField::CreatedAt,
        StatusField::StartedAt,
        StatusField::EndedAt,
    ];
    for field in added {
        line(field.as_str(), job.added(field).unwrap_or_default().to_owned());
    }
    text
}

/// All jobs, a line each. `unsaid` are those with a row of which nothing is said.
#[must_use]
pub fn jobs(jobs: &[JobRow], unsaid: &[&str], now: Timestamp) -> String {
    let mut text = if jobs.is_empty() {
        "no job is known\n".to_owned()
    } else {
        let columns = [
            Column::Left("JOB"),
            Column::Left("STATUS"),
            Column::Left("PORT"),
            Column::Left("DIRECTION"),
            Column::Left("TIME"),
            Column::Left("REASON"),
            Column::Left("DESCRIPTION"),
        ];
        let field = |job: &JobRow, field| job.job_field(field).unwrap_or_default().to_owned();
        table(
            &columns,
            jobs.iter().map(|job| {
                vec![
                    job.id.clone(),
                    job.status.to_string(),
                    field(job, JobField::Port),
                    field(job, JobField::Direction),
                    time(job, now),
                    job.reason.map(|reason| reason.to_string()).unwrap_or_default(),
                    field(job, JobField::Description),
                ]
            }),
        )
    };
    if !unsaid.is_empty() {
        let _ = writeln!(text, "written, and not taken up by a daemon: {}", unsaid.join(", "));
    }
    text
}

/// How the daemon is, and its jobs that are not over.
#[must_use]
pub fn daemon(daemon: &DaemonRow, jobs_known: &[JobRow], now: Timestamp) -> String {
    /// What the first line says.
    const SHOWN: [DaemonField; 5] =
        [DaemonField::Version, DaemonField::Commit, DaemonField::Pid, DaemonField::StartedAt, DaemonField::Heartbeat];
    let is_alive = daemon.is_alive(now);
    let field = |field| daemon.field(field).unwrap_or_default();
    let mut text = if is_alive {
        let [version, commit, pid, since, _] = SHOWN.map(field);
        format!("daemon {version} (commit {commit}) runs since {since}, pid {pid}\n")
    } else {
        "no daemon runs\n".to_owned()
    };
    let is_judged = |name: &str| daemon.fields.contains_key(&format!("{name}_why"));
    let is_plain =
        |name: &str| !SHOWN.iter().any(|field| field.as_str() == name) && !is_judged(name) && !name.ends_with("_why");
    for (name, value) in daemon.fields.iter().filter(|(name, _)| is_plain(name)) {
        let _ = writeln!(text, "  {name}: {value}");
    }
    text.push_str(&abilities(daemon));
    let live: Vec<JobRow> = jobs_known.iter().filter(|job| !job.status.is_final()).cloned().collect();
    if live.is_empty() {
        text.push_str("no job is running\n");
    } else {
        text.push_str(&jobs(&live, &[], now));
    }
    text
}

/// What the switch can do, in the words of the daemon's row: `<ability>` and `<ability>_why`.
fn abilities(daemon: &DaemonRow) -> String {
    let said = Ability::ALL.iter().filter_map(|ability| {
        let verdict = match daemon.fields.get(ability.as_str())?.as_str() {
            "true" => "yes",
            "false" => "no",
            other => other,
        };
        Some((ability.title(), verdict, daemon.fields.get(&format!("{ability}_why"))?))
    });
    let lines: Vec<String> = said.map(|(title, verdict, why)| format!("  {title:<17}  {verdict:<7}  {why}")).collect();
    if lines.is_empty() {
        String::new()
    } else {
        super::ended(std::iter::once("this switch can:".to_owned()).chain(lines))
    }
}

/// How far a job is: `45.0 s of 2 min 0 s`.
pub fn time(job: &JobRow, now: Timestamp) -> String {
    let Some(started) = job.instant(StatusField::StartedAt) else { return String::new() };
    let ended = job.instant(StatusField::EndedAt);
    let between = |from: Timestamp, to: Timestamp| Duration::try_from(to.duration_since(from)).unwrap_or_default();
    let so_far = duration(between(started, ended.unwrap_or(now)));
    match job.instant(StatusField::ExpiresAt) {
        Some(expires) if ended.is_none() => format!("{so_far} of {}", duration(between(started, expires))),
        Some(_) | None => so_far,
    }
}
