//! Text for a terminal: what came from a wire is made harmless, measured in columns and cut to fit.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The text without anything a terminal would obey: control characters and those that change the direction
/// or the place of others are written as `\u{…}`.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            char if char.is_control() || is_invisible(char) => out.extend(char.escape_default()),
            char => out.push(char),
        }
    }
    out
}

/// Bidirectional and zero-width format characters, and line separators.
fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns that the text takes.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// The text in at most `width` columns, its end replaced by `…` if it does not fit.
pub fn fit(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for char in text.chars() {
        let wide = char.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        out.push(char);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

/// A duration for people, three digits: `980 ns`, `1.23 ms`, `12.3 s`, `2 min 03 s`.
pub fn duration(nanos: u64) -> String {
    // The largest value that is not rounded up to 1000 of its unit.
    const BELOW: [(u64, u64, &str); 4] = [
        (1_000, 1, "ns"),
        (999_500, 1_000, "µs"),
        (999_500_000, 1_000_000, "ms"),
        (119_500_000_000, 1_000_000_000, "s"),
    ];
    for (below, unit, name) in BELOW {
        if nanos >= below {
            continue;
        }
        let hundredths = (u128::from(nanos) * 100 + u128::from(unit) / 2) / u128::from(unit);
        let tenths = (u128::from(nanos) * 10 + u128::from(unit) / 2) / u128::from(unit);
        let whole = (u128::from(nanos) + u128::from(unit) / 2) / u128::from(unit);
        return match () {
            () if unit == 1 => format!("{nanos} {name}"),
            () if hundredths < 1_000 => format!("{}.{:02} {name}", hundredths / 100, hundredths % 100),
            () if tenths < 1_000 => format!("{}.{} {name}", tenths / 10, tenths % 10),
            () => format!("{whole} {name}"),
        };
    }
    let seconds = (nanos / 500_000_000).div_ceil(2);
    format!("{} min {:02} s", seconds / 60, seconds % 60)
}

/// `1 span`, `2 spans`.
pub fn count(number: usize, one: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {one}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_the_unit_that_fits() {
        for (nanos, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_994, "9.99 µs"),
            (9_996, "10.0 µs"),
            (99_960, "100 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (12_345_678, "12.3 ms"),
            (842_000_000, "842 ms"),
            (999_999_999, "1.00 s"),
            (61_000_000_000, "61.0 s"),
            (119_999_999_999, "2 min 00 s"),
            (3_723_000_000_000, "62 min 03 s"),
        ] {
            assert_eq!(duration(nanos), text, "{nanos}");
        }
        assert!(duration(u64::MAX).contains("min"));
    }

    #[test]
    fn nothing_that_a_terminal_obeys_passes() {
        assert_eq!(harmless("/a\x1b[2J\r\n\u{9b}1m"), "/a\\u{1b}[2J\\r\\n\\u{9b}1m");
        assert_eq!(harmless("/\u{202e}gpj.exe\u{200b}"), "/\\u{202e}gpj.exe\\u{200b}");
        assert_eq!(harmless("/café/日本"), "/café/日本");
    }

    #[test]
    fn a_text_is_cut_by_columns_not_by_characters() {
        assert_eq!(fit("/checkout", 9), "/checkout");
        assert_eq!(fit("/checkout", 8), "/checko…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("abc", 0), "");
    }
}
