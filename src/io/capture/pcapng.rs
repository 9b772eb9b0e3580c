//! pcapng (draft-ietf-opsawg-pcapng): packets of all three kinds of blocks, of any number of sections and interfaces.
//! All other blocks, and all options but those that say what a time means, are passed over unread: whatever they hold,
//! the packets beside them are whole.

use std::io;

use super::input::{Input, PIECE_MAX};
use super::{FRAME_MAX, Flaw, Found, LinkType, Order, flaw};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Type and length in front, length again behind.
const AROUND: u64 = 12;
/// Bytes to the data of the blocks.
const INTERFACE_OPTIONS_AT: usize = 16;
const ENHANCED_DATA_AT: usize = 28;
const SIMPLE_DATA_AT: usize = 12;
const SECTION_MIN: u64 = 28;

const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// As many as the obsolete packet block can name; each takes memory.
const INTERFACES_MAX: usize = 1 << 16;

/// What the packets of an interface have in common.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    /// 0: no limit.
    snaplen: u32,
    resolution: Resolution,
    /// Added to the times.
    offset_ns: i128,
}

/// What one unit of a time is.
#[derive(Clone, Copy, Debug)]
enum Resolution {
    /// A whole number of nanoseconds.
    Nanoseconds(u64),
    /// So many are a second.
    PerSecond(u128),
}

impl Resolution {
    /// The byte of `if_tsresol`: a power of ten or, with its highest bit, of two.
    fn of(byte: u8) -> Resolution {
        let exponent = u32::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            return Resolution::PerSecond(1_u128.checked_shl(exponent).unwrap_or(u128::MAX));
        }
        match exponent {
            0..=9 => Resolution::Nanoseconds(10_u64.pow(9 - exponent)),
            _ => Resolution::PerSecond(10_u128.checked_pow(exponent).unwrap_or(u128::MAX)),
        }
    }
}

impl Interface {
    fn nanoseconds(&self, units: u64) -> u64 {
        let since = match self.resolution {
            Resolution::Nanoseconds(each) if self.offset_ns == 0 => return units.saturating_mul(each),
            Resolution::Nanoseconds(each) => i128::from(units) * i128::from(each),
            Resolution::PerSecond(count) => {
                i128::try_from(u128::from(units) * 1_000_000_000 / count).unwrap_or(i128::MAX)
            }
        };
        u64::try_from(since.saturating_add(self.offset_ns).max(0)).unwrap_or(u64::MAX)
    }
}

/// A file at a block.
pub(super) struct Reader {
    order: Order,
    interfaces: Vec<Interface>,
    /// Of a block whose beginning was taken: bytes to its second length, and what that must be.
    rest: Option<(u64, u32)>,
}

/// A block that is looked at.
struct Block {
    kind: u32,
    /// As it says.
    said: u32,
    /// Of all of it; lengths are multiples of 4, also where a writer forgot that.
    whole: u64,
    /// Bytes that may be looked at: all of it, or as much as is looked at as a whole.
    there: usize,
}

impl Reader {
    /// `None` if this is no such file. Nothing is taken.
    pub fn begin(input: &mut Input) -> io::Result<Option<Reader>> {
        let is_section = input.has(12)? && Order::Little.u32(input.bytes()) == SECTION;
        let order = if is_section { section_order(input.piece(8, 4)) } else { None };
        Ok(order.map(|order| Reader { order, interfaces: Vec::new(), rest: None }))
    }

    pub fn next(&mut self, input: &mut Input) -> Result<Option<Found>, Flaw> {
        loop {
            self.pass_rest(input)?;
            let Some(block) = self.look(input)? else { return Ok(None) };
            let found = match block.kind {
                SECTION => self.section(input, &block).map(|()| None),
                INTERFACE => self.interface(input, &block).map(|()| None),
                PACKET | ENHANCED_PACKET => self.packet(input, &block).map(Some),
                SIMPLE_PACKET => self.simple_packet(input, &block).map(Some),
                _ => Ok(None),
            };
            let found = found.map_err(|what| Flaw::Damaged { at: input.position(), what })?;
            if block.whole == block.there as u64 {
                self.close(input, &block)?;
                match found {
                    Some(found) => return Ok(Some(found)),
                    None => input.take(block.there),
                }
            } else {
                let taken = found.map_or(8, |found| found.whole);
                self.rest = Some((block.whole - taken as u64 - 4, block.said));
                match found {
                    Some(found) => return Ok(Some(found)),
                    None => input.take(taken),
                }
            }
        }
    }

    /// The block at the input's position.
    fn look(&mut self, input: &mut Input) -> Result<Option<Block>, Flaw> {
        if !has(input, 8)? {
            let is_end = input.bytes().is_empty();
            return if is_end { Ok(None) } else { Err(Flaw::Cut { at: input.position() }) };
        }
        let damaged = |input: &Input, what: String| Err(Flaw::Damaged { at: input.position(), what });
        let kind = self.order.u32(input.bytes());
        if kind == SECTION {
            if !has(input, 12)? {
                return Err(Flaw::Cut { at: input.position() });
            }
            // Each section has an order of its own.
            match section_order(input.piece(8, 4)) {
                Some(order) => self.order = order,
                None => return damaged(input, "a section that says no byte order".to_owned()),
            }
        }
        let said = self.order.u32(input.piece(4, 4));
        let whole = u64::from(said).next_multiple_of(4);
        if whole < AROUND {
            return damaged(input, format!("a block says that it has {said} bytes; none has fewer than {AROUND}"));
        }
        let there = usize::try_from(whole).unwrap_or(PIECE_MAX).min(PIECE_MAX);
        if !has(input, there)? {
            return Err(Flaw::Cut { at: input.position() });
        }
        Ok(Some(Block { kind, said, whole, there }))
    }

    /// Whether a block that is there as a whole ends with its length.
    fn close(&self, input: &Input, block: &Block) -> Result<(), Flaw> {
        let again = self.order.u32(input.piece(block.there - 4, 4));
        Self::same_lengths(input, block.said, again)
    }

    fn same_lengths(input: &Input, said: u32, again: u32) -> Result<(), Flaw> {
        if said == again {
            return Ok(());
        }
        let what = format!("a block says that it has {said} bytes and, at its end, {again}");
        Err(Flaw::Damaged { at: input.position(), what })
    }

    /// The rest of a long block.
    fn pass_rest(&mut self, input: &mut Input) -> Result<(), Flaw> {
        let Some((rest, said)) = self.rest.take() else { return Ok(()) };
        if !input.skip(rest).map_err(|error| flaw(input, error))? || !has(input, 4)? {
            return Err(Flaw::Cut { at: input.position() });
        }
        let again = self.order.u32(input.bytes());
        Self::same_lengths(input, said, again)?;
        input.take(4);
        Ok(())
    }

    fn section(&mut self, input: &Input, block: &Block) -> Result<(), String> {
        if block.whole < SECTION_MIN {
            return Err(format!("a section says that it has {} bytes; none has fewer than {SECTION_MIN}", block.said));
        }
        let major = self.order.u16(input.piece(12, 2));
        if major != 1 {
            return Err(format!("a section is of version {major} of the format; 1 is known"));
        }
        self.interfaces.clear();
        Ok(())
    }

    fn interface(&mut self, input: &Input, block: &Block) -> Result<(), String> {
        if block.whole < AROUND + 8 {
            return Err(format!("a description of an interface has {} bytes", block.said));
        }
        if self.interfaces.len() == INTERFACES_MAX {
            return Err(format!("a section describes more than {INTERFACES_MAX} interfaces"));
        }
        let mut interface = Interface {
            link: LinkType(self.order.u16(input.piece(8, 2)).into()),
            snaplen: self.order.u32(input.piece(12, 4)),
            resolution: Resolution::of(6),
            offset_ns: 0,
        };
        let end = if block.whole == block.there as u64 { block.there - 4 } else { block.there };
        self.options(&mut interface, input.piece(INTERFACE_OPTIONS_AT, end - INTERFACE_OPTIONS_AT));
        self.interfaces.push(interface);
        Ok(())
    }

    /// Options that do not make sense end the list: they are no packets.
    fn options(&self, interface: &mut Interface, mut options: &[u8]) {
        while options.len() >= 4 {
            let (code, length) = (self.order.u16(options), usize::from(self.order.u16(&options[2..])));
            let Some(value) = options.get(4..4 + length) else { return };
            match (code, value) {
                (0, _) => return,
                (IF_TSRESOL, [byte, ..]) => interface.resolution = Resolution::of(*byte),
                (IF_TSOFFSET, value) if value.len() >= 8 => {
                    let [first, second] = [self.order.u32(value), self.order.u32(&value[4..])].map(u64::from);
                    let seconds = match self.order {
                        Order::Little => second << 32 | first,
                        Order::Big => first << 32 | second,
                    };
                    interface.offset_ns = i128::from(seconds.cast_signed()) * 1_000_000_000;
                }
                _ => {}
            }
            options = options.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        }
    }

    /// An enhanced packet block, or the obsolete one, whose interface has 16 bits.
    fn packet(&self, input: &Input, block: &Block) -> Result<Found, String> {
        if block.whole < AROUND + 20 {
            return Err(format!("a block of a packet has {} bytes", block.said));
        }
        let word = |at: usize| self.order.u32(input.piece(at, 4));
        let number = if block.kind == PACKET { self.order.u16(input.piece(8, 2)).into() } else { word(8) };
        let interface = self.interface_of(number)?;
        let units = u64::from(word(12)) << 32 | u64::from(word(16));
        let (held, len) = (word(20), word(24));
        let held_bytes = frame_bytes(held)?;
        if AROUND + 20 + u64::from(held).next_multiple_of(4) > block.whole {
            return Err(format!("a packet of {held} bytes in a block of {}", block.said));
        }
        let at_ns = Some(interface.nanoseconds(units));
        let whole = if block.whole == block.there as u64 { block.there } else { ENHANCED_DATA_AT + held_bytes };
        let (link, len) = (interface.link, len.max(held));
        Ok(Found { link, at_ns, offset: ENHANCED_DATA_AT, held: held_bytes, len, whole })
    }

    /// A packet of the first interface, without a time.
    fn simple_packet(&self, input: &Input, block: &Block) -> Result<Found, String> {
        if block.whole < AROUND + 4 {
            return Err(format!("a block of a packet has {} bytes", block.said));
        }
        let interface = self.interface_of(0)?;
        let len = self.order.u32(input.piece(8, 4));
        let limit = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
        let room = u32::try_from(block.whole - AROUND - 4).unwrap_or(u32::MAX);
        let held = len.min(limit).min(room);
        let held_bytes = frame_bytes(held)?;
        let whole = if block.whole == block.there as u64 { block.there } else { SIMPLE_DATA_AT + held_bytes };
        Ok(Found { link: interface.link, at_ns: None, offset: SIMPLE_DATA_AT, held: held_bytes, len, whole })
    }

    fn interface_of(&self, number: u32) -> Result<&Interface, String> {
        self.interfaces.get(number as usize).ok_or_else(|| {
            format!("a packet of interface {number}, of which there are {} so far", self.interfaces.len())
        })
    }
}

fn frame_bytes(held: u32) -> Result<usize, String> {
    let bytes = held as usize;
    if bytes > FRAME_MAX {
        return Err(format!("a packet says that it holds {held} bytes; no frame has more than {FRAME_MAX}"));
    }
    Ok(bytes)
}

fn section_order(magic: &[u8]) -> Option<Order> {
    [Order::Little, Order::Big].into_iter().find(|order| order.u32(magic) == BYTE_ORDER_MAGIC)
}

fn has(input: &mut Input, count: usize) -> Result<bool, Flaw> {
    input.has(count).map_err(|error| flaw(input, error))
}
