//! The least a backend can be: takes every request of OTLP over HTTP and counts it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};

use crate::process::now;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
const LIMIT: Duration = Duration::from_secs(20);

/// A listening backend. It lives as long as the process.
pub struct Sink {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Sink {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                thread::spawn(move || serve(connection, &counter));
            }
        });
        Ok(Self { port, requests })
    }

    /// What `--export` is told.
    pub fn export(&self) -> String {
        format!("otlp=http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }

    pub fn wait_for_more_than(&self, count: usize) -> Result<()> {
        let begun = now();
        while self.requests() <= count {
            ensure!(begun.elapsed() < LIMIT, "no span came");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Answers requests until the connection ends or is not understood.
fn serve(connection: TcpStream, counter: &AtomicUsize) -> Option<()> {
    let mut answers = connection.try_clone().ok()?;
    let mut requests = BufReader::with_capacity(1 << 18, connection);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok()?;
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        std::io::copy(&mut requests.by_ref().take(length), &mut std::io::sink()).ok()?;
        counter.fetch_add(1, Ordering::Release);
        answers.write_all(ANSWER).ok()?;
    }
}
