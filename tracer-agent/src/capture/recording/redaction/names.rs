//! The header names a recording keeps, and the ones among them whose values it keeps.
//!
//! Values are kept only where the core reads them: for framing (`content-length`…), for spans (`host`,
//! `user-agent`, `grpc-status`) and for links (all of `CONTEXT_HEADERS`); and a few that say which software spoke (`server`,
//! `content-type`…), without which a bug report is hard to read. The other names are public words that carry
//! nothing; they are here so that a recording shows what was sent. A name that is not here is masked, for a
//! broken line may hold a secret where its name should be.

use crate::privacy::Privacy;

/// A header name, lower-case.
#[derive(Debug)]
pub(super) struct Known {
    pub name: &'static str,
    pub value_is_kept: bool,
}

/// Says which program somebody uses, and with it who that may be.
pub(super) const OF_CLIENT: &str = "user-agent";

impl Known {
    pub fn is_kept(&self, privacy: Privacy) -> bool {
        self.value_is_kept && (privacy != Privacy::Strict || self.name != OF_CLIENT)
    }
}

const fn kept(name: &'static str) -> Known {
    Known {
        name,
        value_is_kept: true,
    }
}

const fn masked(name: &'static str) -> Known {
    Known {
        name,
        value_is_kept: false,
    }
}

/// Sorted by name.
pub(super) static KNOWN: &[Known] = &[
    kept("accept"),
    kept("accept-encoding"),
    masked("accept-language"),
    masked("accept-ranges"),
    masked("access-control-allow-credentials"),
    masked("access-control-allow-headers"),
    masked("access-control-allow-methods"),
    masked("access-control-allow-origin"),
    masked("access-control-max-age"),
    masked("access-control-request-headers"),
    masked("access-control-request-method"),
    masked("age"),
    masked("allow"),
    masked("alt-svc"),
    masked("authorization"),
    kept("b3"),
    masked("cache-control"),
    kept("connection"),
    masked("content-disposition"),
    kept("content-encoding"),
    masked("content-language"),
    kept("content-length"),
    masked("content-location"),
    masked("content-range"),
    masked("content-security-policy"),
    kept("content-type"),
    masked("cookie"),
    kept("date"),
    masked("dnt"),
    masked("etag"),
    kept("expect"),
    masked("expires"),
    masked("forwarded"),
    masked("from"),
    masked("grpc-accept-encoding"),
    masked("grpc-encoding"),
    masked("grpc-message"),
    kept("grpc-status"),
    masked("grpc-timeout"),
    kept("grpc-trace-bin"),
    kept("host"),
    masked("if-match"),
    masked("if-modified-since"),
    masked("if-none-match"),
    masked("if-range"),
    masked("if-unmodified-since"),
    kept("keep-alive"),
    masked("last-modified"),
    masked("link"),
    masked("location"),
    masked("origin"),
    masked("pragma"),
    masked("proxy-authenticate"),
    masked("proxy-authorization"),
    masked("proxy-connection"),
    masked("range"),
    masked("referer"),
    masked("retry-after"),
    masked("sec-fetch-dest"),
    masked("sec-fetch-mode"),
    masked("sec-fetch-site"),
    masked("sec-fetch-user"),
    masked("sec-websocket-accept"),
    masked("sec-websocket-extensions"),
    masked("sec-websocket-key"),
    masked("sec-websocket-protocol"),
    masked("sec-websocket-version"),
    kept("server"),
    masked("server-timing"),
    masked("set-cookie"),
    masked("strict-transport-security"),
    kept("te"),
    kept("traceparent"),
    kept("tracestate"),
    kept("trailer"),
    kept("transfer-encoding"),
    kept("uber-trace-id"),
    kept("upgrade"),
    masked("upgrade-insecure-requests"),
    kept("user-agent"),
    masked("vary"),
    masked("via"),
    masked("www-authenticate"),
    kept("x-amzn-trace-id"),
    masked("x-api-key"),
    kept("x-b3-flags"),
    masked("x-b3-parentspanid"),
    kept("x-b3-sampled"),
    kept("x-b3-spanid"),
    kept("x-b3-traceid"),
    kept("x-cloud-trace-context"),
    masked("x-content-type-options"),
    kept("x-correlation-id"),
    masked("x-csrf-token"),
    masked("x-datadog-origin"),
    kept("x-datadog-parent-id"),
    kept("x-datadog-sampling-priority"),
    kept("x-datadog-tags"),
    kept("x-datadog-trace-id"),
    masked("x-forwarded-for"),
    masked("x-forwarded-host"),
    masked("x-forwarded-port"),
    masked("x-forwarded-proto"),
    masked("x-frame-options"),
    masked("x-powered-by"),
    masked("x-real-ip"),
    kept("x-request-id"),
    masked("x-requested-with"),
];

/// Those of `candidates`, which agree on their first `at` bytes, that go on with `byte` in either case.
pub(super) fn narrow(candidates: &'static [Known], at: usize, byte: u8) -> &'static [Known] {
    let byte = byte.to_ascii_lowercase();
    let next = |known: &Known| known.name.as_bytes().get(at).copied();
    let start = candidates.partition_point(|known| next(known) < Some(byte));
    let rest = candidates.get(start..).unwrap_or_default();
    let len = rest.partition_point(|known| next(known) == Some(byte));
    rest.get(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::KNOWN;
    use crate::protocols::propagation::CONTEXT_HEADERS;

    #[test]
    fn names_are_lower_case_sorted_and_without_repeats() {
        for pair in KNOWN.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} {}", pair[0].name, pair[1].name);
        }
        assert!(
            KNOWN
                .iter()
                .all(|known| known.name == known.name.to_ascii_lowercase())
        );
    }

    #[test]
    fn the_values_of_every_trace_context_header_are_kept() {
        for context in CONTEXT_HEADERS {
            assert!(
                KNOWN
                    .iter()
                    .any(|known| known.name == *context && known.value_is_kept),
                "{context}"
            );
        }
    }

    #[test]
    fn the_values_of_headers_that_carry_credentials_are_masked() {
        for secret in [
            "authorization",
            "cookie",
            "proxy-authorization",
            "set-cookie",
            "x-api-key",
            "referer",
            "location",
        ] {
            assert!(
                KNOWN
                    .iter()
                    .any(|known| known.name == secret && !known.value_is_kept),
                "{secret}"
            );
        }
    }
}
