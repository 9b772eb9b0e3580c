//! `stop` and `drain`.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::args::{DrainArgs, StopArgs};
use super::output::{Failure, Out};
use super::render;
use crate::io::tables::{Drained, JobTables, STOP_TIMEOUT, StopOutcome, SweepError};
use crate::io::tap::Swept;
use crate::model::schema::Reason;
use crate::model::value::printable;

pub(super) async fn stop(tables: &JobTables, args: &StopArgs, out: &mut Out) -> Result<(), Failure> {
    let ids = match &args.id {
        Some(id) => vec![id.clone()],
        None => tables.live_jobs().await?,
    };
    let outcomes = join_all(ids.iter().map(|id| tables.stop(id))).await;
    let mut stopped = Vec::new();
    let mut failures = Vec::new();
    for (id, outcome) in ids.iter().zip(outcomes) {
        match outcome {
            Ok(outcome) => match said(id, &outcome) {
                Ok(status) => stopped.push((id.as_str(), status)),
                Err(failure) => failures.push(failure),
            },
            Err(error) => failures.push(Failure::from(error)),
        }
    }
    if args.format.json {
        out.json(&json(args.all, &stopped, &failures))?;
    } else {
        let lines = stopped.iter().map(|(id, status)| format!("job {id}: {status}\n"));
        out.text(&lines.collect::<String>())?;
        if ids.is_empty() {
            out.line("no job to stop")?;
        }
    }
    // Every failure is told; the last one by whoever called.
    let last = failures.pop();
    for failure in failures {
        let _ = failure.report();
    }
    last.map_or(Ok(()), Err)
}

/// The status to show, or why the job is not over.
fn said(id: &str, outcome: &StopOutcome) -> Result<&'static str, Failure> {
    match outcome {
        StopOutcome::Unknown => Err(Failure::unknown_job(id)),
        StopOutcome::Over(row) => Ok(row.status.as_str()),
        StopOutcome::Withdrawn => Ok("withdrawn before it was taken up"),
        StopOutcome::Late(row) => Err(Failure::trouble(
            "not_over",
            format!(
                "job {id} is still {} after {} s; its row is deleted, so the daemon will end it",
                row.status,
                STOP_TIMEOUT.as_secs()
            ),
        )),
        StopOutcome::NoDaemon(row) => Err(Failure::trouble(
            "no_daemon",
            format!(
                "job {id}: the row is deleted, but STATE_DB still says {}: no telegen daemon gives a sign of life; if it left a mirror \
                 session behind, telegen-sonic drain removes it",
                row.status
            ),
        )),
    }
}

fn json(all: bool, stopped: &[(&str, &str)], failures: &[Failure]) -> Value {
    let jobs: Vec<Value> = stopped.iter().map(|(id, status)| json!({ "job_id": id, "status": status })).collect();
    match (all, jobs.as_slice(), failures) {
        (false, [job], _) => job.clone(),
        (false, _, [failure]) => failure.to_json(),
        _ => json!({ "jobs": jobs, "errors": failures.iter().map(Failure::to_json).collect::<Value>() }),
    }
}

pub(super) async fn drain(tables: &JobTables, args: &DrainArgs, out: &mut Out) -> Result<(), Failure> {
    let port = args.port.as_deref();
    let drained = tables.drain(port).await?;
    if let Some(port) = port.filter(|_| drained.jobs.is_empty() && drained.sessions.is_empty())
        && !tables.is_port(port).await?
    {
        let message = format!(
            "port: \"{}\" is neither in PORT nor in PORTCHANNEL of CONFIG_DB, and no job or session names it",
            printable(port)
        );
        return Err(Failure::trouble(Reason::UnknownPort.as_str(), message));
    }
    // The filter of a tap hangs where its copies arrive, which is no business of one port's.
    let swept = match port {
        None if !drained.by_daemon => Some(tables.sweep_filters(args.state_dir.path.clone()).await),
        None | Some(_) => None,
    };
    if args.format.json {
        out.json(&drained_json(&drained, swept.as_ref()))?;
    } else {
        out.text(&render::drained(&drained, swept.as_ref()))?;
    }
    if drained.is_complete() && !matches!(swept, Some(Err(_))) {
        return Ok(());
    }
    let why = if drained.is_complete() {
        "filters may be left on network devices, see above"
    } else {
        "something is left, see above; is orchagent (the swss service) running?"
    };
    Err(Failure::trouble("not_drained", why))
}

fn drained_json(drained: &Drained, swept: Option<&Result<Swept, SweepError>>) -> Value {
    let jobs: serde_json::Map<String, Value> = drained
        .jobs
        .iter()
        .map(|(id, status)| (id.clone(), status.map_or(Value::Null, |status| Value::from(status.as_str()))))
        .collect();
    let mut account = json!({
        "complete": drained.is_complete() && !matches!(swept, Some(Err(_))),
        "port": drained.port,
        "by_daemon": drained.by_daemon,
        "jobs": jobs,
        "sessions": drained.sessions,
        "sessions_left": drained.sessions_left,
        "sessions_unconfirmed": drained.unconfirmed,
        "sessions_to_add_again": drained.bereft.keys().collect::<Vec<_>>(),
    });
    // Said where there was something to remove.
    match swept {
        Some(Ok(Swept { filters, qdiscs })) if filters + qdiscs > 0 => {
            (account["filters_removed"], account["qdiscs_removed"]) = (json!(filters), json!(qdiscs));
        }
        Some(Err(error)) => account["filters_error"] = json!(error.to_string()),
        Some(Ok(_)) | None => {}
    }
    account
}
