//! Brings the parts up as processes of their own and down again.
//!
//! A service is known by the name of its executable, as any compiled service is: each part runs this same
//! program by a name of its own in a folder made for the play. No part outlives the play, however it ends:
//! each ends when its standard input closes.

use std::{
    env,
    fs::{self, DirBuilder},
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    thread,
};

use anyhow::{Context, ensure};

use super::{
    SUBCOMMAND,
    services::{self, Peers, Role},
};
use crate::capture::clock;

/// Opens the shop, sends the shopper in, closes it.
pub(super) fn play() -> anyhow::Result<()> {
    let wardrobe = Wardrobe::open()?;
    let mut services = Vec::new();
    let mut peers = Peers::new();
    for role in Role::SERVICES {
        let (service, address) = start(&wardrobe, role, &peers)?;
        services.push(service);
        peers.push((role.name().to_owned(), address));
    }
    let names: Vec<&str> = Role::SERVICES.iter().rev().map(|role| role.name()).collect();
    println!("A shop of {} services opens: {}.", names.len(), names.join(", "));
    let mut shopper = command(&wardrobe, Role::Shopper, &peers)?
        .stdin(Stdio::null())
        .spawn()
        .context("the shopper cannot be started")?;
    // From here on every part is running, and nothing is left behind should the play be broken off.
    drop(wardrobe);
    let end = shopper.wait().context("the shopper is lost")?;
    drop(services);
    ensure!(end.success(), "the shopper did not get what was expected ({end})");
    println!("The shop is closed.");
    Ok(())
}

/// Runs one service until whoever started it closes its standard input, or ends.
pub(super) fn serve_until_stdin_closes(role: Role, peers: Peers) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free on 127.0.0.1")?;
    let address = listener.local_addr()?;
    thread::spawn(move || services::serve(role, &listener, peers));
    println!("{address}");
    io::stdout().flush()?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    // Ends the threads too, which would serve for ever.
    process::exit(0);
}

/// A running service; ends when dropped.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends on its own now; only its exit status remains to be taken.
        let _ = self.0.wait();
    }
}

fn start(wardrobe: &Wardrobe, role: Role, peers: &Peers) -> anyhow::Result<(Service, SocketAddr)> {
    let mut child = command(wardrobe, role, peers)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!(
                "{} cannot be started: set TMPDIR to a folder that programs may run from",
                role.name()
            )
        })?;
    let stdout = child.stdout.take();
    let service = Service(child);
    let mut line = String::new();
    BufReader::new(stdout.context("a pipe is missing")?).read_line(&mut line)?;
    let address = line
        .trim()
        .parse()
        .with_context(|| format!("{} did not come up", role.name()))?;
    Ok((service, address))
}

fn command(wardrobe: &Wardrobe, role: Role, peers: &Peers) -> anyhow::Result<Command> {
    let mut command = Command::new(wardrobe.dress(role.name())?);
    command.args([SUBCOMMAND, role.name()]);
    command.args(peers.iter().map(|(name, address)| format!("{name}={address}")));
    Ok(command)
}

/// A folder with this program under the names of the parts; removed when dropped.
struct Wardrobe {
    folder: PathBuf,
}

impl Wardrobe {
    fn open() -> anyhow::Result<Self> {
        let name = format!("tracer-agent-shop-{}-{}", process::id(), clock::boot_now().0);
        let folder = env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        Ok(Self { folder })
    }

    /// This program by another name: a hard link, or a copy (made once) where that leads over file systems.
    fn dress(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(name);
        let copy = self.folder.join("program");
        let own = env::current_exe().unwrap_or_default();
        if fs::hard_link(own, &path).is_ok() || fs::hard_link(&copy, &path).is_ok() {
            return Ok(path);
        }
        // Also where the file this runs from was deleted or replaced.
        fs::copy(Path::new("/proc/self/exe"), &copy)
            .and_then(|_| fs::hard_link(&copy, &path))
            .with_context(|| format!("{} cannot be made: is there space on it", path.display()))?;
        Ok(path)
    }
}

impl Drop for Wardrobe {
    fn drop(&mut self) {
        // What cannot be removed is a small folder among the temporary ones.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
