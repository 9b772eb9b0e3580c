//! What becomes of a running job's sessions when the members of its port channels change, or a port goes.

use std::collections::{BTreeMap, BTreeSet};

use super::pool::CPU_PORT;
use super::{Plan, check_ports, conflict, hardware, warnings};
use crate::model::job::{JobId, JobSpec};
use crate::model::provision::Provision;
use crate::model::provision::mirror::{self, MirrorPlan, MirrorTarget};
use crate::model::settings::Settings;
use crate::model::world::{Session, World};

/// What a look at the switch means for a job's sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Nothing: they name the right ports.
    Same,
    /// They must be made anew, like this.
    Changed(Box<Plan>),
    /// Ports that they name are not in PORT any more.
    PortsGone {
        /// The ports; never none.
        ports: BTreeSet<String>,
    },
    /// The ports that they would have to name now cannot be copied.
    Refused {
        /// Why, in a sentence.
        why: String,
    },
}

/// Compares the sessions of `plan` with what `spec` asks for in `world`. `others` are all sessions but the job's own.
#[must_use]
pub fn follow(
    id: &JobId,
    spec: &JobSpec,
    plan: &Plan,
    world: &World,
    settings: &Settings,
    others: &BTreeMap<String, Session>,
) -> Followed {
    let Some(before) = plan.mirror() else { return Followed::Same };
    if world.ports.is_empty() {
        // CONFIG_DB was flushed, or is being loaded: it says nothing of single ports.
        return Followed::Same;
    }
    let destination = before.port().filter(|port| *port != CPU_PORT);
    let named = plan.source_ports.iter().map(String::as_str).chain(destination);
    let ports: BTreeSet<String> = named.filter(|port| !world.ports.contains_key(*port)).map(str::to_owned).collect();
    if !ports.is_empty() {
        return Followed::PortsGone { ports };
    }
    // A port channel that is gone has no members; a port that became a member of another one is still itself.
    let known = |port: &&str| world.ports.contains_key(*port) || world.port_channels.contains_key(*port);
    let wanted = world.expand(spec.ports.names().filter(known));
    if wanted == plan.source_ports {
        return Followed::Same;
    }
    match replan(id, spec, before, world, settings, others) {
        Ok(mirror) => {
            let source_ports = mirror.sources();
            let warnings = warnings(world, Some(&mirror), &source_ports);
            let provision = Some(Provision::Mirror(mirror));
            Followed::Changed(Box::new(Plan { provision, source_ports, warnings, ..plan.clone() }))
        }
        Err(why) => Followed::Refused { why },
    }
}

fn replan(
    id: &JobId,
    spec: &JobSpec,
    before: &MirrorPlan,
    world: &World,
    settings: &Settings,
    others: &BTreeMap<String, Session>,
) -> Result<MirrorPlan, String> {
    check_ports(spec, world).map_err(|refusal| refusal.message)?;
    hardware::check_sampling(spec, world, settings).map_err(|refusal| refusal.message)?;
    let sources = mirror::sources(spec, world);
    let ports: BTreeSet<String> = sources.iter().cloned().collect();
    if let MirrorTarget::Port(destination) = &before.target
        && ports.contains(destination)
    {
        return Err(format!("{destination}, to which the copies go, is one of the members now"));
    }
    if let Some((name, port)) = conflict(&ports, spec.direction, others, world) {
        return Err(format!("{port} is already used by mirror session {name}"));
    }
    Ok(MirrorPlan::new(id, spec, sources, before.target.clone()))
}
