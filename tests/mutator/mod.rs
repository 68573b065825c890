//! Seeded changes to recorded packets, the same in every run.

// The library's own tests share this module with two programs: none uses all of it.
#![allow(dead_code)]

/// How many inputs a test takes; `make robust` asks for millions.
pub(crate) fn wanted() -> u64 {
    std::env::var("MUTATIONS")
        .map_or(200_000, |count| count.parse().expect("MUTATIONS is a number"))
}

/// splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Changes, cuts, doubles or inserts a few bytes; `pieces` are what this protocol trips over.
    pub(crate) fn mutate(&mut self, packet: &mut Vec<u8>, pieces: &[&[u8]]) {
        for _ in 0..self.below(6) {
            let at = self.below(packet.len() + 1);
            let end = (at + self.below(64)).min(packet.len());
            match self.below(7) {
                0 => packet.insert(at, self.next() as u8),
                1 => drop(packet.drain(at..(at + self.below(8)).min(packet.len()))),
                2 if packet.len() < 4096 => {
                    let copy = packet[at..end].repeat(1 + self.below(40));
                    drop(packet.splice(at..at, copy));
                }
                3 if self.below(8) == 0 => packet.truncate(at),
                4 => {
                    let piece = pieces[self.below(pieces.len())];
                    drop(packet.splice(at..at, piece.iter().copied()));
                }
                _ if at < packet.len() => packet[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
    }
}
