//! The bytes of a capture, one after the other through a buffer of fixed size: unpacked if they are gzip's.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// The largest piece that is looked at as a whole: the longest frame with the headers in front of it.
pub(super) const PIECE_MAX: usize = super::FRAME_MAX + 64;
/// Several pieces, so that few bytes are moved from the buffer's end to its beginning.
const BUFFER_BYTES: usize = 4 * super::FRAME_MAX;
/// gzip's first two bytes (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What is read at once of packed bytes.
const PACKED_BYTES: usize = 64 << 10;

/// Where the bytes come from, and those that are there already.
pub(super) struct Input {
    reader: Box<dyn Read>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes in front of the buffer.
    before: u64,
    ended: bool,
    is_packed: bool,
}

impl Input {
    /// # Errors
    /// The first bytes cannot be read.
    pub fn new(reader: Box<dyn Read>) -> io::Result<Input> {
        let mut input = Input {
            reader,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            before: 0,
            ended: false,
            is_packed: false,
        };
        if input.has(GZIP.len())? && input.bytes().starts_with(&GZIP) {
            let first = io::Cursor::new(input.bytes().to_vec());
            let rest = std::mem::replace(&mut input.reader, Box::new(io::empty()));
            let packed = BufReader::with_capacity(PACKED_BYTES, first.chain(rest));
            input.reader = Box::new(MultiGzDecoder::new(packed));
            (input.start, input.end, input.ended, input.is_packed) = (0, 0, false, true);
        }
        Ok(input)
    }

    /// Whether the bytes are gzip's, unpacked here.
    pub fn is_packed(&self) -> bool {
        self.is_packed
    }

    /// How many bytes have been taken, unpacked.
    pub fn position(&self) -> u64 {
        self.before + self.start as u64
    }

    /// Whether `count` bytes are there to be looked at; `false` if the input ends before them.
    pub fn has(&mut self, count: usize) -> io::Result<bool> {
        debug_assert!(count <= PIECE_MAX, "{count} bytes are not looked at as a whole");
        while self.end - self.start < count && !self.ended {
            if self.buffer.len() - self.start < count || self.start == self.end {
                self.buffer.copy_within(self.start..self.end, 0);
                self.before += self.start as u64;
                (self.start, self.end) = (0, self.end - self.start);
            }
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.end - self.start >= count)
    }

    /// The bytes that [`Input::has`] has seen, and maybe more.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// `count` bytes at `offset` behind the position, of those that [`Input::has`] has seen.
    pub fn piece(&self, offset: usize, count: usize) -> &[u8] {
        &self.bytes()[offset..offset + count]
    }

    /// Goes on behind bytes that [`Input::has`] has seen.
    pub fn take(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "only bytes that are there are taken");
    }

    /// Goes on behind `count` bytes, of which none is kept; `false` if the input ends before them.
    pub fn skip(&mut self, mut count: u64) -> io::Result<bool> {
        while count > 0 {
            if !self.has(1)? {
                return Ok(false);
            }
            let there = (self.end - self.start).min(usize::try_from(count).unwrap_or(usize::MAX));
            self.take(there);
            count -= there as u64;
        }
        Ok(true)
    }
}
