//! File names against patterns, in the kernel: `*` is any text, `?` one byte, everything else itself.
//!
//! One [`step`] looks at one byte and leaves where it stands in memory, so that the verifier proves one step. Only the last
//! star is ever taken back, so the steps are bounded by the product of the lengths; who has no more steps asks instead.

/// Longest file name, and longest pattern, that is compared in the kernel.
pub const NAME_MAX: usize = 64;
const MASK: usize = NAME_MAX - 1;
/// Steps for one pattern.
pub const STEPS: u32 = 256;
/// Most patterns.
pub const RULES: u32 = 16;

/// What becomes of processes that run a file with a matching name.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRule {
    /// The pattern.
    pub pattern: [u8; NAME_MAX],
    /// Its length.
    pub len: u32,
    /// See [`crate::layout::process`].
    pub verdict: u32,
}

impl NameRule {
    /// A pattern for file names; `None` for one that the kernel cannot decide by: too long, about paths, or
    /// with marks that are more than a byte.
    pub fn new(pattern: &str, verdict: u8) -> Option<Self> {
        let bytes = pattern.as_bytes();
        if bytes.len() > NAME_MAX || !pattern.is_ascii() || bytes.contains(&b'/') {
            return None;
        }
        let mut rule = Self {
            pattern: [0; NAME_MAX],
            len: u32::try_from(bytes.len()).ok()?,
            verdict: verdict as u32,
        };
        rule.pattern.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(rule)
    }
}

/// A comparison in the making.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matching {
    /// The name.
    pub name: [u8; NAME_MAX],
    /// Its length.
    pub len: u32,
    in_pattern: u32,
    in_name: u32,
    /// Behind the last star, 0 for none.
    star_pattern: u32,
    star_name: u32,
    /// Always 0.
    pub reserved: u32,
}

impl Matching {
    /// Nothing yet.
    pub const NEW: Self = Self {
        name: [0; NAME_MAX],
        len: 0,
        in_pattern: 0,
        in_name: 0,
        star_pattern: 0,
        star_name: 0,
        reserved: 0,
    };

    /// Begins another pattern.
    #[inline(always)]
    pub fn begin(&mut self) {
        self.in_pattern = 0;
        self.in_name = 0;
        self.star_pattern = 0;
        self.star_name = 0;
    }
}

/// What a step found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing yet.
    More,
    /// The name matches.
    Match,
    /// It does not.
    Mismatch,
}

/// Looks at one byte.
#[expect(clippy::indexing_slicing, reason = "every index is masked to its array")]
#[inline(always)]
pub fn step(rule: &NameRule, matching: &mut Matching) -> Found {
    let (at, place) = (remembered(&matching.in_pattern), remembered(&matching.in_name));
    let wanted = rule.pattern[at as usize & MASK];
    let is_pattern_over = at >= rule.len;
    if !is_pattern_over && wanted == b'*' {
        matching.in_pattern = at.wrapping_add(1);
        matching.star_pattern = at.wrapping_add(1);
        matching.star_name = place;
        return Found::More;
    }
    if place >= matching.len {
        return if is_pattern_over {
            Found::Match
        } else {
            Found::Mismatch
        };
    }
    let is = matching.name[place as usize & MASK];
    if !is_pattern_over && (wanted == b'?' || wanted == is) {
        matching.in_pattern = at.wrapping_add(1);
        matching.in_name = place.wrapping_add(1);
        return Found::More;
    }
    if matching.star_pattern == 0 {
        return Found::Mismatch;
    }
    let star_name = remembered(&matching.star_name).wrapping_add(1);
    matching.star_name = star_name;
    matching.in_name = star_name;
    matching.in_pattern = matching.star_pattern;
    Found::More
}

/// Reads from memory what the last step left there. Kept in a register it would be known to the verifier, which would then
/// prove every step for every place that the steps before it can have come to.
#[inline(always)]
fn remembered(place: &u32) -> u32 {
    // SAFETY: a reference is valid.
    #[expect(unsafe_code, reason = "a volatile load, or the compiler keeps the value")]
    unsafe {
        core::ptr::read_volatile(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> Option<bool> {
        let rule = NameRule::new(pattern, 1).unwrap();
        let mut matching = Matching::NEW;
        matching.name[..name.len()].copy_from_slice(name.as_bytes());
        matching.len = u32::try_from(name.len()).unwrap();
        for _ in 0..STEPS {
            match step(&rule, &mut matching) {
                Found::More => {}
                found => return Some(found == Found::Match),
            }
        }
        None
    }

    #[test]
    fn a_pattern_matches_what_it_says() {
        for (pattern, name, expected) in [
            ("nginx", "nginx", true),
            ("nginx", "nginx2", false),
            ("nginx2", "nginx", false),
            ("python3*", "python3.11", true),
            ("python3*", "python3", true),
            ("python?", "python3", true),
            ("python?", "python", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("*.jar", "a.jar.jar", true),
            ("**a**", "bab", true),
            ("*a", "aab", false),
        ] {
            assert_eq!(matches(pattern, name), Some(expected), "{pattern} over {name}");
        }
    }

    #[test]
    fn what_takes_too_long_is_not_decided() {
        let name = "a".repeat(NAME_MAX);
        assert_eq!(matches("*aaaaaaaaaaaaaaaaaaaaab", &name), None);
    }

    #[test]
    fn a_pattern_that_the_kernel_cannot_decide_by_is_no_rule() {
        assert!(NameRule::new("/usr/bin/*", 1).is_none());
        assert!(NameRule::new("é", 1).is_none());
        assert!(NameRule::new(&"a".repeat(65), 1).is_none());
    }
}
