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

use super::{durable::DiskSettings, proxy::Proxy};

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
    /// Batches wait on disk too.
    pub disk: Option<DiskSettings>,
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
    /// `endpoint` is the URL of `--export otlp=URL`. It wins over the environment; with a path it is used
    /// as it is, without one the path of its protocol is added.
    ///
    /// # Errors
    /// If the endpoint cannot be used, or only half of a client identity is given.
    pub fn from_env(
        endpoint: Option<&str>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<String>), SettingsError> {
        Self::of(Signal::Traces, endpoint, env)
    }

    /// The same for a signal; `endpoint` is the URL of its flag.
    ///
    /// # Errors
    /// As [`Self::from_env`].
    pub fn of(
        signal: Signal,
        endpoint: Option<&str>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<String>), SettingsError> {
        let env = Environment(signal, &env);
        let mut warnings = Vec::new();
        let raw = RawEndpoint::find(endpoint, &env);
        let protocol = env.protocol(&mut warnings).unwrap_or(match &raw {
            Some(raw) if raw.port() == Some(4317) => Protocol::Grpc,
            _ => Protocol::HttpProtobuf,
        });
        let insecure = env.flag("INSECURE", &mut warnings);
        let endpoint = match raw {
            Some(raw) => raw.resolve(signal, protocol, insecure)?,
            None if protocol == Protocol::Grpc => Uri::from_static("http://localhost:4317"),
            None => match signal {
                Signal::Traces => Uri::from_static("http://localhost:4318/v1/traces"),
                Signal::Metrics => Uri::from_static("http://localhost:4318/v1/metrics"),
            },
        };
        let settings = Self {
            signal,
            protocol,
            proxy: Proxy::from_env(&endpoint, env.1, &mut warnings),
            endpoint,
            headers: env.headers(&mut warnings),
            timeout: env.timeout(&mut warnings),
            compression: env.compression(&mut warnings),
            certificate: env.get("CERTIFICATE").map(|(_, path)| path.into()),
            client_identity: env.client_identity()?,
            disk: None,
        };
        Ok((settings, warnings))
    }

    /// The directory of this destination below that of the queues: the same in every run, and without secrets.
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

/// An endpoint as somebody wrote it.
struct RawEndpoint {
    origin: String,
    text: String,
    kind: EndpointKind,
}

#[derive(PartialEq, Eq)]
enum EndpointKind {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the path of the signal is added for HTTP.
    Base,
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`: used as it is.
    Exact,
    /// The flag: exact if it has a path.
    Flag,
}

impl RawEndpoint {
    fn find(flag: Option<&str>, env: &Environment<'_>) -> Option<Self> {
        if let Some(text) = flag {
            let origin = match env.0 {
                Signal::Traces => "--export otlp",
                Signal::Metrics => "--metrics otlp",
            };
            let origin = origin.to_owned();
            return Some(Self {
                origin,
                text: text.trim().to_owned(),
                kind: EndpointKind::Flag,
            });
        }
        let (origin, text) = env.get("ENDPOINT")?;
        let exact = origin.contains(env.0.variable());
        let kind = if exact {
            EndpointKind::Exact
        } else {
            EndpointKind::Base
        };
        Some(Self { origin, text, kind })
    }

    fn port(&self) -> Option<u16> {
        self.text.parse::<Uri>().ok()?.port_u16()
    }

    fn resolve(&self, signal: Signal, protocol: Protocol, insecure: bool) -> Result<Uri, SettingsError> {
        let origin = || self.origin.clone();
        if self.text.contains('@') {
            return Err(SettingsError::Credentials { origin: origin() });
        }
        let not_url = || SettingsError::NotUrl {
            origin: origin(),
            value: self.text.clone(),
        };
        let uri: Uri = self.text.parse().map_err(|_| not_url())?;
        let authority = uri
            .authority()
            .filter(|authority| !authority.host().is_empty())
            .ok_or_else(not_url)?;
        let scheme = match uri.scheme_str() {
            Some(scheme @ ("http" | "https")) => scheme,
            // Only gRPC knows a target without a scheme; it is secure unless told otherwise.
            None if protocol == Protocol::Grpc && insecure => "http",
            None if protocol == Protocol::Grpc => "https",
            None => return Err(not_url()),
            Some(scheme) => {
                return Err(SettingsError::Scheme {
                    origin: origin(),
                    scheme: scheme.to_owned(),
                });
            }
        };
        let path = uri.path();
        let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let path = match self.kind {
            _ if protocol == Protocol::Grpc => "/".to_owned(),
            EndpointKind::Exact => format!("{path}{query}"),
            EndpointKind::Flag if !matches!(path, "" | "/") => format!("{path}{query}"),
            EndpointKind::Base | EndpointKind::Flag => {
                format!("{}{}{query}", path.trim_end_matches('/'), signal.path())
            }
        };
        Uri::builder()
            .scheme(scheme)
            .authority(authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|_| not_url())
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
