//! `OTEL_EXPORTER_OTLP_*`, as the specification of the OTLP exporter says.
//!
//! A value of `OTEL_EXPORTER_OTLP_TRACES_X` (`METRICS` for metrics) wins over `OTEL_EXPORTER_OTLP_X`; an empty value is none. Numbers and
//! words that cannot be read are ignored with a warning, as the specification wants; an endpoint or a
//! file that cannot be used is an error, because spans would go nowhere.
//!
//! One addition: without a protocol in the environment, an endpoint whose port is written as 4317 is spoken
//! to in gRPC, because that port is registered for it and nothing else would answer there.

use std::{path::PathBuf, time::Duration};

use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
};
use percent_encoding::percent_decode_str;

use self::endpoint::RawEndpoint;
use super::{durable::DiskSettings, proxy::Proxy};

mod endpoint;

/// How spans are put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    HttpProtobuf,
    /// `http/json`
    HttpJson,
}

/// What is sent: each signal has variables, a path and a service of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    #[default]
    Traces,
    /// Metrics.
    Metrics,
}

impl Signal {
    /// As the names of its variables have it.
    const fn variable(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    /// The path that is added to an endpoint for all signals, for HTTP.
    const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// The method of gRPC that takes it.
    pub const fn grpc_path(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// `none`
    None,
    /// `gzip`
    Gzip,
    /// `zstd`, which the specification does not ask backends for; the Collector takes it.
    Zstd,
}

impl Compression {
    /// The value of `Content-Encoding`.
    pub fn coding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// Where and how spans or metrics are sent.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpSettings {
    /// What.
    pub signal: Signal,
    /// How.
    pub protocol: Protocol,
    /// Where: for HTTP the whole URL, for gRPC its origin. The scheme is `http` or `https`, the host not empty.
    pub endpoint: Uri,
    /// Headers of every request (metadata for gRPC); values are marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The limit of one attempt.
    pub timeout: Duration,
    /// How requests are compressed.
    pub compression: Compression,
    /// PEM file of the certificates to trust, instead of those of the system.
    pub certificate: Option<PathBuf>,
    /// PEM files of the own certificate and its key, for mutual TLS.
    pub client_identity: Option<ClientIdentity>,
    /// The proxy that the backend is reached by.
    pub proxy: Option<Proxy>,
    /// Further endpoints of the same destination: requests take turns among all of them.
    pub others: Vec<Place>,
    /// Batches wait on disk too.
    pub disk: Option<DiskSettings>,
}

/// An endpoint beside the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// As [`OtlpSettings::endpoint`].
    pub endpoint: Uri,
    /// The proxy that it is reached by.
    pub proxy: Option<Proxy>,
}

/// PEM files that say who the agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// Why spans would go nowhere.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// Not a URL.
    #[error("{origin}: {value:?} is not a URL: write it like http://localhost:4318")]
    NotUrl {
        /// The variable or flag.
        origin: String,
        /// Its value, without what stands before an `@`.
        value: String,
    },
    /// Neither http nor https.
    #[error("{origin}: scheme {scheme:?} is not supported: use http:// or https://")]
    Scheme {
        /// The variable or flag.
        origin: String,
        /// The scheme.
        scheme: String,
    },
    /// A user or password in the URL.
    #[error("{origin}: credentials in a URL are not sent: put them into OTEL_EXPORTER_OTLP_HEADERS")]
    Credentials {
        /// The variable or flag.
        origin: String,
    },
    /// No protocol is said, and the ports speak of two.
    #[error(
        "{origin}: endpoints of one destination speak one protocol, but only some have the port of gRPC, 4317: \
         set OTEL_EXPORTER_OTLP_PROTOCOL"
    )]
    Mixed {
        /// The flag.
        origin: String,
    },
    /// One half of the identity.
    #[error("a client certificate needs its key: set both {certificate} and {key}")]
    HalfIdentity {
        /// Name of the variable of the certificate.
        certificate: &'static str,
        /// Name of the variable of the key.
        key: &'static str,
    },
}

impl OtlpSettings {
    /// The settings of this environment, and the warnings about what was ignored in it.
    ///
    /// `urls` are those of `--export otlp=URL,URL`, of one destination. They win over the environment; one with a path is
    /// used as it is, to one without the path of its protocol is added.
    ///
    /// # Errors
    /// If an endpoint cannot be used, or only half of a client identity is given.
    pub fn from_env(
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<String>), SettingsError> {
        Self::of(Signal::Traces, urls, env)
    }

    /// The same for a signal; `urls` are those of its flag.
    ///
    /// # Errors
    /// As [`Self::from_env`].
    pub fn of(
        signal: Signal,
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<String>), SettingsError> {
        let env = Environment(signal, &env);
        let mut warnings = Vec::new();
        let raw = RawEndpoint::find(urls, &env);
        let protocol = match env.protocol(&mut warnings) {
            Some(protocol) => protocol,
            None => endpoint::protocol(&raw)?,
        };
        let insecure = env.flag("INSECURE", &mut warnings);
        let mut endpoints: Vec<Uri> = Vec::new();
        for raw in raw {
            let endpoint = raw.resolve(signal, protocol, insecure)?;
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        if endpoints.is_empty() {
            endpoints.push(match (protocol, signal) {
                (Protocol::Grpc, _) => Uri::from_static("http://localhost:4317"),
                (_, Signal::Traces) => Uri::from_static("http://localhost:4318/v1/traces"),
                (_, Signal::Metrics) => Uri::from_static("http://localhost:4318/v1/metrics"),
            });
        }
        let mut places: Vec<Place> = endpoints
            .into_iter()
            .map(|endpoint| Place {
                proxy: Proxy::from_env(&endpoint, env.1, &mut warnings),
                endpoint,
            })
            .collect();
        // The same variable for each of them.
        warnings.dedup();
        let Place { endpoint, proxy } = places.remove(0);
        let settings = Self {
            signal,
            protocol,
            proxy,
            endpoint,
            others: places,
            headers: env.headers(&mut warnings),
            timeout: env.timeout(&mut warnings),
            compression: env.compression(&mut warnings),
            certificate: env.get("CERTIFICATE").map(|(_, path)| path.into()),
            client_identity: env.client_identity()?,
            disk: None,
        };
        Ok((settings, warnings))
    }

    /// The same for each endpoint alone, in the order in which they were given.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        let alone = Self {
            others: Vec::new(),
            ..self.clone()
        };
        let of_other = |place: &Place| Self {
            endpoint: place.endpoint.clone(),
            proxy: place.proxy.clone(),
            ..alone.clone()
        };
        let others: Vec<Self> = self.others.iter().map(of_other).collect();
        std::iter::once(alone).chain(others)
    }

    /// The names of the endpoints, in the order in which they were given, without what may be secret; each is another.
    pub fn names(&self) -> Vec<String> {
        let others = self.others.iter().map(|place| &place.endpoint);
        let mut names: Vec<String> = Vec::new();
        for endpoint in std::iter::once(&self.endpoint).chain(others) {
            let scheme = endpoint.scheme_str().unwrap_or_default();
            let host = endpoint.authority().map_or("", |host| host.as_str());
            let name = format!("{scheme}://{host}");
            // Paths tell them apart, and may hold keys.
            let name = match names.contains(&name) {
                true => format!("{name} ({})", names.len() + 1),
                false => name,
            };
            names.push(name);
        }
        names
    }

    /// The directory of this destination below that of the queues: the same in every run, and without secrets. It is that of
    /// the first endpoint, so that others may come and go.
    pub fn queue_name(&self) -> String {
        let host = self.endpoint.host().unwrap_or_default();
        let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-');
        let host: String = host.chars().filter(|char| plain(*char)).take(64).collect();
        let port = self
            .endpoint
            .port_u16()
            .map_or(String::new(), |port| format!("-{port}"));
        // Paths may hold keys, so they are told apart by their checksum.
        let checksum = crc32fast::hash(self.endpoint.to_string().as_bytes());
        format!("otlp-{host}{port}-{checksum:08x}")
    }

    /// TLS is spoken.
    pub fn is_tls(&self) -> bool {
        self.endpoint.scheme_str() == Some("https")
    }
}

/// The variables of this exporter, the one for its signal first.
struct Environment<'a>(Signal, &'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    /// Name and value of a variable.
    fn get(&self, what: &str) -> Option<(String, String)> {
        [
            format!("OTEL_EXPORTER_OTLP_{}_{what}", self.0.variable()),
            format!("OTEL_EXPORTER_OTLP_{what}"),
        ]
        .into_iter()
        .find_map(|name| {
            let value = (self.1)(&name)?.trim().to_owned();
            (!value.is_empty()).then_some((name, value))
        })
    }

    fn protocol(&self, warnings: &mut Vec<String>) -> Option<Protocol> {
        let (name, value) = self.get("PROTOCOL")?;
        match value.as_str() {
            "grpc" => Some(Protocol::Grpc),
            "http/protobuf" => Some(Protocol::HttpProtobuf),
            "http/json" => Some(Protocol::HttpJson),
            _ => {
                warnings.push(format!(
                    "{name}={value} is none of grpc, http/protobuf, http/json: ignored"
                ));
                None
            }
        }
    }

    fn timeout(&self, warnings: &mut Vec<String>) -> Duration {
        let default = Duration::from_secs(10);
        let Some((name, value)) = self.get("TIMEOUT") else {
            return default;
        };
        match value.parse() {
            Ok(millis @ 1..) => Duration::from_millis(millis),
            _ => {
                warnings.push(format!("{name}={value} is not a number of milliseconds: ignored"));
                default
            }
        }
    }

    fn compression(&self, warnings: &mut Vec<String>) -> Compression {
        let Some((name, value)) = self.get("COMPRESSION") else {
            return Compression::None;
        };
        match value.as_str() {
            "none" => Compression::None,
            "gzip" => Compression::Gzip,
            "zstd" => Compression::Zstd,
            _ => {
                warnings.push(format!("{name}={value} is none of gzip, zstd, none: ignored"));
                Compression::None
            }
        }
    }

    fn flag(&self, what: &str, warnings: &mut Vec<String>) -> bool {
        let Some((name, value)) = self.get(what) else {
            return false;
        };
        if value.eq_ignore_ascii_case("true") {
            return true;
        }
        if !value.eq_ignore_ascii_case("false") {
            warnings.push(format!(
                "{name}={value} is neither true nor false: taken as false"
            ));
        }
        false
    }

    /// `key1=value1,key2=value2`, values percent-encoded. What is wrong is named without its value.
    fn headers(&self, warnings: &mut Vec<String>) -> Vec<(HeaderName, HeaderValue)> {
        let Some((name, list)) = self.get("HEADERS") else {
            return Vec::new();
        };
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for (place, pair) in list
            .split(',')
            .enumerate()
            .filter(|(_, pair)| !pair.trim().is_empty())
        {
            let Some(header) = header(pair) else {
                warnings.push(format!(
                    "{name}: entry {} is not key=value with a legal key: ignored",
                    place + 1
                ));
                continue;
            };
            headers.retain(|(known, _)| *known != header.0);
            headers.push(header);
        }
        headers
    }

    fn client_identity(&self) -> Result<Option<ClientIdentity>, SettingsError> {
        match (self.get("CLIENT_CERTIFICATE"), self.get("CLIENT_KEY")) {
            (Some((_, certificate)), Some((_, key))) => Ok(Some(ClientIdentity {
                certificate: certificate.into(),
                key: key.into(),
            })),
            (None, None) => Ok(None),
            _ => Err(SettingsError::HalfIdentity {
                certificate: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
                key: "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            }),
        }
    }
}

fn header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (key, value) = pair.split_once('=')?;
    let key = HeaderName::from_bytes(key.trim().as_bytes()).ok()?;
    let value = percent_decode_str(value.trim()).collect::<Vec<u8>>();
    let mut value = HeaderValue::from_bytes(&value).ok()?;
    value.set_sensitive(true);
    Some((key, value))
}

#[cfg(test)]
mod tests;
