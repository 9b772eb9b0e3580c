//! Random flow numbers, the same on every run.

// Each target uses a part of it, and helpers panic as tests do.
#![allow(dead_code, clippy::unwrap_used)]

/// xorshift64* (Vigna 2016).
pub struct Seeded(u64);

impl Seeded {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Seeded {
        Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Any number.
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        u32::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).unwrap()
    }

    /// A number below this, each as likely as any other.
    pub fn below(&mut self, bound: u32) -> u32 {
        u32::try_from((u64::from(self.next()) * u64::from(bound)) >> 32).unwrap()
    }
}

/// The n-th of so many flows (from 0 on) with a probability proportional to (n + 1)^-1.1.
pub struct Zipf {
    /// The sums of the weights up to each flow.
    sums: Vec<f64>,
}

impl Zipf {
    /// Of so many flows.
    pub fn new(flows: u32) -> Zipf {
        let mut sum = 0.0;
        let weigh = |rank: u32| {
            sum += f64::from(rank).powf(-1.1);
            sum
        };
        Zipf { sums: (1..=flows).map(weigh).collect() }
    }

    /// One flow.
    pub fn draw(&self, random: &mut Seeded) -> u32 {
        let place = f64::from(random.next()) / 2_f64.powi(32) * self.sums.last().unwrap();
        u32::try_from(self.sums.partition_point(|sum| *sum <= place)).unwrap()
    }
}
