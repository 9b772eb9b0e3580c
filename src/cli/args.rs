//! What can be asked on the command line. Ranges and words are not checked here: `model::job` does that, for all doors alike.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::io::tables::StartRequest;
use crate::io::tap::Attach;
use crate::model::job::JobId;
use crate::model::schema::{JobField, Reason};
use crate::model::value::{FieldError, printable};
use crate::sonic::database_config::DEFAULT_PATH;
use crate::sonic::syslog::DEV_LOG;

const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("TELEGEN_COMMIT"), ", built ", env!("TELEGEN_BUILT_AT"), ")");

/// Fields that `--filter` takes.
const FILTER_FIELDS: [JobField; 7] = [
    JobField::Vlan,
    JobField::IpProto,
    JobField::L4Sport,
    JobField::L4Dport,
    JobField::SrcCidr,
    JobField::DstCidr,
    JobField::Dscp,
];

/// See the traffic that the ASIC of a SONiC switch forwards: time-boxed jobs on one port each, or on a few.
#[derive(Debug, Parser)]
#[command(name = "telegen-sonic", version = VERSION, after_help = EXIT_CODES)]
pub struct Cli {
    /// Where SONiC says which Redis holds which database
    #[arg(long, global = true, env = "TELEGEN_DATABASE_CONFIG", default_value = DEFAULT_PATH, value_name = "PATH")]
    pub database_config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 the job failed, was refused or is unknown, or a capture could not be \
                          read to its end (the reason is on stderr); 2 usage; 3 daemon: another one serves this switch \
                          (it is named on stderr).";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon until SIGTERM
    Daemon(DaemonArgs),
    /// What a job would find in capture files; needs no switch and no daemon
    Analyze(AnalyzeArgs),
    /// Everything else
    #[command(flatten)]
    Tables(TableCommand),
}

/// Where the daemon keeps its books.
#[derive(Debug, Args)]
pub struct StateDir {
    /// A directory that does not outlive a reboot, for the daemon's lock and its notes about qdiscs
    #[arg(long = "state-dir", env = "TELEGEN_STATE_DIR", default_value = "/var/run/telegen", value_name = "DIR")]
    pub path: PathBuf,
}

/// How the daemon runs.
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// Where its books are.
    #[command(flatten)]
    pub state_dir: StateDir,
    /// How taps attach: auto (tcx where the kernel has it), tcx or clsact
    #[arg(long, env = "TELEGEN_ATTACH", default_value = "auto", value_parser = parse_attach)]
    pub attach: Attach,
    /// Where the system log listens
    #[arg(long, hide = true, default_value = DEV_LOG, value_name = "SOCKET")]
    pub syslog: PathBuf,
}

fn parse_attach(word: &str) -> Result<Attach, String> {
    match word {
        "auto" => Ok(Attach::Auto),
        "tcx" => Ok(Attach::Tcx),
        "clsact" => Ok(Attach::Clsact),
        _ => Err("give auto, tcx or clsact".to_owned()),
    }
}

/// What is done by way of the tables, with or without a daemon.
#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Start a job on a port
    Start(Box<StartArgs>),
    /// Where a job is; without ID, how the daemon is (exit code 1 if it does not run)
    Status(MaybeJob),
    /// All known jobs
    List(Format),
    /// What a job has found
    Results(OneJob),
    /// Stop a job and wait until it is over
    Stop(StopArgs),
    /// Follow a job until it is over
    Watch(OneJob),
    /// End every job and leave no mirror session of ours behind, also without a daemon; with PORT, of that port
    Drain(DrainArgs),
    /// Everything that support needs, as JSON
    Dump(Format),
}

/// How to print.
#[derive(Clone, Copy, Debug, Args)]
pub struct Format {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// One job.
#[derive(Debug, Args)]
pub struct OneJob {
    /// The job's id
    pub id: String,
    #[command(flatten)]
    pub format: Format,
}

/// One job, or none.
#[derive(Debug, Args)]
pub struct MaybeJob {
    /// The job's id
    pub id: Option<String>,
    #[command(flatten)]
    pub format: Format,
}

/// What to stop.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// The job's id
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub id: Option<String>,
    /// Every job
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub format: Format,
}

/// What to drain.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Only jobs that observe this port or port channel, by itself or by way of its port channel, or whose copies go there
    pub port: Option<String>,
    /// Where the daemon's books are.
    #[command(flatten)]
    pub state_dir: StateDir,
    #[command(flatten)]
    pub format: Format,
}

/// What is counted, and how much of it is kept.
#[derive(Debug, Default, Args)]
pub struct Selection {
    /// Only this VLAN
    #[arg(long, value_name = "ID")]
    pub vlan: Option<String>,
    /// Only matching packets; may be repeated. Keys: vlan, ip_proto, l4_sport, l4_dport, src_cidr, dst_cidr, dscp
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,
    /// Look into tunnels: filters and flows then speak of what is inside of VXLAN, Geneve, GRE, IP-in-IP and MPLS,
    /// where there is something
    #[arg(long)]
    pub inner: bool,
    /// What is kept: summary or flows [default: flows]
    #[arg(long, value_name = "DETAIL")]
    pub detail: Option<String>,
}

impl Selection {
    /// Adds the fields that these arguments make.
    fn add_to(&self, fields: &mut BTreeMap<JobField, String>) -> Result<(), FieldError> {
        let given = [
            (JobField::Vlan, self.vlan.clone()),
            (JobField::ResultDetail, self.detail.clone()),
            (JobField::Inner, self.inner.then(|| "true".to_owned())),
        ];
        fields.extend(given.into_iter().filter_map(|(field, value)| Some((field, value?))));
        self.filters.iter().try_for_each(|filter| add_filter(fields, filter))
    }
}

/// What to analyse.
#[derive(Debug, Args)]
pub struct AnalyzeArgs {
    /// Captures of Ethernet frames: pcap or pcapng, plain or in gzip, in the order of their times; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Analyse 1 packet of N; totals are always exact [default: 100]
    #[arg(long, value_name = "N")]
    pub sample_rate: Option<String>,
    /// Which frames, and how much of them.
    #[command(flatten)]
    pub selection: Selection,
    /// Show keyed hashes instead of addresses
    #[arg(long)]
    pub anonymize: bool,
    /// How to print.
    #[command(flatten)]
    pub format: Format,
}

impl AnalyzeArgs {
    /// The fields of a job that is asked the same.
    ///
    /// # Errors
    /// A filter that cannot be taken. Everything else is checked where a job is made of them.
    pub fn to_fields(&self) -> Result<BTreeMap<JobField, String>, FieldError> {
        let given = [
            (JobField::SampleRate, self.sample_rate.clone()),
            (JobField::Anonymize, self.anonymize.then(|| "true".to_owned())),
        ];
        let mut fields = given.into_iter().filter_map(|(field, value)| Some((field, value?))).collect();
        self.selection.add_to(&mut fields)?;
        Ok(fields)
    }
}

/// A new job.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct StartArgs {
    /// Name of a port or port channel, or several with commas and no spaces between; a job of kind traffic needs it
    #[arg(required_unless_present = "kind")]
    pub port: Option<String>,
    /// Seconds, 1 to 86400 [default: TELEGEN|global default_duration]
    #[arg(value_name = "DURATION", conflicts_with = "duration")]
    pub seconds: Option<String>,
    /// Seconds; the same as DURATION
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<String>,
    /// What the job is: traffic, the packets of PORT [default: traffic]
    #[arg(long)]
    pub kind: Option<String>,
    /// Which traffic of the port: ingress, egress or both [default: ingress]
    #[arg(long)]
    pub direction: Option<String>,
    /// How copies reach the CPU: span, erspan or none [default: TELEGEN|global span_method]
    #[arg(long, value_name = "METHOD")]
    pub span_method: Option<String>,
    /// Analyse 1 packet of N; totals are always exact [default: TELEGEN|global default_sample_rate]
    #[arg(long, value_name = "N")]
    pub sample_rate: Option<String>,
    /// Let the ASIC copy 1 packet of N, where it can (span_method erspan); totals are then of copies [default: every packet]
    #[arg(long, value_name = "N")]
    pub mirror_sample_rate: Option<String>,
    /// Let the ASIC cut copies to this many bytes, where it can (span_method erspan) [default: whole]
    #[arg(long, value_name = "BYTES")]
    pub mirror_truncate: Option<String>,
    #[command(flatten)]
    pub selection: Selection,
    /// Id of the job [default: 12 random hex digits]
    #[arg(long)]
    pub id: Option<String>,
    /// Shown with the job, never interpreted
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Shown with the job, never interpreted
    #[arg(long, value_name = "TEXT")]
    pub owner: Option<String>,
    /// Do not export this job by OTLP
    #[arg(long)]
    pub no_otlp: bool,
    /// Addresses leave the daemon only as keyed hashes
    #[arg(long)]
    pub anonymize: bool,
    /// Stay until the job is over, then print its results
    #[arg(long)]
    pub wait: bool,
    /// Check, print the row that would be written, and write nothing
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
    #[command(flatten)]
    pub format: Format,
}

impl StartArgs {
    /// The request that these arguments make.
    ///
    /// # Errors
    /// An id or a filter that cannot be taken. Everything else is checked where the row is made.
    pub fn to_request(&self) -> Result<StartRequest, FieldError> {
        let flag = |given: bool, value: &str| given.then(|| value.to_owned());
        let given = [
            (JobField::Kind, self.kind.clone()),
            (JobField::Port, self.port.clone()),
            (JobField::Duration, self.seconds.clone().or_else(|| self.duration.clone())),
            (JobField::Direction, self.direction.clone()),
            (JobField::SpanMethod, self.span_method.clone()),
            (JobField::SampleRate, self.sample_rate.clone()),
            (JobField::MirrorSampleRate, self.mirror_sample_rate.clone()),
            (JobField::MirrorTruncate, self.mirror_truncate.clone()),
            (JobField::Description, self.description.clone()),
            (JobField::Owner, self.owner.clone()),
            (JobField::OtlpExport, flag(self.no_otlp, "false")),
            (JobField::Anonymize, flag(self.anonymize, "true")),
        ];
        let mut fields: BTreeMap<JobField, String> =
            given.into_iter().filter_map(|(field, value)| Some((field, value?))).collect();
        self.selection.add_to(&mut fields)?;
        Ok(StartRequest { id: self.id.as_deref().map(JobId::parse).transpose()?, fields })
    }
}

/// Items of a list add up; any other field may be given once, by its own option or by a filter.
fn add_filter(fields: &mut BTreeMap<JobField, String>, filter: &str) -> Result<(), FieldError> {
    let refuse = |message: String| FieldError { reason: Reason::InvalidField, field: "filter".to_owned(), message };
    let keys: Vec<&str> = FILTER_FIELDS.iter().map(|field| field.as_str()).collect();
    let known = |key: &str| FILTER_FIELDS.iter().copied().find(|field| field.as_str() == key);
    let Some((field, value)) = filter.split_once('=').and_then(|(key, value)| Some((known(key)?, value))) else {
        let accepted = format!("KEY=VALUE, where KEY is one of {}", keys.join(", "));
        return Err(FieldError::invalid("filter", filter, &accepted));
    };
    match fields.get_mut(&field) {
        Some(list) if field.is_list() => {
            list.push(',');
            list.push_str(value);
            Ok(())
        }
        Some(first) => Err(refuse(format!(
            "filter: {field} is given twice, as \"{}\" and \"{}\"; give it once",
            printable(first),
            printable(value)
        ))),
        None => {
            fields.insert(field, value.to_owned());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
