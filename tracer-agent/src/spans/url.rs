//! The parts of a URL that spans name, out of a request target (RFC 9112 section 3.2) and `Host`, redacted.

use std::{borrow::Cow, net::IpAddr};

use compact_str::{CompactString, ToCompactString as _};

use crate::{
    capture::address::Address,
    privacy::{self, Privacy, REDACTED, segment},
};

/// A request target, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The scheme of an absolute form.
    pub scheme: Option<&'a str>,
    /// User and password of an absolute form were there.
    pub has_userinfo: bool,
    /// Host and port of an absolute or authority form.
    pub authority: Option<Authority<'a>>,
    /// The path; empty for the asterisk and authority forms.
    pub path: &'a str,
    /// The query, without `?`.
    pub query: Option<&'a str>,
}

/// A host with its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The host; an IPv6 address without its brackets.
    pub host: &'a str,
    /// The port, if it is a number.
    pub port: Option<u16>,
}

impl<'a> Target<'a> {
    /// Takes a request target apart; whatever it is, something comes out and nothing of a userinfo does.
    pub fn parse(method: &str, target: &'a str) -> Self {
        let mut parts = Self {
            scheme: None,
            has_userinfo: false,
            authority: None,
            path: "",
            query: None,
        };
        if target == "*" {
            return parts;
        }
        if method == "CONNECT" {
            parts.has_userinfo = target.contains('@');
            parts.authority = Authority::parse(without_userinfo(target));
            return parts;
        }
        let target = split(target, b'#').map_or(target, |(target, _)| target);
        let (target, query) = match split(target, b'?') {
            Some((target, query)) => (target, Some(query)),
            None => (target, None),
        };
        parts.query = query;
        parts.path = target;
        // Nearly all are paths, in which there is nothing to look for.
        let absolute = (!target.starts_with('/'))
            .then(|| target.split_once("://"))
            .flatten();
        let absolute = absolute.filter(|(scheme, _)| is_scheme(scheme));
        if let Some((scheme, rest)) = absolute {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            parts.scheme = Some(scheme);
            parts.has_userinfo = authority.contains('@');
            parts.authority = Authority::parse(without_userinfo(authority));
            parts.path = path;
        }
        parts
    }
}

impl<'a> Authority<'a> {
    /// The host and port of a `Host` header or `:authority`; a userinfo, which neither may have, is not told.
    pub fn of_header(text: &'a str) -> Option<Self> {
        Self::parse(without_userinfo(text))
    }

    /// The host and port of a `Host` header or the like; `None` if there is no host.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, rest.strip_prefix(':'))
            }
            None => match text.bytes().rposition(|byte| byte == b':') {
                Some(colon) => (text.get(..colon)?, text.get(colon + 1..)),
                None => (text, None),
            },
        };
        let is_of_no_host = |byte| matches!(byte, b'/' | b'@' | b'?' | b'#' | b' ');
        let is_host = !host.is_empty() && !host.bytes().any(is_of_no_host);
        is_host.then(|| Self {
            host,
            port: port.and_then(|port| port.parse().ok()),
        })
    }
}

/// The absolute URL of a request, with user and password redacted, a path that is to be shown, and the query.
pub fn full(
    scheme: &str,
    target: &Target<'_>,
    host: &str,
    port: Option<u16>,
    path: &str,
    privacy: Privacy,
) -> String {
    let brackets = host.contains(':');
    let mut url = if target.path.is_empty() && target.scheme.is_none() {
        String::from("//")
    } else {
        format!("{scheme}://")
    };
    if target.has_userinfo {
        url.push_str("REDACTED:REDACTED@");
    }
    url.push_str(if brackets { "[" } else { "" });
    url.push_str(host);
    url.push_str(if brackets { "]" } else { "" });
    if let Some(port) = port {
        url.push_str(&format!(":{port}"));
    }
    url.push_str(path);
    if let Some(text) = target.query {
        url.push('?');
        url.push_str(&query(text, privacy));
    }
    url
}

/// A path as it is told where no route is.
pub fn path(path: &str, privacy: Privacy) -> Cow<'_, str> {
    match privacy {
        Privacy::Open => Cow::Borrowed(path),
        Privacy::Default => privacy::path::masked(path),
        Privacy::Strict if matches!(path, "" | "/" | "*") => Cow::Borrowed(path),
        Privacy::Strict => Cow::Borrowed("/REDACTED"),
    }
}

/// A URL, or a reference to one, in the value of a header.
pub fn in_header(text: &str, privacy: Privacy) -> String {
    let target = Target::parse("", text);
    let shown = path(target.path, privacy);
    match (target.scheme, target.authority) {
        (Some(scheme), Some(Authority { host, port })) => full(scheme, &target, host, port, &shown, privacy),
        // Of what is none of these it is not known where a password would be.
        (Some(_), None) => REDACTED.to_owned(),
        (None, _) => match target.query {
            Some(text) => format!("{shown}?{}", query(text, privacy)),
            None => shown.into_owned(),
        },
    }
}

/// A query with its values redacted and its keys kept. What has no `=` may be a value, and a key that looks like a secret may be one,
/// so they are redacted too.
pub fn query(text: &str, privacy: Privacy) -> Cow<'_, str> {
    match privacy {
        _ if text.is_empty() => return Cow::Borrowed(text),
        Privacy::Open => return Cow::Borrowed(text),
        Privacy::Strict => return Cow::Borrowed(REDACTED),
        Privacy::Default => {}
    }
    let pairs = text.split('&').map(|pair| match pair.split_once('=') {
        Some((key, _)) if segment::is_secret_key(key.as_bytes()) => format!("{REDACTED}={REDACTED}"),
        Some((key, _)) => format!("{key}={REDACTED}"),
        None if pair.is_empty() => String::new(),
        None => REDACTED.to_owned(),
    });
    Cow::Owned(pairs.collect::<Vec<_>>().join("&"))
}

/// Host and port of a socket address, as texts of a URL want them.
pub fn socket(address: Address) -> Option<(CompactString, u16)> {
    match address {
        Address::Ip(address) => Some((written(address.ip().to_canonical()), address.port())),
        Address::Unix(..) => None,
    }
}

/// An address as it is written. That of version 4 without the library's formatter, which takes longer than all else of an attribute.
fn written(address: IpAddr) -> CompactString {
    let IpAddr::V4(address) = address else {
        return address.to_compact_string();
    };
    let mut text = [0; "255.255.255.255.".len()];
    let mut rest = text.iter_mut();
    let mut put = |byte| rest.next().into_iter().for_each(|place| *place = byte);
    for octet in address.octets() {
        if octet >= 100 {
            put(b'0' + octet / 100);
        }
        if octet >= 10 {
            put(b'0' + octet / 10 % 10);
        }
        put(b'0' + octet % 10);
        put(b'.');
    }
    let unused = rest.len();
    let text = text.get(..text.len() - unused - 1).unwrap_or_default();
    CompactString::from_utf8_lossy(text)
}

/// The port that a scheme means when none is written.
pub fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

fn without_userinfo(authority: &str) -> &str {
    let at = authority.bytes().rposition(|byte| byte == b'@');
    at.and_then(|at| authority.get(at + 1..)).unwrap_or(authority)
}

/// What is before an ASCII character and behind it. In texts as short as these a search by the library is mostly its preparations.
fn split(text: &str, byte: u8) -> Option<(&str, &str)> {
    let place = text.bytes().position(|other| other == byte)?;
    Some((text.get(..place)?, text.get(place + 1..)?))
}

fn is_scheme(text: &str) -> bool {
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphabetic());
    starts_well
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(method: &str, target: &str) -> String {
        let target = Target::parse(method, target);
        let authority = target.authority.unwrap_or(Authority {
            host: "h",
            port: None,
        });
        let scheme = target.scheme.unwrap_or("http");
        let path = path(target.path, Privacy::Default);
        full(
            scheme,
            &target,
            authority.host,
            authority.port,
            &path,
            Privacy::Default,
        )
    }

    #[test]
    fn every_form_of_a_target_gives_its_url_redacted() {
        let cases = [
            ("GET", "/", "http://h/"),
            (
                "GET",
                "/a/b?token=secret&x=1#frag",
                "http://h/a/b?token=REDACTED&x=REDACTED",
            ),
            ("GET", "/a?secret", "http://h/a?REDACTED"),
            ("GET", "/a?k=v=w&&=z", "http://h/a?k=REDACTED&&=REDACTED"),
            ("GET", "/a?", "http://h/a?"),
            ("GET", "/a?me@example.com=1", "http://h/a?REDACTED=REDACTED"),
            (
                "GET",
                "/u/me@example.com;v=1?k",
                "http://h/u/REDACTED;v=REDACTED?REDACTED",
            ),
            ("GET", "/go?to=http://user:pw@x/", "http://h/go?to=REDACTED"),
            (
                "GET",
                "http://user:p%40ss@example.com:8080/p?q=1",
                "http://REDACTED:REDACTED@example.com:8080/p?q=REDACTED",
            ),
            (
                "GET",
                "https://[2001:db8::1]:8443/",
                "https://[2001:db8::1]:8443/",
            ),
            ("GET", "http://example.com", "http://example.com"),
            ("OPTIONS", "*", "//h"),
            ("CONNECT", "example.com:443", "//example.com:443"),
            (
                "CONNECT",
                "user:pw@example.com:443",
                "//REDACTED:REDACTED@example.com:443",
            ),
        ];
        for (method, target, expected) in cases {
            assert_eq!(url(method, target), expected, "{method} {target}");
        }
    }

    #[test]
    fn no_target_leaks_its_userinfo() {
        for target in [
            "http://me:secret@h/",
            "http://secret@h",
            "http://a@secret@h/",
            "https://:secret@h:1/x",
        ] {
            assert!(!url("GET", target).contains("secret"), "{target}");
        }
    }

    #[test]
    fn a_host_is_taken_apart_and_nonsense_is_none() {
        let host = |text| Authority::parse(text).map(|authority| (authority.host, authority.port));
        assert_eq!(host("example.com"), Some(("example.com", None)));
        assert_eq!(host("example.com:8080"), Some(("example.com", Some(8080))));
        assert_eq!(host("example.com:"), Some(("example.com", None)));
        assert_eq!(host("[::1]:80"), Some(("::1", Some(80))));
        assert_eq!(host("example.com:99999"), Some(("example.com", None)));
        let of_header = Authority::of_header("me:hunter2@shop:80");
        assert_eq!(of_header.map(|it| (it.host, it.port)), Some(("shop", Some(80))));
        for wrong in ["", ":80", "[::1", "a b", "user@h", "h/x"] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn in_the_open_paths_and_queries_are_kept_and_passwords_are_not() {
        assert_eq!(query("a=1&b", Privacy::Open), "a=1&b");
        assert_eq!(path("/u/me@example.com", Privacy::Open), "/u/me@example.com");
        assert_eq!(
            in_header("http://me:pw@h/u/me@example.com?a=1#b", Privacy::Open),
            "http://REDACTED:REDACTED@h/u/me@example.com?a=1"
        );
    }

    #[test]
    fn in_strictness_nothing_of_a_path_or_query_is_told() {
        assert_eq!(query("a=1&b", Privacy::Strict), "REDACTED");
        assert_eq!(path("/users/42", Privacy::Strict), "/REDACTED");
        assert_eq!(path("/", Privacy::Strict), "/");
    }

    #[test]
    fn a_url_in_a_header_is_redacted_whatever_its_form() {
        for (text, expected) in [
            (
                "http://me:pw@h/a?k=v#x",
                "http://REDACTED:REDACTED@h/a?k=REDACTED",
            ),
            ("/reset/9f86d081884c7d659a2feaa0c55ad015", "/reset/REDACTED"),
            ("//me:pw@h/a", "//REDACTED/a"),
            ("a?b", "a?REDACTED"),
            ("http://:pw@/", "REDACTED"),
            ("", ""),
        ] {
            assert_eq!(in_header(text, Privacy::Default), expected, "{text}");
        }
    }

    #[test]
    fn an_address_is_written_as_the_library_does() {
        for octets in [[0, 0, 0, 0], [1, 10, 100, 255], [99, 109, 9, 200]] {
            let address = std::net::Ipv4Addr::from(octets);
            assert_eq!(written(address.into()), address.to_string());
        }
    }
}
