//! Names that leave in OTLP messages (contract section 5, OpenTelemetry semantic conventions) and the few helpers that
//! make its values. Those of measures are in `model::measure`.

use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use crate::model::job::Direction;

/// The job's id.
pub const JOB_ID: &str = "telegen.job.id";
/// The port as SONiC names it.
pub const PORT_NAME: &str = "sonic.port.name";
/// `receive` or `transmit`, seen from the switch; absent for both.
pub const IO_DIRECTION: &str = "network.io.direction";
/// The IP protocol, by the names of the job tables; a number where it has no name.
pub const TRANSPORT: &str = "network.transport";
/// `ipv4` or `ipv6`.
pub const NETWORK_TYPE: &str = "network.type";
/// The Ethernet class of packets that are not IP.
pub const ETHERNET_TYPE: &str = "telegen.ethernet.type";
/// `first` or `later`.
pub const FRAGMENT_POSITION: &str = "telegen.fragment.position";
/// A flow's source, or its keyed hash.
pub const SOURCE_ADDRESS: &str = "source.address";
/// A flow's destination, or its keyed hash.
pub const DESTINATION_ADDRESS: &str = "destination.address";
/// A flow's source port; absent where its packets have none.
pub const SOURCE_PORT: &str = "source.port";
/// A flow's destination port; absent where its packets have none.
pub const DESTINATION_PORT: &str = "destination.port";
/// A flow's outermost VLAN id; absent if untagged.
pub const VLAN_ID: &str = "telegen.vlan.id";
/// On every estimate: 1 of this many packets of the port was analysed (of all of them, also where the mirror is sampled).
pub const SAMPLING_RATE: &str = "telegen.sampling.rate";
/// On every point of a job with a sampled mirror: the ASIC copied 1 of this many packets. What is not an estimate counts copies.
pub const MIRROR_SAMPLING_RATE: &str = "telegen.mirror.sampling.rate";
/// A status of the job tables.
pub const JOB_STATUS: &str = "telegen.job.status";
/// A reason of the job tables.
pub const JOB_REASON: &str = "telegen.job.reason";
/// A warning of the job tables.
pub const JOB_WARNING: &str = "telegen.job.warning";

/// `key` = text.
pub fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

/// `key` = integer.
pub fn int(key: &str, value: impl Into<i64>) -> KeyValue {
    attribute(key, Value::IntValue(value.into()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// `network.io.direction` of a job; `None` for both, of which the convention has no word.
#[must_use]
pub fn io_direction(direction: Direction) -> Option<KeyValue> {
    match direction {
        Direction::Ingress => Some(text(IO_DIRECTION, "receive")),
        Direction::Egress => Some(text(IO_DIRECTION, "transmit")),
        Direction::Both => None,
    }
}

/// Nanoseconds since 1970, as OTLP counts; 0 ("unknown" in OTLP) for what cannot be one.
#[must_use]
pub fn unix_nano(instant: Timestamp) -> u64 {
    u64::try_from(instant.as_nanosecond()).unwrap_or(0)
}
