//! pcap (draft-ietf-opsawg-pcap), with times in microseconds or nanoseconds, and its two known extensions of the record
//! header.

use std::io;

use super::input::Input;
use super::{FRAME_MAX, Flaw, Found, LinkType, Order, flaw};

const HEADER: usize = 24;
/// Time, time, captured length, original length.
const RECORD: usize = 16;
/// The upper bits of a file's link type tell about an FCS; damaged captures have anything in them, and libpcap masks
/// them.
const LINK_TYPE_MASK: u32 = 0x03ff_ffff;

/// A file behind its header.
pub(super) struct Reader {
    order: Order,
    link: LinkType,
    /// Of one unit of a record's second time field.
    unit_ns: u64,
    record: usize,
    swapped: Swapped,
}

/// Whether the two lengths of a record have each other's place, as before version 2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swapped {
    Never,
    Always,
    /// Where the first is the larger: some writers of version 2.3 swapped them, some did not.
    Maybe,
}

/// What a file's magic number says.
#[derive(Clone, Copy)]
struct Kind {
    unit_ns: u64,
    /// Bytes between the file's header and the first record.
    more: usize,
    is_modified: bool,
}

/// In the file's own byte order.
fn kind(magic: u32) -> Option<Kind> {
    let plain = Kind { unit_ns: 1000, more: 0, is_modified: false };
    match magic {
        0xa1b2_c3d4 => Some(plain),
        0xa1b2_3c4d => Some(Kind { unit_ns: 1, ..plain }),
        // Linux patches of 1999: the interface, the protocol and the direction behind the lengths.
        0xa1b2_cd34 => Some(Kind { is_modified: true, ..plain }),
        // IXIA's, by hardware and by software: the length of all records behind the header.
        0x1c00_01ac => Some(Kind { unit_ns: 1, more: 4, ..plain }),
        0x1c00_01ab => Some(Kind { more: 4, ..plain }),
        _ => None,
    }
}

impl Reader {
    /// Takes the header; `None` if this is no such file.
    pub fn begin(input: &mut Input) -> io::Result<Option<Reader>> {
        if !input.has(HEADER)? {
            return Ok(None);
        }
        let header = input.piece(0, HEADER);
        let known = [Order::Little, Order::Big].map(|order| Some((order, kind(order.u32(header))?)));
        let Some((order, kind)) = known.into_iter().flatten().next() else { return Ok(None) };
        let swapped = match (order.u16(&header[4..]), order.u16(&header[6..])) {
            (2, 3) => Swapped::Maybe,
            (2, 0..3) | (543, 0) => Swapped::Always,
            _ => Swapped::Never,
        };
        let link = LinkType(order.u32(&header[20..]) & LINK_TYPE_MASK);
        input.take(HEADER);
        if input.has(kind.more)? {
            input.take(kind.more);
        }
        let mut reader = Reader { order, link, unit_ns: kind.unit_ns, record: RECORD, swapped };
        if kind.is_modified {
            reader.record = reader.modified_record(input)?;
        }
        Ok(Some(reader))
    }

    /// The length of a record's header in a file of the modified kind: 24 bytes or, by a later patch, 28. Only what
    /// follows the first record tells which.
    fn modified_record(&self, input: &mut Input) -> io::Result<usize> {
        const LENGTHS: [usize; 2] = [24, 28];
        const YEAR: u32 = 366 * 86_400;
        for length in LENGTHS {
            if !input.has(RECORD)? {
                break;
            }
            let (first, (held, _)) = (self.order.u32(input.bytes()), self.lengths(input.piece(0, RECORD)));
            let next = length + held as usize;
            let fits = held as usize <= FRAME_MAX && input.has((next + RECORD).min(super::input::PIECE_MAX))?;
            let is_record = |bytes: &[u8]| {
                let (held, len) = self.lengths(bytes);
                let near = self.order.u32(bytes).abs_diff(first) < YEAR;
                near && self.order.u32(&bytes[4..]) < 1_000_000 && held as usize <= FRAME_MAX && held <= len
            };
            if fits && next + RECORD <= input.bytes().len() && is_record(input.piece(next, RECORD)) {
                return Ok(length);
            }
        }
        Ok(LENGTHS[0])
    }

    fn lengths(&self, record: &[u8]) -> (u32, u32) {
        let (first, second) = (self.order.u32(&record[8..]), self.order.u32(&record[12..]));
        match self.swapped {
            Swapped::Always => (second, first),
            Swapped::Maybe if first > second => (second, first),
            Swapped::Maybe | Swapped::Never => (first, second),
        }
    }

    pub fn next(&mut self, input: &mut Input) -> Result<Option<Found>, Flaw> {
        if !input.has(self.record).map_err(|error| flaw(input, error))? {
            let is_end = input.bytes().is_empty();
            return if is_end { Ok(None) } else { Err(Flaw::Cut { at: input.position() }) };
        }
        let header = input.piece(0, RECORD);
        let (seconds, fraction) = (self.order.u32(header), self.order.u32(&header[4..]));
        let (held, len) = self.lengths(header);
        let held_bytes = held as usize;
        if held_bytes > FRAME_MAX {
            let what = format!("a record says that it holds {held} bytes; no frame has more than {FRAME_MAX}");
            return Err(Flaw::Damaged { at: input.position(), what });
        }
        let whole = self.record + held_bytes;
        if !input.has(whole).map_err(|error| flaw(input, error))? {
            return Err(Flaw::Cut { at: input.position() });
        }
        let at_ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.unit_ns;
        let (offset, len) = (self.record, len.max(held));
        Ok(Some(Found { link: self.link, at_ns: Some(at_ns), offset, held: held_bytes, len, whole }))
    }
}
