//! Runs tshark on a capture and reads the fields that it prints. What they mean is in `rules`.
//!
//! Nothing is reassembled, a length of 0 is not taken for segmentation offload, and IPv4 checksums are checked: these are frames on a wire.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::rules::{Dissection, dissect};

const PREFERENCES: [&str; 5] = [
    "ip.defragment:FALSE",
    "ipv6.defragment:FALSE",
    "ip.tso_support:FALSE",
    "ip.check_checksum:TRUE",
    "tcp.desegment_tcp_streams:FALSE",
];

const FIELDS: [&str; 60] = [
    "frame.cap_len",
    "frame.protocols",
    "eth.dst",
    "eth.type",
    "eth.len",
    "eth.invalid_lentype",
    "vlan.id",
    "vlan.etype",
    "vlan.len",
    "ieee8021ad.id",
    "ieee8021ah.etype",
    "mpls.label",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.len",
    "ip.hdr_len",
    "ip.dsfield",
    "ip.ttl",
    "ip.flags.mf",
    "ip.frag_offset",
    "ip.checksum.status",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.plen",
    "ipv6.nxt",
    "ipv6.tclass",
    "ipv6.hlim",
    "ipv6.hopopts.nxt",
    "ipv6.hopopts.len_oct",
    "ipv6.routing.nxt",
    "ipv6.routing.len_oct",
    "ipv6.fraghdr.nxt",
    "ipv6.fraghdr.offset",
    "ipv6.fraghdr.more",
    "ipv6.dstopts.nxt",
    "ipv6.dstopts.len_oct",
    "icmp.type",
    "icmp.code",
    "icmpv6.type",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.flags",
    "tcp.window_size_value",
    "tcp.len",
    "tcp.hdr_len",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
    "sctp.srcport",
    "sctp.dstport",
    "dccp.srcport",
    "dccp.dstport",
    "infiniband.bth.opcode",
    "vxlan.flags",
    "vxlan.vni",
    "geneve.proto_type",
    "gre.flags_and_version",
    "gre.proto",
];

/// What tshark says of a capture.
pub struct Dissected {
    /// Of each frame that can be sent.
    pub frames: Vec<Dissection>,
    /// The file ends in the middle of a frame.
    pub is_cut: bool,
}

/// A tshark at work.
pub struct Reading {
    tshark: Child,
    /// Empty, so that nobody's own settings count.
    _settings: TempDir,
}

impl Reading {
    pub fn start(capture: &Path) -> Result<Reading, String> {
        let settings = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut tshark = Command::new("tshark");
        tshark.env("WIRESHARK_CONFIG_DIR", settings.path()).args(["-n", "-T", "fields", "-r"]).arg(capture);
        tshark.args(PREFERENCES.iter().flat_map(|preference| ["-o", preference]));
        tshark.args(["-E", "occurrence=a", "-E", "aggregator=,", "-E", "separator=/t"]);
        tshark.args(FIELDS.iter().flat_map(|field| ["-e", field]));
        tshark.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let tshark = tshark.spawn().map_err(|error| format!("starting tshark: {error}"))?;
        Ok(Reading { tshark, _settings: settings })
    }

    pub fn end(self) -> Result<Dissected, String> {
        let output = self.tshark.wait_with_output().map_err(|error| error.to_string())?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let is_cut = errors.contains("appears to have been cut short in the middle of a packet");
        if !output.status.success() && !is_cut {
            return Err(format!("tshark: {errors}"));
        }
        let mut frames = Vec::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let frame = Frame::of(line);
            frames.extend(dissect(&frame).map_err(|error| format!("{error} in tshark's {frame:?}"))?);
        }
        Ok(Dissected { frames, is_cut })
    }
}

/// One frame as tshark prints it.
#[derive(Debug)]
pub struct Frame<'line>(HashMap<&'static str, &'line str>);

impl<'line> Frame<'line> {
    fn of(line: &'line str) -> Frame<'line> {
        Frame(FIELDS.into_iter().zip(line.split('\t')).filter(|(_, value)| !value.is_empty()).collect())
    }

    pub fn has(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// Dissectors, the outermost first.
    pub fn layers(&self) -> Result<Vec<&'line str>, String> {
        Ok(self.0.get("frame.protocols").ok_or("no frame.protocols")?.split(':').collect())
    }

    /// How many headers have this field.
    pub fn count(&self, field: &str) -> usize {
        self.0.get(field).map_or(0, |values| values.split(',').count())
    }

    /// The value of a field in the header that is the `nth` to have it.
    pub fn nth(&self, field: &str, nth: usize) -> Option<&'line str> {
        self.0.get(field)?.split(',').nth(nth)
    }

    pub fn number<T: TryFrom<u64>>(&self, field: &str, nth: usize) -> Result<Option<T>, String> {
        let Some(text) = self.nth(field, nth) else { return Ok(None) };
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let number = number.map_err(|error| format!("{field} {text}: {error}"))?;
        T::try_from(number).map(Some).map_err(|_| format!("{field} {text} is out of range"))
    }

    /// A number that every such header has.
    pub fn must<T: TryFrom<u64>>(&self, field: &str, nth: usize) -> Result<T, String> {
        self.number(field, nth)?.ok_or_else(|| format!("no {field} in header {nth}"))
    }

    pub fn flag(&self, field: &str, nth: usize) -> Result<bool, String> {
        match self.nth(field, nth) {
            Some("1" | "True") => Ok(true),
            Some("0" | "False") => Ok(false),
            other => Err(format!("{field} in header {nth} is {other:?}")),
        }
    }

    pub fn address(&self, field: &str, nth: usize) -> Result<Option<IpAddr>, String> {
        self.nth(field, nth).map(|text| text.parse().map_err(|error| format!("{field} {text}: {error}"))).transpose()
    }
}
