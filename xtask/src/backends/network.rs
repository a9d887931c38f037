//! A network for the backends alone: each has an address of its own on a bridge, so that all may listen where they usually do.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::{now, output, run};

const LIMIT: Duration = Duration::from_secs(60);
/// Becomes the program, once the end of its cable is there.
const JOIN: &str = r#"
echo unshared
read -r address
ip link set lo up
ip addr add "$address/24" dev eth0
ip link set eth0 up
exec "$0" "$@" >"$LOG" 2>&1
"#;

/// The network of this process, which nobody else is in.
pub struct Network {
    folder: PathBuf,
    nodes: u8,
}

/// A program in it; ends when dropped.
pub struct Node {
    child: Child,
    pub address: String,
    cable: String,
}

impl Network {
    /// Logs come into the folder.
    pub fn new(folder: &Path) -> Result<Self> {
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "add", "name", "backends", "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}/24", address(1)), "dev", "backends"])?;
        ip(&["link", "set", "backends", "up"])?;
        Ok(Self {
            folder: folder.to_owned(),
            nodes: 1,
        })
    }

    /// Has all that start later know these nodes by one name.
    pub fn name(&self, name: &str, nodes: &[&Node]) -> Result<()> {
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for node in nodes {
            writeln!(text, "{} {name}", node.address)?;
        }
        let hosts = self.folder.join("hosts");
        fs::write(&hosts, text)?;
        run(Command::new("mount").arg("--bind").arg(hosts).arg("/etc/hosts"))
    }

    /// Starts a program and waits until it listens on these ports.
    pub fn start(&mut self, name: &str, command: &mut Command, ports: &[u16]) -> Result<Node> {
        self.nodes += 1;
        let (address, cable) = (address(self.nodes), format!("cable{}", self.nodes));
        let log = self.folder.join(format!("{name}.log"));
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", JOIN])
            .arg(command.get_program())
            .args(command.get_args())
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("LOG", &log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare does not start")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let node = Node {
            child,
            address,
            cable,
        };
        let mut unshared = String::new();
        BufReader::new(stdout.context("a pipe is missing")?).read_line(&mut unshared)?;
        let (cable, pid) = (node.cable.as_str(), node.child.id().to_string());
        ip(&[
            "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", &pid,
        ])?;
        ip(&["link", "set", cable, "master", "backends", "up"])?;
        writeln!(stdin.context("a pipe is missing")?, "{}", node.address)?;
        let begun = now();
        for &port in ports {
            while TcpStream::connect((node.address.as_str(), port)).is_err() {
                if begun.elapsed() > LIMIT {
                    bail!("{name} does not listen on port {port}: {}", log.display());
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(node)
    }
}

impl Node {
    /// What was sent to it so far.
    pub fn bytes(&self) -> Result<u64> {
        let link = ["-json", "-stats", "link", "show", &self.cable];
        let shown: serde_json::Value = serde_json::from_str(&output(Command::new("ip").args(link))?)?;
        let bytes = shown.pointer("/0/stats64/tx/bytes");
        bytes
            .and_then(serde_json::Value::as_u64)
            .context("ip tells no bytes")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ip(words: &[&str]) -> Result<()> {
    run(Command::new("ip").args(words))
}

/// Of what is in a private network none can be reached from elsewhere.
fn address(number: u8) -> String {
    format!("10.77.0.{number}")
}
