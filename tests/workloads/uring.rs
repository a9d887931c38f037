//! Answers HTTP on a free port of loopback, every read and write by io_uring, one connection after the other; runs a client
//! against it and ends with the client's exit status.
//!
//!     uring-server CLIENT ARGS      where {url} in ARGS is the server

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use io_uring::{IoUring, opcode, squeue, types::Fd};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
/// The requests of the tests fit.
const ROOM: u32 = 4096;

fn main() -> Result<ExitCode> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let mut words = std::env::args().skip(1).map(|word| word.replace("{url}", &url));
    let client = words.next().context("no client")?;
    let mut client = Command::new(client).args(words).spawn()?;
    let (connection, _) = listener.accept()?;
    serve(&connection)?;
    let status = client.wait()?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

fn serve(connection: &TcpStream) -> Result<()> {
    let mut ring = IoUring::new(4)?;
    let socket = Fd(connection.as_raw_fd());
    let mut request = [0; ROOM as usize];
    loop {
        let read = opcode::Recv::new(socket, request.as_mut_ptr(), ROOM).build();
        if done(&mut ring, &read)? == 0 {
            return Ok(());
        }
        let written = opcode::Send::new(socket, ANSWER.as_ptr(), u32::try_from(ANSWER.len())?).build();
        ensure!(
            done(&mut ring, &written)? as usize == ANSWER.len(),
            "a short write"
        );
    }
}

/// Submits one operation and waits for what it returns.
fn done(ring: &mut IoUring, operation: &squeue::Entry) -> Result<u32> {
    #[expect(unsafe_code, reason = "the kernel is given pointers")]
    // SAFETY: what the operation points to outlives the wait below.
    unsafe {
        ring.submission().push(operation)?;
    }
    ring.submit_and_wait(1)?;
    let result = ring
        .completion()
        .next()
        .context("nothing was completed")?
        .result();
    u32::try_from(result).map_err(|_| std::io::Error::from_raw_os_error(-result).into())
}
