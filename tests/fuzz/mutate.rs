// SPDX-License-Identifier: MPL-2.0

//! Mutations of inputs, each from its seed alone.

/// Longest input.
const LONGEST: usize = 8192;

struct Random(u64);

impl Random {
    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// One of the inputs, changed in some places.
pub fn mutation(inputs: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut data = inputs[random.below(inputs.len())].clone();
    for _ in 0..=random.below(6) {
        change(&mut data, &inputs[random.below(inputs.len())], &mut random);
        data.truncate(LONGEST);
    }
    data
}

fn change(data: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(data.len() + 1);
    let length = random.below((data.len() - at).min(64) + 1);
    match random.below(9) {
        0 => data.truncate(at),
        1 => drop(data.drain(at..at + length)),
        2 => data.insert(at, random.next() as u8),
        3 | 4 => {
            if let Some(byte) = data.get_mut(at) {
                *byte = random.next() as u8;
            }
        }
        5 => {
            if let Some(byte) = data.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        6 => {
            // Said again.
            let again: Vec<u8> = data[at..at + length].repeat(1 + random.below(4));
            data.splice(at..at, again);
        }
        7 => {
            // A piece of another one.
            let from = random.below(other.len() + 1);
            let to = from + random.below((other.len() - from).min(256) + 1);
            data.splice(at..at, other[from..to].iter().copied());
        }
        _ => {
            // Its beginning, another one's end.
            data.truncate(at);
            data.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
    }
}
