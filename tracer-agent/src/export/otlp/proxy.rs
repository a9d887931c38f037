//! Which proxy a backend is reached by: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, in upper or lower case, by the
//! rules of Go's `httpproxy`, which are those of the other agents on a host.

use std::net::IpAddr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{Uri, header::HeaderValue};
use percent_encoding::percent_decode_str;

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Value of `Proxy-Authorization`, marked as sensitive.
    pub authorization: Option<HeaderValue>,
}

impl Proxy {
    /// The proxy for this endpoint, if there is one.
    pub fn from_env(
        endpoint: &Uri,
        env: &dyn Fn(&str) -> Option<String>,
        warnings: &mut Vec<String>,
    ) -> Option<Self> {
        let get = |name: &str| {
            let value = env(name).or_else(|| env(&name.to_ascii_lowercase()))?;
            Some(value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let (name, default_port) = match endpoint.scheme_str() {
            Some("https") => ("HTTPS_PROXY", 443),
            _ => ("HTTP_PROXY", 80),
        };
        let value = get(name)?;
        let host = endpoint.host().unwrap_or_default();
        let port = endpoint.port_u16().unwrap_or(default_port);
        if is_direct(host, port, &get("NO_PROXY").unwrap_or_default()) {
            return None;
        }
        let proxy = Self::parse(&value);
        if proxy.is_none() {
            // Not its value, which may hold a password.
            warnings.push(format!("{name} is not a URL like http://proxy:3128: ignored"));
        }
        proxy
    }

    fn parse(text: &str) -> Option<Self> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return None,
            None => text,
        };
        let rest = rest.trim_end_matches('/');
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        let uri: Uri = format!("http://{authority}/").parse().ok()?;
        let authorization = match user {
            Some(user) => Some(basic(user)?),
            None => None,
        };
        Some(Self {
            host: uri.host().filter(|host| !host.is_empty())?.to_owned(),
            port: uri.port_u16().unwrap_or(80),
            authorization,
        })
    }
}

/// `user:password`, each percent-encoded, as RFC 7617 wants it.
fn basic(user: &str) -> Option<HeaderValue> {
    let plain: Vec<u8> = percent_decode_str(user).collect();
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether a host is reached without a proxy: loopback always, else what the list names.
fn is_direct(host: &str, port: u16, list: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    list.split([',', ' '])
        .filter(|entry| !entry.is_empty())
        .any(|entry| is_named(&host, address, port, &entry.to_ascii_lowercase()))
}

/// An entry is `*`, a domain with all below it, one with a dot before it for those below alone, an address or a network;
/// a domain or an address may have a port.
fn is_named(host: &str, address: Option<IpAddr>, port: u16, entry: &str) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        let network = network.parse().ok().zip(bits.parse().ok());
        return network
            .zip(address)
            .is_some_and(|((network, bits), address)| is_within(address, network, bits));
    }
    let (name, entry_port) = with_port(entry);
    if entry_port.is_some_and(|wanted| wanted != port) {
        return false;
    }
    if let Ok(named) = name.parse::<IpAddr>() {
        return address == Some(named);
    }
    let name = name.strip_prefix('*').unwrap_or(name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

fn with_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => (name, port.parse().ok()),
        _ => (entry, None),
    }
}

/// The first `bits` of both are the same.
fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            let differing = u32::from(address) ^ u32::from(network);
            differing.leading_zeros() >= bits
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            let differing = u128::from(address) ^ u128::from(network);
            differing.leading_zeros() >= bits
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(endpoint: &'static str, variables: &[(&str, &str)]) -> (Option<Proxy>, Vec<String>) {
        let mut warnings = Vec::new();
        let env = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let proxy = Proxy::from_env(&Uri::from_static(endpoint), &env, &mut warnings);
        (proxy, warnings)
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let variables = [("HTTPS_PROXY", "http://a:1"), ("http_proxy", "b:2")];
        let at = |endpoint| {
            let (proxy, warnings) = found(endpoint, &variables);
            assert_eq!(warnings, [""; 0]);
            proxy.map(|proxy| (proxy.host, proxy.port))
        };
        assert_eq!(at("https://backend/"), Some(("a".into(), 1)));
        assert_eq!(at("http://backend:4318/"), Some(("b".into(), 2)));
        assert_eq!(at("http://localhost:4318/"), None);
        assert_eq!(at("http://127.0.0.9:4318/"), None);
        assert_eq!(at("http://[::1]:4318/"), None);
    }

    #[test]
    fn credentials_are_sent_and_never_shown() {
        let (proxy, _) = found(
            "https://backend/",
            &[("HTTPS_PROXY", "http://us%65r:p%40ss@proxy:3128/")],
        );
        let proxy = proxy.unwrap();
        let authorization = proxy.authorization.clone().unwrap();
        assert_eq!(
            authorization,
            format!("Basic {}", BASE64_STANDARD.encode("user:p@ss"))
        );
        assert!(format!("{proxy:?}").contains("Sensitive"), "{proxy:?}");
        for value in [
            "socks5://user:secret@proxy",
            "https://user:secret@proxy",
            "http://user:secret@",
        ] {
            let (proxy, warnings) = found("https://backend/", &[("HTTPS_PROXY", value)]);
            assert_eq!(proxy, None);
            assert!(
                warnings[0].starts_with("HTTPS_PROXY is not a URL"),
                "{warnings:?}"
            );
            assert!(!warnings[0].contains("secret"));
        }
    }

    #[test]
    fn what_the_list_names_is_reached_without_a_proxy() {
        for (host, list, direct) in [
            ("backend", "*", true),
            ("backend", "", false),
            ("backend", "other, backend", true),
            ("a.example.com", "example.com", true),
            ("A.Example.com", "EXAMPLE.com", true),
            ("badexample.com", "example.com", false),
            ("example.com", ".example.com", false),
            ("a.example.com", ".example.com", true),
            ("a.example.com", "*.example.com", true),
            ("a.example.com", "example.com:4317", true),
            ("a.example.com", "example.com:4318", false),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "10.0.0.0/33", false),
            ("[fd00::1]", "fd00::/8", true),
            ("[fd00::1]", "[fd00::1]:4317", true),
            ("backend", "10.0.0.0/8", false),
        ] {
            assert_eq!(is_direct(host, 4317, list), direct, "{host} by {list:?}");
        }
    }
}
