//! What workloads are written in and sent through: whether it is there, and its version.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::{find, output, root, run, say};
use crate::setup;
use crate::setup::pinned::{Pinned, make_java, make_node, make_python};

/// A word among the options of chain.py, and the version of what it stands for.
type Runtime = (&'static str, fn() -> Result<String>);

const RUNTIMES: &[Runtime] = &[
    ("--via-nginx", nginx),
    ("aiohttp", || packages(&["aiohttp"])),
    ("uvicorn", || packages(&["uvicorn", "starlette", "httpx"])),
    ("gunicorn", || packages(&["gunicorn"])),
    ("uvloop", || packages(&["uvloop"])),
    ("node", || version("node", "--version")),
    ("fetch", || {
        output(Command::new("node").args(["-p", "`fetch: undici ${process.versions.undici}`"]))
    }),
    ("express", express),
    ("axum", || rust("axum", &["axum", "reqwest", "tokio"])),
    ("grpcio", || packages(&["grpcio"])),
    ("grpc-go", grpc_go),
    ("grpc-js", grpc_js),
    ("grpc-java", grpc_java),
    ("tonic", || rust("tonic", &["tonic", "h2", "tokio"])),
    ("uvicorn+sdk", sdk_of_python),
    ("node+sdk", sdk_of_node),
    ("go", || version("go", "version")),
    ("java", java),
    ("tomcat", tomcat),
    ("webflux", webflux),
    ("virtual", java_with_virtual_threads),
    ("puma", puma),
];
/// The first release of Java with virtual threads.
const VIRTUAL_THREADS: u32 = 21;

const PYTHON: Pinned = Pinned {
    name: "packages of Python",
    why: "workloads are written for them",
    pinned_by: "tests/workloads/requirements.txt",
    program: "target/workloads/bin/python",
    make: make_python,
};

const EXPRESS: Pinned = Pinned {
    name: "packages of Node",
    why: "workloads are written for them",
    pinned_by: "tests/workloads/express/package-lock.json",
    program: "target/express/node_modules/express/package.json",
    make: make_node,
};

const GRPC_JS: Pinned = Pinned {
    name: "gRPC of Node",
    why: "workloads call by it",
    pinned_by: "tests/workloads/grpc-js/package-lock.json",
    program: "target/grpc-js/node_modules/@grpc/grpc-js/package.json",
    make: make_node,
};

const WS: Pinned = Pinned {
    name: "WebSocket of Node",
    why: "servers and clients of the matrix speak it",
    pinned_by: "tests/workloads/matrix/ws/package-lock.json",
    program: "target/matrix-ws/node_modules/ws/package.json",
    make: make_node,
};

const GRPC_JAVA: Pinned = Pinned {
    name: "gRPC of Java",
    why: "workloads call by it",
    pinned_by: "tests/workloads/grpc-java/pom.xml",
    program: "target/grpc-java/grpc-netty-shaded-1.85.1.jar",
    make: make_java,
};

const TOMCAT: Pinned = Pinned {
    name: "Tomcat",
    why: "workloads are served by it",
    pinned_by: "tests/workloads/tomcat/pom.xml",
    program: "target/tomcat/tomcat-embed-core-10.1.30.jar",
    make: make_java,
};

const WEBFLUX: Pinned = Pinned {
    name: "libraries of WebFlux",
    why: "workloads are served by it",
    pinned_by: "tests/workloads/webflux/pom.xml",
    program: "target/webflux/spring-webflux-6.1.14.jar",
    make: make_java,
};

const SDK_OF_PYTHON: Pinned = Pinned {
    name: "OpenTelemetry SDK of Python",
    why: "services that trace themselves are traced beside others",
    pinned_by: "tests/workloads/otel-python/requirements.txt",
    program: "target/otel-python/bin/python",
    make: make_python,
};

const SDK_OF_NODE: Pinned = Pinned {
    name: "OpenTelemetry SDK of Node",
    why: "services that trace themselves are traced beside others",
    pinned_by: "tests/workloads/otel-js/package-lock.json",
    program: "target/otel-js/node_modules/@opentelemetry/sdk-node/package.json",
    make: make_node,
};

/// What calls by gRPC, and speaks HTTP/2, what traces itself, axum and puma.
const LIVE: &[&str] = &[
    "grpcio",
    "grpc-js",
    "grpc-java",
    "tonic",
    "axum",
    "uvicorn+sdk",
    "node+sdk",
    "puma",
];

/// What was looked for: why it cannot be used, if it cannot.
#[derive(Default)]
pub struct Runtimes(BTreeMap<&'static str, Option<String>>);

impl Runtimes {
    /// Why a workload with these options cannot run here, if it cannot. Says the version of each runtime once.
    pub fn lack(&mut self, options: &str) -> Option<String> {
        let needed = RUNTIMES
            .iter()
            .filter(|(word, _)| options.split(' ').any(|option| option == *word));
        let mut lacks = needed.map(|&(word, version)| self.look(word, version));
        lacks.find_map(|lack| lack)
    }

    /// Installs what live tests run beside programs of the system; says what cannot be, since those tests are skipped then.
    pub fn for_live_tests(&mut self) {
        for word in LIVE {
            if let Some(lack) = self.lack(word) {
                say(format!("{word}: {lack}"));
            }
        }
    }

    fn look(&mut self, word: &'static str, version: fn() -> Result<String>) -> Option<String> {
        let lack = self.0.entry(word).or_insert_with(|| match version() {
            Ok(version) => {
                say(version);
                None
            }
            Err(error) => Some(format!("{error:#}")),
        });
        lack.clone()
    }
}

/// The Python that starts a workload: with packages, once one was asked for that needs them.
pub fn python() -> PathBuf {
    let python = PYTHON.program();
    if python.exists() { python } else { "python3".into() }
}

pub fn python_version() -> Result<String> {
    version("python3", "--version")
}

/// The packages of Python by these names, installed, and their versions.
pub fn packages(names: &[&str]) -> Result<String> {
    PYTHON.install()?;
    let ask = "import sys; from importlib.metadata import version; \
               print(', '.join(f'{name} {version(name)}' for name in sys.argv[1:]))";
    output(Command::new(PYTHON.program()).args(["-c", ask]).args(names))
}

/// Where Node looks for packages.
pub fn node_path() -> PathBuf {
    root().join("target/express/node_modules")
}

fn express() -> Result<String> {
    EXPRESS.install()?;
    let ask = "`express ${require(process.argv[1]).version}`";
    output(Command::new("node").args(["-p", ask]).arg(EXPRESS.program()))
}

/// The first line that a program says of its version.
pub fn version(program: &str, option: &str) -> Result<String> {
    if find(program).is_none() {
        bail!("{program} is not installed");
    }
    let told = output(Command::new(program).arg(option))?;
    let line = told.lines().next().unwrap_or_default();
    Ok(format!("{program}: {line}"))
}

/// nginx tells it to its standard error.
fn nginx() -> Result<String> {
    let told = Command::new("nginx")
        .arg("-v")
        .output()
        .context("nginx is not installed")?;
    Ok(String::from_utf8_lossy(&told.stderr).trim().to_owned())
}

/// The program in this crate of the workloads, built here, so that none waits for it, and the versions of these packages.
pub fn rust(name: &str, packages: &[&str]) -> Result<String> {
    let manifest = format!("tests/workloads/{name}/Cargo.toml");
    let cargo = |command| {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(root())
            .args([command, "--locked", "--manifest-path", &manifest]);
        cargo
    };
    run(cargo("build").args(["--quiet", "--release", "--target-dir", &format!("target/{name}")]))?;
    let versions = packages.iter().map(|package| {
        let id = output(cargo("pkgid").arg(package))?;
        let version = id.rsplit(['#', '@']).next().unwrap_or_default();
        anyhow::Ok(format!("{package} {version}"))
    });
    Ok(versions.collect::<Result<Vec<_>>>()?.join(", "))
}

fn grpc_go() -> Result<String> {
    let go = version("go", "version")?;
    let module = ["list", "-m", "google.golang.org/grpc"];
    let grpc = output(
        Command::new("go")
            .current_dir(root().join("tests/workloads/grpc-go"))
            .args(module),
    )?;
    Ok(format!("{grpc}, {go}"))
}

fn grpc_js() -> Result<String> {
    GRPC_JS.install()?;
    let ask = "`grpc-js ${require(process.argv[1]).version}`";
    output(Command::new("node").args(["-p", ask]).arg(GRPC_JS.program()))
}

/// WebSocket of Node, installed, and its version.
pub fn ws() -> Result<String> {
    WS.install()?;
    let ask = "`ws ${require(process.argv[1]).version}`";
    output(Command::new("node").args(["-p", ask]).arg(WS.program()))
}

fn sdk_of_python() -> Result<String> {
    SDK_OF_PYTHON.install()?;
    let ask =
        "from importlib.metadata import version; print('opentelemetry-sdk', version('opentelemetry-sdk'))";
    output(Command::new(SDK_OF_PYTHON.program()).args(["-c", ask]))
}

fn sdk_of_node() -> Result<String> {
    SDK_OF_NODE.install()?;
    let ask = "`@opentelemetry/sdk-node ${require(process.argv[1]).version}`";
    output(Command::new("node").args(["-p", ask]).arg(SDK_OF_NODE.program()))
}

fn grpc_java() -> Result<String> {
    let java = java()?;
    in_jar(&GRPC_JAVA, &java)
}

fn tomcat() -> Result<String> {
    let java = java()?;
    in_jar(&TOMCAT, &java)
}

fn webflux() -> Result<String> {
    let java = java()?;
    WEBFLUX.install()?;
    let folder = WEBFLUX.program().with_file_name("");
    let jars = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut names = jars.filter_map(|jar| jar.ok()?.file_name().into_string().ok());
    let loops = names
        .find(|name| name.starts_with("reactor-netty-http-"))
        .context("WebFlux has come without reactor-netty")?;
    in_jar(&WEBFLUX, &format!("{}, {java}", loops.trim_end_matches(".jar")))
}

/// Installs it, and says its version, and that of Java.
fn in_jar(pinned: &Pinned, java: &str) -> Result<String> {
    pinned.install()?;
    let jar = pinned.program();
    let name = jar.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(format!("{name}, {java}"))
}

pub fn java() -> Result<String> {
    version("javac", "--version")?;
    version("java", "--version")
}

fn java_with_virtual_threads() -> Result<String> {
    let version = java()?;
    match java_release(&version) {
        Some(release) if release >= VIRTUAL_THREADS => Ok(format!("{version}, with virtual threads")),
        _ => bail!("virtual threads need Java {VIRTUAL_THREADS}, this is {version}"),
    }
}

/// Of whichever Ruby is there, if it has puma.
fn puma() -> Result<String> {
    const ASK: &str = "%w[puma rack rack/handler/puma].each { require _1 }; \
                       puts \"puma #{Puma::Const::VERSION}, rack #{Rack.release}, ruby #{RUBY_VERSION}\"";
    let ask = || output(Command::new("ruby").args(["-e", ASK]));
    ask().or_else(|_| {
        setup::need_puma()?;
        ask()
    })
}

/// `java: openjdk 17.0.15 2025-04-15` as 17.
fn java_release(version: &str) -> Option<u32> {
    let number = version.split(' ').nth(2)?;
    number.split(['.', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_of_java_is_read_from_what_it_says() {
        assert_eq!(java_release("java: openjdk 17.0.15 2025-04-15"), Some(17));
        assert_eq!(java_release("java: openjdk 25-ea 2025-09-16"), Some(25));
        assert_eq!(java_release("java: java 21 2023-09-19 LTS"), Some(21));
        assert_eq!(java_release("java:"), None);
    }

    #[test]
    fn a_workload_in_python_alone_lacks_nothing() {
        assert_eq!(Runtimes::default().lack("--client pool --calls 2"), None);
    }
}
