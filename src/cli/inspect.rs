//! The commands that only read: `status`, `list`, `results`, `dump`.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::args::{Format, MaybeJob, OneJob};
use super::output::{Failure, Out};
use super::render;
use crate::io::tables::JobTables;
use crate::io::tables::json::{daemon as daemon_json, job as job_json, results as results_json};
use crate::model::job::rfc3339;

pub(super) async fn status(tables: &JobTables, args: &MaybeJob, out: &mut Out) -> Result<(), Failure> {
    let Some(id) = &args.id else { return daemon(tables, args.format, out).await };
    let Some(row) = tables.job(id).await? else {
        return match tables.configured(id).await? {
            Some(_) => Err(Failure::trouble(
                "no_answer",
                format!("job {id} is written, and no daemon has taken it up; is the telegen service running?"),
            )),
            None => Err(Failure::unknown_job(id)),
        };
    };
    if args.format.json {
        return out.json(&job_json(&row));
    }
    out.text(&render::job(&row, Timestamp::now()))
}

async fn daemon(tables: &JobTables, format: Format, out: &mut Out) -> Result<(), Failure> {
    let (daemon, jobs, now) = (tables.daemon().await?, tables.jobs().await?, Timestamp::now());
    let is_alive = daemon.is_alive(now);
    if format.json {
        let live: Value = jobs.iter().filter(|job| !job.status.is_final()).map(job_json).collect();
        out.json(&json!({ "daemon": daemon_json(&daemon, is_alive), "jobs": live }))?;
    } else {
        out.text(&render::daemon(&daemon, &jobs, now))?;
    }
    if is_alive {
        return Ok(());
    }
    let last = daemon
        .heartbeat()
        .map_or_else(|| "none was ever given".to_owned(), |at| format!("the last was at {}", rfc3339(at)));
    Err(Failure::trouble(
        "no_daemon",
        format!("no telegen daemon gives a sign of life ({last}); start the telegen service"),
    ))
}

pub(super) async fn list(tables: &JobTables, format: &Format, out: &mut Out) -> Result<(), Failure> {
    let jobs = tables.jobs().await?;
    if format.json {
        let jobs: Value = jobs.iter().map(job_json).collect();
        return out.json(&json!({ "jobs": jobs }));
    }
    let live = tables.live_jobs().await?;
    let unsaid: Vec<&str> =
        live.iter().map(String::as_str).filter(|id| !jobs.iter().any(|job| job.id == *id)).collect();
    out.text(&render::jobs(&jobs, &unsaid, Timestamp::now()))
}

pub(super) async fn results(tables: &JobTables, args: &OneJob, out: &mut Out) -> Result<(), Failure> {
    print_results(tables, &args.id, args.format.json, out).await
}

/// The results of a job, whatever its status; a job without any says why.
pub(super) async fn print_results(tables: &JobTables, id: &str, json: bool, out: &mut Out) -> Result<(), Failure> {
    let report = tables.report(id).await?.ok_or_else(|| Failure::unknown_job(id))?;
    if json {
        return out.json(&results_json(&report, None));
    }
    out.text(&render::results(&report, out.glyphs))
}

pub(super) async fn dump(tables: &JobTables, databases: &Path, out: &mut Out) -> Result<(), Failure> {
    let kernel = nix::sys::utsname::uname().map_or(Value::Null, |uname| {
        let part = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
        json!({ "release": part(uname.release()), "version": part(uname.version()), "machine": part(uname.machine()) })
    });
    let now = Timestamp::now();
    out.json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": env!("TELEGEN_COMMIT"),
        "built_at": env!("TELEGEN_BUILT_AT"),
        "kernel": kernel,
        "time": rfc3339(now),
        "daemon_alive": tables.daemon().await?.is_alive(now),
        "database_config": databases,
        "databases": tables.dump().await?,
    }))
}
