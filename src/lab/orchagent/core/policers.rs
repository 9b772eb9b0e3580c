//! Policers and who uses them (`policerorch.cpp`).

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Orchagent, RETRY};
use crate::lab::orchagent::messages::Output;

/// What PolicerOrch counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Policers {
    /// Sessions by policer; those that were refused behind it never give it back (fact S19).
    users: BTreeMap<String, usize>,
    /// Policers whose rows have gone while they had users: the next attempt of each.
    kept: BTreeMap<String, Instant>,
}

impl Policers {
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.kept.values().min().copied()
    }
}

impl Orchagent {
    pub(super) fn add_policer(&mut self, name: String, now: Instant, out: &mut Vec<Output>) {
        self.policers.kept.remove(&name);
        self.objects.add_policer(&name, out);
        self.topology.policers.insert(name);
        // Whatever changes makes orchagent go through what it has to try again.
        self.again.values_mut().for_each(|(at, _)| *at = now);
    }

    pub(super) fn remove_policer(&mut self, name: String, now: Instant, out: &mut Vec<Output>) {
        if self.policers.users.get(&name).is_some_and(|users| *users > 0) {
            out.push(Output::Log(format!("Failed to remove policer {name}: it is in use")));
            self.policers.kept.insert(name, now + RETRY);
            return;
        }
        self.policers.kept.remove(&name);
        self.topology.policers.remove(&name);
        self.objects.remove_policer(&name, out);
    }

    /// Tries again to remove a policer whose time has come, and says whether there was one.
    pub(super) fn try_to_remove_policers(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
        let due = self.policers.kept.iter().find(|(_, at)| **at <= now).map(|(name, _)| name.clone());
        let Some(name) = due else { return false };
        self.remove_policer(name, now, out);
        true
    }

    pub(super) fn use_policer(&mut self, policer: Option<&str>) {
        if let Some(policer) = policer {
            *self.policers.users.entry(policer.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn release_policer(&mut self, policer: &str) {
        if let Some(users) = self.policers.users.get_mut(policer) {
            *users = users.saturating_sub(1);
        }
    }
}
