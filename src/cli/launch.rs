//! `start`: check, write, say what became of it, and with `--wait` stay until the end.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::args::StartArgs;
use super::inspect;
use super::output::{Failure, Out};
use super::render;
use crate::io::tables::json::job_brief;
use crate::io::tables::{
    JobRow, JobTables, StartOutcome, TablesError, id_in_use_message, no_daemon_message, unanswered_message,
};
use crate::model::job::Fields;
use crate::model::schema::{Reason, Status, config_db};

/// orchagent has 5 s for the mirror session; then the job runs or has failed, and the user is told which.
const STARTING_TIMEOUT: Duration = Duration::from_secs(6);

pub(super) async fn start(tables: &JobTables, args: &StartArgs, out: &mut Out) -> Result<(), Failure> {
    let result = try_start(tables, args, out).await;
    if let Err(failure) = &result
        && args.format.json
    {
        out.json(&failure.to_json())?;
    }
    result
}

async fn try_start(tables: &JobTables, args: &StartArgs, out: &mut Out) -> Result<(), Failure> {
    let request = args.to_request().map_err(|error| Failure::usage(&error))?;
    if args.dry_run {
        let settings = tables.settings().await?;
        let row = request.to_row(&settings, Timestamp::now()).map_err(|error| Failure::usage(&error))?;
        let id = request.id.as_ref().map_or("<id>", |id| id.as_str());
        return dry_run(args, id, &row, out);
    }
    let row = match tables.start(&request).await? {
        StartOutcome::Invalid(error) => return Err(Failure::usage(&error)),
        StartOutcome::IdInUse(id) => return Err(Failure::trouble("id_in_use", id_in_use_message(&id))),
        StartOutcome::NoDaemon { heartbeat, .. } => {
            return Err(Failure::trouble("no_daemon", no_daemon_message(heartbeat)));
        }
        StartOutcome::Unanswered(id) => return Err(Failure::trouble("no_answer", unanswered_message(&id))),
        StartOutcome::Answered(row) => row,
    };
    let row = past_starting(tables, row).await?;
    if is_refusal(row.status) {
        return Err(refusal(&row));
    }
    if args.wait {
        if !args.format.json {
            out.line(&render::started(&row))?;
        }
        return wait(tables, &row.id, args, out).await;
    }
    if args.format.json { out.json(&job_brief(&row)) } else { out.line(&render::started(&row)) }
}

fn dry_run(args: &StartArgs, id: &str, row: &Fields, out: &mut Out) -> Result<(), Failure> {
    if args.format.json {
        let fields: Value = row.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        return out.json(&json!({ config_db::JOB: { id: fields } }));
    }
    out.text(&render::row(config_db::JOB, id, row))
}

/// The row once it says more than `starting`, or as it is after [`STARTING_TIMEOUT`].
async fn past_starting(tables: &JobTables, row: JobRow) -> Result<JobRow, TablesError> {
    if row.status != Status::Starting {
        return Ok(row);
    }
    let deadline = Instant::now() + STARTING_TIMEOUT;
    let is_past = |row: Option<&JobRow>| row.is_none_or(|row| row.status != Status::Starting);
    Ok(tables.wait_for_status(&row.id, deadline, is_past).await?.row().unwrap_or(row))
}

/// Waits for the end, which the daemon sets, and prints the results.
async fn wait(tables: &JobTables, id: &str, args: &StartArgs, out: &mut Out) -> Result<(), Failure> {
    let row = until_over(tables, id).await?;
    inspect::print_results(tables, id, args.format.json, out).await?;
    if is_failure(row.status) { Err(refusal(&row)) } else { Ok(()) }
}

/// The row of the job when it is over.
pub(super) async fn until_over(tables: &JobTables, id: &str) -> Result<JobRow, Failure> {
    /// Between two looks at whether a daemon is left to end the job.
    const LOOK: Duration = Duration::from_secs(15);
    let mut watch = tables.watch(id).await?;
    loop {
        let is_over = |row: Option<&JobRow>| row.is_none_or(|row| row.status.is_final());
        let waited = watch.until(Instant::now() + LOOK, is_over).await?;
        match waited.row() {
            None => return Err(Failure::unknown_job(id)),
            Some(row) if row.status.is_final() => return Ok(row),
            Some(row) => require_daemon(tables, &row).await?,
        }
    }
}

/// A job that is not over needs a daemon.
pub(super) async fn require_daemon(tables: &JobTables, row: &JobRow) -> Result<(), Failure> {
    if tables.is_daemon_alive().await? {
        return Ok(());
    }
    let message = format!(
        "job {} is said to be {}, but no telegen daemon gives a sign of life; a daemon that starts will correct it",
        row.id, row.status
    );
    Err(Failure::trouble("no_daemon", message))
}

fn is_refusal(status: Status) -> bool {
    match status {
        Status::Queued | Status::Starting | Status::Running | Status::Stopping | Status::Done => false,
        Status::Stopped | Status::Failed | Status::Rejected | Status::Expired => true,
    }
}

/// Whether the end of a job is a failure to whoever waited for it: a job that somebody stopped has its results.
pub(super) fn is_failure(status: Status) -> bool {
    match status {
        Status::Queued | Status::Starting | Status::Running | Status::Stopping | Status::Done | Status::Stopped => {
            false
        }
        Status::Failed | Status::Rejected | Status::Expired => true,
    }
}

/// Reason and message of a job that did not run as it should.
pub(super) fn refusal(row: &JobRow) -> Failure {
    let reason = row.reason.map_or(row.status.as_str(), Reason::as_str);
    Failure::trouble(reason, row.message())
}
