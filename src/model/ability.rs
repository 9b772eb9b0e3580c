//! What this switch can do for a job and what it cannot, and why, in words: from its tables, the settings, and what was found out by trying.
//!
//! Pure. The daemon shows it in TELEGEN_DAEMON_TABLE; whether one job is taken is `admission`'s to say, by the same facts.

use super::admission;
use super::schema::words;
use super::settings::Settings;
use super::world::{Capability, World};

words! {
    /// Something that a job may need. The names are fields of TELEGEN_DAEMON_TABLE; `<name>_why` stands beside each.
    Ability {
        MirrorIngress = "mirror_ingress", MirrorEgress = "mirror_egress", Span = "span", SpanToCpu = "span_to_cpu", Erspan = "erspan",
        MirrorSampling = "mirror_sampling", MirrorTruncation = "mirror_truncation", MirrorPolicer = "mirror_policer",
    }
}

impl Ability {
    /// What people call it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Ability::MirrorIngress => "mirror ingress",
            Ability::MirrorEgress => "mirror egress",
            Ability::Span => "span",
            Ability::SpanToCpu => "span to CPU",
            Ability::Erspan => "erspan",
            Ability::MirrorSampling => "sampled mirror",
            Ability::MirrorTruncation => "cut copies",
            Ability::MirrorPolicer => "policed mirror",
        }
    }
}

words! {
    /// Whether the switch can.
    Verdict { Yes = "true", No = "false", Unknown = "unknown" }
}

/// What became of a mirror session that was only written to see what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It was active.
    Active,
    /// It had a row and stayed inactive.
    Inactive,
    /// It had no row: orchagent refused it.
    Refused,
    /// It was not tried; why not.
    NotTried(String),
}

/// What was found out by trying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trials {
    /// A SPAN session whose destination is the CPU port.
    pub span_to_cpu: Trial,
    /// A session with a policer.
    pub policer: Trial,
}

impl Trials {
    /// Nothing was tried, for one reason.
    #[must_use]
    pub fn none(why: &str) -> Trials {
        Trials { span_to_cpu: Trial::NotTried(why.to_owned()), policer: Trial::NotTried(why.to_owned()) }
    }
}

/// Why nothing may be tried on this switch now; `None`: it does no harm.
///
/// A trial session has no source, so it copies nothing and binds no port. It is still not made while any session exists (it could be the one
/// too many for the hardware), nor where orchagent may end because of it.
#[must_use]
pub fn objection(world: &World, settings: &Settings) -> Option<String> {
    if !settings.probe_switch {
        return Some("probe_switch is false in TELEGEN|global".to_owned());
    }
    if let Some(session) = world.sessions.keys().chain(&world.known_states).next() {
        return Some(format!(
            "mirror session {session} exists and nothing may come near it; a start of the daemon without one tries"
        ));
    }
    if world.capability.ingress_mirror.is_none() {
        let why = "SWITCH_CAPABILITY is that of a release before 202511, and up to 202411 orchagent ends when the SAI refuses what it is asked";
        return Some(why.to_owned());
    }
    None
}

/// Every ability, whether the switch has it, and why.
#[must_use]
pub fn abilities(world: &World, settings: &Settings, trials: &Trials) -> Vec<(Ability, Verdict, String)> {
    let judged = |ability: &Ability| {
        let (verdict, why) = match ability {
            Ability::MirrorIngress => direction("INGRESS", world.capability.ingress_mirror, "jobs try it"),
            Ability::MirrorEgress => direction(
                "EGRESS",
                world.capability.egress_mirror,
                "jobs are refused unless allow_unprobed is true, because orchagent up to 202411 ends when the SAI refuses",
            ),
            Ability::Span => span(world, settings),
            Ability::SpanToCpu => span_to_cpu(&trials.span_to_cpu),
            Ability::Erspan => erspan(world, settings),
            Ability::MirrorSampling => sampling(world),
            Ability::MirrorTruncation => truncation(world.capability),
            Ability::MirrorPolicer => policer(&trials.policer),
        };
        (*ability, verdict, why)
    };
    Ability::ALL.iter().map(judged).collect()
}

fn direction(word: &str, capable: Option<bool>, unsaid: &str) -> (Verdict, String) {
    let field = format!("PORT_{word}_MIRROR_CAPABLE");
    match capable {
        Some(true) => (Verdict::Yes, format!("SWITCH_CAPABILITY says {field} true")),
        Some(false) => (
            Verdict::No,
            format!("SWITCH_CAPABILITY says {field} false; jobs are refused unless allow_unprobed is true"),
        ),
        None => (Verdict::Unknown, format!("SWITCH_CAPABILITY has no {field}, as before 202511; {unsaid}")),
    }
}

/// Whether there is a place for copies; whether they come back from it only a job can tell.
fn span(world: &World, settings: &Settings) -> (Verdict, String) {
    if world.pool.is_empty() {
        return (
            Verdict::No,
            "TELEGEN_MIRROR_PORT is empty: no port is known whose copies come back to the CPU".to_owned(),
        );
    }
    let place = |(port, place): (String, Result<String, String>)| match place {
        Ok(netdev) => (true, format!("copies to {port} are awaited on {netdev}")),
        Err(why) => (false, format!("{port} {why}")),
    };
    let places: Vec<(bool, String)> = admission::places(world, settings).map(place).collect();
    let verdict = if places.iter().any(|(usable, _)| *usable) { Verdict::Yes } else { Verdict::No };
    (verdict, places.into_iter().map(|(_, said)| said).collect::<Vec<_>>().join("; "))
}

fn span_to_cpu(trial: &Trial) -> (Verdict, String) {
    match trial {
        Trial::Active => (Verdict::Yes, "a session with dst_port CPU became active when it was tried".to_owned()),
        Trial::Inactive => {
            (Verdict::No, "orchagent took a session with dst_port CPU, and the SAI refused it".to_owned())
        }
        Trial::Refused => (
            Verdict::No,
            "orchagent refused a session with dst_port CPU, as it does in every release from 202205 to master"
                .to_owned(),
        ),
        Trial::NotTried(why) => (
            Verdict::Unknown,
            format!("not tried: {why}; orchagent refuses dst_port CPU in every release from 202205 to master"),
        ),
    }
}

fn erspan(world: &World, settings: &Settings) -> (Verdict, String) {
    match settings.erspan.ready() {
        Err(message) => (Verdict::No, message),
        Ok(ready) if !world.netdevs.contains(ready.netdev) => {
            (Verdict::No, format!("erspan_netdev {} is not on this host", ready.netdev))
        }
        Ok(ready) => (
            Verdict::Yes,
            format!(
                "copies to {} are awaited on {}, for {} at once; orchagent needs a route and a neighbour for them",
                ready.dst,
                ready.netdev,
                if ready.sources.len() == 1 { "1 job".to_owned() } else { format!("{} jobs", ready.sources.len()) }
            ),
        ),
    }
}

fn sampling(world: &World) -> (Verdict, String) {
    let Capability { ingress_sample, egress_sample, .. } = world.capability;
    let (Some(ingress), Some(egress)) = (ingress_sample, egress_sample) else {
        return (
            Verdict::No,
            unknown_to_release("PORT_INGRESS_SAMPLE_MIRROR_CAPABLE or PORT_EGRESS_SAMPLE_MIRROR_CAPABLE"),
        );
    };
    let directions = match (ingress, egress) {
        (true, true) => "both directions",
        (true, false) => "ingress only",
        (false, true) => "egress only",
        (false, false) => {
            return (Verdict::No, "SWITCH_CAPABILITY says that the ASIC cannot, in either direction".to_owned());
        }
    };
    let sflow: Vec<String> =
        world.sflow_ports.iter().map(|(port, direction)| format!("{port} ({direction})")).collect();
    let but = if sflow.is_empty() {
        String::new()
    } else {
        format!(", but not on ports that sFlow samples: {}", sflow.join(", "))
    };
    (Verdict::Yes, format!("{directions}, with span_method erspan{but}"))
}

fn truncation(capability: Capability) -> (Verdict, String) {
    match (capability.truncation, capability.ingress_sample, capability.egress_sample) {
        (None, _, _) => (Verdict::No, unknown_to_release("SAMPLEPACKET_TRUNCATION_CAPABLE")),
        (Some(false), _, _) => {
            (Verdict::No, "SWITCH_CAPABILITY says SAMPLEPACKET_TRUNCATION_CAPABLE false: the ASIC cannot".to_owned())
        }
        (Some(true), Some(true), _) | (Some(true), _, Some(true)) => {
            (Verdict::Yes, "where the mirror can be sampled, with span_method erspan".to_owned())
        }
        (Some(true), _, _) => {
            (Verdict::No, "it goes through the sampler, and the ASIC cannot sample mirrors".to_owned())
        }
    }
}

fn policer(trial: &Trial) -> (Verdict, String) {
    let unused = "jobs use none";
    match trial {
        Trial::Active => (Verdict::Yes, format!("a session with a policer became active when it was tried; {unused}")),
        Trial::Inactive => (Verdict::No, format!("the SAI refused a session with a policer; {unused}")),
        Trial::Refused => (Verdict::No, format!("orchagent refused a session with a policer; {unused}")),
        Trial::NotTried(why) => (Verdict::Unknown, format!("not tried: {why}; {unused}")),
    }
}

fn unknown_to_release(field: &str) -> String {
    format!("SWITCH_CAPABILITY has no {field}: this SONiC does not know sampled mirrors (master does since June 2026)")
}

#[cfg(test)]
mod tests;
