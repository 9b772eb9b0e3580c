//! Reads a frame's bytes from the front; what is not there is `None`.

/// What is left of a frame.
#[derive(Clone, Copy)]
pub(super) struct Reader<'frame>(pub &'frame [u8]);

impl<'frame> Reader<'frame> {
    pub fn take(&mut self, bytes: usize) -> Option<&'frame [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Option<&'frame [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }
}
