//! `error.type`: a closed list of words of low cardinality.

use std::borrow::Cow;

use crate::protocols::exchange::{Failure, Side};

/// The value of `error.type` for an exchange; `None` if it did not fail. The list: `connection_reset`,
/// `connection_closed`, `timeout_waiting`, the name of an `errno` ([`errno_name`]), that of an error code of HTTP/2
/// ([`reset_name`]), or the status code.
pub fn of(side: Side, status: Option<u16>, failure: Option<Failure>) -> Option<Cow<'static, str>> {
    match failure {
        Some(Failure::Reset) => return Some("connection_reset".into()),
        Some(Failure::Closed) => return Some("connection_closed".into()),
        Some(Failure::Unanswered) => return Some("timeout_waiting".into()),
        Some(Failure::Errno(errno)) => return Some(errno_name(errno).into()),
        Some(Failure::StreamReset(code)) => return Some(reset_name(code).into()),
        None => {}
    }
    let lowest = match side {
        Side::Inbound => 500,
        Side::Outbound => 400,
    };
    status
        .filter(|status| *status >= lowest)
        .map(|status| status.to_string().into())
}

/// Why a stream was reset (RFC 9113 §7), else `_OTHER`.
pub fn reset_name(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.copied().unwrap_or("_OTHER")
}

macro_rules! errno_names {
    ($($name:ident)+) => {
        /// The name of an `errno` that a socket can report, else `_OTHER`.
        pub fn errno_name(errno: u32) -> &'static str {
            match i32::try_from(errno) {
                $(Ok(libc::$name) => stringify!($name),)+
                _ => "_OTHER",
            }
        }
    };
}

errno_names! {
    EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY EBADF ECONNABORTED ECONNREFUSED ECONNRESET
    EHOSTDOWN EHOSTUNREACH EINPROGRESS EINTR EINVAL EIO EISCONN EMFILE EMSGSIZE ENETDOWN ENETRESET ENETUNREACH
    ENFILE ENOBUFS ENOENT ENOMEM ENOTCONN EPERM EPIPE EPROTO ESHUTDOWN ETIMEDOUT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_4xx_is_an_error_to_the_client_alone_and_a_5xx_to_both() {
        for (status, client, server) in [
            (101, None, None),
            (302, None, None),
            (404, Some("404"), None),
            (500, Some("500"), Some("500")),
            (799, Some("799"), Some("799")),
        ] {
            assert_eq!(
                of(Side::Outbound, Some(status), None).as_deref(),
                client,
                "client {status}"
            );
            assert_eq!(
                of(Side::Inbound, Some(status), None).as_deref(),
                server,
                "server {status}"
            );
        }
    }

    #[test]
    fn a_failure_says_more_than_the_status_that_came_before_it() {
        let cases = [
            (Failure::Reset, "connection_reset"),
            (Failure::Closed, "connection_closed"),
            (Failure::Unanswered, "timeout_waiting"),
            (Failure::Errno(111), "ECONNREFUSED"),
            (Failure::Errno(u32::MAX), "_OTHER"),
            (Failure::StreamReset(8), "CANCEL"),
            (Failure::StreamReset(14), "_OTHER"),
        ];
        for (failure, expected) in cases {
            assert_eq!(
                of(Side::Inbound, Some(200), Some(failure)).as_deref(),
                Some(expected)
            );
        }
    }
}
