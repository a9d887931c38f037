//! What an answer means for a batch, and when to try again, as the OTLP specification says
//! (sections "Failures", "OTLP/gRPC Throttling" and "OTLP/HTTP Throttling").

use std::time::{Duration, SystemTime};

use tonic::Code;

/// What an answer, or its absence, means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The backend has it, save for the spans or data points it rejected.
    Delivered {
        /// Those it did not take.
        rejected: u64,
        /// Its words, often empty.
        message: String,
    },
    /// It may be sent again.
    Retry {
        /// Not before this time has passed, if the backend says so.
        after: Option<Duration>,
        /// Why, for people.
        why: String,
    },
    /// It must not be sent again.
    Refused {
        /// Why, for people.
        why: String,
    },
}

/// First wait of the exponential backoff.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// Longest wait of the exponential backoff.
const LONGEST_BACKOFF: Duration = Duration::from_secs(15);
/// A batch is given up when this much time has passed since its first attempt.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// Words of a backend are cut here.
const MAX_WORDS: usize = 300;

/// The wait before attempt `attempt + 1`, `attempt` counted from 1: doubled each time, then between a half
/// and the whole of it by `random`, so that agents do not come back all at once.
pub fn backoff(attempt: u32, random: u64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    let whole = FIRST_BACKOFF.saturating_mul(1 << doublings).min(LONGEST_BACKOFF);
    let half = whole / 2;
    half + half * u32::from((random & 0xffff) as u16) / 0xffff
}

/// Verdict on an HTTP status outside 200 to 299.
pub fn http_verdict(status: u16, retry_after: Option<&str>, words: &str, now: SystemTime) -> Verdict {
    let why = match clipped(words) {
        words if words.is_empty() => format!("HTTP {status}"),
        words => format!("HTTP {status}: {words}"),
    };
    match status {
        429 | 502 | 503 | 504 => Verdict::Retry {
            after: retry_after.and_then(|value| parse_retry_after(value, now)),
            why,
        },
        _ => Verdict::Refused { why },
    }
}

/// Verdict on a gRPC status other than OK. `retry_info` is the delay of a `RetryInfo` among its details.
pub fn grpc_verdict(code: Code, retry_info: Option<Duration>, words: &str) -> Verdict {
    let name = format!("{code:?}");
    let why = match clipped(words) {
        words if words.is_empty() => format!("gRPC {name}"),
        words => format!("gRPC {name}: {words}"),
    };
    let retryable = match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        // Without RetryInfo the backend does not say that it can recover.
        Code::ResourceExhausted => retry_info.is_some(),
        _ => false,
    };
    if retryable {
        Verdict::Retry {
            after: retry_info,
            why,
        }
    } else {
        Verdict::Refused { why }
    }
}

/// `Retry-After` in seconds or as an HTTP date (RFC 9110, 10.2.3); `None` if it is neither.
fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Words of a backend for the log: one line of bounded length without control characters.
pub fn clipped(words: &str) -> String {
    let mut clipped: String = words
        .trim()
        .chars()
        .take(MAX_WORDS)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if words.trim().chars().nth(MAX_WORDS).is_some() {
        clipped.push('…');
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_statuses_are_retried_by_the_list_of_the_specification() {
        for status in 300..600 {
            let verdict = http_verdict(status, None, "", SystemTime::UNIX_EPOCH);
            let retried = matches!(verdict, Verdict::Retry { after: None, .. });
            assert_eq!(retried, [429, 502, 503, 504].contains(&status), "{status}");
        }
    }

    #[test]
    fn grpc_codes_are_retried_by_the_list_of_the_specification() {
        let second = Some(Duration::from_secs(1));
        for code in (1..=16).map(Code::from) {
            let always = matches!(
                code,
                Code::Cancelled
                    | Code::DeadlineExceeded
                    | Code::Aborted
                    | Code::OutOfRange
                    | Code::Unavailable
                    | Code::DataLoss
            );
            let retried =
                |info| matches!(grpc_verdict(code, info, ""), Verdict::Retry { after, .. } if after == info);
            assert_eq!(retried(None), always, "{code:?}");
            assert_eq!(
                retried(second),
                always || code == Code::ResourceExhausted,
                "{code:?}"
            );
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let after = |value| match http_verdict(503, Some(value), "", now) {
            Verdict::Retry { after, .. } => after,
            verdict => panic!("{verdict:?}"),
        };
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            after("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            after("Sun, 06 Nov 1994 08:49:00 GMT"),
            Some(Duration::ZERO),
            "a date that has passed"
        );
        assert_eq!(after("soon"), None);
        assert_eq!(after("-1"), None);
    }

    #[test]
    fn backoff_doubles_up_to_its_bound_and_is_never_less_than_half() {
        let range = |attempt| {
            (
                backoff(attempt, 0).as_millis(),
                backoff(attempt, u64::MAX).as_millis(),
            )
        };
        assert_eq!(range(1), (500, 1_000));
        assert_eq!(range(2), (1_000, 2_000));
        assert_eq!(range(4), (4_000, 8_000));
        assert_eq!(range(5), (7_500, 15_000));
        assert_eq!(range(u32::MAX), (7_500, 15_000));
    }

    #[test]
    fn words_of_a_backend_are_one_line_of_bounded_length() {
        assert_eq!(clipped("  a\nb\x1bc "), "a b c");
        assert_eq!(clipped(&"é".repeat(400)).chars().count(), MAX_WORDS + 1);
    }
}
