//! What a job asks of the switch's hardware beside what SWITCH_CAPABILITY says of it: directions, sampling, truncation.
//!
//! sonic-swss `switchorch.cpp` writes the row, `mirrororch.cpp` refuses by it; how releases differ is in docs/sonic.md.

use std::collections::BTreeSet;

use super::{Refusal, refuse};
use crate::model::job::{Direction, JobSpec, SpanMethod};
use crate::model::schema::{JobField, Reason};
use crate::model::settings::Settings;
use crate::model::world::{Capability, World};

/// Old releases abort orchagent on what the SAI refuses, so an unconfirmed egress is not tried unasked.
pub(super) fn check_direction(direction: Direction, world: &World, settings: &Settings) -> Result<(), Refusal> {
    let Capability { ingress_mirror: ingress, egress_mirror: egress, .. } = world.capability;
    let possible = match direction {
        Direction::Ingress => ingress != Some(false),
        Direction::Egress => egress == Some(true),
        Direction::Both => ingress != Some(false) && egress == Some(true),
    };
    if possible || settings.allow_unprobed {
        return Ok(());
    }
    refuse(
        Reason::MirrorUnsupported,
        format!(
            "direction: SWITCH_CAPABILITY of this switch does not confirm mirroring of {direction} traffic; use another direction, or set allow_unprobed in TELEGEN|global if you know that it works here"
        ),
    )
}

/// Sampling and truncation by the ASIC. Both go through one SAMPLEPACKET object per port and direction, which sFlow uses, too.
///
/// `allow_unprobed` opens nothing here: orchagent itself refuses what these fields do not confirm, and releases without the fields do
/// not know the attributes.
pub(super) fn check_sampling(spec: &JobSpec, world: &World, settings: &Settings) -> Result<(), Refusal> {
    let Some(field) = asked(spec) else { return Ok(()) };
    if spec.span_method != SpanMethod::Erspan {
        return refuse(
            Reason::MirrorUnsupported,
            format!(
                "{field}: the ASIC samples and cuts copies of ERSPAN sessions only (sonic-mirror-session.yang), and the job's span_method is {}; use erspan, or leave {field} out",
                spec.span_method
            ),
        );
    }
    let Capability { ingress_sample, egress_sample, truncation, .. } = world.capability;
    let directions = [
        (spec.direction != Direction::Egress, "PORT_INGRESS_SAMPLE_MIRROR_CAPABLE", ingress_sample),
        (spec.direction != Direction::Ingress, "PORT_EGRESS_SAMPLE_MIRROR_CAPABLE", egress_sample),
        (spec.mirror_truncate.is_some(), "SAMPLEPACKET_TRUNCATION_CAPABLE", truncation),
    ];
    for (needed, name, capable) in directions {
        match capable {
            _ if !needed => {}
            Some(true) => {}
            Some(false) => {
                return refuse(
                    Reason::MirrorUnsupported,
                    format!(
                        "{field}: SWITCH_CAPABILITY of this switch says {name} false, so its ASIC cannot; leave {field} out"
                    ),
                );
            }
            None => {
                return refuse(
                    Reason::MirrorUnsupported,
                    format!(
                        "{field}: SWITCH_CAPABILITY of this switch has no {name}, so its SONiC does not know sampled mirrors (master does since June 2026); leave {field} out"
                    ),
                );
            }
        }
    }
    let sources = world.expand(spec.ports.names());
    check_sflow(field, spec.direction, &sources, world)?;
    check_count(field, sources.len() * spec.direction.each().len(), world, settings)
}

/// sFlow and a sampled mirror cannot have the sampler of one port in one direction; in the other direction each has its own (observed facts
/// S12 and S13).
fn check_sflow(
    field: JobField,
    direction: Direction,
    sources: &BTreeSet<String>,
    world: &World,
) -> Result<(), Refusal> {
    let sampled = |port: &&String| world.sflow_ports.get(*port).is_some_and(|theirs| theirs.overlaps(direction));
    match sources.iter().find(sampled) {
        None => Ok(()),
        Some(port) => refuse(
            Reason::MirrorConflict,
            format!(
                "{field}: sFlow samples {port}, and orchagent gives a port's sampler to one of the two; leave {field} out, or take {port} out of sFlow with `config sflow interface disable {port}`"
            ),
        ),
    }
}

/// A session for each port and direction, and no more of them than the switch can be asked for without harm.
fn check_count(field: JobField, needed: usize, world: &World, settings: &Settings) -> Result<(), Refusal> {
    if needed <= 1 {
        return Ok(());
    }
    if needed > settings.max_sessions {
        return refuse(
            Reason::MirrorUnsupported,
            format!(
                "{field}: the job would take {needed} mirror sessions, one for each port and direction, and max_sessions in TELEGEN|global is {}; name fewer ports or one direction, leave {field} out, or raise max_sessions if the ASIC has as many",
                settings.max_sessions
            ),
        );
    }
    match world.release.as_deref().filter(|release| ends_on_refusal(release) == Some(true)) {
        None => Ok(()),
        Some(release) => refuse(
            Reason::MirrorUnsupported,
            format!(
                "{field}: the job would take {needed} mirror sessions, and orchagent of this release ({release}) ends when the ASIC refuses one; name one port and one direction, or leave {field} out"
            ),
        ),
    }
}

/// Whether orchagent of this SONiC ends when the SAI refuses an attribute: up to branch 202411 it does, from 202505 on it does not. `None` where
/// the version does not say its branch.
fn ends_on_refusal(build_version: &str) -> Option<bool> {
    const LAST_THAT_ENDS: u32 = 202_411;
    if build_version.starts_with("master") {
        return Some(false);
    }
    // `202411.1-abc` and `SONiC.20230531.12`: a branch is a year and a month.
    let digits =
        build_version.split(|c: char| !c.is_ascii_digit()).find(|run| run.len() >= 6 && run.starts_with("20"))?;
    digits.get(..6)?.parse::<u32>().ok().map(|branch| branch <= LAST_THAT_ENDS)
}

fn asked(spec: &JobSpec) -> Option<JobField> {
    let rate = spec.mirror_sample_rate.map(|_| JobField::MirrorSampleRate);
    rate.or_else(|| spec.mirror_truncate.map(|_| JobField::MirrorTruncate))
}
