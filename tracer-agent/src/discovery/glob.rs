//! Patterns over names and paths: `*` for any run of characters, `?` for one.

/// A pattern. Without a `/` it is matched against the last component of a path, else against all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// The pattern as written; every text is one.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.0
    }

    /// Whether this path matches: its file name for a pattern without `/`.
    pub fn matches_path(&self, path: &str) -> bool {
        if self.0.contains('/') {
            self.matches(path)
        } else {
            self.matches(path.rsplit('/').next().unwrap_or(path))
        }
    }

    /// Whether all of this text matches; `*` matches `/` too.
    pub fn matches(&self, text: &str) -> bool {
        // Only the last star is ever taken back, so the time is bounded by the product of the lengths.
        let (mut pattern, mut rest) = (self.0.chars(), text.chars());
        let mut retry = None;
        loop {
            let before = pattern.clone();
            match (pattern.next(), rest.clone().next()) {
                (Some('*'), _) => retry = Some((pattern.clone(), rest.clone())),
                (Some(wanted), Some(char)) if wanted == '?' || wanted == char => {
                    rest.next();
                }
                (None, None) => return true,
                _ => {
                    pattern = before;
                    let Some((after_star, from)) = retry.as_mut() else {
                        return false;
                    };
                    if from.next().is_none() {
                        return false;
                    }
                    pattern.clone_from(after_star);
                    rest.clone_from(from);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tracer_common::{
        glob::{Matching, NameRule},
        layout::process::SELECTED,
    };

    use super::Glob;

    #[test]
    fn a_pattern_matches_what_it_says() {
        for (pattern, text, matches) in [
            ("python*", "python3.11", true),
            ("python?", "python3", true),
            ("python?", "python", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("*.jar", "shop.jar", true),
            ("shop", "shopper", false),
            ("**", "é", true),
            ("?", "é", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), matches, "{pattern} over {text}");
        }
    }

    #[test]
    fn a_pattern_without_slash_is_about_the_file_name() {
        assert!(Glob::new("nginx").matches_path("/usr/sbin/nginx"));
        assert!(Glob::new("/usr/*/nginx").matches_path("/usr/sbin/nginx"));
        assert!(!Glob::new("/opt/*").matches_path("/usr/sbin/nginx"));
        assert!(!Glob::new("sbin").matches_path("/usr/sbin/nginx"));
    }

    /// What the kernel side finds.
    fn in_kernel(pattern: &str, name: &str) -> bool {
        let rule = NameRule::new(pattern, SELECTED).unwrap();
        let mut matching = Matching::NEW;
        matching.name[..name.len()].copy_from_slice(name.as_bytes());
        matching.len = u32::try_from(name.len()).unwrap();
        matching.start();
        while matching.rule() == 0 && !matching.step(&rule) {}
        matching.verdict(1) == Some(SELECTED)
    }

    proptest! {
        #[test]
        fn the_kernel_side_finds_the_same(pattern in "[ab*?]{0,12}", name in "[ab]{1,20}") {
            prop_assert_eq!(in_kernel(&pattern, &name), Glob::new(pattern).matches_path(&name));
        }

        #[test]
        fn a_star_stands_for_anything_left_out(head in "[a-z*?é]{0,9}", middle in ".{0,9}", tail in "[a-zé]{0,9}") {
            let text = format!("{head}{middle}{tail}");
            let pattern = format!("{head}*{tail}");
            prop_assert!(Glob::new(pattern).matches(&text));
        }

        #[test]
        fn a_text_without_stars_matches_itself_alone(one in "[a-z]{0,5}", other in "[a-z]{0,5}") {
            prop_assert_eq!(Glob::new(one.clone()).matches(&other), one == other);
        }
    }
}
