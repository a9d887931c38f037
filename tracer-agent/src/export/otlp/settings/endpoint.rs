//! Endpoints as they were written, and the URLs that they stand for.

use hyper::Uri;

use super::{Environment, Protocol, SettingsError, Signal};

/// An endpoint as somebody wrote it.
pub(super) struct RawEndpoint {
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
    /// Those of the flag, else that of the environment, if it has one.
    pub(super) fn find(urls: impl IntoIterator<Item = impl AsRef<str>>, env: &Environment<'_>) -> Vec<Self> {
        let flag = match env.0 {
            Signal::Traces => "--export otlp",
            Signal::Metrics => "--metrics otlp",
        };
        let of_flag = |text: &str| Self {
            origin: flag.to_owned(),
            text: text.trim().to_owned(),
            kind: EndpointKind::Flag,
        };
        let found: Vec<Self> = urls.into_iter().map(|url| of_flag(url.as_ref())).collect();
        if !found.is_empty() {
            return found;
        }
        let of_variable = |(origin, text): (String, String)| Self {
            kind: match origin.contains(env.0.variable()) {
                true => EndpointKind::Exact,
                false => EndpointKind::Base,
            },
            origin,
            text,
        };
        env.get("ENDPOINT").map(of_variable).into_iter().collect()
    }

    fn port(&self) -> Option<u16> {
        self.text.parse::<Uri>().ok()?.port_u16()
    }

    /// The whole URL, for gRPC its origin.
    pub(super) fn resolve(
        &self,
        signal: Signal,
        protocol: Protocol,
        insecure: bool,
    ) -> Result<Uri, SettingsError> {
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

/// The protocol that the ports of these speak of, where nobody says which.
pub(super) fn protocol(endpoints: &[RawEndpoint]) -> Result<Protocol, SettingsError> {
    let is_of_grpc = |endpoint: &RawEndpoint| endpoint.port() == Some(4317);
    match endpoints.iter().filter(|endpoint| is_of_grpc(endpoint)).count() {
        0 => Ok(Protocol::HttpProtobuf),
        all if all == endpoints.len() => Ok(Protocol::Grpc),
        _ => Err(SettingsError::Mixed {
            origin: endpoints
                .first()
                .map(|endpoint| endpoint.origin.clone())
                .unwrap_or_default(),
        }),
    }
}
