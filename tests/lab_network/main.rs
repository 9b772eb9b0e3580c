//! The virtual switch on the real kernel, as root: what goes in comes out, copies are exact, nothing stays behind.

// In the helpers of tests as in the tests themselves: a failure here is a failed test.
#![allow(clippy::unwrap_used)]

mod control_plane;
mod erspan;
mod forwarding;
mod lifecycle;
mod mirroring;
mod sampling;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use telegen_sonic::lab::handle::{Lab, LabOptions};
use telegen_sonic::lab::layout::{Port, PortCount};
use telegen_sonic::lab::namespaces::enter_network;
use telegen_sonic::lab::packet_socket::{PacketSocket, Receive};
use tempfile::TempDir;

/// For what takes milliseconds on an idle machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// Whether this process may make namespaces; says so if not.
fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        println!("SKIPPED: {test}: the lab needs root");
    }
    root
}

fn small() -> LabOptions {
    LabOptions { ports: PortCount::try_from(4).unwrap(), ..LabOptions::new(env!("CARGO_BIN_EXE_telegen-lab")) }
}

/// A lab in a directory of its own. That it does not end properly fails the test.
struct TestLab {
    lab: Option<Lab>,
    home: TempDir,
}

impl Drop for TestLab {
    fn drop(&mut self) {
        match self.lab.take() {
            Some(lab) if !thread::panicking() => lab.end().unwrap(),
            lab => drop(lab),
        }
    }
}

impl TestLab {
    fn start(options: &LabOptions) -> TestLab {
        let home = tempfile::tempdir().unwrap();
        TestLab { lab: Some(Lab::start(home.path().join("lab"), options).unwrap()), home }
    }

    fn lab(&self) -> &Lab {
        self.lab.as_ref().unwrap()
    }

    fn port(&self, name: &str) -> Port {
        self.lab().state().ports.find(name).unwrap()
    }

    /// A socket on a CPU netdev, where the daemon would have its tap.
    fn tap(&self, device: &str) -> PacketSocket {
        let switch = File::open(format!("/proc/{}/ns/net", self.lab().state().process.pid)).unwrap();
        socket_in(switch.into(), device, Receive::All)
    }

    /// A socket in the namespace of the wires.
    fn wire(&self, device: &str, receive: Receive) -> PacketSocket {
        socket_in(self.lab().state().open_asic_namespace().unwrap(), device, receive)
    }

    /// Writes a pcap file with these frames.
    fn capture(&self, frames: &[Vec<u8>]) -> PathBuf {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
        for frame in frames {
            let length = u32::try_from(frame.len()).unwrap();
            file.extend(words(&[0, 0, length, length]));
            file.extend(frame);
        }
        let path = self.home.path().join("frames.pcap");
        std::fs::write(&path, file).unwrap();
        path
    }

    /// What a command on the switch prints; it must succeed.
    fn on_switch(&self, command: &[&str]) -> String {
        let output = self.lab().run_command(command).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Packets received by each CPU netdev.
    fn received_by_cpu(&self) -> Vec<(String, u64)> {
        let table = self.on_switch(&["cat", "/proc/net/dev"]);
        let rows = table.lines().filter_map(|line| line.trim().split_once(':'));
        rows.filter(|(name, _)| name.starts_with("Ethernet"))
            .map(|(name, numbers)| (name.to_owned(), numbers.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()))
            .collect()
    }
}

/// Opens something in another network namespace, on a thread that moves there and ends: a thread would hold the namespace.
fn in_namespace<T: Send>(namespace: OwnedFd, open: impl FnOnce() -> T + Send) -> T {
    let opened = move || {
        enter_network(&namespace).unwrap();
        open()
    };
    thread::scope(|scope| scope.spawn(opened).join()).unwrap()
}

fn socket_in(namespace: OwnedFd, device: &str, receive: Receive) -> PacketSocket {
    let socket = in_namespace(namespace, || PacketSocket::open(device, receive)).unwrap();
    socket.set_receive_buffer(256 << 20).unwrap();
    socket.set_patience(Duration::from_secs(2)).unwrap();
    socket
}

/// The next `count` frames that arrive.
fn receive(socket: &PacketSocket, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| socket.receive().unwrap().frame).collect()
}

/// Asserts that no frame waits in the socket. After `send` everything has been delivered: there is nothing to wait for.
#[track_caller]
fn assert_nothing_more(socket: &PacketSocket) {
    socket.set_patience(Duration::from_millis(1)).unwrap();
    if let Ok(received) = socket.receive() {
        panic!("one frame more: {:x?}", received.frame);
    }
}

/// Waits until `condition` holds.
#[track_caller]
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn exists(path: impl AsRef<Path>) -> bool {
    path.as_ref().try_exists().unwrap()
}
