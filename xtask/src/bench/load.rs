//! nginx, and wrk that drives it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::agent::cpu_seconds;
use super::wire::Wire;
use crate::process::{now, output, target};

const CONFIGURATION: &str = r#"
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
events { worker_connections @CONNECTIONS@; }
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    keepalive_requests 100000000;
    limit_req_zone $server_port zone=paced:32k rate=100r/s;
    server {
        listen 127.0.0.1:@PORT@ @WIRE@ backlog=4096;
        @CERTIFICATE@
        location / { return 200 "hello"; }
        location /@PACED@/ { root .; limit_req zone=paced burst=64; }
        location = /status { stub_status; }
    }
}
"#;
/// Where it speaks TLS.
const CERTIFICATE: &str = "ssl_certificate certificate.pem; ssl_certificate_key key.pem;";
/// The folder of answers that take their time.
pub const PACED: &str = "paced";
const LIMIT: Duration = Duration::from_secs(20);
/// Open files of one process that many connections take: enough for both ends.
const FILES: usize = 16_384;

/// One process that answers from memory.
pub struct Nginx {
    folder: PathBuf,
    port: u16,
    wire: Wire,
}

/// A command line.
pub struct Words(Vec<String>);

impl Words {
    pub fn new(words: &[&str]) -> Self {
        Self(words.iter().map(|word| (*word).to_owned()).collect())
    }

    /// The last word, which for a shell is its script.
    pub fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = &String> {
        self.0.iter()
    }

    pub fn start(&self) -> Result<Child> {
        let (program, arguments) = self.0.split_first().context("no command")?;
        Ok(Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()?)
    }
}

impl Nginx {
    /// One that speaks HTTP/1.1 alone.
    pub fn prepare(connections: usize) -> Result<Self> {
        Self::prepare_speaking(Wire::Http1, connections)
    }

    pub fn prepare_speaking(wire: Wire, connections: usize) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = target().join("bench/nginx");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let configuration = CONFIGURATION
            .replace("@PORT@", &port.to_string())
            .replace("@WIRE@", wire.listens())
            .replace("@CERTIFICATE@", if wire.is_tls() { CERTIFICATE } else { "" })
            .replace("@PACED@", PACED)
            .replace("@CONNECTIONS@", &(connections + 64).to_string());
        fs::write(folder.join("nginx.conf"), configuration)?;
        if wire.is_tls() {
            certify(&folder)?;
        }
        Ok(Self { folder, port, wire })
    }

    /// Answers so at this path, which is below [`PACED`]: 100 times a second at all of them together, however many ask at once.
    pub fn answer_paced(&self, path: &str, answer: &str) -> Result<()> {
        fs::create_dir_all(self.folder.join(PACED))?;
        Ok(fs::write(self.folder.join(path.trim_start_matches('/')), answer)?)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Requests that it has served, this one included.
    pub fn served(&self) -> Result<u64> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
        connection.write_all(b"GET /status HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        // Connections accepted and handled, and requests.
        let numbers = answer.split_once("requests\n").map(|(_, numbers)| numbers);
        let number = numbers.and_then(|numbers| numbers.split_whitespace().nth(2)?.parse().ok());
        number.with_context(|| format!("nginx says something else of itself: {answer}"))
    }

    pub fn url(&self) -> String {
        let scheme = if self.wire.is_tls() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/", self.port)
    }

    pub fn command(&self) -> Words {
        let script = format!(
            "ulimit -n {FILES} && exec nginx -p {} -c nginx.conf -e stderr",
            self.folder.display()
        );
        Words::new(&["sh", "-c", &script])
    }

    pub fn wait_until_it_listens(&self) -> Result<()> {
        let begun = now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            ensure!(begun.elapsed() < LIMIT, "nginx does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// One request, up to the last byte of its response.
    pub fn ask(&self) -> Result<()> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
        connection.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        ensure!(answer.ends_with(b"hello"), "no answer of nginx");
        Ok(())
    }

    /// Lets it end when its connections are over.
    pub fn end(&self) -> Result<()> {
        output(Command::new("kill").args(["-QUIT", &self.pid()?.to_string()]))?;
        Ok(())
    }

    /// User and system time so far, with that of programs which the kernel runs in it.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.pid()?)
    }

    fn pid(&self) -> Result<u32> {
        let pid = fs::read_to_string(self.folder.join("nginx.pid"))?;
        pid.trim().parse().context("nginx says no process")
    }
}

/// A certificate that nobody has to trust: the clients do not ask.
fn certify(folder: &Path) -> Result<()> {
    let made = Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .output()
        .context("openssl is not installed")?;
    let said = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "openssl makes no certificate: {said}");
    Ok(())
}

/// What wrk says it did.
pub struct Load {
    pub requests: f64,
    pub per_second: f64,
    /// Microseconds that half of the requests took, and all but one in a hundred.
    pub p50: f64,
    pub p99: f64,
}

impl Load {
    pub fn run(nginx: &Nginx, connections: usize, seconds: u64) -> Result<Self> {
        Self::on(&nginx.url(), connections, seconds)
    }

    pub fn on(url: &str, connections: usize, seconds: u64) -> Result<Self> {
        let script =
            format!("ulimit -n {FILES} && exec wrk --latency -t1 -c{connections} -d{seconds}s {url}");
        Self::read(&output(Command::new("sh").args(["-c", &script]))?)
    }

    fn read(report: &str) -> Result<Self> {
        let word_before = |what: &str| -> Option<f64> {
            let (before, _) = report.split_once(what)?;
            before.split_whitespace().next_back()?.parse().ok()
        };
        let word_behind = |what: &str| {
            let (_, after) = report.split_once(what)?;
            after.split_whitespace().next()
        };
        let word_after = |what: &str| -> Option<f64> { word_behind(what)?.parse().ok() };
        let read = || {
            Some(Self {
                requests: word_before(" requests in ")?,
                per_second: word_after("Requests/sec:")?,
                // With the space before: shares above, such as 89.50%, end alike.
                p50: microseconds(word_behind(" 50%")?)?,
                p99: microseconds(word_behind(" 99%")?)?,
            })
        };
        read().with_context(|| format!("wrk says something else:\n{report}"))
    }
}

/// `1.23ms` and the like.
fn microseconds(time: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((time.strip_suffix(name)?, unit)))?;
    Some(number.parse::<f64>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_wrk_is_read() {
        let report = "    Latency   253.51us  146.75us   5.31ms   89.50%\n  Latency Distribution\n     50%  628.00us\n     75%  701.00us\n     90%    1.02ms\n     99%    2.5ms\n  \
             551991 requests in 15.03s, 552.21MB read\nRequests/sec:  36722.42\nTransfer/sec: 36.74MB";
        let load = Load::read(report).unwrap();
        assert_eq!((load.requests, load.per_second), (551_991.0, 36_722.42));
        assert_eq!((load.p50, load.p99), (628.0, 2_500.0));
        assert_eq!(microseconds("1.50s"), Some(1_500_000.0));
        assert!(Load::read("connection refused").is_err());
    }
}
