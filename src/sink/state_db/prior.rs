//! What an earlier daemon said of its jobs, read once at the start: page by page, and no more of it than is kept in any case.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::rows;
use crate::io::window::ROWS;
use crate::model::rows::job;
use crate::model::schema::state_db;
use crate::model::supervisor::{FINISHED_MAX, Prior};
use crate::sonic::connection::CHUNK;
use crate::sonic::{Error, RedisConnection};

/// Outcomes that are taken over at the most: those that a daemon remembers, of both kinds, and those of rows that were under way.
const OUTCOMES_MAX: usize = 2 * FINISHED_MAX + ROWS;
/// Jobs that are taken over at the most which were not over: more than any daemon has run or queued.
const LIVE_MAX: usize = 1024;

/// What an earlier daemon said of its jobs, the newest first where it is too much; what is left out is deleted.
///
/// # Errors
/// Redis is away or did not answer.
pub async fn read_prior(connection: &RedisConnection) -> Result<BTreeMap<String, Prior>, Error> {
    let (mut kept, mut left_out, mut cursor) = (Kept::default(), 0_usize, 0);
    loop {
        let (next, keys) = connection.keys_page(state_db::JOB, cursor).await?;
        for chunk in keys.chunks(CHUNK) {
            let mut deleted = Vec::new();
            for (key, fields) in connection.rows_at(state_db::JOB, chunk.to_vec()).await? {
                let dropped = job::prior(&fields).and_then(|prior| kept.add(key, prior));
                left_out += usize::from(dropped.is_some());
                deleted.extend(dropped.into_iter().flat_map(|(key, prior)| {
                    let with_numbers = prior.started_at.is_some() || !prior.status.is_final();
                    rows::keys_of(connection.database(), &key, with_numbers)
                }));
            }
            connection.del_many(&deleted).await?;
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    if left_out > 0 {
        tracing::warn!(left_out, "deleted what an earlier daemon said of jobs, the oldest of more than are remembered");
    }
    Ok(kept.all)
}

#[derive(Default)]
struct Kept {
    all: BTreeMap<String, Prior>,
    /// Oldest first: jobs that were not over, and outcomes.
    by_age: [BTreeSet<(Timestamp, String)>; 2],
}

impl Kept {
    /// Takes one in; the one that makes way for it.
    fn add(&mut self, key: String, prior: Prior) -> Option<(String, Prior)> {
        let kind = usize::from(prior.status.is_final());
        self.by_age[kind].insert((age(&prior), key.clone()));
        if let Some(before) = self.all.insert(key.clone(), prior)
            && (usize::from(before.status.is_final()), age(&before)) != (kind, age(&self.all[&key]))
        {
            self.by_age[usize::from(before.status.is_final())].remove(&(age(&before), key));
        }
        if self.by_age[kind].len() <= [LIVE_MAX, OUTCOMES_MAX][kind] {
            return None;
        }
        let (_, oldest) = self.by_age[kind].pop_first()?;
        let prior = self.all.remove(&oldest)?;
        Some((oldest, prior))
    }
}

fn age(prior: &Prior) -> Timestamp {
    prior.ended_at.or(prior.created_at).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::Fields;
    use crate::model::schema::{Source, Status};

    fn prior(status: Status, second: i64) -> Prior {
        let at = Timestamp::from_second(second).ok();
        let (created_at, ended_at) = (at, at.filter(|_| status.is_final()));
        Prior { status, source: Source::Config, created_at, started_at: None, ended_at, fields: Fields::new() }
    }

    #[test]
    fn the_newest_outcomes_are_kept_and_drive_out_no_job_that_was_not_over() {
        let mut kept = Kept::default();
        assert_eq!(kept.add("runs".to_owned(), prior(Status::Running, 0)), None);
        let count = i64::try_from(OUTCOMES_MAX).unwrap();
        for second in (1..=count).rev() {
            assert_eq!(kept.add(second.to_string(), prior(Status::Rejected, second)), None);
        }
        // SCAN may say a key twice.
        assert_eq!(kept.add("7".to_owned(), prior(Status::Rejected, 7)), None);
        let dropped = kept.add("new".to_owned(), prior(Status::Rejected, count + 1));
        assert_eq!(dropped, Some(("1".to_owned(), prior(Status::Rejected, 1))));
        assert_eq!(kept.all.len(), OUTCOMES_MAX + 1);
        assert!(kept.all.contains_key("runs") && kept.all.contains_key("new"));
    }
}
