//! TLS and mutual TLS over both protocols, with certificates made for the test.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::{backend, checkout, host, listener, passage};
use crate::export::{BatchSettings, DropCause, Exporters, OtlpSettings, Report, Target};

/// A certificate authority with a server and a client, in PEM.
pub(super) struct Pki {
    folder: tempfile::TempDir,
    authority: String,
    server: (String, String),
}

pub(super) fn pki() -> Pki {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let names = vec![name.to_owned(), "backend.test".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        (
            params.signed_by(&key, &authority).unwrap().pem(),
            key.serialize_pem(),
        )
    };
    let (server, client) = (issue("localhost"), issue("agent"));
    let folder = tempfile::tempdir().unwrap();
    for (file, pem) in [
        ("ca.pem", &authority.pem()),
        ("client.pem", &client.0),
        ("client.key", &client.1),
    ] {
        fs::write(folder.path().join(file), pem).unwrap();
    }
    Pki {
        folder,
        authority: authority.pem(),
        server,
    }
}

impl Pki {
    /// A server for HTTP that wants a certificate of its clients.
    pub(super) fn rustls(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap())
            .unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(self.server.0.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(self.server.1.as_bytes()).unwrap(),
            )
            .unwrap();
        Arc::new(config)
    }

    /// The same for gRPC.
    pub(super) fn tonic(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(Identity::from_pem(&self.server.0, &self.server.1))
            .client_ca_root(Certificate::from_pem(&self.authority))
    }

    pub(super) fn file(&self, name: &str) -> String {
        Path::join(self.folder.path(), name).to_str().unwrap().to_owned()
    }

    /// The variables that name the files.
    pub(super) fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("CERTIFICATE", self.file("ca.pem")),
            ("CLIENT_CERTIFICATE", self.file("client.pem")),
            ("CLIENT_KEY", self.file("client.key")),
        ]
    }

    /// Puts the files of another authority in the place of these.
    fn rotate_to(&self, other: &Self, files: &[&str]) {
        for name in files {
            fs::copy(other.file(name), self.file(name)).unwrap();
        }
    }
}

fn settings(address: SocketAddr, protocol: &str, files: &[(&str, String)]) -> OtlpSettings {
    let url = format!("https://localhost:{}", address.port());
    let env = |name: &str| match name.strip_prefix("OTEL_EXPORTER_OTLP_")? {
        "PROTOCOL" => Some(protocol.to_owned()),
        name => files
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, file)| file.clone()),
    };
    OtlpSettings::from_env(Some(&url), env).unwrap().0
}

fn run(settings: OtlpSettings) -> Report {
    let target = Target::Otlp(settings);
    let exporters =
        Exporters::start(&[target], &BatchSettings::default(), &host(), listener().0, || ()).unwrap();
    exporters.send(checkout());
    exporters.shutdown(Duration::from_secs(2), &[])
}

#[test]
fn spans_pass_over_mutual_tls_and_stay_here_without_the_right_certificates() {
    let pki = pki();
    let trust = ("CERTIFICATE", pki.file("ca.pem"));
    let identity = [
        ("CLIENT_CERTIFICATE", pki.file("client.pem")),
        ("CLIENT_KEY", pki.file("client.key")),
    ];
    let [certificate, key] = identity;
    for protocol in ["http/protobuf", "grpc"] {
        let (address, log) = match protocol {
            "grpc" => backend::grpc(vec![], Some(pki.tonic())),
            _ => backend::http(vec![], Some(pki.rustls())),
        };
        let both = [trust.clone(), certificate.clone(), key.clone()];
        let report = run(settings(address, protocol, &both));
        assert_eq!(report.exporters[0].delivered, 10, "{protocol}");
        assert_eq!(log.received().len(), 1);
        for wrong in [&[trust.clone()][..], &[certificate.clone(), key.clone()][..]] {
            let report = run(settings(address, protocol, wrong));
            assert_eq!(
                report.exporters[0].dropped,
                [(DropCause::Shutdown, 10)],
                "{protocol} {wrong:?}"
            );
        }
        assert_eq!(
            log.received().len(),
            1,
            "nothing was sent without TLS on both sides"
        );
    }
}

#[test]
fn files_that_are_no_certificates_are_told_at_start() {
    let pki = pki();
    let address = SocketAddr::from(([127, 0, 0, 1], 4318));
    for protocol in ["http/protobuf", "grpc"] {
        for (file, words) in [
            (pki.file("missing.pem"), "cannot read "),
            (
                pki.file("client.key"),
                "TLS settings of the OTLP exporter: no certificate in the PEM file",
            ),
        ] {
            let target = Target::Otlp(settings(address, protocol, &[("CERTIFICATE", file)]));
            let started =
                Exporters::start(&[target], &BatchSettings::default(), &host(), listener().0, || ());
            let error = started.err().unwrap().to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }
}

#[test]
fn certificates_that_are_replaced_are_taken_by_the_next_connection() {
    for protocol in ["http/protobuf", "grpc"] {
        let (before, after) = (pki(), pki());
        let serve = |pki: &Pki| match protocol {
            "grpc" => backend::grpc(vec![], Some(pki.tonic())),
            _ => backend::http(vec![], Some(pki.rustls())),
        };
        let ((old, log_of_old), (new, log_of_new)) = (serve(&before), serve(&after));
        let passage = passage::plain(old);
        let settings = settings(passage.address, protocol, &before.variables());
        let target = Target::Otlp(settings);
        let exporters =
            Exporters::start(&[target], &BatchSettings::default(), &host(), listener().0, || ()).unwrap();
        let delivered = |spans: u64| {
            let began = Instant::now();
            while exporters.report().exporters[0].delivered < spans {
                assert!(
                    began.elapsed() < Duration::from_secs(10),
                    "{protocol}: {spans} are not delivered"
                );
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        exporters.send(checkout());
        delivered(10);
        // The backend believes the new authority alone; of the files only some are there yet.
        before.rotate_to(&after, &["client.pem"]);
        passage.lead_to(new);
        exporters.send(checkout());
        std::thread::sleep(Duration::from_millis(400));
        before.rotate_to(&after, &["client.key", "ca.pem"]);
        delivered(20);
        assert_eq!(
            (log_of_old.received().len(), log_of_new.received().len()),
            (1, 1),
            "{protocol}"
        );
        let report = exporters.shutdown(Duration::from_secs(2), &[]);
        assert_eq!(report.exporters[0].dropped, []);
    }
}
