//! Numbers of payment cards: 13 to 19 digits that begin as those of an issuer do and end in the right check digit (ISO/IEC 7812-1).

const DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Ranges of what cards begin with, and how many digits they have then.
const ISSUERS: [(std::ops::RangeInclusive<u32>, &[usize]); 17] = [
    // Visa
    (4000..=4999, &[13, 16, 19]),
    // Mastercard
    (5100..=5599, &[16]),
    (2221..=2720, &[16]),
    // American Express
    (3400..=3499, &[15]),
    (3700..=3799, &[15]),
    // Diners Club
    (3000..=3059, &[14, 16, 19]),
    (3600..=3699, &[14, 16, 19]),
    (3800..=3999, &[14, 16, 19]),
    // JCB
    (3528..=3589, &[16, 17, 18, 19]),
    // Discover
    (6011..=6011, &[16, 17, 18, 19]),
    (6440..=6599, &[16, 17, 18, 19]),
    // UnionPay
    (6200..=6299, &[16, 17, 18, 19]),
    // Maestro
    (5018..=5020, &[13, 14, 15, 16, 17, 18, 19]),
    (5038..=5038, &[13, 14, 15, 16, 17, 18, 19]),
    (6304..=6304, &[13, 14, 15, 16, 17, 18, 19]),
    (6759..=6763, &[13, 14, 15, 16, 17, 18, 19]),
    // Mir
    (2200..=2204, &[16, 17, 18, 19]),
];

/// Digits that come one by one, with what people write between them.
#[derive(Default)]
pub(super) struct Digits {
    digits: [u8; 19],
    count: usize,
    has_other: bool,
}

impl Digits {
    pub fn push(&mut self, byte: u8) {
        match byte {
            b'0'..=b'9' => {
                if let Some(place) = self.digits.get_mut(self.count) {
                    *place = byte - b'0';
                }
                self.count = self.count.saturating_add(1);
            }
            b'-' | b' ' | b'+' | b'.' | b'_' => {}
            _ => self.has_other = true,
        }
    }

    /// Whether they are the number of a card, and nothing else was there.
    pub fn are_a_card(&self) -> bool {
        let digits = self.digits.get(..self.count).unwrap_or_default();
        if self.has_other || !DIGITS.contains(&digits.len()) {
            return false;
        }
        let first = digits
            .iter()
            .take(4)
            .fold(0, |all, digit| 10 * all + u32::from(*digit));
        let is_issued = |(range, lens): &(std::ops::RangeInclusive<u32>, &[usize])| {
            range.contains(&first) && lens.contains(&digits.len())
        };
        ISSUERS.iter().any(is_issued) && is_checked(digits)
    }
}

/// Luhn's formula: from the right, every second digit counts double.
fn is_checked(digits: &[u8]) -> bool {
    let value = |(place, digit): (usize, &u8)| match (place % 2, *digit) {
        (0, digit) => u32::from(digit),
        (_, digit @ 0..5) => u32::from(2 * digit),
        (_, digit) => u32::from(2 * digit) - 9,
    };
    digits.iter().rev().enumerate().map(value).sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::Digits;

    fn is_card(text: &str) -> bool {
        let mut digits = Digits::default();
        text.bytes().for_each(|byte| digits.push(byte));
        digits.are_a_card()
    }

    #[test]
    fn the_issuers_test_numbers_are_cards_however_they_are_written() {
        for card in [
            "4111111111111111",
            "4111-1111-1111-1111",
            "4222222222222",
            "5555 5555 5555 4444",
            "2223003122003222",
            "378282246310005",
            "6011111111111117",
            "30569309025904",
            "3530111333300000",
            "6200000000000005",
        ] {
            assert!(is_card(card), "{card}");
        }
    }

    #[test]
    fn times_ids_and_wrong_check_digits_are_none() {
        for other in [
            "4111111111111112",
            "1700000000000",
            "1700000000000000",
            "1700000000000000000",
            "0000000000000000",
            "411111111111111",
            "41111111111111111111111",
            "4111111111111111a",
        ] {
            assert!(!is_card(other), "{other}");
        }
    }
}
