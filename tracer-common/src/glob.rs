//! File names against patterns, in the kernel: `*` is any text, `?` one byte, everything else itself.
//!
//! One step looks at one byte and leaves where it stands in memory, so that the verifier proves one step; `bpf_loop` repeats it.
//! Only the last star is ever taken back, so the steps for one pattern are bounded by the product of the lengths; who has no
//! more steps asks instead.

use crate::layout::process::{EXCLUDED, PASSED, SELECTED};

/// Longest file name, and longest pattern, that is compared in the kernel.
pub const NAME_MAX: usize = 64;
const MASK: usize = NAME_MAX - 1;
/// Steps for all patterns.
pub const STEPS: u32 = 16384;
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
    /// Number of the rule that is looked at.
    rule: u32,
    in_pattern: u32,
    in_name: u32,
    /// Behind the last star, 0 for none.
    star_pattern: u32,
    star_name: u32,
    /// What the rules before it say.
    verdict: u32,
}

impl Matching {
    /// Nothing yet.
    pub const NEW: Self = Self {
        name: [0; NAME_MAX],
        len: 0,
        rule: 0,
        in_pattern: 0,
        in_name: 0,
        star_pattern: 0,
        star_name: 0,
        verdict: 0,
    };

    /// Begins with the first rule.
    #[inline(always)]
    pub fn start(&mut self) {
        self.rule = 0;
        self.verdict = PASSED as u32;
        self.begin();
    }

    /// Number of the rule that the next step is about.
    #[inline(always)]
    pub fn rule(&self) -> u32 {
        remembered(&self.rule)
    }

    /// What all rules say together, if that is known after these steps; to exclude is stronger.
    #[inline(always)]
    pub fn verdict(&self, rules: u32) -> Option<u8> {
        let verdict = match remembered(&self.verdict) {
            verdict if verdict == EXCLUDED as u32 => return Some(EXCLUDED),
            verdict if verdict == SELECTED as u32 => SELECTED,
            _ => PASSED,
        };
        (self.rule() >= rules).then_some(verdict)
    }

    /// One step with the rule that is next; whether the others do not matter any more.
    #[inline(always)]
    pub fn step(&mut self, rule: &NameRule) -> bool {
        let found = step(rule, self);
        if found == Found::More {
            return false;
        }
        if found == Found::Match {
            let excludes = rule.verdict == EXCLUDED as u32;
            self.verdict = if excludes { EXCLUDED } else { SELECTED } as u32;
            if excludes {
                return true;
            }
        }
        self.rule = self.rule().wrapping_add(1);
        self.begin();
        false
    }

    #[inline(always)]
    fn begin(&mut self) {
        self.in_pattern = 0;
        self.in_name = 0;
        self.star_pattern = 0;
        self.star_name = 0;
    }
}

/// What a step found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
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
fn step(rule: &NameRule, matching: &mut Matching) -> Found {
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

    /// What the rules say of a name, within so many steps.
    fn judged(rules: &[NameRule], name: &str, steps: u32) -> Option<u8> {
        let mut matching = Matching::NEW;
        matching.name[..name.len()].copy_from_slice(name.as_bytes());
        matching.len = u32::try_from(name.len()).unwrap();
        matching.start();
        for _ in 0..steps {
            let Some(rule) = rules.get(matching.rule() as usize) else {
                break;
            };
            if matching.step(rule) {
                break;
            }
        }
        matching.verdict(u32::try_from(rules.len()).unwrap())
    }

    fn matches(pattern: &str, name: &str) -> Option<bool> {
        let rule = NameRule::new(pattern, SELECTED).unwrap();
        judged(&[rule], name, STEPS).map(|verdict| verdict == SELECTED)
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
        let slow = NameRule::new("*aaaaaaaaaaaaaaaaaaaaab", SELECTED).unwrap();
        assert_eq!(judged(&[slow], &name, 100), None);
        assert_eq!(judged(&[slow], &name, STEPS), Some(PASSED));
    }

    #[test]
    fn one_rule_that_excludes_is_stronger_than_all_that_select() {
        let rules = [("a*", SELECTED), ("*b", EXCLUDED), ("c", SELECTED)]
            .map(|(pattern, verdict)| NameRule::new(pattern, verdict).unwrap());
        for (name, verdict) in [
            ("ac", SELECTED),
            ("ab", EXCLUDED),
            ("b", EXCLUDED),
            ("c", SELECTED),
            ("d", PASSED),
        ] {
            assert_eq!(judged(&rules, name, STEPS), Some(verdict), "{name}");
        }
    }

    #[test]
    fn a_pattern_that_the_kernel_cannot_decide_by_is_no_rule() {
        assert!(NameRule::new("/usr/bin/*", 1).is_none());
        assert!(NameRule::new("é", 1).is_none());
        assert!(NameRule::new(&"a".repeat(65), 1).is_none());
    }
}
