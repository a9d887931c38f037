//! Redis, which is not traced, beside an agent that traces something else.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::process::{now, output};

const LIMIT: Duration = Duration::from_secs(20);
/// Connections and requests of one run: about two seconds.
const CONNECTIONS: &str = "50";
const REQUESTS: &str = "200000";

/// A server that keeps nothing.
pub struct Redis {
    server: Child,
    port: String,
}

impl Redis {
    pub fn start() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let server = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--port",
            ])
            .arg(port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let begun = now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(begun.elapsed() < LIMIT, "redis-server does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self {
            server,
            port: port.to_string(),
        })
    }

    /// GETs a second.
    pub fn per_second(&self) -> Result<f64> {
        let report = output(Command::new("redis-benchmark").args([
            "--csv",
            "-t",
            "get",
            "-c",
            CONNECTIONS,
            "-n",
            REQUESTS,
            "-p",
            &self.port,
        ]))?;
        read(&report).with_context(|| format!("redis-benchmark says something else:\n{report}"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// `"GET","128000.00",…`
fn read(report: &str) -> Option<f64> {
    let line = report.lines().find_map(|line| line.strip_prefix("\"GET\",\""))?;
    line.split('"').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_report_of_redis_benchmark_is_read() {
        let report = "\"test\",\"rps\",\"avg_latency_ms\"\n\"GET\",\"128205.13\",\"0.206\"";
        assert_eq!(read(report), Some(128_205.13));
        assert_eq!(read("Could not connect"), None);
    }
}
