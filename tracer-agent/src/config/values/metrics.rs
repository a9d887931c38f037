//! Where metrics go.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::{NotAValue, export::is_url};

/// One destination of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsTarget {
    /// Scrapers, and who asks for the agent's health, connect to an address of this host.
    Prometheus {
        /// The address; `None` for that of `OTEL_EXPORTER_PROMETHEUS_*`.
        address: Option<SocketAddr>,
    },
    /// A backend that speaks OTLP; `OTEL_EXPORTER_OTLP_*` say the rest.
    Otlp {
        /// Endpoint in the place of `OTEL_EXPORTER_OTLP_ENDPOINT`.
        url: Option<String>,
    },
}

/// The port that is registered for exporters of OpenTelemetry to Prometheus.
const PORT: u16 = 9464;

impl FromStr for MetricsTarget {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        let target = match text.split_once('=') {
            None if text == "prometheus" => Some(Self::Prometheus { address: None }),
            None if text == "otlp" => Some(Self::Otlp { url: None }),
            Some(("prometheus", address)) => listen(address).map(|address| Self::Prometheus {
                address: Some(address),
            }),
            Some(("otlp", url)) if is_url(url) => Some(Self::Otlp {
                url: Some(url.to_owned()),
            }),
            _ => None,
        };
        target.ok_or(NotAValue(
            "prometheus, prometheus=ADDRESS:PORT, otlp or otlp=http://HOST:PORT",
        ))
    }
}

/// An address to listen on: `PORT` alone and `localhost:PORT` are on loopback.
fn listen(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.parse() {
        return Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.parse().ok()?));
    }
    text.parse().ok()
}

/// The address of `OTEL_EXPORTER_PROMETHEUS_HOST` and `OTEL_EXPORTER_PROMETHEUS_PORT`, on loopback where they say nothing, and what in them
/// was ignored.
pub fn of_environment(env: impl Fn(&str) -> Option<String>) -> (SocketAddr, Vec<String>) {
    let mut warnings = Vec::new();
    let mut variable = |name: &str, wanted: &str, is_good: &dyn Fn(&str) -> bool| {
        let text = env(name)?.trim().to_owned();
        if text.is_empty() || is_good(&text) {
            return Some(text);
        }
        warnings.push(format!("{name}={text} is not {wanted}: ignored"));
        None
    };
    let named = variable("OTEL_EXPORTER_PROMETHEUS_HOST", "an address", &|text| {
        host(text).is_some()
    });
    let port = variable("OTEL_EXPORTER_PROMETHEUS_PORT", "a port", &|text| {
        text.parse::<u16>().is_ok()
    });
    let host = named.as_deref().and_then(host);
    let port = port.and_then(|text| text.parse().ok());
    let address = SocketAddr::new(host.unwrap_or(Ipv4Addr::LOCALHOST.into()), port.unwrap_or(PORT));
    (address, warnings)
}

fn host(text: &str) -> Option<IpAddr> {
    match text.trim_matches(['[', ']']) {
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        "ip6-localhost" => Some(Ipv6Addr::LOCALHOST.into()),
        address => address.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prometheus(address: &str) -> MetricsTarget {
        MetricsTarget::Prometheus {
            address: Some(address.parse().unwrap()),
        }
    }

    #[test]
    fn a_port_alone_is_on_loopback() {
        assert_eq!("prometheus=9464".parse(), Ok(prometheus("127.0.0.1:9464")));
        assert_eq!("prometheus=localhost:1".parse(), Ok(prometheus("127.0.0.1:1")));
        assert_eq!("prometheus=0.0.0.0:80".parse(), Ok(prometheus("0.0.0.0:80")));
        assert_eq!("prometheus=[::1]:0".parse(), Ok(prometheus("[::1]:0")));
        assert_eq!(
            "prometheus".parse(),
            Ok(MetricsTarget::Prometheus { address: None })
        );
        assert_eq!(
            "otlp=http://h:4318".parse(),
            Ok(MetricsTarget::Otlp {
                url: Some("http://h:4318".into())
            })
        );
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        for text in [
            "",
            "prometheus=",
            "prometheus=:9464",
            "prometheus=65536",
            "prometheus=host:80",
            "prometheus=1.2.3.4",
            "otlp=",
            "otlp=h:4318",
            "9464",
            "console",
        ] {
            assert!(text.parse::<MetricsTarget>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_environment_names_host_and_port_and_says_nothing_by_default() {
        let of = |pairs: &[(&str, &str)]| {
            of_environment(|name| {
                let pair = pairs.iter().find(|(known, _)| *known == name);
                pair.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[]), ("127.0.0.1:9464".parse().unwrap(), vec![]));
        let (address, warnings) = of(&[
            ("OTEL_EXPORTER_PROMETHEUS_HOST", "0.0.0.0"),
            ("OTEL_EXPORTER_PROMETHEUS_PORT", "99"),
        ]);
        assert_eq!((address, warnings.len()), ("0.0.0.0:99".parse().unwrap(), 0));
        let (address, warnings) = of(&[
            ("OTEL_EXPORTER_PROMETHEUS_HOST", "example.com"),
            ("OTEL_EXPORTER_PROMETHEUS_PORT", "x"),
        ]);
        assert_eq!((address, warnings.len()), ("127.0.0.1:9464".parse().unwrap(), 2));
    }
}
