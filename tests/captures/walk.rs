//! A walk through the headers of a frame, from the outermost one inwards.
//!
//! tshark prints the values of a field for all headers that have it, in their order; so the walk counts the headers of each kind.

use std::collections::HashMap;

use crate::tshark::Frame;

pub struct Walk<'frame, 'line> {
    pub frame: &'frame Frame<'line>,
    layers: Vec<&'line str>,
    at: usize,
    met: HashMap<&'line str, usize>,
}

impl<'frame, 'line> Walk<'frame, 'line> {
    pub fn through(frame: &'frame Frame<'line>) -> Result<Walk<'frame, 'line>, String> {
        Ok(Walk { frame, layers: frame.layers()?, at: 0, met: HashMap::new() })
    }

    /// The dissector of the header in front of the walk; empty behind the last one.
    pub fn name(&self) -> &'line str {
        self.layers.get(self.at).copied().unwrap_or_default()
    }

    /// That of the header behind it.
    pub fn next_name(&self) -> &'line str {
        self.layers.get(self.at + 1).copied().unwrap_or_default()
    }

    /// Goes on to what is behind the header; says how many of this kind there were before.
    pub fn enter(&mut self) -> usize {
        let met = self.met.entry(self.name()).or_default();
        self.at += 1;
        *met += 1;
        *met - 1
    }
}
