//! The frames that `send` sends: from a capture file or from a profile, and what of a capture cannot be a frame.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::layout::MTU;

/// Many frames in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Frames {
    /// Adds a frame at the end.
    pub fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push(self.bytes.len());
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The frame at `index`, from 0.
    ///
    /// # Panics
    /// There is no such frame.
    #[must_use]
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// All frames, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// Why something in a capture is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// Under 14 bytes: the kernel takes no frame without an Ethernet header.
    TooShort,
    /// Longer than the device allows.
    TooLong,
    /// An 802.1Q or 802.1ad tag without the two bytes behind it: the receiving kernel takes the tag out of the frame
    /// (`skb_vlan_untag`) and drops what is too short for that, before the ASIC sees it.
    CutVlanTag,
    /// The capture file ends in the middle of it.
    CutRecord,
}

/// How often each reason was met.
pub type Skipped = BTreeMap<Skip, u64>;

/// Whether the devices carry a frame, and if not, why.
///
/// # Errors
/// The reason.
pub fn check(frame: &[u8]) -> Result<(), Skip> {
    const ETHERNET_HEADER: usize = 14;
    const VLAN_TAG: usize = 4;
    let Some(ethertype) = frame.get(12..ETHERNET_HEADER) else { return Err(Skip::TooShort) };
    let limit = MTU as usize + ETHERNET_HEADER;
    match ethertype {
        // af_packet's packet_extra_vlan_len_allowed() grants the four bytes to 802.1Q alone.
        [0x81, 0x00] if frame.len() > limit + VLAN_TAG => Err(Skip::TooLong),
        // if_vlan.h: eth_type_vlan() knows these two; skbuff.c: skb_vlan_untag() wants the tag and one EtherType more.
        [0x81, 0x00] | [0x88, 0xa8] if frame.len() < ETHERNET_HEADER + VLAN_TAG + 2 => Err(Skip::CutVlanTag),
        [0x81, 0x00] => Ok(()),
        _ if frame.len() > limit => Err(Skip::TooLong),
        _ => Ok(()),
    }
}

/// A capture file that cannot be replayed.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// It cannot be opened or read.
    #[error("the capture {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is neither pcap nor pcapng, or damaged.
    #[error("{path} is not a whole pcap or pcapng file: {source}")]
    Format {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        source: PcapError,
    },
    /// Its packets are not Ethernet frames.
    #[error("{path} has packets of link type {link:?}; only Ethernet captures can be replayed")]
    NotEthernet {
        /// The file.
        path: PathBuf,
        /// The link type.
        link: DataLink,
    },
}

/// Reads a pcap or pcapng file. One without any frame that can be sent is fine too.
///
/// # Errors
/// See [`CaptureError`].
pub fn read_capture(path: &Path) -> Result<(Frames, Skipped), CaptureError> {
    let read_error = |source| CaptureError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    BufReader::new(File::open(path).map_err(read_error)?).read_to_end(&mut bytes).map_err(read_error)?;
    let mut sorted = Sorted::default();
    let outcome = if bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
        read_pcapng(&bytes, &mut sorted)
    } else {
        read_pcap(&bytes, &mut sorted)
    };
    match outcome {
        Ok(()) => Ok((sorted.frames, sorted.skipped)),
        Err(Unreadable::NotEthernet(link)) => Err(CaptureError::NotEthernet { path: path.to_owned(), link }),
        Err(Unreadable::Format(source)) => Err(CaptureError::Format { path: path.to_owned(), source }),
    }
}

#[derive(Default)]
struct Sorted {
    frames: Frames,
    skipped: Skipped,
}

impl Sorted {
    fn add(&mut self, frame: &[u8]) {
        match check(frame) {
            Ok(()) => self.frames.push(frame),
            Err(reason) => self.skip(reason),
        }
    }

    fn skip(&mut self, reason: Skip) {
        *self.skipped.entry(reason).or_default() += 1;
    }
}

enum Unreadable {
    NotEthernet(DataLink),
    Format(PcapError),
}

impl From<PcapError> for Unreadable {
    fn from(error: PcapError) -> Self {
        Unreadable::Format(error)
    }
}

/// The upper bits of a file's link type tell about an FCS (draft-ietf-opsawg-pcap §4); damaged captures have anything in them,
/// and libpcap masks them.
const LINK_TYPE_MASK: u32 = 0x03ff_ffff;

/// Raw packets: what the reader would check about times and lengths says nothing about the frames.
fn read_pcap(bytes: &[u8], sorted: &mut Sorted) -> Result<(), Unreadable> {
    let mut reader = PcapReader::new(bytes)?;
    let link = DataLink::from(u32::from(reader.header().datalink) & LINK_TYPE_MASK);
    if link != DataLink::ETHERNET {
        return Err(Unreadable::NotEthernet(link));
    }
    while let Some(packet) = reader.next_raw_packet() {
        match packet {
            Ok(packet) => sorted.add(&packet.data),
            Err(error) if is_cut(&error) => {
                sorted.skip(Skip::CutRecord);
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn read_pcapng(bytes: &[u8], sorted: &mut Sorted) -> Result<(), Unreadable> {
    let mut reader = PcapNgReader::new(bytes)?;
    let mut links = Vec::new();
    while let Some(block) = reader.next_block() {
        let (interface, data) = match block {
            Ok(Block::SectionHeader(_)) => {
                links.clear();
                continue;
            }
            Ok(Block::InterfaceDescription(interface)) => {
                links.push(interface.linktype);
                continue;
            }
            Ok(Block::EnhancedPacket(packet)) => (packet.interface_id, packet.data),
            Ok(Block::SimplePacket(packet)) => (0, packet.data),
            Ok(Block::Packet(packet)) => (u32::from(packet.interface_id), packet.data),
            Ok(_) => continue,
            Err(error) if is_cut(&error) => {
                sorted.skip(Skip::CutRecord);
                break;
            }
            Err(error) => return Err(error.into()),
        };
        match links.get(interface as usize) {
            Some(DataLink::ETHERNET) => sorted.add(&data),
            Some(other) => return Err(Unreadable::NotEthernet(*other)),
            None => return Err(PcapError::InvalidInterfaceId(interface).into()),
        }
    }
    Ok(())
}

fn is_cut(error: &PcapError) -> bool {
    match error {
        PcapError::IncompleteBuffer => true,
        PcapError::IoError(error) => error.kind() == std::io::ErrorKind::UnexpectedEof,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ethertype: u16, length: usize) -> Vec<u8> {
        let mut frame = [[0; 12].as_slice(), &ethertype.to_be_bytes()].concat();
        frame.resize(length, 0);
        frame
    }

    #[test]
    fn a_frame_has_14_bytes_and_fits_the_device() {
        assert_eq!(check(&[0; 13]), Err(Skip::TooShort));
        assert_eq!(check(&frame(0x0800, 14)), Ok(()));
        assert_eq!(check(&frame(0x0800, 9314)), Ok(()));
        assert_eq!(check(&frame(0x0800, 9315)), Err(Skip::TooLong));
        assert_eq!(check(&frame(0x8100, 9318)), Ok(()));
        assert_eq!(check(&frame(0x8100, 9319)), Err(Skip::TooLong));
        assert_eq!(check(&frame(0x88a8, 9315)), Err(Skip::TooLong));
    }

    #[test]
    fn a_tag_without_its_ethertype_cannot_arrive() {
        for ethertype in [0x8100, 0x88a8] {
            assert_eq!(check(&frame(ethertype, 19)), Err(Skip::CutVlanTag));
            assert_eq!(check(&frame(ethertype, 20)), Ok(()));
        }
        assert_eq!(check(&frame(0x9100, 14)), Ok(()));
    }

    /// A pcap file of link type `link` whose records claim more than the snapshot length of 64.
    fn pcap(link: u32, frames: &[&[u8]]) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 64, link] {
            file.extend(word.to_le_bytes());
        }
        for frame in frames {
            for word in [0, 0, u32::try_from(frame.len()).unwrap(), 100_000] {
                file.extend(word.to_le_bytes());
            }
            file.extend(*frame);
        }
        file
    }

    #[test]
    fn a_pcap_is_read_to_its_last_whole_frame() {
        let (whole, short) = (frame(0x0800, 60), [0; 5]);
        let mut file = pcap(1, &[&whole, &short, &whole]);
        file.truncate(file.len() - 1);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cut.pcap");
        std::fs::write(&path, file).unwrap();
        let (frames, skipped) = read_capture(&path).unwrap();
        assert_eq!(frames.iter().collect::<Vec<_>>(), [&whole[..]]);
        assert_eq!(skipped, Skipped::from([(Skip::TooShort, 1), (Skip::CutRecord, 1)]));
    }

    #[test]
    fn captures_that_cannot_be_replayed_say_why() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bad.pcap");
        let message = |file: &[u8]| {
            std::fs::write(&path, file).unwrap();
            read_capture(&path).unwrap_err().to_string()
        };
        assert!(message(b"#!/bin/sh\n# no capture at all").contains("is not a whole pcap or pcapng file"));
        std::fs::write(&path, pcap(0x3000_0001, &[&[0; 60]])).unwrap();
        assert_eq!(read_capture(&path).unwrap().0.len(), 1);
        assert!(message(&pcap(113, &[&[0; 60]])).contains("only Ethernet captures can be replayed"));
        assert!(read_capture(Path::new("/nonexistent.pcap")).unwrap_err().to_string().contains("cannot be read"));
    }
}
