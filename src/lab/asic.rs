//! Loads the virtual ASIC (`bpf/lab_asic.bpf.c`) and attaches it to the devices of the namespace "asic".
//!
//! By clsact, not TCX: the lab also runs where the kernel has no TCX, and the filters die with their devices.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, OpenObject, Program, TC_EGRESS, TC_INGRESS, TcAttachPoint, TcHook};
use serde::{Deserialize, Serialize};

use super::asic_maps::SIDES;
use super::layout::{Device, PortCount, TUNNEL_DEVICES, TUNNEL_IFINDEX};

#[allow(clippy::pedantic, clippy::unwrap_used, missing_docs, unused_qualifications)]
pub(super) mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/lab_asic.skel.rs"));
}

/// Kernel ids of what the ASIC consists of; other processes open the maps by these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsicIds {
    /// Port counters, `struct lab_port_cell` by CPU and port.
    pub ports: u32,
    /// Fate of the copies, `struct lab_copy_cell` by CPU and destination: each port, then the collector.
    pub copies: u32,
    /// Mirror bindings, `struct lab_binding` by port and side.
    pub bindings: u32,
    /// Which frames are copied and how much of them, `struct lab_sampler` by port and side.
    pub samplers: u32,
    /// How ERSPAN sessions wrap their copies, `struct lab_tunnel`.
    pub tunnels: u32,
    /// The programs. While one of them exists, so do the devices that it is attached to.
    pub programs: Vec<u32>,
}

/// A rate of copies per second and destination; `None` lets all through.
pub type Policer = Option<std::num::NonZeroU32>;

/// Loads the ASIC and attaches it to every device. The calling thread must be in the namespace "asic".
///
/// The devices hold the programs, and these hold the maps: nothing needs to be kept, and all of it goes with the namespace.
///
/// # Errors
/// The kernel's refusal, with libbpf's reason.
pub fn install(ports: PortCount, policer: Policer) -> Result<AsicIds> {
    let mut storage = MaybeUninit::<OpenObject>::uninit();
    let mut open =
        skeleton::LabAsicSkelBuilder::default().open(&mut storage).context("opening the ASIC's BPF object")?;
    let port_count = u32::from(u16::from(ports));
    let cpus = u32::try_from(libbpf_rs::num_possible_cpus()?)?;
    let destinations = port_count + 1;
    open.maps.lab_ports.set_max_entries(cpus * port_count)?;
    open.maps.lab_copies.set_max_entries(cpus * destinations)?;
    open.maps.lab_bindings.set_max_entries(port_count * SIDES)?;
    open.maps.lab_samplers.set_max_entries(port_count * SIDES)?;
    open.maps.lab_policers.set_max_entries(destinations)?;
    let config = open.maps.rodata_data.as_deref_mut().context("the ASIC's BPF object has no .rodata")?;
    config.port_ifindex_base = Device::Port.ifindex_base();
    config.wire_ifindex_base = Device::Wire.ifindex_base();
    config.cpu_ifindex_base = Device::Cpu.ifindex_base();
    config.tunnel_ifindex = TUNNEL_IFINDEX;
    config.port_count = port_count;
    if let Some(rate) = policer {
        (config.policer_interval_ns, config.policer_tolerance_ns) = policer_terms(rate.get());
    }
    let asic = open.load().context("loading the ASIC's BPF programs")?;
    let programs = [
        (Device::Port, asic.progs.lab_port.as_fd()),
        (Device::Wire, asic.progs.lab_wire.as_fd()),
        (Device::Cpu, asic.progs.lab_host.as_fd()),
    ];
    for port in ports.ports() {
        for (device, program) in programs {
            attach(program, port.ifindex(device), TC_INGRESS)
                .with_context(|| format!("attaching the ASIC to {}", port.device(device)))?;
        }
    }
    let wrap = asic.progs.lab_wrap.as_fd();
    attach(wrap, TUNNEL_IFINDEX, TC_EGRESS).with_context(|| format!("attaching the ASIC to {}", TUNNEL_DEVICES.0))?;
    Ok(AsicIds {
        ports: asic.maps.lab_ports.info()?.info.id,
        copies: asic.maps.lab_copies.info()?.info.id,
        bindings: asic.maps.lab_bindings.info()?.info.id,
        samplers: asic.maps.lab_samplers.info()?.info.id,
        tunnels: asic.maps.lab_tunnels.info()?.info.id,
        programs: programs.iter().map(|(_, program)| *program).chain([wrap]).map(program_id).collect::<Result<_>>()?,
    })
}

fn attach(program: BorrowedFd<'_>, ifindex: u32, side: TcAttachPoint) -> Result<()> {
    let mut hook = TcHook::new(program);
    hook.ifindex(i32::try_from(ifindex)?).attach_point(side).create()?;
    hook.attach()?;
    Ok(())
}

fn program_id(program: BorrowedFd<'_>) -> Result<u32> {
    Program::id_from_fd(program).context("asking for a program's id")
}

/// GCRA's increment and limit, nanoseconds: bursts of a tenth of a second's copies, at least one.
fn policer_terms(copies_per_second: u32) -> (u64, u64) {
    let interval = (1_000_000_000 / u64::from(copies_per_second)).max(1);
    let burst = u64::from(copies_per_second / 10).max(1);
    (interval, interval * (burst - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policer_allows_a_tenth_of_a_second_at_once() {
        assert_eq!(policer_terms(600), (1_666_666, 1_666_666 * 59));
        assert_eq!(policer_terms(1), (1_000_000_000, 0));
    }
}
