//! A path, with its secrets masked.

use std::borrow::Cow;

use super::{REDACTED, segment};

/// The path with [`REDACTED`] in place of what looks like a secret; the same text where nothing does. What is masked again stays as
/// it is, and no text grows to more than five times its length.
pub fn masked(path: &str) -> Cow<'_, str> {
    let Some(first) = parts(path).find(|part| part.kept < part.text.len()) else {
        return Cow::Borrowed(path);
    };
    let mut masked = String::with_capacity(path.len());
    masked.push_str(path.get(..first.at).unwrap_or_default());
    for part in parts(path).skip_while(|part| part.at < first.at) {
        masked.push_str(part.text.get(..part.kept).unwrap_or_default());
        if part.kept < part.text.len() {
            masked.push_str(REDACTED);
        }
        masked.push_str(part.end);
    }
    Cow::Owned(masked)
}

/// What stands between the slashes and semicolons of a path.
struct Part<'a> {
    at: usize,
    text: &'a str,
    kept: usize,
    /// The slash or semicolon behind it; nothing behind the last.
    end: &'a str,
}

fn parts(path: &str) -> impl Iterator<Item = Part<'_>> {
    let (mut at, mut is_parameter) = (0, false);
    path.split_inclusive(['/', ';']).map(move |whole| {
        let text = whole.strip_suffix(['/', ';']).unwrap_or(whole);
        let part = Part {
            at,
            text,
            kept: segment::kept(text.as_bytes(), is_parameter),
            end: whole.get(text.len()..).unwrap_or_default(),
        };
        at = at.saturating_add(whole.len());
        is_parameter = part.end == ";";
        part
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_masked_in_their_places_and_the_rest_stays() {
        for (path, expected) in [
            ("/", "/"),
            ("", ""),
            ("/users/42/orders", "/users/42/orders"),
            ("/reset/9f86d081884c7d659a2feaa0c55ad015", "/reset/REDACTED"),
            ("/u/alice@example.com/orders/", "/u/REDACTED/orders/"),
            (
                "/a;jsessionid=0a1b/b;c;v=1",
                "/a;jsessionid=REDACTED/b;REDACTED;v=REDACTED",
            ),
            ("/a;/b;;", "/a;/b;;"),
            ("//me:hunter2@shop/x", "//REDACTED/x"),
            ("/k=v/k2=/x", "/k=REDACTED/k2=/x"),
        ] {
            assert_eq!(masked(path), expected, "{path}");
        }
    }

    #[test]
    fn where_there_is_no_secret_nothing_is_allocated() {
        assert!(matches!(masked("/users/42;/a%20b/c.d"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn masking_again_changes_nothing_and_texts_stay_bounded(path in "[/;=a-z0-9@.%\u{fc}]{0,200}") {
            let once = masked(&path).into_owned();
            prop_assert_eq!(masked(&once), once.as_str());
            prop_assert!(once.len() <= 5 * path.len() + REDACTED.len());
        }

        #[test]
        fn a_planted_token_is_in_no_path(
            before in "(/[a-z0-9.-]{0,12}){0,6}/",
            token in "[0-9a-f]{32,64}",
            after in "((/|;[a-z]{1,8}=?)[a-z0-9]{0,12}){0,4}",
        ) {
            let path = format!("{before}{token}{after}");
            let masked = masked(&path);
            prop_assert!(!masked.contains(&token[..12]), "{}", masked);
        }
    }
}
