//! What a job asks of the switch's hardware beside what SWITCH_CAPABILITY says of it: directions, sampling, truncation.
//!
//! sonic-swss `switchorch.cpp` writes the row, `mirrororch.cpp` refuses by it; how releases differ is in docs/sonic.md.

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
pub(super) fn check_sampling(spec: &JobSpec, world: &World) -> Result<(), Refusal> {
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
    match world.expand(spec.ports.names()).intersection(&world.sflow_ports).next() {
        None => Ok(()),
        Some(port) => refuse(
            Reason::MirrorConflict,
            format!(
                "{field}: sFlow samples {port}, and orchagent gives a port's sampler to one of the two; leave {field} out, or take {port} out of sFlow with `config sflow interface disable {port}`"
            ),
        ),
    }
}

fn asked(spec: &JobSpec) -> Option<JobField> {
    let rate = spec.mirror_sample_rate.map(|_| JobField::MirrorSampleRate);
    rate.or_else(|| spec.mirror_truncate.map(|_| JobField::MirrorTruncate))
}
