//! Capture files, frame by frame: pcap and pcapng of either byte order, plain or in gzip, from a file or a pipe.
//!
//! Nothing is allocated for what a file says of itself: all passes through one buffer (`input`), a record that claims
//! more than [`FRAME_MAX`] bytes is damage, and blocks that are not of packets are passed over whatever their length. A
//! file that ends early, or contradicts itself, gives all records in front of that place.

mod input;
mod link;
mod pcap;
mod pcapng;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub use link::LinkType;

use input::Input;

/// The longest frame that captures have: libpcap's and Wireshark's limit, too.
pub const FRAME_MAX: usize = 262_144;

/// One captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it was captured, nanoseconds since 1970; `None` where its block has no time.
    pub at_ns: Option<u64>,
    /// The bytes that were captured.
    pub bytes: &'a [u8],
    /// How long it was: at least as long as what was captured.
    pub len: u32,
}

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be opened, or not its first bytes read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It begins like no capture.
    #[error("this is neither pcap nor pcapng, plain or in gzip: it begins with {0}")]
    NotACapture(String),
}

/// Why a file cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// The system refuses to read on.
    #[error("it cannot be read on: {0}")]
    Io(io::Error),
    /// It ends inside of a record.
    #[error("it is cut: it ends inside of a record, at byte {at}")]
    Cut {
        /// Where, in the unpacked file.
        at: u64,
    },
    /// It contradicts itself, or the format.
    #[error("it is damaged at byte {at}: {what}")]
    Damaged {
        /// Where, in the unpacked file.
        at: u64,
        /// What is there.
        what: String,
    },
}

/// A record, as a format's reader sees it: at the input's position, unread.
#[derive(Clone, Copy, Debug)]
struct Found {
    link: LinkType,
    at_ns: Option<u64>,
    /// From the input's position to the frame.
    offset: usize,
    held: usize,
    len: u32,
    /// Bytes to be taken before the next record.
    whole: usize,
}

enum Format {
    Pcap(pcap::Reader),
    Pcapng(pcapng::Reader),
}

/// A capture that is being read.
pub struct Capture {
    input: Input,
    format: Format,
    /// Of the frame that was given out last.
    pending: usize,
    others: BTreeMap<LinkType, u64>,
    empty: u64,
}

impl Capture {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path) -> Result<Capture, OpenError> {
        if path == Path::new("-") {
            return Capture::new(Box::new(io::stdin().lock()));
        }
        Capture::new(Box::new(File::open(path)?))
    }

    /// Reads from anything.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn new(reader: Box<dyn Read>) -> Result<Capture, OpenError> {
        let mut input = Input::new(reader)?;
        let format = match pcapng::Reader::begin(&mut input)? {
            Some(reader) => Some(Format::Pcapng(reader)),
            None => pcap::Reader::begin(&mut input)?.map(Format::Pcap),
        };
        let Some(format) = format else { return Err(OpenError::NotACapture(first_bytes(&input))) };
        Ok(Capture { input, format, pending: 0, others: BTreeMap::new(), empty: 0 })
    }

    /// The next Ethernet frame; `None` at the end of the file.
    ///
    /// # Errors
    /// What is wrong with the file. All frames in front of that place have been given, and there are no more.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Flaw> {
        self.input.take(std::mem::take(&mut self.pending));
        loop {
            let found = match &mut self.format {
                Format::Pcap(reader) => reader.next(&mut self.input)?,
                Format::Pcapng(reader) => reader.next(&mut self.input)?,
            };
            let Some(found) = found else { return Ok(None) };
            if found.link == LinkType::ETHERNET && found.len > 0 {
                self.pending = found.whole;
                let bytes = self.input.piece(found.offset, found.held);
                return Ok(Some(Frame { at_ns: found.at_ns, bytes, len: found.len }));
            }
            if found.link == LinkType::ETHERNET {
                self.empty += 1;
            } else {
                *self.others.entry(found.link).or_default() += 1;
            }
            self.input.take(found.whole);
        }
    }

    /// Records so far whose link type is not Ethernet, and so were passed over.
    #[must_use]
    pub fn others(&self) -> &BTreeMap<LinkType, u64> {
        &self.others
    }

    /// Records so far that are of no bytes at all.
    #[must_use]
    pub fn empty(&self) -> u64 {
        self.empty
    }
}

fn first_bytes(input: &Input) -> String {
    let bytes: Vec<String> = input.bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    if bytes.is_empty() { "nothing, it is empty".to_owned() } else { format!("the bytes {}", bytes.join(" ")) }
}

/// The flaw that an error of the input is: packed data that is cut or damaged shows itself as such.
fn flaw(input: &Input, error: io::Error) -> Flaw {
    let at = input.position() + input.bytes().len() as u64;
    match error.kind() {
        io::ErrorKind::UnexpectedEof if input.is_packed() => Flaw::Cut { at },
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput if input.is_packed() => {
            Flaw::Damaged { at, what: format!("what follows is not gzip's ({error})") }
        }
        _ => Flaw::Io(error),
    }
}

/// A number as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8]) -> u16 {
        let bytes = [bytes[0], bytes[1]];
        match self {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32(self, bytes: &[u8]) -> u32 {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        match self {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        }
    }
}
