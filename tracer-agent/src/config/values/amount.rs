//! Amounts with a unit: a whole number and what it is of.

/// `64M`, `2GiB`: powers of two, from MiB to TiB.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let shift = match unit {
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// `90s`, `30m`, `24h`, `7d`.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    number.checked_mul(seconds)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_whole_number_and_a_unit() {
        assert_eq!(bytes("512M"), Some(512 << 20));
        assert_eq!(bytes("2GiB"), Some(2 << 30));
        assert_eq!(bytes("1T"), Some(1 << 40));
        for text in [
            "",
            "M",
            "512",
            "-1M",
            "1.5G",
            "99999999999999999999T",
            "99999999T",
            "512MB",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("30m"), Some(1800));
        assert_eq!(seconds("24h"), seconds("1d"));
        for text in [
            "",
            "h",
            "24",
            "99999999999999999999d",
            "999999999999999d",
            "1h30m",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
