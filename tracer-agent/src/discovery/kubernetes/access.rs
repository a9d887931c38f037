//! The way to the API server: where it is, which certificates it has to show, and who the agent is to it.
//!
//! In: the variables and files that a kubelet gives to every pod. Out: connections, and the token to send on them. Kept true:
//! token and certificates are read anew for each use, since they are replaced while the agent runs; the token is never shown.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::net::sockopt;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::http::{Connection, Trouble, within};

/// Where a kubelet mounts the service account of a pod.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Bytes of a token or of certificates that are read.
const FILE_MAX: u64 = 256 << 10;
/// For a connection to stand, and for TLS to be agreed on.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection on which nothing comes is asked after so long whether it still is one, and given up three questions later.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The way to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    host: String,
    port: u16,
    /// The folder with `token` and `ca.crt`.
    account: PathBuf,
}

/// The node that the agent is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name` of the node.
    pub name: String,
    /// Nobody has said so: it is the name of the host.
    pub is_guessed: bool,
}

impl Access {
    /// That of a pod; `None` outside of a cluster, or without a service account.
    pub fn in_cluster(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let access = Self {
            host: variable("KUBERNETES_SERVICE_HOST")?,
            port: variable("KUBERNETES_SERVICE_PORT")?.parse().ok()?,
            account: ACCOUNT.into(),
        };
        access.account.join("token").is_file().then_some(access)
    }

    /// To an API server at an address, by the files in a folder.
    pub fn new(host: &str, port: u16, account: &Path) -> Self {
        Self {
            host: host.to_owned(),
            port,
            account: account.to_owned(),
        }
    }

    /// `Host` of requests.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// What to show to the API server now.
    pub(super) fn token(&self) -> Result<String, Trouble> {
        let token = read(&self.account.join("token"))?;
        let token = String::from_utf8(token).map_err(|error| Trouble::away(&error))?;
        Ok(token.trim().to_owned())
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Connection, Trouble> {
        let roots = read(&self.account.join("ca.crt"))?;
        let tls = TlsConnector::from(trusting(&roots)?);
        let name = ServerName::try_from(self.host.clone()).map_err(|error| Trouble::away(&error))?;
        let address = (self.host.as_str(), self.port);
        let stream = within(PATIENCE, "connection", TcpStream::connect(address)).await?;
        let stream = stream.map_err(|error| Trouble::away(&error))?;
        stay_sure(&stream).map_err(|error| Trouble::away(&error))?;
        let stream = within(PATIENCE, "agreement on TLS", tls.connect(name, stream)).await?;
        Connection::over(stream.map_err(|error| Trouble::away(&error))?).await
    }
}

impl Node {
    /// As the pod of the agent is told by a field of its own (`spec.nodeName`), else the name of the host.
    pub fn of(variable: impl Fn(&str) -> Option<String>, host_name: &str) -> Self {
        let said = ["K8S_NODE_NAME", "NODE_NAME"]
            .into_iter()
            .find_map(|name| variable(name).filter(|value| !value.is_empty()));
        Self {
            is_guessed: said.is_none(),
            // Kubelets take the name of their host in lower case.
            name: said.unwrap_or_else(|| host_name.to_ascii_lowercase()),
        }
    }
}

/// A peer that is gone without a word is noticed.
fn stay_sure(stream: &TcpStream) -> Result<(), rustix::io::Errno> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE / 3)?;
    sockopt::set_tcp_keepcnt(stream, 3)
}

fn trusting(pem: &[u8]) -> Result<Arc<ClientConfig>, Trouble> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| Trouble::away(&error))?;
        roots.add(certificate).map_err(|error| Trouble::away(&error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Trouble::away(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes))
        .map_err(|error| Trouble::Away(format!("{}: {error}", path.display())))?;
    Ok(bytes)
}
