//! What happens to frames on their way: lost, doubled, late, cut off without a word, lied about.

use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use signpost_tests::sim::{Fate, Passing};

use crate::liar::Liar;

/// The state of all links.
pub struct Weather {
    /// Frames of a thousand that are lost.
    pub lost: u64,
    /// ... that arrive twice.
    pub doubled: u64,
    /// ... that are late, by up to `late_max` milliseconds, and so overtaken by others.
    pub late: u64,
    /// See `late`.
    pub late_max: u64,
    /// The side of each node, when the network has fallen in two and connections only seem open.
    pub sides: Option<Vec<bool>>,
    /// The member that lies, and whether it does now.
    pub liar: Liar,
    rng: ChaCha20Rng,
}

impl Weather {
    /// Fine weather.
    pub const fn new(liar: Liar, rng: ChaCha20Rng) -> Self {
        Self { lost: 0, doubled: 0, late: 0, late_max: 1, sides: None, liar, rng }
    }

    /// Ends everything bad.
    pub fn clear(&mut self) {
        (self.lost, self.doubled, self.late, self.sides) = (0, 0, 0, None);
        self.liar.lies.clear();
    }

    /// What becomes of a frame.
    pub fn fate(&mut self, frame: &Passing<'_>) -> Fate {
        if self.sides.as_ref().is_some_and(|sides| sides[frame.from] != sides[frame.to]) {
            return Fate::Drop;
        }
        if let Some(lie) = self.liar.meddle(frame) {
            return lie;
        }
        let dice = self.rng.next_u64() % 1_000;
        if dice < self.lost {
            Fate::Drop
        } else if dice < self.lost + self.doubled {
            Fate::Twice
        } else if dice < self.lost + self.doubled + self.late {
            Fate::Late(self.rng.next_u64() % self.late_max)
        } else {
            Fate::Pass
        }
    }
}
