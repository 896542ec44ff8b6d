//! Changes bytes: blindly, and where CBOR keeps its types and lengths.

use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;

/// Changes of one mutant: one finds the edge of a rule, several get past the first check.
const CHANGES_MAX: u64 = 3;
/// Bytes inserted, removed or repeated at a time: more breaks everything at once.
const SLICE_MAX: usize = 40;

pub(crate) struct Mutator<'a> {
    rng: &'a mut ChaCha20Rng,
    donor: &'a [u8],
}

impl<'a> Mutator<'a> {
    /// `donor` is another valid message, for splices.
    pub(crate) fn new(rng: &'a mut ChaCha20Rng, donor: &'a [u8]) -> Self {
        Self { rng, donor }
    }

    pub(crate) fn mutate(mut self, original: &[u8]) -> Vec<u8> {
        let mut bytes = original.to_vec();
        let heads = heads(original);
        for _ in 0..=self.below(CHANGES_MAX as usize) {
            self.change(&mut bytes, &heads);
        }
        bytes
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.rng.next_u64() % bound.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.rng.next_u64() as u8
    }

    /// A slice of at most [`SLICE_MAX`] bytes inside `length`.
    fn slice(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        start..(start + 1 + self.below(SLICE_MAX)).min(length)
    }

    fn change(&mut self, bytes: &mut Vec<u8>, heads: &[usize]) {
        if bytes.is_empty() {
            return bytes.push(self.byte());
        }
        let at = self.below(bytes.len());
        match self.below(12) {
            0..3 => bytes[at] ^= 1 << self.below(8),
            3 => bytes[at] = self.byte(),
            4 => bytes.insert(at, self.byte()),
            5 => drop(bytes.drain(self.slice(bytes.len()))),
            6 => bytes.truncate(at),
            7 => {
                let slice = bytes[self.slice(bytes.len())].to_vec();
                bytes.splice(at..at, slice);
            }
            8 => {
                // The beginning of this, the end of another.
                let from = self.below(self.donor.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&self.donor[from..]);
            }
            9 => {
                let slice = self.slice(self.donor.len());
                let end = (at + slice.len()).min(bytes.len());
                bytes.splice(at..end, self.donor[slice].iter().copied());
            }
            _ => self.change_head(bytes, heads),
        }
    }

    /// Changes a type, a length or a small value.
    fn change_head(&mut self, bytes: &mut Vec<u8>, heads: &[usize]) {
        // After an earlier change heads may have moved; then this is a blind change, no worse.
        let at = heads[self.below(heads.len())].min(bytes.len() - 1);
        let head = bytes[at];
        match self.below(6) {
            0 => bytes[at] = head & 0x1f | (self.byte() & 7) << 5,
            1 => bytes[at] = head & 0xe0 | self.byte() & 0x1f,
            2 => bytes[at] = head.wrapping_add(1),
            3 => bytes[at] = head.wrapping_sub(1),
            // The same value in a longer spelling.
            4 if head & 0x1f < 24 => {
                bytes[at] = head & 0xe0 | 24;
                bytes.insert(at + 1, head & 0x1f);
            }
            4 => bytes[at] = 0xf6,
            // No definite length.
            _ => bytes[at] = head | 0x1f,
        }
    }
}

/// Where the items of valid CBOR begin, those inside byte strings that hold CBOR among them.
fn heads(bytes: &[u8]) -> Vec<usize> {
    let mut heads = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (length, content) = item(&bytes[at..]);
        heads.push(at);
        at += length;
        // Content that looks like a map, an array or a tag is walked into, any other passed over.
        if !matches!(bytes.get(at), Some(0xa0..=0xbf | 0x81..=0x9f | 0xd2)) {
            at += content;
        }
    }
    heads
}

/// Bytes of a head, and of the string that follows it.
fn item(bytes: &[u8]) -> (usize, usize) {
    let argument_bytes = match bytes[0] & 0x1f {
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => 0,
    };
    let argument = if argument_bytes == 0 {
        usize::from(bytes[0] & 0x1f)
    } else {
        let rest = bytes[1..].iter().take(argument_bytes);
        rest.fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let content = if matches!(bytes[0] >> 5, 2 | 3) { argument } else { 0 };
    (1 + argument_bytes, content)
}
