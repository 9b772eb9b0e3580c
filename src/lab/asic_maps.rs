//! The running ASIC as other code sees it: counters, fate of copies, mirror bindings. Opened by the maps' kernel ids.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::asic::AsicIds;
use super::layout::{Port, PortCount};
use super::orchagent::hardware::{MirrorHardware, MirrorTarget, PortSide};

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
}

/// The maps of a running ASIC.
pub struct AsicMaps {
    layout: PortCount,
    ports: Cells<8>,
    copies: Cells<4>,
    bindings: MapHandle,
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
            copies: Cells::map(&open(ids.copies)?, rows)?,
            bindings: open(ids.bindings)?,
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
        let [delivered, delivered_octets, policed, refused] = self.copies.sum(destination.index());
        CopyCounts { delivered, delivered_octets, policed, refused }
    }

    /// The fate of all copies of this switch.
    #[must_use]
    pub fn all_copies(&self) -> CopyCounts {
        self.layout.ports().map(|port| self.copies_for(port)).fold(CopyCounts::default(), |sum, one| CopyCounts {
            delivered: sum.delivered + one.delivered,
            delivered_octets: sum.delivered_octets + one.delivered_octets,
            policed: sum.policed + one.policed,
            refused: sum.refused + one.refused,
        })
    }

    fn write_binding(&self, port: &str, side: PortSide, destination: Option<&str>) -> Result<(), String> {
        let port = self.layout.find(port).map_err(|error| error.to_string())?;
        let destination = match destination {
            None => 0,
            Some(name) => self.layout.find(name).map_err(|error| error.to_string())?.number() + 1,
        };
        let side_index = match side {
            PortSide::Rx => 0,
            PortSide::Tx => 1,
        };
        let key = (port.number() * 2 + side_index).to_ne_bytes();
        self.bindings
            .update(&key, &destination.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| format!("the ASIC refused the mirror binding of {port}: {error}"))
    }
}

impl MirrorHardware for AsicMaps {
    fn bind(&mut self, port: &str, side: PortSide, target: &MirrorTarget) -> Result<(), String> {
        self.write_binding(port, side, Some(&target.destination_port))
    }

    fn unbind(&mut self, port: &str, side: PortSide) -> Result<(), String> {
        self.write_binding(port, side, None)
    }
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
