use super::{context, words};
use crate::protocols::{exchange::Sampled, propagation::CONTEXT_HEADERS};

const T128: &str = "463ac35c9f6413ad48485a3953bb6124";
const W3C: (&str, &str) = (
    "traceparent",
    "00-463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-01",
);
const B3: (&str, &str) = ("b3", "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-1");

#[test]
fn valid_headers_of_each_format_name_their_parent() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[W3C],
            "w3c 463ac35c9f6413ad48485a3953bb6124 a2fb4a1d1a96d312 yes",
        ),
        (&[B3], "b3 463ac35c9f6413ad48485a3953bb6124 a2fb4a1d1a96d312 yes"),
        (
            &[("B3", "48485a3953bb6124-a2fb4a1d1a96d312")],
            "b3 000000000000000048485a3953bb6124 a2fb4a1d1a96d312 ?",
        ),
        (
            &[("b3", "48485a3953bb6124-a2fb4a1d1a96d312-0")],
            "b3 000000000000000048485a3953bb6124 a2fb4a1d1a96d312 no",
        ),
        (
            &[("b3", "48485a3953bb6124-a2fb4a1d1a96d312-d-05e3ac9a4f6e3b90")],
            "b3 000000000000000048485a3953bb6124 a2fb4a1d1a96d312 yes",
        ),
        (
            &[
                ("X-B3-TraceId", T128),
                ("X-B3-SpanId", "a2fb4a1d1a96d312"),
                ("X-B3-Sampled", "1"),
            ],
            "b3-multi 463ac35c9f6413ad48485a3953bb6124 a2fb4a1d1a96d312 yes",
        ),
        (
            &[
                ("x-b3-traceid", "48485a3953bb6124"),
                ("x-b3-spanid", "a2fb4a1d1a96d312"),
            ],
            "b3-multi 000000000000000048485a3953bb6124 a2fb4a1d1a96d312 ?",
        ),
        (
            &[
                ("x-b3-traceid", T128),
                ("x-b3-spanid", "a2fb4a1d1a96d312"),
                ("x-b3-sampled", "false"),
            ],
            "b3-multi 463ac35c9f6413ad48485a3953bb6124 a2fb4a1d1a96d312 no",
        ),
        (
            &[
                ("x-b3-traceid", T128),
                ("x-b3-spanid", "a2fb4a1d1a96d312"),
                ("x-b3-flags", "1"),
            ],
            "b3-multi 463ac35c9f6413ad48485a3953bb6124 a2fb4a1d1a96d312 yes",
        ),
        (
            &[(
                "uber-trace-id",
                "463ac35c9f6413ad48485a3953bb6124:a2fb4a1d1a96d312:0:1",
            )],
            "jaeger 463ac35c9f6413ad48485a3953bb6124 a2fb4a1d1a96d312 yes",
        ),
        (
            &[("Uber-Trace-Id", "5a3:d312:a2fb:0")],
            "jaeger 000000000000000000000000000005a3 000000000000d312 no",
        ),
        (
            &[("uber-trace-id", "5a3%3Ad312%3a0%3A03")],
            "jaeger 000000000000000000000000000005a3 000000000000d312 yes",
        ),
        (
            &[
                ("x-datadog-trace-id", "5208512171318403364"),
                ("x-datadog-parent-id", "11744061942159299346"),
            ],
            "datadog 000000000000000048485a3953bb6124 a2fb4a1d1a96d312 ?",
        ),
        (
            &[
                ("x-datadog-trace-id", "5208512171318403364"),
                ("x-datadog-parent-id", "11744061942159299346"),
                ("x-datadog-sampling-priority", "-1"),
                ("x-datadog-tags", "_dd.p.dm=-4, _dd.p.tid=463ac35c9f6413ad"),
            ],
            "datadog 463ac35c9f6413ad48485a3953bb6124 a2fb4a1d1a96d312 no",
        ),
        (
            &[
                ("x-datadog-trace-id", "5208512171318403364"),
                ("x-datadog-parent-id", "0"),
                ("x-datadog-sampling-priority", "2"),
            ],
            "datadog 000000000000000048485a3953bb6124 - yes",
        ),
        (
            &[(
                "X-Amzn-Trace-Id",
                "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
            )],
            "aws 5759e988bd862e3fe1be46a994272793 53995c3f42cd8ad8 yes",
        ),
        (
            &[(
                "x-amzn-trace-id",
                "Self=1-67891234-12456789abcdef012345678;Sampled=?; Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=x",
            )],
            "aws 5759e988bd862e3fe1be46a994272793 - ?",
        ),
        (
            &[(
                "x-amzn-trace-id",
                "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
            )],
            "aws 5759e988bd862e3fe1be46a994272793 - no",
        ),
        (
            &[("X-Cloud-Trace-Context", "105445aa7843bc8bf206b12000100000/74;o=1")],
            "google 105445aa7843bc8bf206b12000100000 000000000000004a yes",
        ),
        (
            &[("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000/0;o=0")],
            "google 105445aa7843bc8bf206b12000100000 - no",
        ),
        (
            &[("x-cloud-trace-context", "105445AA7843BC8BF206B12000100000")],
            "google 105445aa7843bc8bf206b12000100000 - ?",
        ),
        (
            &[("grpc-trace-bin", "AABGOsNcn2QTrUhIWjlTu2EkAaL7Sh0altMSAgE=")],
            "grpc 463ac35c9f6413ad48485a3953bb6124 a2fb4a1d1a96d312 yes",
        ),
        (
            &[("grpc-trace-bin", "AABGOsNcn2QTrUhIWjlTu2EkAaL7Sh0altMSAgA")],
            "grpc 463ac35c9f6413ad48485a3953bb6124 a2fb4a1d1a96d312 no",
        ),
        (
            &[("grpc-trace-bin", "AABGOsNcn2QTrUhIWjlTu2Ek")],
            "grpc 463ac35c9f6413ad48485a3953bb6124 - ?",
        ),
        (
            &[("grpc-trace-bin", "AABGOsNcn2QTrUhIWjlTu2EkAaL7Sh0altMSB2FiYw==")],
            "grpc 463ac35c9f6413ad48485a3953bb6124 a2fb4a1d1a96d312 ?",
        ),
    ];
    for (headers, expected) in cases {
        let found = context(headers);
        assert_eq!(
            found.parent.as_ref().map(words).as_deref(),
            Some(*expected),
            "{headers:?}"
        );
        assert!(!found.malformed, "{headers:?}");
    }
}

#[test]
fn invalid_headers_of_each_format_are_none_and_malformed() {
    let cases: &[&[(&str, &str)]] = &[
        &[("b3", "")],
        &[("b3", "2")],
        &[("b3", "d-1")],
        &[("b3", "463AC35C9F6413AD48485A3953BB6124-a2fb4a1d1a96d312-1")],
        &[("b3", "463ac35c9f6413ad4-a2fb4a1d1a96d312-1")],
        &[("b3", "0000000000000000-a2fb4a1d1a96d312-1")],
        &[("b3", "48485a3953bb6124-0000000000000000-1")],
        &[("b3", "48485a3953bb6124-a2fb4a1d1a96d31-1")],
        &[("b3", "48485a3953bb6124-a2fb4a1d1a96d312-x")],
        &[("b3", "48485a3953bb6124-a2fb4a1d1a96d312-1-zz")],
        &[("b3", "48485a3953bb6124-a2fb4a1d1a96d312-1-05e3ac9a4f6e3b90-1")],
        &[("b3", "48485a3953bb6124")],
        &[B3, B3],
        &[("x-b3-traceid", T128)],
        &[("x-b3-spanid", "a2fb4a1d1a96d312")],
        &[("x-b3-traceid", "zz"), ("x-b3-spanid", "a2fb4a1d1a96d312")],
        &[
            ("x-b3-traceid", T128),
            ("x-b3-spanid", "a2fb4a1d1a96d312"),
            ("x-b3-sampled", "maybe"),
        ],
        &[
            ("x-b3-traceid", T128),
            ("x-b3-spanid", "a2fb4a1d1a96d312"),
            ("x-b3-sampled", "d"),
        ],
        &[("uber-trace-id", "5a3:d312:0")],
        &[("uber-trace-id", "5a3:d312:0:1:2")],
        &[("uber-trace-id", "5a3:d312:0:")],
        &[("uber-trace-id", "5a3:d312:0:001")],
        &[("uber-trace-id", "0:d312:0:1")],
        &[("uber-trace-id", "5a3:0:0:1")],
        &[("uber-trace-id", "5a3:1a2fb4a1d1a96d312:0:1")],
        &[("uber-trace-id", "5a3%2Ad312:0:1")],
        &[("x-datadog-trace-id", "0")],
        &[("x-datadog-trace-id", "18446744073709551616")],
        &[("x-datadog-trace-id", "463ac35c")],
        &[("x-datadog-trace-id", "1"), ("x-datadog-parent-id", "-1")],
        &[
            ("x-datadog-trace-id", "1"),
            ("x-datadog-sampling-priority", "high"),
        ],
        &[
            ("x-datadog-trace-id", "1"),
            ("x-datadog-tags", "_dd.p.tid=463ac35c9f6413a"),
        ],
        &[
            ("x-datadog-trace-id", "1"),
            ("x-datadog-tags", "_dd.p.tid=463ac35c9f6413ag"),
        ],
        &[("x-amzn-trace-id", "Parent=53995c3f42cd8ad8;Sampled=1")],
        &[("x-amzn-trace-id", "Root=2-5759e988-bd862e3fe1be46a994272793")],
        &[("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a99427279")],
        &[("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a9942727933")],
        &[("x-amzn-trace-id", "Root=1-00000000-000000000000000000000000")],
        &[(
            "x-amzn-trace-id",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=5399",
        )],
        &[(
            "x-amzn-trace-id",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=2",
        )],
        &[(
            "x-amzn-trace-id",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Root=1-5759e988-bd862e3fe1be46a994272793",
        )],
        &[("x-cloud-trace-context", "105445aa7843bc8bf206b1200010000/74;o=1")],
        &[("x-cloud-trace-context", "00000000000000000000000000000000/74;o=1")],
        &[("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000/4a;o=1")],
        &[("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000;p=1")],
        &[("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000-74")],
        &[("grpc-trace-bin", "")],
        &[("grpc-trace-bin", "AQBGOsNcn2QTrUhIWjlTu2Ek")],
        &[("grpc-trace-bin", "AABGOsNcn2QTrUhIWjlTu2E=")],
        &[("grpc-trace-bin", "AAAAAAAAAAAAAAAAAAAAAAAA")],
        &[("grpc-trace-bin", "AABGOsNcn2QTrUhIWjlTu2EkAaL7Sh0altM=")],
        &[("grpc-trace-bin", "AABGOsNcn2QTrUhIWjlTu2EkAaL7Sh0altMSAg==")],
        &[("grpc-trace-bin", "AABGOsNcn2QTrUhIWjlT*AAA")],
    ];
    for headers in cases {
        let found = context(headers);
        assert_eq!(
            (found.parent, found.decision, found.malformed),
            (None, None, true),
            "{headers:?}"
        );
    }
}

#[test]
fn a_decision_without_a_trace_is_kept_as_such() {
    for (headers, decision) in [
        (&[("b3", "0")], Some(Sampled::No)),
        (&[("b3", "1")], Some(Sampled::Yes)),
        (&[("b3", "d")], Some(Sampled::Yes)),
        (&[("x-b3-sampled", "0")], Some(Sampled::No)),
        (&[("x-b3-sampled", "true")], Some(Sampled::Yes)),
        (&[("x-b3-flags", "1")], Some(Sampled::Yes)),
        (&[("x-b3-flags", "0")], None),
    ] {
        let found = context(headers);
        assert_eq!(
            (found.parent, found.decision, found.malformed),
            (None, decision, false),
            "{headers:?}"
        );
    }
}

#[test]
fn the_first_valid_format_of_the_ladder_wins_wherever_its_header_stands() {
    let ladder: &[&[(&str, &str)]] = &[
        &[W3C],
        &[B3],
        &[("x-b3-traceid", T128), ("x-b3-spanid", "a2fb4a1d1a96d312")],
        &[("uber-trace-id", "5a3:d312:0:1")],
        &[("x-datadog-trace-id", "1")],
        &[("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793")],
        &[("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000")],
        &[("grpc-trace-bin", "AABGOsNcn2QTrUhIWjlTu2EkAaL7Sh0altMSAgE=")],
    ];
    for (rung, headers) in ladder.iter().enumerate() {
        let expected = context(headers);
        let all_from_here: Vec<_> = ladder[rung..]
            .iter()
            .rev()
            .flat_map(|headers| headers.iter().copied())
            .collect();
        assert_eq!(context(&all_from_here), expected);
    }
}

#[test]
fn a_malformed_stronger_format_is_reported_and_passed_over() {
    let found = context(&[
        ("traceparent", "00-zz"),
        ("tracestate", "foo=1"),
        ("b3", "x"),
        ("uber-trace-id", "5a3:d312:0:1"),
    ]);
    assert_eq!(
        found.parent.as_ref().map(words).as_deref(),
        Some("jaeger 000000000000000000000000000005a3 000000000000d312 yes")
    );
    assert_eq!((found.malformed, found.tracestate), (true, None));
}

#[test]
fn a_weaker_format_is_not_looked_at_once_a_stronger_one_is_valid() {
    assert!(!context(&[W3C, ("b3", "x")]).malformed);
}

#[test]
fn the_list_of_headers_is_lower_case_without_repeats() {
    for (place, name) in CONTEXT_HEADERS.iter().enumerate() {
        assert_eq!(*name, name.to_ascii_lowercase());
        assert!(!CONTEXT_HEADERS[..place].contains(name));
    }
}
