//! Waits until everything that was sent has gone through the virtual switch, without a clock.
//!
//! Every hop inside the lab (wire to ASIC, ASIC to the peer's wire, ASIC to a CPU netdev) goes through the backlog queue
//! of the CPU that the frame was sent on (`netif_rx`), and such a queue is strictly first in, first out. So a marker frame
//! sent on a CPU arrives when everything that was queued there before has been handled completely, tc programs and taps of
//! the receiving device included. One round of markers, one on each CPU that may have sent, proves that the ASIC has
//! seen every frame and has queued its copies; a second round proves that the copies have been delivered. Traffic of others on the
//! same machine delays markers, but cannot make them lie.

use std::io::{self, ErrorKind};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::layout::MARKER_DEVICES;
use super::packet_socket::{PacketSocket, Receive};

/// Hops that a frame's last copy makes, see above.
const ROUNDS: u8 = 2;
/// "Local experimental" (IEEE 802 §9.2.4): no stack handles it, and no test's frames pass the marker devices.
const ETHERTYPE: u16 = 0x88b5;
/// A busy machine takes milliseconds; this is a broken one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends markers through the switch.
pub struct Drain {
    sender: PacketSocket,
    receiver: PacketSocket,
}

impl Drain {
    /// The calling thread must be in the namespace "asic".
    ///
    /// # Errors
    /// The marker devices are not there.
    pub fn open() -> Result<Drain> {
        let open = |device, receive| PacketSocket::open(device, receive).with_context(|| format!("opening {device}"));
        let receiver = open(MARKER_DEVICES.1, Receive::EtherType(ETHERTYPE))?;
        receiver.set_patience(PATIENCE)?;
        Ok(Drain { sender: open(MARKER_DEVICES.0, Receive::Nothing)?, receiver })
    }

    /// Returns once everything that the calling thread sent before has arrived or been dropped, copies included.
    ///
    /// # Errors
    /// A marker did not come back within 30 s.
    pub fn wait(&self) -> Result<()> {
        let this_thread = Pid::from_raw(0);
        let allowed = sched_getaffinity(this_thread).context("asking for the CPUs that may send")?;
        let outcome = (0..ROUNDS).try_for_each(|round| self.round(round, &allowed));
        sched_setaffinity(this_thread, &allowed).context("allowing all CPUs again")?;
        outcome
    }

    fn round(&self, round: u8, allowed: &CpuSet) -> Result<()> {
        let mut missing = Vec::new();
        for cpu in 0..CpuSet::count() {
            if allowed.is_set(cpu)? {
                let mut only = CpuSet::new();
                only.set(cpu)?;
                sched_setaffinity(Pid::from_raw(0), &only).with_context(|| format!("moving to CPU {cpu}"))?;
                let marker = marker(round, cpu);
                self.send(&marker)?;
                missing.push(marker);
            }
        }
        while !missing.is_empty() {
            let arrived = self.receiver.receive().context("waiting for a marker frame to pass through the switch")?;
            missing.retain(|marker| *marker != arrived.frame);
        }
        Ok(())
    }

    fn send(&self, marker: &[u8]) -> Result<()> {
        loop {
            match self.sender.send(&[marker]) {
                Ok(_) => return Ok(()),
                Err(error) if is_full(&error) || error.kind() == ErrorKind::Interrupted => std::thread::yield_now(),
                Err(error) => return Err(error).context("sending a marker frame"),
            }
        }
    }
}

/// Whether a queue behind the device is full for the moment.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

/// The process tells this sender's markers from those of others at the same time.
fn marker(round: u8, cpu: usize) -> Vec<u8> {
    const LENGTH: usize = 60;
    let mut frame = [[0x02; 12].as_slice(), &ETHERTYPE.to_be_bytes(), &[round]].concat();
    frame.extend(std::process::id().to_be_bytes());
    frame.extend((cpu as u64).to_be_bytes());
    frame.resize(LENGTH, 0);
    frame
}
