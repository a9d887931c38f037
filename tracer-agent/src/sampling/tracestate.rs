//! The `ot` member of a `tracestate` list: `th`, the threshold that was applied so far, and `rv`, the randomness of a trace
//! whose id is not random (<https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/>). What is not ours is
//! kept as it is. The lists that come in are those that `protocols::propagation` found valid.

use super::{Randomness, Threshold};

const KEY: &str = "ot";
const THRESHOLD: &str = "th";
const RANDOMNESS: &str = "rv";
/// Of the value of one member.
const MAX_VALUE: usize = 256;
const MAX_MEMBERS: usize = 32;

/// Whether a list says anything of a threshold.
pub fn has_threshold(list: &str) -> bool {
    fields(list).any(|field| key(field) == THRESHOLD)
}

/// The threshold that a list says was applied; `None` where it says none, or nonsense.
pub fn threshold(list: &str) -> Option<Threshold> {
    Threshold::parse(value(list, THRESHOLD)?)
}

/// The randomness that a list says is to be used in the place of the trace id's.
pub fn randomness(list: &str) -> Option<Randomness> {
    Randomness::parse(value(list, RANDOMNESS)?)
}

/// The list with this threshold, or with none. The member comes first, since it is the one changed last.
pub fn with_threshold(list: &str, threshold: Option<Threshold>) -> String {
    let mut ours: Vec<String> = fields(list)
        .filter(|field| key(field) != THRESHOLD)
        .map(str::to_owned)
        .collect();
    let others_len: usize = ours.iter().map(|field| field.len() + ";".len()).sum();
    let threshold = threshold.map(|threshold| format!("{THRESHOLD}:{threshold}"));
    // Where there is no room for it, nothing is claimed.
    ours.extend(threshold.filter(|field| others_len + field.len() <= MAX_VALUE));
    let ours = (!ours.is_empty()).then(|| format!("{KEY}={}", ours.join(";")));
    let room = MAX_MEMBERS - usize::from(ours.is_some());
    let others = members(list).filter(|(key, _)| *key != KEY).take(room);
    let others = others.map(|(key, value)| format!("{key}={value}"));
    ours.into_iter().chain(others).collect::<Vec<_>>().join(",")
}

fn members(list: &str) -> impl Iterator<Item = (&str, &str)> {
    let members = list.split(',').filter_map(|member| member.trim().split_once('='));
    members.map(|(key, value)| (key.trim_end(), value))
}

/// What is in our member, `key:value` each.
fn fields(list: &str) -> impl Iterator<Item = &str> {
    let ours = members(list).find(|(key, _)| *key == KEY);
    let fields = ours.into_iter().flat_map(|(_, value)| value.split(';'));
    fields.map(str::trim).filter(|field| !field.is_empty())
}

fn value<'a>(list: &'a str, wanted: &str) -> Option<&'a str> {
    let fields = fields(list).filter_map(|field| field.split_once(':'));
    fields
        .filter(|(key, _)| *key == wanted)
        .map(|(_, value)| value)
        .next()
}

fn key(field: &str) -> &str {
    field.split_once(':').map_or(field, |(key, _)| key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn th(text: &str) -> Option<Threshold> {
        Some(Threshold::parse(text).unwrap())
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        assert_eq!(threshold("ot=th:0"), Some(Threshold::NONE));
        assert_eq!(threshold("ot=th:fd70a4"), th("fd70a4"));
        assert_eq!(threshold("vendor=x,ot=p:8;th:c;r:62"), th("c"));
        let list = "ot=rv:6e6d1a75832a2f;th:c";
        assert_eq!(randomness(list), Randomness::parse("6e6d1a75832a2f"));
        assert_eq!(threshold(list), th("c"));
        for nothing in [
            "",
            "ot=",
            "ot=th:",
            "ot=th",
            "ot=th:x",
            "ot=th:0123456789abcdef",
            "a@ot=th:8",
            "x=th:8",
        ] {
            assert_eq!(threshold(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_threshold_is_set_and_taken_away_and_all_else_is_kept() {
        for (list, threshold, expected) in [
            ("", th("c"), "ot=th:c"),
            ("", None, ""),
            ("ot=p:8;r:62", th("8"), "ot=p:8;r:62;th:8"),
            ("ot=p:8;th:c;r:62", th("8"), "ot=p:8;r:62;th:8"),
            ("a=1,ot=th:c,b=2", th("e"), "ot=th:e,a=1,b=2"),
            ("a=1,ot=th:c,b=2", None, "a=1,b=2"),
            ("a=1,ot=th:c;rv:6e6d1a75832a2f", None, "ot=rv:6e6d1a75832a2f,a=1"),
        ] {
            assert_eq!(with_threshold(list, threshold), expected, "{list}");
        }
    }

    #[test]
    fn a_member_that_is_full_loses_its_threshold_and_a_list_that_is_full_its_last_member() {
        let full = format!("ot=x:{};th:8", "y".repeat(250));
        assert_eq!(threshold(&with_threshold(&full, th("c"))), None);
        let long: Vec<_> = (0..32).map(|number| format!("k{number}=1")).collect();
        let list = with_threshold(&long.join(","), th("c"));
        assert_eq!(list.split(',').count(), 32);
        assert!(
            list.starts_with("ot=th:c,k0=1,") && list.ends_with(",k30=1"),
            "{list}"
        );
    }

    proptest! {
        #[test]
        fn whatever_the_list_what_is_set_is_read(list in "([a-z]{1,3}=[a-z:;0-9]{0,9},?|ot=[a-z:;0-9]{0,9},){0,6}", digits in "[0-9a-f]{1,14}") {
            let set = with_threshold(&list, th(&digits));
            prop_assert_eq!(threshold(&set), th(&digits));
            prop_assert_eq!(randomness(&set), randomness(&list));
            prop_assert_eq!(threshold(&with_threshold(&set, None)), None);
        }
    }
}
