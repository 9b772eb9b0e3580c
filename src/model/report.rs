//! What is known of all jobs at one moment: the one immutable value that every sink renders.
//!
//! Numbers stand here as they were measured or estimated; texts, units and row layouts are the sinks'.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::sample::{Counter, Histogram, INTERARRIVAL_RATE};
use super::schema::HistogramName;
use super::settings::Settings;
use super::status::{JobStatus, Refused};
use super::traffic::{DistinctFlows, Traffic};

/// Everything that sinks may show.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The daemon and its host.
    pub daemon: Arc<DaemonInfo>,
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// What was refused so far.
    pub refused: Refused,
    /// Every known job by key, finished ones until their retention ends.
    pub jobs: BTreeMap<String, Arc<Report>>,
}

/// One job: its status and, once counting began, its numbers.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where the job is.
    pub status: JobStatus,
    /// The latest numbers; `None` before the first reading, and for jobs of an earlier daemon.
    pub results: Option<Arc<Results>>,
    /// The latest flows and histograms; read less often than the totals.
    pub detail: Option<Arc<Detail>>,
}

/// Totals and protocol counters of one job, cumulative since `started_at`. Exact, rates and coverage excepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// When the tap was read.
    pub updated_at: Timestamp,
    /// Since the tap was opened.
    pub window: Duration,
    /// What was counted of the packets. The results read as if these were fields of their own.
    pub traffic: Traffic,
    /// 1 of this many packets is analysed.
    pub sample_rate: u32,
    /// Packets of `total` per second over the last interval.
    pub packets_per_sec: f64,
    /// Bits of `total` per second over the last interval.
    pub bits_per_sec: f64,
    /// What the port's own counters say passed between the first and the last poll inside the job.
    pub port_packets: Option<u64>,
    /// Delivered packets over `port_packets`, between the same two polls; not clamped.
    pub coverage: Option<f64>,
    /// What the ASIC leaves out of the copies; `None`: it copies every packet whole.
    pub thinning: Option<Thinning>,
    /// What `total` lets one say of the port's packets; `None` where each of them is copied, and `total` says it.
    pub estimate: Option<Estimate>,
}

/// What a mirror session leaves out before the tap sees anything. Every count in [`Results`] is of the copies, as they
/// arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thinning {
    /// 1 of this many packets is copied; 1: every one.
    pub sample_rate: u32,
    /// Copies are cut to this many bytes: bytes and lengths are of what is left, and where a header ends early nobody
    /// can tell the cut from a fault of the packet's own.
    pub truncate: Option<u16>,
}

impl Default for Thinning {
    fn default() -> Thinning {
        Thinning { sample_rate: 1, truncate: None }
    }
}

/// The port's packets, estimated from a sampled mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Packets that passed the filters.
    pub packets: u64,
    /// Their bytes; `None` where the copies are cut.
    pub bytes: Option<u64>,
    /// Half the width of the 95 % interval around `packets`.
    pub packets_err95: u64,
}

impl Deref for Results {
    type Target = Traffic;

    fn deref(&self) -> &Traffic {
        &self.traffic
    }
}

impl DerefMut for Results {
    fn deref_mut(&mut self) -> &mut Traffic {
        &mut self.traffic
    }
}

impl Results {
    /// Each analysed packet stands for this many of the port: what mirror and tap leave out, together.
    #[must_use]
    pub fn analysis_factor(&self) -> u64 {
        u64::from(self.sample_rate) * self.thinning.map_or(1, |thinning| u64::from(thinning.sample_rate))
    }

    /// Packets that passed the filters: counted, or estimated where the mirror is sampled.
    #[must_use]
    pub fn packets_of_port(&self) -> u64 {
        self.estimate.map_or(self.total.packets, |estimate| estimate.packets)
    }

    /// Nothing counted, and nothing measured that need not be.
    #[must_use]
    pub fn empty(updated_at: Timestamp) -> Results {
        Results {
            updated_at,
            window: Duration::ZERO,
            traffic: Traffic::default(),
            sample_rate: 1,
            packets_per_sec: 0.0,
            bits_per_sec: 0.0,
            port_packets: None,
            coverage: None,
            thinning: None,
            estimate: None,
        }
    }
}

/// Flows and histograms of one job. Flows are of the analysed packets, so estimates unless `sample_rate` is 1; what the
/// histograms are of, [`Detail::rate_of`] says.
#[derive(Clone, Debug, PartialEq)]
pub struct Detail {
    /// When the tap was read.
    pub updated_at: Timestamp,
    /// 1 of this many packets of the port was analysed: what mirror and tap leave out, together.
    pub sample_rate: u32,
    /// 1 of this many was copied.
    pub mirror_sample_rate: u32,
    /// The largest flows by estimated packets, at most `topk_flows`; `None` with `result_detail` `summary`.
    pub flows: Option<Flows>,
    /// Every histogram the job keeps.
    pub histograms: Vec<(HistogramName, Histogram)>,
}

impl Detail {
    /// One of this many values is in the histogram, chosen at random.
    #[must_use]
    pub fn rate_of(&self, name: HistogramName) -> u32 {
        match name {
            HistogramName::PacketSize => self.mirror_sample_rate,
            HistogramName::Interarrival => self.sample_rate.max(INTERARRIVAL_RATE.get()),
        }
    }
}

/// The flow table as it leaves the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Flows {
    /// Largest first.
    pub top: Vec<FlowRow>,
    /// Analysed packets of flows that are in the table but not in `top`.
    pub below_top: Counter,
    /// Analysed packets of flows that the table could not keep.
    pub other: Counter,
    /// Analysed packets without a flow.
    pub non_ip: Counter,
    /// How often a flow entered the table.
    pub seen: u64,
    /// How often one had to leave it.
    pub evicted: u64,
    /// How many different flows the analysed packets were of.
    pub distinct: DistinctFlows,
}

impl Flows {
    /// How many there were.
    #[must_use]
    pub fn counts(&self) -> FlowCounts {
        FlowCounts { seen: Some(self.seen), evicted: Some(self.evicted), distinct: Some(self.distinct) }
    }
}

impl Report {
    /// The latest numbers of its flows; nothing without a flow table.
    #[must_use]
    pub fn flow_counts(&self) -> FlowCounts {
        self.detail.as_ref().map(|detail| detail.flow_counts()).unwrap_or_default()
    }
}

impl Detail {
    /// The numbers of its flows; nothing without a flow table.
    #[must_use]
    pub fn flow_counts(&self) -> FlowCounts {
        self.flows.as_ref().map(Flows::counts).unwrap_or_default()
    }
}

/// How many flows a job had; each number is `None` where it was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// How often a flow entered the table.
    pub seen: Option<u64>,
    /// How often one had to leave it.
    pub evicted: Option<u64>,
    /// How many different flows the analysed packets were of.
    pub distinct: Option<DistinctFlows>,
}

/// One flow. Addresses are text because an anonymised job's are hashes.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRow {
    /// Source address, or its keyed hash.
    pub src: String,
    /// Destination address, or its keyed hash.
    pub dst: String,
    /// Whether the addresses are IPv6 (an anonymised job still says so).
    pub is_ipv6: bool,
    /// Source port, 0 where there is none.
    pub l4_sport: u16,
    /// Destination port, 0 where there is none.
    pub l4_dport: u16,
    /// IANA protocol number.
    pub ip_proto: u8,
    /// Outermost VLAN id, 0 if untagged.
    pub vlan: u16,
    /// Analysed packets and bytes.
    pub analysed: Counter,
    /// Estimated packets and bytes of the flow.
    pub estimated: Counter,
    /// Half the width of the 95 % interval around the estimated packets; 0 where the count is exact.
    pub packets_err95: u64,
    /// When its first analysed packet came.
    pub first_seen: Timestamp,
    /// When its last analysed packet came.
    pub last_seen: Timestamp,
}

/// The daemon, its host and its switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonInfo {
    /// Version of this build.
    pub version: &'static str,
    /// Commit of this build.
    pub commit: &'static str,
    /// When it was built.
    pub built_at: &'static str,
    /// Process id.
    pub pid: u32,
    /// When the process started.
    pub started_at: Timestamp,
    /// A name for this run of the daemon, unique among all.
    pub instance_id: String,
    /// The switch.
    pub device: Device,
    /// What this host and switch can do, by field name of TELEGEN_DAEMON_TABLE.
    pub capabilities: BTreeMap<String, String>,
    /// What of `TELEGEN|global` could not be taken.
    pub settings_errors: Vec<String>,
}

/// Identity of the switch, as far as its tables say; empty where they do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// `hostname` of DEVICE_METADATA, or the kernel's.
    pub hostname: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// CPU architecture in OpenTelemetry's words: `amd64`, `arm64`.
    pub arch: String,
    /// SONiC's build version.
    pub os_version: String,
    /// `platform` of DEVICE_METADATA.
    pub platform: String,
    /// `hwsku` of DEVICE_METADATA.
    pub hwsku: String,
    /// Manufacturer, the first word of the platform's vendor part.
    pub manufacturer: String,
    /// ASIC namespace, empty on a single-ASIC switch.
    pub namespace: String,
}

/// How the export to the collector is doing. Never part of a job's life: a collector that is away disturbs no job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportState {
    /// Where metrics go.
    pub endpoint: String,
    /// Requests that the collector accepted.
    pub accepted_requests: u64,
    /// Requests that failed.
    pub failed_requests: u64,
    /// When the collector last accepted one.
    pub last_success: Option<Timestamp>,
    /// Why the latest request failed; `None` once one has been accepted again.
    pub last_error: Option<String>,
    /// What of the export's configuration could not be taken, and whether it is switched off.
    pub config_errors: Vec<String>,
    /// Log records and spans that were dropped: their queue was full, or the collector refused them for good.
    pub dropped_records: u64,
    /// Jobs of which at least one export was accepted.
    pub exported_jobs: BTreeSet<String>,
}
