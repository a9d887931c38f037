//! Ids and numbers as headers write them. No sign, no blank, no prefix: digits or nothing.

use crate::ids::{SpanId, TraceId};

/// Which hexadecimal letters a format allows.
#[derive(Clone, Copy)]
pub(super) enum Case {
    /// `a` to `f`
    Lower,
    /// `a` to `f` and `A` to `F`
    Any,
}

/// The number that up to 32 hexadecimal digits write.
pub(super) fn hex(text: &[u8], case: Case) -> Option<u128> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    text.iter().try_fold(0, |number, digit| {
        let value = match (digit, case) {
            (b'0'..=b'9', _) => digit - b'0',
            (b'a'..=b'f', _) => digit - b'a' + 10,
            (b'A'..=b'F', Case::Any) => digit - b'A' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// A trace id of up to 32 digits, padded with zeroes on the left; `None` if it is zero.
pub(super) fn trace_id(text: &[u8], case: Case) -> Option<TraceId> {
    TraceId::new(hex(text, case)?.to_be_bytes())
}

/// A span id of up to 16 digits, padded with zeroes on the left; `None` if it is zero.
pub(super) fn span_id(text: &[u8], case: Case) -> Option<SpanId> {
    if text.len() > 16 {
        return None;
    }
    let number = u64::try_from(hex(text, case)?).ok()?;
    SpanId::new(number.to_be_bytes())
}

/// The number that decimal digits write; `None` if it does not fit 64 bits.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Case, decimal, hex, span_id};

    #[test]
    fn a_decimal_number_is_digits_that_fit_64_bits() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for wrong in [
            &b"18446744073709551616"[..],
            b"",
            b"+1",
            b"-1",
            b" 1",
            b"1e3",
            b"0x1",
        ] {
            assert_eq!(decimal(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn a_hexadecimal_number_is_digits_of_the_allowed_case_that_fit_128_bits() {
        assert_eq!(hex(&[b'f'; 32], Case::Lower), Some(u128::MAX));
        assert_eq!(hex(b"aF", Case::Any), Some(0xaf));
        for wrong in [&[b'f'; 33][..], b"", b"aF", b"0x1", b"+1", b"g"] {
            assert_eq!(
                hex(wrong, Case::Lower),
                None,
                "{}",
                String::from_utf8_lossy(wrong)
            );
        }
    }

    #[test]
    fn a_span_id_has_at_most_16_digits_even_if_they_are_zeroes() {
        assert!(span_id(b"0000000000000001", Case::Any).is_some());
        assert_eq!(span_id(b"00000000000000001", Case::Any), None);
    }
}
