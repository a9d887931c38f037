//! TLS of the HTTP client: the certificates of the system or of a file, and the own identity. The gRPC client
//! brings its own; both read the same files and fail on them at start, not at the first span.

use std::{fs, io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{ClientError, settings::OtlpSettings};

/// What the PEM files of the settings hold.
pub struct Material {
    /// Certificates to trust; `None`: those of the system.
    pub certificate: Option<Vec<u8>>,
    /// Own certificate chain and key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Material {
    /// Reads the files.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn read(settings: &OtlpSettings) -> Result<Self, ClientError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|error| ClientError::File {
                path: path.to_owned(),
                error,
            })
        };
        Ok(Self {
            certificate: settings.certificate.as_deref().map(read).transpose()?,
            identity: settings
                .client_identity
                .as_ref()
                .map(|identity| Ok((read(&identity.certificate)?, read(&identity.key)?)))
                .transpose()?,
        })
    }

    /// The configuration of a client that speaks HTTP/1.1.
    ///
    /// # Errors
    /// If a file holds no certificate or key, or the two do not belong together.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, ClientError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ClientError::tls)?
            .with_root_certificates(self.roots()?);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(
                    certificates(chain)?,
                    PrivateKeyDer::from_pem_slice(key).map_err(ClientError::tls)?,
                )
                .map_err(ClientError::tls)?,
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, ClientError> {
        let mut roots = RootCertStore::empty();
        match &self.certificate {
            Some(pem) => {
                for certificate in certificates(pem)? {
                    roots.add(certificate).map_err(ClientError::tls)?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
        }
        if roots.is_empty() {
            let error = io::Error::other("no certificate to trust: set OTEL_EXPORTER_OTLP_CERTIFICATE");
            return Err(ClientError::tls(error));
        }
        Ok(roots)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(ClientError::tls)?;
    if found.is_empty() {
        return Err(ClientError::tls(io::Error::other(
            "no certificate in the PEM file",
        )));
    }
    Ok(found)
}
