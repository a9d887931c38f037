//! What an exchange costs where the server speaks more than HTTP/1.1 alone: TLS, HTTP/2, or both. nginx, traced and not, in turns; none of
//! it has a budget.
//!
//! What the programs in the kernel take is as the kernel counts it. A breakpoint costs more than the program it runs, and who is
//! stopped by it pays: nginx, whose own time is told for that, and the client, which does TLS by the same library.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::agent::{Agent, Statistics};
use super::load::{Load, Nginx};
use super::sink::Sink;
use super::{CONNECTIONS, Options, Tell, middle};
use crate::process::output;

/// Turns with the agent and without.
const TURNS: usize = 3;
/// In HTTP/2 as many requests are in flight as in HTTP/1.1, so many of them on a connection.
const STREAMS: usize = 8;
/// A cost for each exchange is none of exchanges that were not seen.
const SEEN: f64 = 0.9;

/// What a server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Http1,
    Http1InTls,
    Http2,
    Http2InTls,
}

impl Wire {
    /// What the rows call an exchange on it.
    fn exchange(self) -> &'static str {
        match self {
            Self::Http1 => "exchange",
            Self::Http1InTls => "exchange over TLS",
            Self::Http2 => "stream of HTTP/2",
            Self::Http2InTls => "stream of HTTP/2 over TLS",
        }
    }

    /// What the rows call a server of it.
    fn server(self) -> &'static str {
        match self {
            Self::Http1 => "nginx",
            Self::Http1InTls => "nginx over TLS",
            Self::Http2 => "nginx by HTTP/2",
            Self::Http2InTls => "nginx by HTTP/2 over TLS",
        }
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Self::Http1InTls | Self::Http2InTls)
    }

    fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2InTls)
    }

    /// Options of where nginx listens.
    pub fn listens(self) -> &'static str {
        match self {
            Self::Http1 => "",
            Self::Http1InTls => "ssl",
            Self::Http2 => "http2",
            Self::Http2InTls => "ssl http2",
        }
    }

    /// As many requests as nginx answers in this time.
    fn load(self, nginx: &Nginx, seconds: u64) -> Result<Done> {
        if self.is_http2() {
            return by_h2load(&nginx.url(), seconds);
        }
        let Load {
            requests, per_second, ..
        } = Load::run(nginx, CONNECTIONS, seconds)?;
        Ok(Done { requests, per_second })
    }
}

/// What a client says it did.
#[derive(Debug, PartialEq)]
struct Done {
    requests: f64,
    per_second: f64,
}

/// What was measured, a value for each turn.
#[derive(Default)]
struct Costs {
    throughput: Vec<f64>,
    kernel: Vec<f64>,
    agent: Vec<f64>,
    server: Vec<f64>,
    server_untraced: Vec<f64>,
    seen: Vec<f64>,
}

/// The rows of each wire but the plain one, which has rows of its own.
pub fn on_other_wires(agent: &Agent, options: &Options, row: &mut Tell<'_>) -> Result<()> {
    let _counting = Statistics::on()?;
    for wire in [Wire::Http1InTls, Wire::Http2, Wire::Http2InTls] {
        let mut costs = Costs::default();
        for _ in 0..TURNS {
            costs.turn(agent, wire, options.seconds)?;
        }
        costs.tell(wire, row);
    }
    Ok(())
}

impl Costs {
    fn turn(&mut self, agent: &Agent, wire: Wire, seconds: u64) -> Result<()> {
        // What the one before has left in the library is in the way of who is not traced either.
        agent.wait_until_none_runs()?;
        let nginx = Nginx::prepare_speaking(wire, CONNECTIONS)?;
        let mut alone = nginx.command().start()?;
        nginx.wait_until_it_listens()?;
        let before = nginx.cpu_seconds()?;
        let plain = wire.load(&nginx, seconds);
        let spent = nginx.cpu_seconds()? - before;
        // Whatever came of the load, it is not left behind.
        nginx.end()?;
        alone.wait()?;
        let plain = plain?;
        self.server_untraced.push(spent / plain.requests * 1e6);

        let sink = Sink::start()?;
        let nginx = Nginx::prepare_speaking(wire, CONNECTIONS)?;
        let running = agent.trace(&["--export", &sink.export()], &nginx.command())?;
        nginx.wait_until_it_listens()?;
        let spent = || {
            let kernel = running.program_time_ns()? / 1e3;
            anyhow::Ok([kernel, nginx.cpu_seconds()? * 1e6, running.cpu_seconds()? * 1e6])
        };
        let before = spent()?;
        let traced = wire.load(&nginx, seconds);
        let after = spent()?;
        nginx.end()?;
        let said = running.end()?;
        let traced = traced?;
        let costs = [&mut self.kernel, &mut self.server, &mut self.agent];
        for (cost, (before, after)) in costs.into_iter().zip(before.into_iter().zip(after)) {
            cost.push((after - before) / traced.requests);
        }
        let seen = said.spans()? as f64 / traced.requests;
        ensure!(
            seen > SEEN,
            "of {} requests {seen:.2} are a span: {}",
            traced.requests,
            said.text()
        );
        self.seen.push(seen);
        self.throughput.push(traced.per_second / plain.per_second);
        Ok(())
    }

    fn tell(self, wire: Wire, row: &mut Tell<'_>) {
        let (server, exchange) = (wire.server(), wire.exchange());
        let mut tell = |what: String, values, unit| row(&what, middle(values), unit, None);
        tell(
            format!("throughput of {server} traced, of untraced"),
            self.throughput,
            "",
        );
        let kernel = format!("kernel CPU per {exchange}, the client's untraced calls included");
        tell(kernel, self.kernel, "µs");
        tell(
            format!("agent user and system CPU per {exchange}, live"),
            self.agent,
            "µs",
        );
        tell(
            format!("CPU of nginx itself per {exchange}, untraced"),
            self.server_untraced,
            "µs",
        );
        tell(
            format!("CPU of nginx itself per {exchange}, traced"),
            self.server,
            "µs",
        );
        tell(format!("spans of {server}, of its requests"), self.seen, "");
    }
}

fn by_h2load(url: &str, seconds: u64) -> Result<Done> {
    let connections = (CONNECTIONS / STREAMS).to_string();
    let report = output(
        Command::new("h2load")
            .args(["-t", "1", "-c", &connections, "-m", &STREAMS.to_string()])
            .args(["-D", &seconds.to_string(), url]),
    )?;
    read(&report).with_context(|| format!("h2load says something else:\n{report}"))
}

/// Of a run in which every request was answered as it should be.
fn read(report: &str) -> Option<Done> {
    let line = |start: &str| report.lines().find_map(|line| line.strip_prefix(start));
    let number_before = |text: &str, unit: &str| -> Option<f64> {
        let (before, _) = text.split_once(unit)?;
        before.split_whitespace().next_back()?.parse().ok()
    };
    let (finished, requests) = (line("finished in ")?, line("requests: ")?);
    let done = number_before(requests, " done")?;
    // One that was answered as the time was over has a status and is not done.
    let is_good = number_before(line("status codes: ")?, " 2xx")? >= done;
    is_good.then_some(Done {
        requests: done,
        per_second: number_before(finished, " req/s")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "Application protocol: h2c\n\nfinished in 3.00s, 75748.67 req/s, 5.13MB/s\n\
        requests: 227246 total, 227310 started, 227240 done, 227240 succeeded, 0 failed, 0 errored, 0 timeout\n\
        status codes: 227241 2xx, 0 3xx, 0 4xx, 0 5xx\n";

    #[test]
    fn a_report_of_h2load_is_read() {
        let done = Done {
            requests: 227_240.0,
            per_second: 75_748.67,
        };
        assert_eq!(read(REPORT), Some(done));
        assert_eq!(read("could not connect"), None);
    }

    #[test]
    fn a_load_that_was_answered_otherwise_is_none() {
        let refused = REPORT.replace("227241 2xx, 0 3xx, 0 4xx", "200000 2xx, 0 3xx, 27241 4xx");
        assert_eq!(read(&refused), None);
    }

    #[test]
    fn each_wire_has_rows_of_its_own() {
        let mut rows = Vec::new();
        for wire in [Wire::Http1InTls, Wire::Http2, Wire::Http2InTls] {
            let costs = Costs::default();
            costs.tell(wire, &mut |what, _, _, budget| {
                assert_eq!(budget, None, "{what}");
                rows.push(what.to_owned());
            });
        }
        let count = rows.len();
        rows.sort();
        rows.dedup();
        assert_eq!((count, rows.len()), (18, 18));
    }
}
