//! `watch`: one job as it goes, until it is over. Refreshed in place on a terminal, a line per second otherwise, a JSON object per line
//! with `--json`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::args::OneJob;
use super::launch::{is_failure, refusal, require_daemon};
use super::output::{Failure, Out};
use super::render;
use crate::io::tables::json::{job as job_json, totals_only};
use crate::io::tables::{JobRow, JobTables, ResultsRow};

/// Nobody reads faster.
const SHORTEST: Duration = Duration::from_secs(1);
/// Between two looks at whether a daemon is left.
const LOOK: Duration = Duration::from_secs(15);

pub(super) async fn watch(tables: &JobTables, args: &OneJob, out: &mut Out) -> Result<(), Failure> {
    let mut watch = tables.watch(&args.id).await?;
    let mut screen = Screen { drawn: 0 };
    let mut next_look = Instant::now() + LOOK;
    loop {
        let Some(row) = watch.row().await? else { return Err(Failure::unknown_job(&args.id)) };
        let results = tables.results(&args.id).await?;
        if args.format.json {
            let totals = results.as_ref().map(totals_only);
            out.line(&json!({ "job": job_json(&row), "results": totals }).to_string())?;
        } else {
            screen.show(&row, results.as_ref(), out)?;
        }
        if row.status.is_final() {
            return if is_failure(row.status) { Err(refusal(&row)) } else { Ok(()) };
        }
        if Instant::now() >= next_look {
            require_daemon(tables, &row).await?;
            next_look = Instant::now() + LOOK;
        }
        let shown = Instant::now();
        watch.changed(next_look).await?;
        // Status and totals are written one after the other, and totals may come faster than a person reads.
        if !tables.job(&args.id).await?.is_some_and(|row| row.status.is_final()) {
            sleep_until(shown + SHORTEST).await;
        }
    }
}

/// What is on the terminal.
struct Screen {
    /// Lines of the last frame.
    drawn: usize,
}

impl Screen {
    fn show(&mut self, row: &JobRow, results: Option<&ResultsRow>, out: &mut Out) -> Result<(), Failure> {
        let now = Timestamp::now();
        if !out.is_terminal {
            return out.line(&render::watch_line(row, results, now));
        }
        let frame = render::harmless(&render::watch_frame(row, results, now));
        let up = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        self.drawn = frame.lines().count();
        // Without line wrap while drawing: a wrapped line would be two, and the next frame would begin too low.
        out.raw(&format!("{up}\x1b[J\x1b[?7l{frame}\x1b[?7h"))
    }
}
