//! Which flow each packet is of.

/// As many as bpf/bench.bpf.c has room for.
pub const COUNT: usize = 1 << 20;

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

    /// Flow numbers from 0 on; the same on every run.
    pub fn draw(self) -> Vec<u32> {
        let mut seeded = Seeded(0x7e1e_6e11);
        match self {
            Mix::One => vec![0; COUNT],
            Mix::Uniform(flows) => {
                let flow = |random: u32| u32::try_from((u64::from(random) * u64::from(flows)) >> 32).unwrap();
                (0..COUNT).map(|_| flow(seeded.next())).collect()
            }
            Mix::Zipf => {
                let mut sum = 0.0;
                let bounds: Vec<f64> = (1..=1_000_000_u32)
                    .map(|rank| {
                        sum += f64::from(rank).powf(-1.1);
                        sum
                    })
                    .collect();
                let place = |random: u32| f64::from(random) / 2_f64.powi(32) * sum;
                let flow = |place: f64| bounds.partition_point(|bound| *bound <= place);
                (0..COUNT).map(|_| u32::try_from(flow(place(seeded.next()))).unwrap()).collect()
            }
        }
    }
}

/// xorshift64* (Vigna 2016).
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        u32::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).unwrap()
    }
}
