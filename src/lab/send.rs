//! `telegen-lab send`: puts frames on a port's wire and returns when everything about them is decided.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{FcntlArg, fcntl};

use super::asic_maps::AsicMaps;
use super::drain::{Drain, is_full};
use super::frames::{Frames, Skipped, read_capture};
use super::layout::{Device, Port};
use super::namespaces::enter_network;
use super::packet_socket::{MOST_PER_CALL, PacketSocket, Receive};
use super::profiles::Profile;
use super::sent::{Copies, Sent};
use super::state::{LabState, files};
use super::truth::Truth;

/// Where the frames come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A pcap or pcapng file.
    Capture(PathBuf),
    /// Made-up traffic.
    Profile(Profile),
}

/// How to send them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Frames per second; as fast as possible if absent.
    pub pps: Option<NonZeroU32>,
    /// Frames to send, repeating the source if it has fewer; a capture is sent once if absent, 1000 frames of a profile.
    pub count: Option<u64>,
    /// What a profile's frames are made from.
    pub seed: u64,
}

const DEFAULT_PROFILE_COUNT: u64 = 1000;

/// Sends frames into `port_name` of the lab in `dir`. Returns when every frame has left the switch and every copy has
/// been delivered or dropped. Moves the calling thread into the lab's namespace "asic".
///
/// Two sends into one port run one after the other, so that the port's counter can confirm each of them.
///
/// # Errors
/// No lab runs in `dir`, the port is unknown, the source cannot be read, or frames got lost on the wire.
pub fn send(dir: &Path, port_name: &str, source: &Source, pace: Pace) -> Result<Sent> {
    let (state, _process) = LabState::running(dir)?;
    let port = state.ports.find(port_name)?;
    let (frames, skipped) = read(source, pace)?;
    let total = match (pace.count, source) {
        _ if frames.is_empty() => 0,
        (Some(count), _) => count,
        (None, Source::Capture(_)) => frames.len() as u64,
        (None, Source::Profile(_)) => DEFAULT_PROFILE_COUNT,
    };
    enter_network(&state.open_asic_namespace()?)?;
    let wire = Wire::open(dir, &state, port)?;
    let copies = wire.send_all(&frames, total, pace.pps)?;
    Ok(Sent::new(Truth::of_cycle(&frames, total), skipped, copies))
}

fn read(source: &Source, pace: Pace) -> Result<(Frames, Skipped)> {
    match source {
        Source::Capture(path) => Ok(read_capture(path)?),
        Source::Profile(profile) => {
            let count = usize::try_from(pace.count.unwrap_or(DEFAULT_PROFILE_COUNT)).unwrap_or(usize::MAX);
            Ok((profile.frames(pace.seed, count), Skipped::new()))
        }
    }
}

/// The outer end of a port's wire, ours until dropped.
struct Wire {
    port: Port,
    socket: PacketSocket,
    asic: AsicMaps,
    drain: Drain,
    _turn: fs::File,
}

/// Frames that may be on their way to the ASIC. Each can become four frames in a CPU's queue, which holds 1000
/// (`net.core.netdev_max_backlog`) and silently drops what is beyond: so this many from one sender never overflow it.
const WINDOW: u64 = 64;

impl Wire {
    fn open(dir: &Path, state: &LabState, port: Port) -> Result<Wire> {
        let turn = await_turn(dir, port)?;
        let device = port.device(Device::Wire);
        Ok(Wire {
            port,
            socket: PacketSocket::open(&device, Receive::Nothing).with_context(|| format!("opening {device}"))?,
            asic: AsicMaps::open(&state.asic, state.ports)?,
            drain: Drain::open()?,
            _turn: turn,
        })
    }

    /// Sends `total` frames, taken from the list again and again, and waits until nothing of them is under way.
    fn send_all(&self, frames: &Frames, total: u64, pps: Option<NonZeroU32>) -> Result<Copies> {
        let (copies_before, left_before) = (self.asic.all_copies(), self.left());
        let (received_before, start) = (self.received(), Instant::now());
        let mut next = (0..frames.len()).cycle();
        let mut queue = VecDeque::with_capacity(MOST_PER_CALL);
        let mut sent = 0;
        while sent < total {
            let room = self.await_room(received_before, sent)?;
            let due = pps.map_or(u64::MAX, |pps| await_due(start, pps, sent));
            let batch = room.min(due).min(total - sent).min(MOST_PER_CALL as u64);
            while (queue.len() as u64) < batch {
                queue.extend(next.next().map(|index| frames.get(index)));
            }
            let taken = self.send_some(queue.make_contiguous())?;
            queue.drain(..taken);
            sent += taken as u64;
        }
        self.drain.wait()?;
        let (received, left) = (self.received() - received_before, self.left() - left_before);
        ensure!(received == total, "{total} frames were sent into {} and the ASIC received {received}", self.port);
        ensure!(
            left >= total,
            "{total} frames were sent into {} and {left} came out at {}",
            self.port,
            self.port.peer()
        );
        let copies = self.asic.all_copies();
        Ok(Copies {
            delivered: copies.delivered - copies_before.delivered,
            policed: copies.policed - copies_before.policed,
            refused: copies.refused - copies_before.refused,
        })
    }

    fn received(&self) -> u64 {
        let counts = self.asic.port(self.port);
        counts.rx_unicast + counts.rx_other
    }

    fn left(&self) -> u64 {
        self.asic.port(self.port.peer()).left_packets
    }

    /// Waits until fewer than [`WINDOW`] frames are on their way to the ASIC; says how many more may be.
    fn await_room(&self, received_before: u64, sent: u64) -> Result<u64> {
        const MOST_TRIES: u32 = 1000;
        for _ in 0..MOST_TRIES {
            let under_way = sent - (self.received() - received_before);
            if under_way < WINDOW {
                return Ok(WINDOW - under_way);
            }
            thread::yield_now();
        }
        // Nothing can be under way behind a marker: what the ASIC has not received by then, it never will.
        self.drain.wait()?;
        let lost = sent - (self.received() - received_before);
        ensure!(
            lost == 0,
            "{lost} of the first {sent} frames that were sent into {} never reached the ASIC",
            self.port
        );
        Ok(WINDOW)
    }

    fn send_some(&self, frames: &[&[u8]]) -> Result<usize> {
        match self.socket.send(frames) {
            Ok(taken) => Ok(taken),
            Err(error) if is_full(&error) || error.kind() == ErrorKind::Interrupted => {
                thread::yield_now();
                Ok(0)
            }
            Err(error) => Err(error).with_context(|| {
                format!("sending a frame of {} bytes into {}", frames.first().map_or(0, |frame| frame.len()), self.port)
            }),
        }
    }
}

/// Waits for other sends into the port: an advisory lock on the port's own byte of `lab.json`.
fn await_turn(dir: &Path, port: Port) -> Result<fs::File> {
    let path = dir.join(files::STATE);
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    #[expect(clippy::cast_possible_truncation, reason = "small constants, in the type that the C interface wants")]
    let byte = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: i64::try_from(port.index())?,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLKW(&byte)).with_context(|| format!("waiting for another send into {port}"))?;
    Ok(file)
}

/// Waits until the next frame is due; says how many are.
fn await_due(start: Instant, pps: NonZeroU32, sent: u64) -> u64 {
    loop {
        let due = due(start.elapsed(), pps).saturating_sub(sent);
        if due > 0 {
            return due;
        }
        thread::sleep(Duration::from_secs(1) / pps.get());
    }
}

/// How many frames should have been sent by now; the first one at once.
fn due(elapsed: Duration, pps: NonZeroU32) -> u64 {
    let frames = elapsed.as_nanos() * u128::from(pps.get()) / 1_000_000_000;
    u64::try_from(frames).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_become_due_evenly() {
        let pps = NonZeroU32::new(1000).unwrap();
        assert_eq!(due(Duration::ZERO, pps), 1);
        assert_eq!(due(Duration::from_micros(999), pps), 1);
        assert_eq!(due(Duration::from_millis(1), pps), 2);
        assert_eq!(due(Duration::from_secs(3600), pps), 3_600_001);
    }
}
