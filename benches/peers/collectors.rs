//! The collectors: how each is started, when it is done, and what it saw.
//!
//! All of them keep flows by addresses, protocol and ports and hand them out: telegen by OTLP, softflowd by NetFlow 9, pmacctd as a file. Settings that
//! are not the default give the other collectors more memory than they take by themselves, enough for all flows.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::bench_programs::pin_to;
use crate::switch::{NETDEV, Switch, until};

/// The CPU of the collectors.
const CPU: usize = 1;

/// Who looks at the traffic.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Collector {
    None,
    /// A job that analyses 1 packet of so many.
    Telegen(u32),
    Softflowd,
    Pmacctd,
}

/// What a collector took, and how much of the traffic it saw.
pub struct Used {
    pub cpu_seconds: f64,
    pub packets: u64,
    /// The most resident memory of all its processes.
    pub memory_kib: u64,
}

impl Collector {
    /// All that can be had here; says which cannot.
    pub fn available() -> Vec<Collector> {
        let mut all = vec![Collector::None, Collector::Telegen(100), Collector::Telegen(1)];
        for (collector, program) in [(Collector::Softflowd, "softflowd"), (Collector::Pmacctd, "pmacctd")] {
            if is_installed(program) {
                all.push(collector);
            } else {
                eprintln!("skipped: {program} is not installed");
            }
        }
        all
    }

    pub fn name(self) -> String {
        match self {
            Collector::None => "nothing".to_owned(),
            Collector::Telegen(rate) => format!("telegen-sonic at 1:{rate}"),
            Collector::Softflowd => "softflowd".to_owned(),
            Collector::Pmacctd => "pmacctd".to_owned(),
        }
    }

    /// Returns when it sees the traffic.
    pub fn start(self, switch: &Switch) -> Running {
        match self {
            Collector::None => Running { collector: self, children: Vec::new(), cpu_ns: 0, _sink: None },
            Collector::Telegen(rate) => telegen(switch, self, rate),
            Collector::Softflowd => softflowd(switch),
            Collector::Pmacctd => pmacctd(switch),
        }
    }
}

fn is_installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
}

/// A collector at work.
pub struct Running {
    collector: Collector,
    /// The collector first; what it needs besides is not counted.
    children: Vec<Child>,
    cpu_ns: u64,
    /// Takes what softflowd exports.
    _sink: Option<UdpSocket>,
}

impl Running {
    fn new(collector: Collector, children: Vec<Child>, sink: Option<UdpSocket>) -> Running {
        let cpu_ns = cpu_ns_of_group(children[0].id());
        Running { collector, children, cpu_ns, _sink: sink }
    }

    /// Waits until all that it received is accounted for, ends it, and says what it took.
    pub fn finish(mut self, switch: &Switch) -> Used {
        let packets = match self.collector {
            Collector::None => return Used { cpu_seconds: 0.0, packets: 0, memory_kib: 0 },
            Collector::Telegen(_) => {
                switch.ask(&[&switch.binary("telegen-sonic"), "stop", "bench"]);
                let packets =
                    switch.ask(&["redis-cli", "-n", "6", "HGET", "TELEGEN_RESULT_TABLE|bench", "packets_total"]);
                packets.parse().expect("the job's packets")
            }
            Collector::Softflowd => {
                self.wait_until_quiet();
                let socket = switch.dir().join("softflowd.ctl");
                let ask = |what| switch.ask(&["/usr/sbin/softflowctl", "-c", socket.to_str().unwrap(), what]);
                let statistics = ask("statistics");
                ask("expire-all");
                let line = statistics.lines().find_map(|line| line.strip_prefix("Packets processed: "));
                line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("softflowd's packets")
            }
            Collector::Pmacctd => {
                self.wait_until_quiet();
                0
            }
        };
        let memory_kib = of_group(self.children[0].id(), peak_kib_of);
        let used = self.end();
        let packets = if self.collector == Collector::Pmacctd { pmacct_packets(switch) } else { packets };
        Used { cpu_seconds: used, packets, memory_kib }
    }

    /// Half a second without work.
    fn wait_until_quiet(&self) {
        let (mut last, mut since) = (0, Instant::now());
        until("a collector to be done", || {
            let now = cpu_ns_of_group(self.children[0].id());
            if now > last + 5_000_000 {
                (last, since) = (now, Instant::now());
            }
            since.elapsed() > Duration::from_millis(500)
        });
    }

    /// CPU seconds of the collector's processes, those of its end included.
    fn end(&mut self) -> f64 {
        let group = self.children[0].id();
        let mut cpu_ns = cpu_ns_of_group(group);
        let signal = if self.collector == Collector::Pmacctd { Signal::SIGINT } else { Signal::SIGTERM };
        let _ = killpg(pid(group), signal);
        until("a collector to end", || {
            let over = !matches!(self.children[0].try_wait(), Ok(None));
            let now = cpu_ns_of_group(group);
            cpu_ns = cpu_ns.max(now);
            over && now == 0
        });
        #[allow(clippy::cast_precision_loss)] // some seconds, in nanoseconds
        return (cpu_ns - self.cpu_ns) as f64 / 1e9;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = killpg(pid(child.id()), Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed())
}

/// In a group of its own, on the collectors' CPU.
fn spawn(mut command: Command) -> Child {
    command.process_group(0).stdin(Stdio::null());
    let last = thread::available_parallelism().unwrap().get() - 1;
    // SAFETY: one system call, without memory of its own.
    unsafe {
        command.pre_exec(move || {
            pin_to(CPU.min(last));
            Ok(())
        });
    }
    command.spawn().unwrap()
}

fn telegen(switch: &Switch, collector: Collector, rate: u32) -> Running {
    let redis = |words: &[&str]| switch.ask(&[&["redis-cli", "-n"], words].concat());
    let settings = ["otlp_endpoint", "localhost:4318", "otlp_protocol", "http/protobuf", "cpu_limit", "100"];
    redis(&[&["4", "HSET", "TELEGEN|global"], &settings[..]].concat());
    let lab = switch.binary("telegen-lab");
    let sink = spawn(switch.command(&[&lab, "collect"]));
    let (program, rate) = (switch.binary("telegen-sonic"), rate.to_string());
    let daemon = spawn(switch.command(&[&program, "daemon"]));
    until("the daemon", || !redis(&["6", "HGET", "TELEGEN_DAEMON_TABLE|localhost", "pid"]).is_empty());
    let job = ["start", NETDEV, "--duration", "600", "--span-method", "none", "--sample-rate", &rate, "--id", "bench"];
    switch.ask(&[&[program.as_str()], &job[..]].concat());
    until("the job", || redis(&["6", "HGET", "TELEGEN_JOB_TABLE|bench", "status"]) == "running");
    Running::new(collector, vec![daemon, sink], None)
}

fn softflowd(switch: &Switch) -> Running {
    let sink = switch.in_namespace(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    let to = sink.local_addr().unwrap().to_string();
    let [socket, pid_file] = ["softflowd.ctl", "softflowd.pid"].map(|name| switch.dir().join(name));
    let [socket, pid_file] = [&socket, &pid_file].map(|path| path.to_str().unwrap());
    let arguments = ["-d", "-6", "-i", NETDEV, "-n", &to, "-v", "9", "-m", "200000", "-B", "16777216"];
    let child =
        spawn(switch.command(&[&["/usr/sbin/softflowd"], &arguments[..], &["-c", socket, "-p", pid_file]].concat()));
    until("softflowd", || {
        switch.ask(&["/usr/sbin/softflowctl", "-c", socket, "statistics"]).contains("Packets processed")
    });
    Running::new(Collector::Softflowd, vec![child], Some(sink))
}

fn pmacctd(switch: &Switch) -> Running {
    let [config, output, log] = ["pmacctd.conf", "pmacctd.csv", "pmacctd.log"].map(|name| switch.dir().join(name));
    let _ = (fs::remove_file(&output), fs::remove_file(&log));
    let settings = format!(
        "daemonize: false\nlogfile: {}\npcap_interface: {NETDEV}\npcap_buffer: 16777216\n\
         aggregate: src_host, dst_host, src_port, dst_port, proto\nplugins: print\nprint_output: csv\n\
         print_output_file: {}\nprint_output_file_append: true\nprint_refresh_time: 10\nprint_cache_entries: 400009\n\
         plugin_buffer_size: 1024000\nplugin_pipe_size: 102400000\n",
        log.display(),
        output.display(),
    );
    fs::write(&config, settings).unwrap();
    let child = spawn(switch.command(&["/usr/sbin/pmacctd", "-f", config.to_str().unwrap()]));
    let is_ready = || fs::read_to_string(&log).is_ok_and(|log| log.contains(&format!("[{NETDEV}")));
    until("pmacctd", is_ready);
    thread::sleep(Duration::from_secs(1)); // its log says no more
    Running::new(Collector::Pmacctd, vec![child], None)
}

/// The sum of the file's last column but one.
fn pmacct_packets(switch: &Switch) -> u64 {
    let file = fs::read_to_string(switch.dir().join("pmacctd.csv")).unwrap_or_default();
    let mut lines = file.lines();
    let Some(column) = lines.next().and_then(|header| header.split(',').position(|name| name == "PACKETS")) else {
        return 0;
    };
    lines.filter_map(|line| line.split(',').nth(column)?.parse::<u64>().ok()).sum()
}

/// CPU time of all processes of a group, in nanoseconds.
fn cpu_ns_of_group(group: u32) -> u64 {
    of_group(group, cpu_ns_of)
}

/// The sum of something over all processes of a group.
fn of_group(group: u32, of: impl Fn(&Path) -> Option<u64>) -> u64 {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    processes.filter(|process| group_of(process) == Some(group)).filter_map(|process| of(&process)).sum()
}

fn peak_kib_of(process: &Path) -> Option<u64> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches(" kB").parse().ok()
}

fn group_of(process: &Path) -> Option<u32> {
    process.file_name()?.to_str()?.parse::<u32>().ok()?;
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // Behind the name: state, parent, group.
    stat.rsplit(')').next()?.split_whitespace().nth(2)?.parse().ok()
}

/// Of all threads of a process, also of those that are over.
fn cpu_ns_of(process: &Path) -> Option<u64> {
    let pid = process.file_name()?.to_str()?.parse().ok()?;
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointers are to locals that live through the calls.
    let results =
        unsafe { [libc::clock_getcpuclockid(pid, &raw mut clock), libc::clock_gettime(clock, &raw mut time)] };
    let [seconds, nanoseconds] = [time.tv_sec, time.tv_nsec].map(i64::unsigned_abs);
    (results == [0; 2]).then_some(seconds * 1_000_000_000 + nanoseconds)
}
