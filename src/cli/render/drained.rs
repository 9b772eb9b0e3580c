//! What draining did and what is left, in sentences.

use super::ended;
use crate::io::tables::{Drained, SweepError};
use crate::io::tap::Swept;

/// The account.
#[must_use]
pub fn drained(drained: &Drained, swept: Option<&Result<Swept, SweepError>>) -> String {
    let mut lines = Vec::new();
    if !drained.by_daemon {
        lines.push("no daemon gives a sign of life: rows and sessions were deleted from here".to_owned());
    }
    for (id, status) in &drained.jobs {
        let said = match status {
            Some(status) if status.is_final() => format!("is over, {status}"),
            Some(status) if drained.by_daemon => format!("is still {status}"),
            Some(status) => format!("row deleted; STATE_DB says {status} until a daemon starts"),
            None => "withdrawn before it was taken up".to_owned(),
        };
        lines.push(format!("job {id}: {said}"));
    }
    for session in &drained.sessions {
        let said = if drained.sessions_left.contains(session) {
            "is still in CONFIG_DB"
        } else if drained.unconfirmed.contains(session) {
            "deleted, and not confirmed by orchagent"
        } else {
            "removed"
        };
        lines.push(format!("mirror session {session}: {said}"));
    }
    let late = drained.sessions_left.iter().filter(|session| !drained.sessions.contains(session));
    lines.extend(late.map(|session| format!("mirror session {session}: is still in CONFIG_DB")));
    let stale = drained.unconfirmed.iter().filter(|session| !drained.sessions.contains(session));
    lines.extend(stale.map(|session| format!("mirror session {session}: orchagent still has it, without a row")));
    lines.extend(drained.bereft.iter().map(|(theirs, port)| {
        format!(
            "mirror session {theirs}, not telegen's, copies {port} like a session that was here: orchagent unbinds the port with the deletion of either, so {theirs} must be removed and added again"
        )
    }));
    match swept {
        Some(Ok(Swept { filters, qdiscs })) if filters + qdiscs > 0 => lines.push(format!(
            "removed from network devices what a daemon had left there; tc filters: {filters}, qdiscs: {qdiscs}"
        )),
        Some(Err(error)) => lines.push(format!(
            "what a daemon may have left on network devices could not be looked for or removed; the next start of the daemon does that: {error}"
        )),
        Some(Ok(_)) | None => {}
    }
    lines.push(
        match (
            drained.is_complete() && !matches!(swept, Some(Err(_))),
            drained.jobs.is_empty() && drained.sessions.is_empty(),
        ) {
            (true, true) => nothing(drained, "nothing was running"),
            (true, false) => nothing(drained, "drained: no job runs"),
            (false, _) => "not drained".to_owned(),
        },
    );
    ended(lines)
}

fn nothing(drained: &Drained, done: &str) -> String {
    let at = drained.port.as_ref().map(|port| format!(" on {port}")).unwrap_or_default();
    format!("{done}{at}, and no session of telegen's is left{}", if at.is_empty() { "" } else { " there" })
}
