//! How packets are spread over flows.

use crate::bench_programs::DRAWS;
use crate::random::{Seeded, Zipf};

/// In 10.0.0.0/8.
const NET: u32 = 10 << 24;

/// How packets are spread over flows.
#[derive(Clone, Copy)]
pub enum Mix {
    /// All are of one flow.
    One,
    /// Each of this many flows is as likely as any other.
    Uniform(u32),
    /// A million flows, the n-th with a probability proportional to n^-1.1.
    Zipf,
}

impl Mix {
    pub const ALL: [Mix; 4] = [Mix::One, Mix::Uniform(10_000), Mix::Uniform(500_000), Mix::Zipf];

    pub const fn name(self) -> &'static str {
        match self {
            Mix::One => "1 flow",
            Mix::Uniform(10_000) => "10k",
            Mix::Uniform(_) => "500k",
            Mix::Zipf => "1M Zipf 1.1",
        }
    }

    /// An address for each packet; the same on every run.
    pub fn draw(self) -> Vec<u32> {
        let mut random = Seeded::new(1);
        match self {
            Mix::One => vec![NET; DRAWS],
            Mix::Uniform(flows) => (0..DRAWS).map(|_| NET | random.below(flows)).collect(),
            Mix::Zipf => {
                let zipf = Zipf::new(1_000_000);
                (0..DRAWS).map(|_| NET | zipf.draw(&mut random)).collect()
            }
        }
    }
}
