//! How often something was seen to be so, and how often not.

/// For each time that it was not, it must be seen to be so this much more often.
const FOR_REFUTED: u32 = 256;

/// See the head of this module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub confirmed: u32,
    pub refuted: u32,
}

impl Tally {
    pub fn add(&mut self, is_confirmed: bool) {
        let count = if is_confirmed {
            &mut self.confirmed
        } else {
            &mut self.refuted
        };
        *count = count.saturating_add(1);
    }

    /// Whether it was confirmed often enough, which is so often if it was never refuted.
    pub const fn is_convincing(self, enough: u32) -> bool {
        self.is_convincing_at(enough, FOR_REFUTED)
    }

    /// The same where so much more often is enough.
    pub const fn is_convincing_at(self, enough: u32, for_refuted: u32) -> bool {
        self.confirmed >= enough.saturating_add(self.refuted.saturating_mul(for_refuted))
    }

    /// The share that is confirmed, little before much is known.
    pub fn share(self) -> f64 {
        const UNKNOWN: f64 = 6.0;
        let [confirmed, refuted] = [self.confirmed, self.refuted].map(f64::from);
        (confirmed + 1.0) / (confirmed + refuted + 2.0 + UNKNOWN)
    }
}
