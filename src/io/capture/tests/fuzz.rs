//! Captures that are damaged at random, the same on every run: no damage makes the reader fail, or give what the file
//! does not have.

use std::time::{Duration, Instant};

use super::*;

/// A small generator (xorshift64*, Vigna 2016): the same choices on every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).unwrap() % limit
    }
}

/// Files of both formats to be damaged: a frame in each kind of block, two sections, options.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for writer in BOTH {
        let length = length(&frame(58));
        let resolution = [writer.option(9, &[9]), writer.option(14, &[0, 0, 0, 0, 0, 0, 0, 5])].concat();
        let section = [
            writer.section(),
            writer.interface(1, 0, &resolution),
            writer.enhanced(0, 1, &frame(58), 58, &writer.option(1, b"a comment")),
            writer.block(2, &[writer.words(&[0, 0, 1, length, length]), frame(58)].concat()),
            writer.block(3, &[writer.words(&[length]), frame(58)].concat()),
            writer.block(5, &[0; 40]),
        ];
        let record = writer.pcap_record([1, 2], &frame(58), 58);
        let plain = [writer.pcap_header(0xa1b2_c3d4, [2, 4], 1), record.repeat(3)].concat();
        let modified = [writer.pcap_header(0xa1b2_cd34, [2, 4], 1), record.repeat(3)].concat();
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&plain).unwrap();
        seeds.extend([plain, modified, packed.finish().unwrap(), section.concat().repeat(2)]);
    }
    seeds
}

/// Numbers that formats fail at.
const EDGES: [u32; 10] = [0, 1, 7, 11, 12, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_ffff, 262_145];

#[test]
fn no_damage_makes_the_reader_fail_or_give_what_the_file_does_not_have() {
    /// As long as this, and at least as often as [`LEAST`].
    const LONGEST: Duration = Duration::from_secs(10);
    const LEAST: u64 = 20_000;
    let mut seeded = Seeded(0xf022);
    let seeds = seeds();
    let started = Instant::now();
    let (mut runs, mut frames) = (0_u64, 0_u64);
    while runs < LEAST || started.elapsed() < LONGEST / 4 {
        let mut file = seeds[seeded.below(seeds.len())].clone();
        for _ in 0..=seeded.below(4) {
            let at = seeded.below(file.len().max(1));
            match seeded.below(5) {
                0 if !file.is_empty() => file[at] = seeded.below(256).to_le_bytes()[0],
                1 => file.truncate(at),
                2 => {
                    let piece: Vec<u8> = file[at..].iter().copied().take(seeded.below(64)).collect();
                    let to = seeded.below(file.len() + 1);
                    file.splice(to..to, piece);
                }
                3 => drop(file.drain(at..(at + seeded.below(16)).min(file.len()))),
                _ => {
                    let edge = EDGES[seeded.below(EDGES.len())].to_le_bytes();
                    let at = at & !3;
                    file.iter_mut().skip(at).zip(edge).for_each(|(to, byte)| *to = byte);
                }
            }
        }
        // What is unpacked can be longer than the file; nothing else can.
        let is_packed = file.starts_with(&[0x1f, 0x8b]);
        let limit = file.len();
        runs += 1;
        let Ok(mut capture) = Capture::new(Box::new(Cursor::new(file))) else { continue };
        let mut bytes = 0;
        while let Ok(Some(frame)) = capture.next_frame() {
            assert!(frame.bytes.len() <= FRAME_MAX && frame.bytes.len() <= frame.len as usize);
            bytes += frame.bytes.len();
            frames += 1;
        }
        assert!(is_packed || bytes <= limit, "{bytes} bytes of frames in {limit}");
        assert!(started.elapsed() < LONGEST, "{runs} files took {:?}", started.elapsed());
    }
    println!("{runs} files, {frames} frames");
    assert!(frames > runs);
}
