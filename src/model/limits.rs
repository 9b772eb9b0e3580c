//! What each field of a job row and of `TELEGEN|global` may hold, and its default: one table, read by the parsers,
//! by the OpenAPI document and by the test that holds YANG and the plugins to it.
//!
//! Parsing itself is in `job` and `settings`; what a value means is nobody's business here.

use super::erspan::SOURCES_MAX;
use super::filter::MAX_PORT_RANGES;
use super::kind::{self, Kind};
use super::schema::{JobField, SettingField};

/// The job id `[a-zA-Z0-9][-a-zA-Z0-9_]{0,20}`: `telegen__<number>_<id>` must fit the 32 characters of a mirror session's name
/// (sonic-mirror-session.yang).
pub const JOB_ID_MAX_CHARS: usize = 21;
/// Mirror sessions of one job, whatever the settings say: their numbers are one digit of a session's name.
pub const SESSIONS_MAX: usize = 9;
/// Jobs that may hold resources at once, whatever the settings say.
pub const JOBS_MAX: usize = 2;

/// The largest row of a job that is read, in bytes of Redis' memory (`MEMORY USAGE`): more than one takes whose fields are all as long as
/// they may be. Larger ones are refused unread.
pub const JOB_ROW_BYTES: usize = 8_192;

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Names of PORTs and PORTCHANNELs, up to `source_ports::SOURCE_PORTS_MAX`, with commas between: one plain field, as MIRROR_SESSION has its
    /// `src_port`, and no list of CONFIG_DB.
    PortNames,
    /// A decimal integer in `min..=max`.
    Integer {
        /// Smallest accepted value.
        min: u64,
        /// Largest accepted value.
        max: u64,
    },
    /// `true` or `false`.
    Boolean,
    /// One of a list of words.
    Word {
        /// Words that work.
        accepted: &'static [&'static str],
        /// Words that are understood and refused until they are built.
        reserved: &'static [&'static str],
    },
    /// An IP protocol: a name of `job::IP_PROTOCOL_NAMES` or 0..=255.
    IpProtocol,
    /// A port 0..=65535 or a range `lo-hi`.
    PortRange,
    /// An IPv4 or IPv6 prefix; an address without a length is its own prefix.
    Prefix,
    /// An IPv4 or IPv6 address.
    IpAddress,
    /// RFC 3339.
    Timestamp,
    /// Printable characters (Unicode without controls).
    Text {
        /// How many at the most.
        max_chars: usize,
    },
    /// `host:port`, with or without `http://` or `https://` before it.
    Endpoint,
    /// An absolute path of a unix socket, or `address:port`.
    Listen,
    /// A name of a Linux network device, 1 to 15 characters.
    Netdev,
    /// One of the GRE protocol types of `erspan::GreType`: decimal, or hexadecimal behind `0x`.
    GreType,
    /// An absolute path.
    Path,
}

/// What a value is in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonShape {
    /// A number.
    Number,
    /// A number, or a string for what is no number: a name, a range.
    NumberOrString,
    /// `true` or `false`.
    Boolean,
    /// A string.
    String,
}

impl ValueKind {
    /// What a value of this kind is in JSON.
    #[must_use]
    pub fn json_shape(self) -> JsonShape {
        match self {
            ValueKind::Integer { .. } => JsonShape::Number,
            ValueKind::IpProtocol | ValueKind::PortRange => JsonShape::NumberOrString,
            ValueKind::Boolean => JsonShape::Boolean,
            ValueKind::PortNames
            | ValueKind::Word { .. }
            | ValueKind::Prefix
            | ValueKind::IpAddress
            | ValueKind::Timestamp
            | ValueKind::Text { .. }
            | ValueKind::Endpoint
            | ValueKind::Listen
            | ValueKind::Netdev
            | ValueKind::GreType
            | ValueKind::Path => JsonShape::String,
        }
    }
}

/// What stands in for a field that is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Nothing: the job's kind needs the field (`Kind::needs`), or absence is a value of its own (no filter, no
    /// description).
    Absent,
    /// This value.
    Value(&'static str),
    /// The value of a field of `TELEGEN|global`.
    Setting(SettingField),
}

/// The rule of one field.
#[derive(Clone, Copy, Debug)]
pub struct Rule<F> {
    /// Which field.
    pub field: F,
    /// What each item (of a list) or the value looks like.
    pub kind: ValueKind,
    /// What its absence means.
    pub default: Default,
    /// The largest number of items of a list; `None` if the field is not a list.
    pub max_items: Option<usize>,
}

const DURATION_SEC: ValueKind = ValueKind::Integer { min: 1, max: 86_400 };
const SAMPLE_RATE: ValueKind = ValueKind::Integer { min: 1, max: 1_000_000 };
/// sonic-mirror-session.yang begins at 2; the end is that of sonic-sflow.yang, because both rates are of the same SAI object (SAMPLEPACKET).
const MIRROR_SAMPLE_RATE: ValueKind = ValueKind::Integer { min: 2, max: 8_388_608 };
/// sonic-mirror-session.yang `truncate_size`.
const MIRROR_TRUNCATE: ValueKind = ValueKind::Integer { min: 64, max: 9_216 };
const DSCP: ValueKind = ValueKind::Integer { min: 0, max: 63 };
const FREE_TEXT: ValueKind = ValueKind::Text { max_chars: 128 };
const KINDS: ValueKind = ValueKind::Word { accepted: Kind::WORDS, reserved: kind::UNAVAILABLE };
const SPAN_METHODS: ValueKind =
    ValueKind::Word { accepted: &["span", "erspan", "none"], reserved: &["psample", "acl_copy"] };

const fn one<F>(field: F, kind: ValueKind, default: Default) -> Rule<F> {
    Rule { field, kind, default, max_items: None }
}

const fn list<F>(field: F, kind: ValueKind, max_items: usize) -> Rule<F> {
    Rule { field, kind, default: Default::Absent, max_items: Some(max_items) }
}

/// The fields of a job row, in the order of [`JobField::ALL`].
pub const JOB: [Rule<JobField>; JobField::COUNT] = [
    one(JobField::Kind, KINDS, Default::Value(kind::DEFAULT.as_str())),
    one(JobField::Port, ValueKind::PortNames, Default::Absent),
    one(
        JobField::Direction,
        ValueKind::Word { accepted: &["ingress", "egress", "both"], reserved: &[] },
        Default::Value("ingress"),
    ),
    one(JobField::SpanMethod, SPAN_METHODS, Default::Setting(SettingField::SpanMethod)),
    one(JobField::Duration, DURATION_SEC, Default::Setting(SettingField::DefaultDuration)),
    one(JobField::SampleRate, SAMPLE_RATE, Default::Setting(SettingField::DefaultSampleRate)),
    one(JobField::MirrorSampleRate, MIRROR_SAMPLE_RATE, Default::Absent),
    one(JobField::MirrorTruncate, MIRROR_TRUNCATE, Default::Absent),
    one(JobField::Vlan, ValueKind::Integer { min: 1, max: 4094 }, Default::Absent),
    list(JobField::IpProto, ValueKind::IpProtocol, 256),
    list(JobField::L4Sport, ValueKind::PortRange, MAX_PORT_RANGES),
    list(JobField::L4Dport, ValueKind::PortRange, MAX_PORT_RANGES),
    one(JobField::SrcCidr, ValueKind::Prefix, Default::Absent),
    one(JobField::DstCidr, ValueKind::Prefix, Default::Absent),
    list(JobField::Dscp, DSCP, 64),
    one(JobField::Inner, ValueKind::Boolean, Default::Value("false")),
    one(
        JobField::ResultDetail,
        ValueKind::Word { accepted: &["summary", "flows"], reserved: &["packets", "pcaplike"] },
        Default::Value("flows"),
    ),
    one(JobField::OtlpExport, ValueKind::Boolean, Default::Value("true")),
    one(JobField::Anonymize, ValueKind::Boolean, Default::Value("false")),
    one(JobField::ExpiresAt, ValueKind::Timestamp, Default::Absent),
    one(JobField::Description, FREE_TEXT, Default::Absent),
    one(JobField::Owner, FREE_TEXT, Default::Absent),
];

/// The fields of `TELEGEN|global`, in the order of [`SettingField::ALL`].
pub const SETTINGS: [Rule<SettingField>; SettingField::COUNT] = [
    one(
        SettingField::AdminState,
        ValueKind::Word { accepted: &["enabled", "disabled"], reserved: &[] },
        Default::Value("enabled"),
    ),
    one(SettingField::MaxJobs, ValueKind::Integer { min: 1, max: JOBS_MAX as u64 }, Default::Value("2")),
    one(SettingField::MaxSessions, ValueKind::Integer { min: 1, max: SESSIONS_MAX as u64 }, Default::Value("2")),
    one(SettingField::MaxQueue, ValueKind::Integer { min: 0, max: 16 }, Default::Value("0")),
    one(SettingField::QueueTtl, ValueKind::Integer { min: 1, max: 3_600 }, Default::Value("60")),
    one(SettingField::SettleMs, ValueKind::Integer { min: 0, max: 10_000 }, Default::Value("1000")),
    one(SettingField::RunSavedJobs, ValueKind::Boolean, Default::Value("false")),
    one(SettingField::DefaultDuration, DURATION_SEC, Default::Value("120")),
    one(SettingField::DefaultSampleRate, SAMPLE_RATE, Default::Value("100")),
    one(SettingField::SpanMethod, SPAN_METHODS, Default::Value("span")),
    one(SettingField::TopkFlows, ValueKind::Integer { min: 1, max: 4_096 }, Default::Value("1024")),
    one(SettingField::StateFlows, ValueKind::Integer { min: 0, max: 100 }, Default::Value("20")),
    one(SettingField::ResultInterval, ValueKind::Integer { min: 1, max: 60 }, Default::Value("1")),
    one(SettingField::FlowInterval, ValueKind::Integer { min: 1, max: 600 }, Default::Value("5")),
    one(SettingField::ResultRetention, ValueKind::Integer { min: 0, max: 604_800 }, Default::Value("3600")),
    one(SettingField::CpuLimit, ValueKind::Integer { min: 1, max: 100 }, Default::Value("20")),
    one(SettingField::MemoryLimit, ValueKind::Integer { min: 1, max: 1_024 }, Default::Value("64")),
    one(SettingField::AllowUnprobed, ValueKind::Boolean, Default::Value("false")),
    one(SettingField::ProbeSwitch, ValueKind::Boolean, Default::Value("true")),
    list(SettingField::ErspanSrcIp, ValueKind::Prefix, SOURCES_MAX),
    one(SettingField::ErspanDstIp, ValueKind::IpAddress, Default::Absent),
    one(SettingField::ErspanNetdev, ValueKind::Netdev, Default::Absent),
    one(SettingField::ErspanGreType, ValueKind::GreType, Default::Value("0x88be")),
    one(SettingField::ErspanDscp, DSCP, Default::Value("8")),
    one(SettingField::ErspanTtl, ValueKind::Integer { min: 1, max: 255 }, Default::Value("255")),
    one(SettingField::OtlpEndpoint, ValueKind::Endpoint, Default::Value("localhost:4317")),
    one(
        SettingField::OtlpProtocol,
        ValueKind::Word { accepted: &["grpc", "http/protobuf"], reserved: &[] },
        Default::Value("grpc"),
    ),
    one(SettingField::ExportInterval, ValueKind::Integer { min: 1, max: 3_600 }, Default::Value("10")),
    one(SettingField::RestListen, ValueKind::Listen, Default::Value("/var/run/telegen/rest.sock")),
    one(SettingField::RestCert, ValueKind::Path, Default::Absent),
    one(SettingField::RestKey, ValueKind::Path, Default::Absent),
    one(SettingField::RestClientCa, ValueKind::Path, Default::Absent),
];

/// The rule of a job field.
#[must_use]
pub const fn job(field: JobField) -> &'static Rule<JobField> {
    &JOB[field as usize]
}

/// The rule of a setting.
#[must_use]
pub const fn setting(field: SettingField) -> &'static Rule<SettingField> {
    &SETTINGS[field as usize]
}

/// The last rank that a flow in STATE_DB can have.
pub const STATE_FLOWS_MAX: u64 = match setting(SettingField::StateFlows).kind {
    ValueKind::Integer { max, .. } => max,
    _ => panic!("state_flows is an integer"),
};

#[cfg(test)]
mod tests {
    use super::{JOB, SETTINGS};

    #[test]
    fn rules_stand_in_the_order_of_their_fields() {
        for (index, rule) in JOB.iter().enumerate() {
            assert_eq!(rule.field as usize, index);
            assert_eq!(rule.max_items.is_some(), rule.field.is_list(), "{}", rule.field);
        }
        for (index, rule) in SETTINGS.iter().enumerate() {
            assert_eq!(rule.field as usize, index);
            assert_eq!(rule.max_items.is_some(), rule.field.is_list(), "{}", rule.field);
        }
    }
}
