//! The running ASIC as other code sees it: counters, fate of copies, mirror bindings. Opened by the maps' kernel ids.

use std::collections::BTreeMap;
use std::io;
use std::num::{NonZeroU32, NonZeroUsize};
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::asic::AsicIds;
use super::asic::skeleton::types;
use super::gre::Head;
use super::layout::{Port, PortCount, SWITCH_MAC, TUNNEL_DEVICES};
use super::network::remove_device;
use super::orchagent::hardware::{CopyDestination, MirrorHardware, MirrorTarget, PortSide, Tunnel};
use super::orchagent::session::Sampling;

/// What a port has counted since the switch came up. Octets are frame bytes without FCS, VLAN tags included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounts {
    /// Unicast frames received from the wire.
    pub rx_unicast: u64,
    /// Multicast and broadcast frames received from the wire.
    pub rx_other: u64,
    /// Octets received.
    pub rx_octets: u64,
    /// Unicast frames sent to the wire.
    pub tx_unicast: u64,
    /// Multicast and broadcast frames sent to the wire.
    pub tx_other: u64,
    /// Octets sent.
    pub tx_octets: u64,
    /// Frames that came out at the wire's far end.
    pub left_packets: u64,
    /// Octets that came out at the wire's far end.
    pub left_octets: u64,
}

/// What became of the copies for one destination port since the switch came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyCounts {
    /// Copies handed to the destination's CPU netdev.
    pub delivered: u64,
    /// Octets of the delivered copies.
    pub delivered_octets: u64,
    /// Copies that the policer dropped.
    pub policed: u64,
    /// Copies that the kernel did not take: over the device's length limit, or its queue was full.
    pub refused: u64,
    /// Copies that were numbered and then lost on purpose, see [`super::gre::GreOptions::drop_every`].
    pub lost: u64,
}

/// The maps of a running ASIC.
pub struct AsicMaps {
    layout: PortCount,
    ports: Cells<8>,
    copies: Cells<5>,
    bindings: MapHandle,
    samplers: MapHandle,
    tunnels: Tunnels,
}

impl AsicMaps {
    /// Opens the maps of the lab that these ids belong to.
    ///
    /// # Errors
    /// The kernel's refusal: usually that the lab is gone, or that the caller is not root.
    pub fn open(ids: &AsicIds, layout: PortCount) -> Result<AsicMaps> {
        let open = |id| MapHandle::from_map_id(id).with_context(|| format!("opening the ASIC's map {id}"));
        let rows = usize::from(u16::from(layout));
        Ok(AsicMaps {
            layout,
            ports: Cells::map(&open(ids.ports)?, rows)?,
            copies: Cells::map(&open(ids.copies)?, rows + 1)?,
            bindings: open(ids.bindings)?,
            samplers: open(ids.samplers)?,
            tunnels: Tunnels { map: open(ids.tunnels)?, of_slot: BTreeMap::new(), next: 0 },
        })
    }

    /// The counters of a port.
    #[must_use]
    pub fn port(&self, port: Port) -> PortCounts {
        let [rx_unicast, rx_other, rx_octets, tx_unicast, tx_other, tx_octets, left_packets, left_octets] =
            self.ports.sum(port.index());
        PortCounts { rx_unicast, rx_other, rx_octets, tx_unicast, tx_other, tx_octets, left_packets, left_octets }
    }

    /// The fate of all copies for a destination port.
    #[must_use]
    pub fn copies_for(&self, destination: Port) -> CopyCounts {
        self.copies_in_row(destination.index())
    }

    /// The fate of all copies for the collector.
    #[must_use]
    pub fn copies_for_collector(&self) -> CopyCounts {
        self.copies_in_row(self.collector_row())
    }

    /// Behind those of the ports.
    fn collector_row(&self) -> usize {
        usize::from(u16::from(self.layout))
    }

    fn copies_in_row(&self, row: usize) -> CopyCounts {
        let [delivered, delivered_octets, policed, refused, lost] = self.copies.sum(row);
        CopyCounts { delivered, delivered_octets, policed, refused, lost }
    }

    /// The fate of all copies of this switch.
    #[must_use]
    pub fn all_copies(&self) -> CopyCounts {
        (0..=self.collector_row()).map(|row| self.copies_in_row(row)).fold(CopyCounts::default(), |sum, one| {
            CopyCounts {
                delivered: sum.delivered + one.delivered,
                delivered_octets: sum.delivered_octets + one.delivered_octets,
                policed: sum.policed + one.policed,
                refused: sum.refused + one.refused,
                lost: sum.lost + one.lost,
            }
        })
    }

    /// `to` as `struct lab_binding`: destination plus one, tunnel plus one; zeros for nowhere.
    fn write_binding(&self, port: Port, side: PortSide, to: [u32; 2]) -> Result<(), String> {
        let [destination, tunnel] = to.map(u32::to_ne_bytes);
        self.bindings
            .update(&slot_key(port, side).to_ne_bytes(), &[destination, tunnel].concat(), MapFlags::ANY)
            .map_err(|error| format!("the ASIC refused the mirror binding of {port}: {error}"))
    }

    /// `struct lab_sampler`: one of so many, and the bytes that are left of each.
    fn write_sampler(&self, port: Port, side: PortSide, sampling: Option<Sampling>) -> Result<(), String> {
        let Sampling { rate, truncate } = sampling.unwrap_or(Sampling { rate: 1, truncate: 0 });
        let value = [rate.to_ne_bytes(), truncate.to_ne_bytes()].concat();
        self.samplers
            .update(&slot_key(port, side).to_ne_bytes(), &value, MapFlags::ANY)
            .map_err(|error| format!("the ASIC refused the sampler of {port}: {error}"))
    }

    fn port_named(&self, name: &str) -> Result<Port, String> {
        self.layout.find(name).map_err(|error| error.to_string())
    }
}

impl MirrorHardware for AsicMaps {
    fn bind(&mut self, port: &str, side: PortSide, target: &MirrorTarget) -> Result<(), String> {
        let port = self.port_named(port)?;
        let to = match &target.destination {
            CopyDestination::Port(name) => {
                let destination = self.port_named(name)?;
                self.tunnels.of_slot.remove(&slot_key(port, side));
                [destination.number() + 1, 0]
            }
            CopyDestination::Tunnel(tunnel) => {
                let row = self.tunnels.lend(slot_key(port, side), &target.session, tunnel)?;
                let collector = u32::from(u16::from(self.layout));
                [collector + 1, row + 1]
            }
        };
        self.write_sampler(port, side, target.sampling)?;
        self.write_binding(port, side, to)
    }

    fn retarget(&mut self, target: &MirrorTarget) -> Result<(), String> {
        match &target.destination {
            // A SPAN session keeps its port for life.
            CopyDestination::Port(_) => Ok(()),
            CopyDestination::Tunnel(tunnel) => self.tunnels.redirect(&target.session, tunnel),
        }
    }

    fn unbind(&mut self, port: &str, side: PortSide) -> Result<(), String> {
        let port = self.port_named(port)?;
        self.write_binding(port, side, [0, 0])?;
        self.tunnels.of_slot.remove(&slot_key(port, side));
        Ok(())
    }

    fn remove_netdev(&mut self, port: &str) {
        let port = port.to_owned();
        // Beside the orchagent, which goes on meanwhile as the real one does.
        tokio::spawn(async move {
            if let Err(error) = remove_device(&port).await {
                tracing::warn!(port, "virtual ASIC: {error:#}");
            }
        });
    }
}

/// Mirror sessions that a port can have.
pub const SIDES: u32 = 4;

/// A port's side, as the ASIC numbers them.
fn slot_key(port: Port, side: PortSide) -> u32 {
    let side = match side {
        PortSide::Rx => 0,
        PortSide::Tx => 1,
        PortSide::SampledRx => 2,
        PortSide::SampledTx => 3,
    };
    port.number() * SIDES + side
}

/// The rows of `lab_tunnels`: one for each ERSPAN session that is bound anywhere, because its copies are numbered as one.
struct Tunnels {
    map: MapHandle,
    /// Who has which row, by port and side.
    of_slot: BTreeMap<u32, (String, u32)>,
    /// Where to look for a free row first: a row that has just been given back may still be read by the ASIC.
    next: u32,
}

impl Tunnels {
    /// The session's row; a new one, with its numbers at 0, if the session is bound nowhere yet.
    fn lend(&mut self, slot: u32, session: &str, tunnel: &Tunnel) -> Result<u32, String> {
        check_interface(tunnel)?;
        self.of_slot.remove(&slot);
        let known = self.of_slot.values().find(|(owner, _)| owner == session).map(|(_, row)| *row);
        let row = match known {
            Some(row) => row,
            None => self.prepare(tunnel)?,
        };
        self.of_slot.insert(slot, (session.to_owned(), row));
        Ok(row)
    }

    /// Changes the head that a session's copies get, if it is bound; their numbers go on.
    fn redirect(&self, session: &str, tunnel: &Tunnel) -> Result<(), String> {
        check_interface(tunnel)?;
        let Some((_, row)) = self.of_slot.values().find(|(owner, _)| owner == session) else { return Ok(()) };
        let key = row.to_ne_bytes();
        let old = self.map.lookup(&key, MapFlags::ANY).ok().flatten().ok_or("the ASIC has lost a tunnel")?;
        let head = Head::new(tunnel, SWITCH_MAC)?;
        let mut new = value(&head, tunnel.options.drop_every.map_or(0, NonZeroU32::get))?;
        let numbers = std::mem::offset_of!(types::lab_tunnel, next_sequence);
        let numbers = numbers..numbers + size_of_val(&types::lab_tunnel::default().next_sequence);
        if let (Some(new), Some(old)) = (new.get_mut(numbers.clone()), old.get(numbers)) {
            new.copy_from_slice(old);
        }
        self.map.update(&key, &new, MapFlags::ANY).map_err(|error| format!("the ASIC refused a tunnel: {error}"))
    }

    fn prepare(&mut self, tunnel: &Tunnel) -> Result<u32, String> {
        let rows = self.map.max_entries();
        let is_free = |row: &u32| self.of_slot.values().all(|(_, taken)| taken != row);
        let row = (0..rows).map(|step| (self.next + step) % rows).find(is_free);
        let row = row.ok_or_else(|| format!("all {rows} tunnels of the ASIC are in use"))?;
        let head = Head::new(tunnel, SWITCH_MAC)?;
        self.map
            .update(
                &row.to_ne_bytes(),
                &value(&head, tunnel.options.drop_every.map_or(0, NonZeroU32::get))?,
                MapFlags::ANY,
            )
            .map_err(|error| format!("the ASIC refused a tunnel: {error}"))?;
        self.next = (row + 1) % rows;
        Ok(row)
    }
}

fn check_interface(tunnel: &Tunnel) -> Result<(), String> {
    if tunnel.interface == TUNNEL_DEVICES.1 {
        return Ok(());
    }
    Err(format!(
        "{} is reached through {}; this ASIC sends GRE through {} only",
        tunnel.dst, tunnel.interface, TUNNEL_DEVICES.1
    ))
}

/// `struct lab_tunnel`.
fn value(head: &Head, drop_every: u32) -> Result<Vec<u8>, String> {
    let place = |place: usize| u8::try_from(place).map_err(|_| format!("a header of {} bytes", head.bytes.len()));
    let mut tunnel = types::lab_tunnel {
        next_sequence: 0,
        drop_every,
        ip_sum: head.ip_sum,
        head_octets: place(head.bytes.len())?,
        is_ipv6: u8::from(head.is_ipv6),
        checksum_at: place(head.checksum_at)?,
        sequence_at: place(head.sequence_at)?,
        erspan_at: place(head.erspan_at)?,
        gre_at: place(head.gre_at)?,
        erspan_version: head.erspan_version,
        ..types::lab_tunnel::default()
    };
    let room = tunnel.head.get_mut(..head.bytes.len());
    room.ok_or_else(|| format!("a header of {} bytes", head.bytes.len()))?.copy_from_slice(&head.bytes);
    let bytes: *const types::lab_tunnel = &raw const tunnel;
    // SAFETY: a C struct of integers without padding, which lives through the copy.
    Ok(unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), size_of::<types::lab_tunnel>()) }.to_vec())
}

/// A memory-mapped array of cells of `FIELDS` 64-bit counters, `rows` cells per CPU.
struct Cells<const FIELDS: usize> {
    base: NonNull<AtomicU64>,
    bytes: NonZeroUsize,
    rows: usize,
    cpus: usize,
}

// SAFETY: the mapping is read only, its counters are atomics, and it stays until `drop`, wherever that happens.
unsafe impl<const FIELDS: usize> Send for Cells<FIELDS> {}

impl<const FIELDS: usize> Cells<FIELDS> {
    fn map(map: &MapHandle, rows: usize) -> Result<Self> {
        let cells = map.max_entries() as usize;
        anyhow::ensure!(
            map.value_size() as usize == FIELDS * size_of::<u64>() && cells.is_multiple_of(rows) && cells > 0,
            "the map {} is not of this lab: {cells} values of {} bytes",
            map.name().to_string_lossy(),
            map.value_size()
        );
        let bytes = NonZeroUsize::new(cells * FIELDS * size_of::<u64>()).context("an empty map")?;
        let base = map_read_only(map.as_fd(), bytes).context("mapping the ASIC's counters")?;
        Ok(Cells { base, bytes, rows, cpus: cells / rows })
    }

    /// The row's counters, summed over all CPUs.
    fn sum(&self, row: usize) -> [u64; FIELDS] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let mut sums = [0; FIELDS];
        for cpu in 0..self.cpus {
            for (field, sum) in sums.iter_mut().enumerate() {
                let index = (cpu * self.rows + row) * FIELDS + field;
                // SAFETY: cpu < cpus, row < rows and field < FIELDS, so the counter is inside the mapping; it is aligned
                // because a mapping begins at a page and all counters have 8 bytes.
                *sum += unsafe { self.base.add(index).as_ref() }.load(Ordering::Relaxed);
            }
        }
        sums
    }
}

impl<const FIELDS: usize> Drop for Cells<FIELDS> {
    fn drop(&mut self) {
        // SAFETY: `base` and `bytes` are those of the mapping that `map_read_only` made, and no reference to it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes.get()) };
    }
}

fn map_read_only(fd: BorrowedFd<'_>, bytes: NonZeroUsize) -> io::Result<NonNull<AtomicU64>> {
    use std::os::fd::AsRawFd;
    // SAFETY: a new mapping at an address of the kernel's choice; nothing else is at it.
    let address =
        unsafe { libc::mmap(std::ptr::null_mut(), bytes.get(), libc::PROT_READ, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mmap returned a null address"))
}
