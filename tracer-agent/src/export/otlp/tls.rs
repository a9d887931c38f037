//! TLS of both clients: the certificates of the system or of a file, and the own identity. Files that cannot be used
//! are told at start, not at the first span; files that are replaced are taken by the next connection.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use tokio::time::Instant;

use super::{ClientError, settings::OtlpSettings};

/// An open connection outlives its files by no more than this.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The configuration of a client whose files may be replaced while it runs.
pub struct Rotating {
    settings: OtlpSettings,
    alpn: &'static [u8],
    current: Mutex<Current>,
}

struct Current {
    material: Material,
    config: Arc<ClientConfig>,
    looked: Instant,
}

impl Rotating {
    /// Reads the files.
    ///
    /// # Errors
    /// If one cannot be read, or they cannot be used together.
    pub fn new(settings: &OtlpSettings, alpn: &'static [u8]) -> Result<Self, ClientError> {
        let material = Material::read(settings)?;
        let current = Current {
            config: material.client_config(alpn)?,
            material,
            looked: Instant::now(),
        };
        Ok(Self {
            settings: settings.clone(),
            alpn,
            current: Mutex::new(current),
        })
    }

    /// What the files say now. Files that cannot be used, for instance since only one of two is replaced so far, leave it
    /// as it was.
    pub async fn config(self: &Arc<Self>) -> Arc<ClientConfig> {
        if let Some((material, config)) = self.changed().await {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            current.material = material;
            current.config = config;
        }
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .config
            .clone()
    }

    /// The files say something else than at the last connection; looked at once in [`LOOK_EVERY`].
    pub async fn is_outdated(self: &Arc<Self>) -> bool {
        {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.looked.elapsed() < LOOK_EVERY {
                return false;
            }
            current.looked = Instant::now();
        }
        self.changed().await.is_some()
    }

    /// Files may be on a network: they are read where waiting delays nobody.
    async fn changed(self: &Arc<Self>) -> Option<(Material, Arc<ClientConfig>)> {
        if self.settings.certificate.is_none() && self.settings.client_identity.is_none() {
            return None;
        }
        let this = Arc::clone(self);
        let look = move || {
            let material = Material::read(&this.settings).ok()?;
            let is_known = this
                .current
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .material
                == material;
            let config = material.client_config(this.alpn).ok()?;
            (!is_known).then_some((material, config))
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }
}

/// What the PEM files of the settings hold.
#[derive(PartialEq, Eq)]
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

    /// The configuration of a client that speaks the protocol `alpn`.
    ///
    /// # Errors
    /// If a file holds no certificate or key, or the two do not belong together.
    pub fn client_config(&self, alpn: &[u8]) -> Result<Arc<ClientConfig>, ClientError> {
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
        config.alpn_protocols = vec![alpn.to_vec()];
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
