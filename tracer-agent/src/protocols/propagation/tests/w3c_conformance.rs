//! The vectors of the conformance suite of W3C Trace Context (github.com/w3c/trace-context, `test/test.py`), as
//! a table of our own. What the suite asks of a service that sends on is asked here of what was read.

use super::context;
use crate::protocols::exchange::Sampled;

const TRACE: &str = "12345678901234567890123456789012";
const VALID: (&str, &str) = (
    "traceparent",
    "00-12345678901234567890123456789012-1234567890123456-00",
);

#[test]
fn traceparents_of_the_suite_that_start_a_new_trace_are_malformed() {
    for value in [
        // version 00 with something after it
        "00-12345678901234567890123456789012-1234567890123456-01.",
        "00-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like",
        // a later version goes on with a dash only
        "cc-12345678901234567890123456789012-1234567890123456-01.what-the-future-will-be-like",
        // version
        "ff-12345678901234567890123456789012-1234567890123456-01",
        ".0-12345678901234567890123456789012-1234567890123456-01",
        "0.-12345678901234567890123456789012-1234567890123456-01",
        "000-12345678901234567890123456789012-1234567890123456-01",
        "0000-12345678901234567890123456789012-1234567890123456-01",
        "0-12345678901234567890123456789012-1234567890123456-01",
        // trace id
        "00-00000000000000000000000000000000-1234567890123456-01",
        "00-.2345678901234567890123456789012-1234567890123456-01",
        "00-1234567890123456789012345678901.-1234567890123456-01",
        "00-123456789012345678901234567890123-1234567890123456-01",
        "00-1234567890123456789012345678901-1234567890123456-01",
        // parent id
        "00-12345678901234567890123456789012-0000000000000000-01",
        "00-12345678901234567890123456789012-.234567890123456-01",
        "00-12345678901234567890123456789012-123456789012345.-01",
        "00-12345678901234567890123456789012-12345678901234567-01",
        "00-12345678901234567890123456789012-123456789012345-01",
        // flags
        "00-12345678901234567890123456789012-1234567890123456-.0",
        "00-12345678901234567890123456789012-1234567890123456-0.",
        "00-12345678901234567890123456789012-1234567890123456-001",
        "00-12345678901234567890123456789012-1234567890123456-1",
        // not in the suite, but in the specification: lower case only, dashes only, nothing at all
        "00-1234567890ABCDEF1234567890123456-1234567890123456-01",
        "00-12345678901234567890123456789012-123456789012345F-01",
        "00-12345678901234567890123456789012-1234567890123456-0A",
        "0A-12345678901234567890123456789012-1234567890123456-01",
        "00_12345678901234567890123456789012_1234567890123456_01",
        "",
    ] {
        let found = context(&[("traceparent", value), ("tracestate", "foo=1")]);
        assert_eq!(found.parent, None, "{value}");
        assert_eq!(
            found.tracestate, None,
            "{value}: tracestate goes with a valid traceparent only"
        );
        assert!(found.malformed, "{value}");
    }
}

#[test]
fn traceparents_of_the_suite_that_are_continued_are_valid() {
    for (name, value) in [
        (
            "traceparent",
            "00-12345678901234567890123456789012-1234567890123456-01",
        ),
        (
            "TraceParent",
            "00-12345678901234567890123456789012-1234567890123456-01",
        ),
        (
            "TrAcEpArEnT",
            "00-12345678901234567890123456789012-1234567890123456-01",
        ),
        (
            "TRACEPARENT",
            "00-12345678901234567890123456789012-1234567890123456-01",
        ),
        (
            "traceparent",
            "cc-12345678901234567890123456789012-1234567890123456-01",
        ),
        (
            "traceparent",
            "cc-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like",
        ),
        (
            "traceparent",
            " 00-12345678901234567890123456789012-1234567890123456-01",
        ),
        (
            "traceparent",
            "\t00-12345678901234567890123456789012-1234567890123456-01",
        ),
        (
            "traceparent",
            "00-12345678901234567890123456789012-1234567890123456-01 ",
        ),
        (
            "traceparent",
            "00-12345678901234567890123456789012-1234567890123456-01\t",
        ),
        (
            "traceparent",
            "\t 00-12345678901234567890123456789012-1234567890123456-01 \t",
        ),
    ] {
        let found = context(&[(name, value)]);
        let parent = found.parent.unwrap_or_else(|| panic!("{name}: {value:?}"));
        assert_eq!(parent.trace.to_string(), TRACE);
        assert_eq!(parent.span.unwrap().to_string(), "1234567890123456");
        assert_eq!(parent.sampled, Sampled::Yes);
        assert_eq!(found.tracestate, None);
        assert!(!found.malformed, "{name}: {value:?}");
    }
}

#[test]
fn two_traceparents_are_malformed_even_if_they_are_equal() {
    let other = (
        "traceparent",
        "00-12345678901234567890123456789011-1234567890123456-01",
    );
    for second in [other, VALID] {
        let found = context(&[VALID, second, ("tracestate", "foo=1")]);
        assert_eq!(
            (found.parent, found.tracestate, found.malformed),
            (None, None, true)
        );
    }
}

#[test]
fn headers_with_other_names_are_not_context() {
    for name in ["trace-parent", "trace.parent"] {
        let found = context(&[(name, VALID.1)]);
        assert_eq!((found.parent, found.malformed), (None, false));
    }
    for name in ["trace-state", "trace.state"] {
        assert_eq!(context(&[VALID, (name, "foo=1")]).tracestate, None);
    }
    let alone = context(&[("tracestate", "foo=1")]);
    assert_eq!((alone.parent, alone.tracestate), (None, None));
}

#[test]
fn flags_are_bits_and_the_random_bit_is_of_version_00_only() {
    for (version, flags, sampled, random) in [
        ("00", "00", Sampled::No, false),
        ("00", "01", Sampled::Yes, false),
        ("00", "02", Sampled::No, true),
        ("00", "03", Sampled::Yes, true),
        ("00", "ff", Sampled::Yes, true),
        ("00", "fc", Sampled::No, false),
        ("01", "03", Sampled::Yes, false),
    ] {
        let value = format!("{version}-{TRACE}-1234567890123456-{flags}");
        let found = context(&[("traceparent", &value)]);
        assert_eq!(
            (found.parent.unwrap().sampled, found.random_trace_id),
            (sampled, random),
            "{value}"
        );
    }
}

#[test]
fn tracestates_of_the_suite_are_read_or_dropped_without_touching_the_traceparent() {
    let all_keys = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
    let with_vendor = format!("{all_keys}@a-z0-9_-*/");
    let all_values: String = (' '..='~')
        .filter(|letter| !matches!(letter, ',' | '='))
        .collect();
    let all_allowed = format!("{all_keys}={all_values}");
    let all_allowed_with_vendor = format!("{with_vendor}={all_values}");
    let key = |letter: &str, len| format!("{}=1", letter.repeat(len));
    let (key_256, key_257) = (key("z", 256), key("z", 257));
    let tenant_241 = format!("{}@{}=1", "t".repeat(241), "v".repeat(14));
    let tenant_242 = format!("{}@v=1", "t".repeat(242));
    let system_15 = format!("t@{}=1", "v".repeat(15));
    let value_257 = format!("foo={}", "v".repeat(257));
    let ten = |first: usize| -> String {
        let members: Vec<_> = (first..first + 10).map(|n| format!("bar{n:02}={n:02}")).collect();
        members.join(",")
    };
    let (t1, t2, t3) = (ten(1), ten(11), ten(21));
    let thirty_two = format!("{t1},{t2},{t3},bar31=31,bar32=32");

    let cases: &[(&[&str], Option<&str>)] = &[
        (&["foo=1,bar=2"], Some("foo=1,bar=2")),
        // empty
        (&[""], None),
        (&["foo=1", ""], Some("foo=1")),
        (&["", "foo=1"], Some("foo=1")),
        (&[", ,\t,foo=1,,bar=2,"], Some("foo=1,bar=2")),
        // several headers are one list, in order
        (
            &["foo=1,bar=2", "rojo=1,congo=2", "baz=3"],
            Some("foo=1,bar=2,rojo=1,congo=2,baz=3"),
        ),
        // of a repeated key the left one is kept
        (&["foo=1,foo=1"], Some("foo=1")),
        (&["foo=1,foo=2"], Some("foo=1")),
        (&["foo=1", "foo=1"], Some("foo=1")),
        (&["foo=1", "foo=2"], Some("foo=1")),
        // letters
        (&[&all_allowed], Some(&all_allowed)),
        (&[&all_allowed_with_vendor], Some(&all_allowed_with_vendor)),
        (&["foo =1"], None),
        (&["FOO=1"], None),
        (&["foo.bar=1"], None),
        (&["foo@=1,bar=2"], Some("foo@=1,bar=2")),
        (&["@foo=1,bar=2"], None),
        (&["foo@@bar=1,bar=2"], Some("foo@@bar=1,bar=2")),
        (&["foo@bar@baz=1,bar=2"], Some("foo@bar@baz=1,bar=2")),
        (&["foo=bar=baz"], None),
        (&["foo=,bar=3"], None),
        (&["foo"], None),
        (&["=1"], None),
        (&["foo=a\tb"], None),
        (&["foo=é"], None),
        // white space
        (&["foo=1 \t , \t bar=2, \t baz=3"], Some("foo=1,bar=2,baz=3")),
        (&["foo=1\t \t,\t \tbar=2,\t \tbaz=3"], Some("foo=1,bar=2,baz=3")),
        (&[" foo=1"], Some("foo=1")),
        (&["\tfoo=1"], Some("foo=1")),
        (&["foo=1 "], Some("foo=1")),
        (&["foo=1\t"], Some("foo=1")),
        (&["\t foo=1 \t"], Some("foo=1")),
        (&["foo=  1"], Some("foo=  1")),
        // number of members
        (&[&t1, &t2, &t3, "bar31=31,bar32=32"], Some(&thirty_two)),
        (&[&t1, &t2, &t3, "bar31=31,bar32=32,bar33=33"], None),
        // length of keys and values
        (&["foo=1", &key_256], Some(&format!("foo=1,{key_256}"))),
        (&["foo=1", &key_257], None),
        (&["foo=1", &tenant_241], Some(&format!("foo=1,{tenant_241}"))),
        (&["foo=1", &tenant_242], Some(&format!("foo=1,{tenant_242}"))),
        (&["foo=1", &system_15], Some(&format!("foo=1,{system_15}"))),
        (&[&value_257], None),
    ];
    for (values, expected) in cases {
        let mut headers = vec![VALID];
        headers.extend(values.iter().map(|value| ("TraceState", *value)));
        let found = context(&headers);
        assert_eq!(found.parent.unwrap().trace.to_string(), TRACE, "{values:?}");
        assert_eq!(found.tracestate.as_deref(), *expected, "{values:?}");
        let dropped = expected.is_none() && *values != [""];
        assert_eq!(found.malformed, dropped, "{values:?}");
    }
}

#[test]
fn a_tracestate_over_512_characters_loses_large_members_first_then_the_last_ones() {
    let large = |key: &str| format!("{key}={}", "l".repeat(200));
    let small = |key: &str| format!("{key}={}", "s".repeat(100));
    let kept = |list: &[String]| {
        context(&[VALID, ("tracestate", &list.join(","))])
            .tracestate
            .unwrap()
    };

    let members = [small("a"), large("b"), small("c"), large("d"), small("e")];
    assert_eq!(
        kept(&members),
        [small("a"), large("b"), small("c"), small("e")].join(",")
    );
    let members = [
        small("a"),
        large("b"),
        small("c"),
        small("d"),
        large("e"),
        small("f"),
    ];
    assert_eq!(
        kept(&members),
        [small("a"), small("c"), small("d"), small("f")].join(",")
    );
    let members = ["a", "b", "c", "d", "e", "f"].map(small);
    assert_eq!(kept(&members), ["a", "b", "c", "d"].map(small).join(","));

    let whole = format!("{}={}", "k".repeat(256), "v".repeat(255));
    assert_eq!(
        context(&[VALID, ("tracestate", &whole)]).tracestate,
        Some(whole.clone())
    );
    let over = whole + "v";
    let found = context(&[VALID, ("tracestate", &over)]);
    assert_eq!((found.tracestate, found.malformed), (None, false));
}
