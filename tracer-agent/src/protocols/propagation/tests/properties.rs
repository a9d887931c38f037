use proptest::prelude::*;

use super::{context, words};
use crate::protocols::propagation::{CONTEXT_HEADERS, extract};

proptest! {
    #[test]
    fn ids_of_every_format_come_back_as_they_were_sent(trace in 1u128.., span in 1u64.., sampled: bool) {
        let bit = u8::from(sampled);
        let decision = if sampled { "yes" } else { "no" };
        let (high, low) = (trace >> 64, trace & u128::from(u64::MAX));
        prop_assume!(low != 0);
        let written: &[(&str, &[(&str, String)])] = &[
            ("w3c", &[("traceparent", format!("00-{trace:032x}-{span:016x}-{bit:02x}"))]),
            ("b3", &[("b3", format!("{trace:032x}-{span:016x}-{bit}"))]),
            ("b3-multi", &[
                ("x-b3-traceid", format!("{trace:032x}")),
                ("x-b3-spanid", format!("{span:016x}")),
                ("x-b3-sampled", bit.to_string()),
            ]),
            ("jaeger", &[("uber-trace-id", format!("{trace:x}:{span:x}:0:{bit:x}"))]),
            ("datadog", &[
                ("x-datadog-trace-id", low.to_string()),
                ("x-datadog-parent-id", span.to_string()),
                ("x-datadog-tags", format!("_dd.p.dm=-1,_dd.p.tid={high:016x}")),
                ("x-datadog-sampling-priority", bit.to_string()),
            ]),
            ("aws", &[("x-amzn-trace-id", format!(
                "Root=1-{:08x}-{:024x};Parent={span:016x};Sampled={bit}", trace >> 96, trace & ((1 << 96) - 1)
            ))]),
            ("google", &[("x-cloud-trace-context", format!("{trace:032x}/{span};o={bit}"))]),
        ];
        for (format, headers) in written {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let found = context(&headers);
            prop_assert!(!found.malformed, "{headers:?}");
            prop_assert_eq!(
                found.parent.as_ref().map(words),
                Some(format!("{format} {trace:032x} {span:016x} {decision}"))
            );
        }
    }

    #[test]
    fn a_tracestate_is_read_back_as_its_own_output(
        members in prop::collection::vec("[a-z0-9][a-z0-9_*/@-]{0,20}=[!-+\\--<>-~]{1,40}", 0..40)
    ) {
        let parent = ("traceparent", "00-12345678901234567890123456789012-1234567890123456-01");
        let first = context(&[parent, ("tracestate", &members.join(" ,\t"))]);
        prop_assert_eq!(first.malformed, members.len() > 32);
        let tracestate = first.tracestate.clone().unwrap_or_default();
        prop_assert!(tracestate.len() <= 512);
        prop_assert_eq!(context(&[parent, ("tracestate", &tracestate)]).tracestate, first.tracestate);
    }

    #[test]
    fn arbitrary_values_never_panic(
        headers in prop::collection::vec((0..CONTEXT_HEADERS.len(), prop::collection::vec(any::<u8>(), 0..80)), 0..20)
    ) {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| httparse::Header { name: CONTEXT_HEADERS[*name], value })
            .collect();
        extract(&headers);
    }

    #[test]
    fn almost_valid_values_never_panic_and_change_nothing_if_they_are_refused(
        name in prop::sample::select(CONTEXT_HEADERS),
        value in "[0-9a-f:;=/%?,d_.PSRopt-]{0,60}",
    ) {
        let found = context(&[(name, &value)]);
        prop_assert!(!(found.malformed && found.parent.is_some()));
    }
}
