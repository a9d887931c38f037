//! The servers and clients of HTTPS and of WebSocket over TLS, and what is to be seen of each.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{output, root, run};
use crate::runtimes;
use crate::setup;

/// What does TLS in a program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// As a shared library, on the socket or in memory.
    OpenSsl,
    /// In the program, which says where its functions are.
    OpenSslInside,
    /// `crypto/tls`.
    Go,
    /// JSSE.
    Java,
    Rustls,
}

impl Library {
    /// Why nothing in it is seen, if so: in the words of `tracer-agent check`.
    pub fn unseen(self) -> Option<&'static str> {
        match self {
            Self::OpenSsl | Self::OpenSslInside | Self::Go => None,
            Self::Java => Some("Java (JSSE)"),
            Self::Rustls => Some("rustls"),
        }
    }
}

/// A version of HTTP, as `network.protocol.version` has it, or what a connection is to turn to in the first.
pub type Http = &'static str;

pub const HTTP_1: Http = "1.1";
pub const HTTP_2: Http = "2";
pub const WEBSOCKET: Http = "websocket";
pub const HTTP: [Http; 3] = [HTTP_1, HTTP_2, WEBSOCKET];
/// Versions of TLS, which the server alone chooses.
pub const TLS: [&str; 2] = ["1.2", "1.3"];

/// A server or a client.
pub struct Part {
    /// As `matrix.py` calls it.
    pub name: &'static str,
    pub library: Library,
    /// The versions of HTTP that it speaks over TLS.
    pub http: &'static [Http],
    /// Makes it ready, and says which versions it is of.
    pub prepare: fn() -> Result<String>,
}

/// One table of the matrix: each of its servers is asked by each of its clients.
pub struct Table {
    pub http: &'static [Http],
    pub servers: &'static [Part],
    pub clients: &'static [Part],
}

pub const TABLES: [Table; 2] = [
    Table {
        http: &OF_HTTPS,
        servers: SERVERS,
        clients: CLIENTS,
    },
    Table {
        http: &[WEBSOCKET],
        servers: SERVERS_OF_WEBSOCKET,
        clients: CLIENTS_OF_WEBSOCKET,
    },
];

const OF_HTTPS: [Http; 2] = [HTTP_1, HTTP_2];

pub const SERVERS: &[Part] = &[
    part("nginx", Library::OpenSsl, &OF_HTTPS, nginx),
    part("node", Library::OpenSslInside, &OF_HTTPS, node),
    part("go", Library::Go, &OF_HTTPS, go),
    part("python", Library::OpenSsl, &[HTTP_1], python),
    part("hypercorn", Library::OpenSsl, &OF_HTTPS, hypercorn),
    part("java", Library::Java, &[HTTP_1], java),
];

pub const CLIENTS: &[Part] = &[
    part("curl", Library::OpenSsl, &OF_HTTPS, || {
        runtimes::version("curl", "--version")
    }),
    part("requests", Library::OpenSsl, &[HTTP_1], || {
        packages(&["requests", "urllib3"])
    }),
    part("httpx", Library::OpenSsl, &OF_HTTPS, || {
        packages(&["httpx", "h2"])
    }),
    part("aiohttp", Library::OpenSsl, &[HTTP_1], || packages(&["aiohttp"])),
    part("node-https", Library::OpenSslInside, &[HTTP_1], node),
    part("node-http2", Library::OpenSslInside, &[HTTP_2], node),
    part("node-fetch", Library::OpenSslInside, &[HTTP_1], node),
    part("go", Library::Go, &OF_HTTPS, go),
    part("java", Library::Java, &OF_HTTPS, java),
    part("reqwest-native-tls", Library::OpenSsl, &OF_HTTPS, reqwest),
    part("reqwest-rustls", Library::Rustls, &OF_HTTPS, reqwest),
];

const SERVERS_OF_WEBSOCKET: &[Part] = &[
    part("ws", Library::OpenSslInside, &[WEBSOCKET], ws),
    part("websockets", Library::OpenSsl, &[WEBSOCKET], || {
        packages(&["websockets"])
    }),
    part("aiohttp", Library::OpenSsl, &[WEBSOCKET], || {
        packages(&["aiohttp"])
    }),
    part("hypercorn", Library::OpenSsl, &[WEBSOCKET], hypercorn),
    part("gorilla", Library::Go, &[WEBSOCKET], go_of_websocket),
];

const CLIENTS_OF_WEBSOCKET: &[Part] = &[
    part("ws", Library::OpenSslInside, &[WEBSOCKET], ws),
    part("websockets", Library::OpenSsl, &[WEBSOCKET], || {
        packages(&["websockets"])
    }),
    part("aiohttp", Library::OpenSsl, &[WEBSOCKET], || {
        packages(&["aiohttp"])
    }),
    part("gorilla", Library::Go, &[WEBSOCKET], go_of_websocket),
    part("coder", Library::Go, &[WEBSOCKET], go_of_websocket),
];

const fn part(
    name: &'static str,
    library: Library,
    http: &'static [Http],
    prepare: fn() -> Result<String>,
) -> Part {
    Part {
        name,
        library,
        http,
        prepare,
    }
}

/// nginx says what it was built with to its standard error.
fn nginx() -> Result<String> {
    let told = Command::new("nginx")
        .arg("-V")
        .output()
        .context("nginx is not installed")?;
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let lines = told
        .lines()
        .map(|line| line.trim_start_matches("nginx version: "));
    Ok(lines
        .filter(|line| line.starts_with("nginx") || line.starts_with("built with"))
        .collect::<Vec<_>>()
        .join(", "))
}

fn python() -> Result<String> {
    let ask = "import platform, ssl; print(f'Python {platform.python_version()}, {ssl.OPENSSL_VERSION}')";
    output(Command::new(runtimes::python()).args(["-c", ask]))
}

fn packages(names: &[&str]) -> Result<String> {
    Ok(format!("{}, {}", runtimes::packages(names)?, python()?))
}

fn node() -> Result<String> {
    let ask = "`Node ${process.versions.node}, OpenSSL ${process.versions.openssl}, undici ${process.versions.undici}`";
    output(Command::new("node").args(["-p", ask])).context("node cannot be asked")
}

fn hypercorn() -> Result<String> {
    packages(&["hypercorn", "h2", "wsproto"])
}

fn ws() -> Result<String> {
    Ok(format!("{}, {}", runtimes::ws()?, node()?))
}

fn go_of_websocket() -> Result<String> {
    setup::need_go()?;
    let folder = root().join("tests/workloads/matrix/websocket");
    let built = root().join("target/matrix/websocket");
    run(Command::new("go")
        .current_dir(&folder)
        .args(["build", "-o"])
        .arg(built)
        .arg("."))?;
    let modules = ["github.com/gorilla/websocket", "github.com/coder/websocket"];
    let versions = output(
        Command::new("go")
            .current_dir(&folder)
            .args(["list", "-m"])
            .args(modules),
    )?;
    let go = output(Command::new("go").arg("version"))?;
    Ok(format!("{}, {go}", versions.replace('\n', ", ")))
}

fn go() -> Result<String> {
    setup::need_go()?;
    run(Command::new("go").current_dir(root()).args([
        "build",
        "-o",
        "target/matrix/go",
        "tests/workloads/matrix/main.go",
    ]))?;
    output(Command::new("go").arg("version"))
}

fn java() -> Result<String> {
    let version = runtimes::java()?;
    run(Command::new("javac").current_dir(root()).args([
        "-d",
        "target/matrix",
        "tests/workloads/matrix/Matrix.java",
    ]))?;
    Ok(version)
}

fn reqwest() -> Result<String> {
    setup::for_native_tls()?;
    let versions = runtimes::rust("matrix/reqwest", &["reqwest", "native-tls", "openssl", "rustls"])?;
    let library = output(Command::new("pkg-config").args(["--modversion", "libssl"]))?;
    Ok(format!("{versions}, OpenSSL {library}"))
}
