//! Text that a process put where the agent reads it, made fit to be shown and exported.

/// Bytes of one text that are kept.
const MAX: usize = 1024;

/// The text within the bound, without white space around it and without control characters: a file name may
/// hold escape sequences that a terminal would obey.
pub(super) fn clean(text: &str) -> String {
    let text = text.trim();
    let end = text.floor_char_boundary(MAX);
    text.get(..end)
        .unwrap_or_default()
        .chars()
        .map(|char| {
            if char.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                char
            }
        })
        .collect()
}

/// [`clean`], if anything is left.
pub(super) fn non_empty(text: &str) -> Option<String> {
    Some(clean(text)).filter(|text| !text.is_empty())
}

/// The last component of a path, if it names anything.
pub(super) fn file_name(path: &str) -> Option<&str> {
    let name = path.trim_end_matches('/').rsplit('/').next()?;
    (!matches!(name, "" | "." | "..")).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{clean, file_name};

    #[test]
    fn escape_sequences_do_not_reach_a_terminal() {
        assert_eq!(clean("shop\u{1b}[2Japi\n"), "shop\u{fffd}[2Japi");
    }

    #[test]
    fn a_path_without_a_name_has_no_file_name() {
        assert_eq!(file_name("/usr/bin/nginx"), Some("nginx"));
        assert_eq!(file_name("shop/"), Some("shop"));
        for path in ["", "/", ".", "..", "a/.."] {
            assert_eq!(file_name(path), None, "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn clean_text_is_short_and_printable(text in ".{0,2000}") {
            let clean = clean(&text);
            prop_assert!(clean.chars().count() <= 1024);
            prop_assert!(!clean.chars().any(char::is_control));
        }
    }
}
