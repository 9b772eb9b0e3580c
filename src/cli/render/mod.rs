//! What is printed, as text, from what is known, as values. Pure: no clock, no terminal, no escape codes.

mod analysis;
mod drained;
mod health;
mod jobs;
mod mix;
mod number;
mod results;
mod table;
mod watch;
mod words;

pub use analysis::analysis;
pub use drained::drained;
pub use jobs::{daemon, job, jobs, row, started};
pub use results::results;
pub use watch::{watch_frame, watch_line};

/// Which characters the reader can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyphs {
    /// Blocks, arrows, ±, µ.
    Unicode,
    /// None of them.
    Ascii,
}

impl Glyphs {
    /// By the name of the locale, such as `en_US.UTF-8` or `C`.
    #[must_use]
    pub fn of_locale(locale: &str) -> Glyphs {
        let locale = locale.to_ascii_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") { Glyphs::Unicode } else { Glyphs::Ascii }
    }

    fn pick(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        match self {
            Glyphs::Unicode => unicode,
            Glyphs::Ascii => ascii,
        }
    }
}

/// Each line with its end.
fn ended<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(line.as_ref());
        text.push('\n');
    }
    text
}

/// `text` without characters that would do something to a terminal: keys and values of tables may hold anything.
#[must_use]
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
