//! Lists of qdiscs and filters over rtnetlink, read-only and no more of each than clean-up has to know.
//!
//! Blocking, one socket per question. Attributes of other people's filters are skipped, not parsed: a kind that nobody here
//! knows must not keep us from finding our own.

use std::io;

use rtnetlink::packet_core::{NetlinkBuffer, NlaBuffer, NlasIterator};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use super::plan::Hook;

/// A qdisc on the clsact/ingress slot of a netdev: of both kinds there can be one, in the same place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClsactQdisc {
    pub ifindex: i32,
}

/// A filter on one side of a netdev, or the head of a list of filters (handle 0).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TcFilter {
    pub handle: u32,
    pub priority: u32,
    /// Of a BPF filter: its name as whoever attached it put it.
    pub bpf_name: Option<String>,
    /// Of a BPF filter: the program's id.
    pub bpf_id: Option<u32>,
}

// linux/pkt_sched.h, linux/pkt_cls.h, linux/rtnetlink.h
const TC_H_CLSACT: u32 = 0xffff_fff1;
const TC_H_MIN_INGRESS: u32 = 0xffff_fff2;
const TC_H_MIN_EGRESS: u32 = 0xffff_fff3;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
const TCMSG_LEN: usize = 20;
const REQUEST_LEN: u32 = 16 + 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// All clsact and ingress qdiscs of this network namespace.
pub(super) fn clsact_qdiscs() -> io::Result<Vec<ClsactQdisc>> {
    let found = dump(libc::RTM_GETQDISC, TcMessage::default())?;
    let clsact = found.into_iter().filter(|(message, _)| message.parent == TC_H_CLSACT);
    Ok(clsact.map(|(message, _)| ClsactQdisc { ifindex: message.ifindex }).collect())
}

/// The filters on one side of a netdev, of all priorities or of one (the kernel leaves the others out, however many there are); none if it has
/// no clsact qdisc.
pub(super) fn filters(ifindex: i32, hook: Hook, priority: Option<u32>) -> io::Result<Vec<TcFilter>> {
    let parent = match hook {
        Hook::Ingress => TC_H_MIN_INGRESS,
        Hook::Egress => TC_H_MIN_EGRESS,
    };
    let info = priority.unwrap_or_default() << 16;
    let found = dump(libc::RTM_GETTFILTER, TcMessage { ifindex, parent, info, ..TcMessage::default() })?;
    Ok(found.into_iter().map(|(message, attributes)| filter(&message, &attributes)).collect())
}

fn filter(message: &TcMessage, attributes: &[u8]) -> TcFilter {
    let options = attribute(attributes, TCA_OPTIONS).unwrap_or_default();
    let name = attribute(&options, TCA_BPF_NAME);
    let id = attribute(&options, TCA_BPF_ID).and_then(|id| Some(u32::from_ne_bytes(id.try_into().ok()?)));
    TcFilter {
        handle: message.handle,
        priority: message.info >> 16,
        bpf_name: name.map(|name| String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(&name)).into_owned()),
        bpf_id: id,
    }
}

fn attribute(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    let all = NlasIterator::new(attributes).filter_map(Result::ok);
    all.filter(|attribute: &NlaBuffer<&[u8]>| attribute.kind() == kind)
        .map(|attribute| attribute.value().to_vec())
        .next()
}

/// `struct tcmsg` without its padding.
#[derive(Clone, Copy, Debug, Default)]
struct TcMessage {
    ifindex: i32,
    handle: u32,
    parent: u32,
    info: u32,
}

impl TcMessage {
    fn bytes(self) -> [u8; TCMSG_LEN] {
        let mut bytes = [0; TCMSG_LEN];
        bytes[4..8].copy_from_slice(&self.ifindex.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.handle.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.parent.to_ne_bytes());
        bytes[16..20].copy_from_slice(&self.info.to_ne_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<TcMessage> {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(TcMessage { ifindex: word(4)?.cast_signed(), handle: word(8)?, parent: word(12)?, info: word(16)? })
    }
}

/// A message of a dump and its attributes.
type Dumped = (TcMessage, Vec<u8>);

/// A dump that the kernel says was disturbed is asked for again.
fn dump(kind: u16, ask: TcMessage) -> io::Result<Vec<Dumped>> {
    for _ in 0..10 {
        if let Some(messages) = dump_once(kind, ask)? {
            return Ok(messages);
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "the list changed during each of 10 readings"))
}

fn dump_once(kind: u16, ask: TcMessage) -> io::Result<Option<Vec<Dumped>>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = [0; REQUEST_LEN as usize];
    let mut header = NetlinkBuffer::new(&mut request[..]);
    header.set_length(REQUEST_LEN);
    header.set_message_type(kind);
    header.set_flags(NLM_F_REQUEST_DUMP);
    header.payload_mut().copy_from_slice(&ask.bytes());
    socket.send(&request, 0)?;
    let mut messages = Vec::new();
    let mut disturbed = false;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
            disturbed |= message.flags() & NLM_F_DUMP_INTR != 0;
            let payload = message.payload();
            match i32::from(message.message_type()) {
                libc::NLMSG_DONE => return Ok((!disturbed).then_some(messages)),
                libc::NLMSG_ERROR => return Err(error(payload)),
                _ => {
                    let parsed = TcMessage::parse(payload).ok_or(io::ErrorKind::InvalidData)?;
                    messages.push((parsed, payload[TCMSG_LEN..].to_vec()));
                }
            }
            rest = rest.get(message.length().next_multiple_of(4) as usize..).unwrap_or_default();
        }
    }
}

fn error(payload: &[u8]) -> io::Error {
    let code = payload.first_chunk().map_or(-libc::EIO, |code| i32::from_ne_bytes(*code));
    io::Error::from_raw_os_error(-code)
}
