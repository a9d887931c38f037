//! As much of HTTP/1.1 as the shop needs: bodies with a length, connections kept alive.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

/// How long a peer may take; far longer than anything in the shop.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a head or a body that are read.
const MESSAGE_MAX: u64 = 64 * 1024;

/// A request with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub method: String,
    pub target: String,
    /// Names in lower case; without those that belong to one hop.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// A response with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub status: u16,
    pub body: String,
}

impl Request {
    pub(super) fn new(method: &str, target: &str, body: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: body.to_owned(),
        }
    }

    /// This request with the headers of the one it is made for.
    pub(super) fn passing_on(mut self, inbound: &Self) -> Self {
        self.headers.clone_from(&inbound.headers);
        self
    }

    /// Value of a field of a form, `a=1&b=2`.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.body
            .split('&')
            .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    }
}

impl Response {
    pub(super) fn new(status: u16, body: &str) -> Self {
        Self {
            status,
            body: body.to_owned(),
        }
    }
}

/// A connection to another service, opened when it is first needed and kept.
pub(super) struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
        }
    }

    pub(super) fn call(&mut self, request: &Request) -> io::Result<Response> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connection(TcpStream::connect(self.address)?)?,
        };
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\n",
            request.method, request.target, self.address
        );
        for (name, value) in &request.headers {
            head += &format!("{name}: {value}\r\n");
        }
        send(stream.get_mut(), &head, &request.body)?;
        let (start, headers) = read_head(&mut stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = start.split(' ').nth(1).and_then(|status| status.parse().ok());
        let response = Response {
            status: status.ok_or(io::ErrorKind::InvalidData)?,
            body: read_body(&mut stream, &headers)?,
        };
        self.stream = Some(stream);
        Ok(response)
    }
}

/// Serves every connection in a thread of its own, whose state `new_worker` makes. Never returns.
pub(super) fn serve<Worker>(listener: &TcpListener, new_worker: impl Fn() -> Worker + Send + Sync + 'static)
where
    Worker: FnMut(&Request) -> Response,
{
    let new_worker = Arc::new(new_worker);
    for stream in listener.incoming().flatten() {
        let new_worker = Arc::clone(&new_worker);
        // A connection that breaks is its client's business.
        thread::spawn(move || serve_connection(stream, new_worker()));
    }
}

fn serve_connection(stream: TcpStream, mut answer: impl FnMut(&Request) -> Response) -> io::Result<()> {
    let mut stream = connection(stream)?;
    while let Some(request) = read_request(&mut stream)? {
        let response = answer(&request);
        let head = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
        send(stream.get_mut(), &head, &response.body)?;
    }
    Ok(())
}

fn connection(stream: TcpStream) -> io::Result<BufReader<TcpStream>> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

fn send(stream: &mut TcpStream, head: &str, body: &str) -> io::Result<()> {
    let message = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(message.as_bytes())
}

/// `None` when the connection ends between two requests.
fn read_request(stream: &mut impl BufRead) -> io::Result<Option<Request>> {
    let Some((start, mut headers)) = read_head(stream)? else {
        return Ok(None);
    };
    let body = read_body(stream, &headers)?;
    headers.retain(|(name, _)| !matches!(name.as_str(), "host" | "content-length" | "connection"));
    let mut words = start.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    Ok(Some(Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body,
    }))
}

type Headers = Vec<(String, String)>;

fn read_head(stream: &mut impl BufRead) -> io::Result<Option<(String, Headers)>> {
    let mut lines = stream.by_ref().take(MESSAGE_MAX).lines();
    let Some(start) = lines.next().transpose()? else {
        return Ok(None);
    };
    let mut headers = Vec::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            return Ok(Some((start, headers)));
        }
        let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn read_body(stream: &mut impl BufRead, headers: &Headers) -> io::Result<String> {
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(Ok(0), |(_, value)| value.parse::<u64>())
        .map_err(|_| io::ErrorKind::InvalidData)?;
    let mut body = String::new();
    stream.take(length.min(MESSAGE_MAX)).read_to_string(&mut body)?;
    Ok(body)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        401 => "Unauthorized",
        402 => "Payment Required",
        404 => "Not Found",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::{Client, Request, Response, read_request, serve};

    #[test]
    fn one_connection_carries_many_calls() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Client::new(listener.local_addr().unwrap());
        std::thread::spawn(move || {
            serve(&listener, || {
                let mut calls = 0;
                move |request: &Request| {
                    calls += 1;
                    Response::new(201, &format!("{} {calls} {}", request.target, request.body))
                }
            });
        });
        for call in 1..=3 {
            let answer = client.call(&Request::new("POST", "/a", "x=1")).unwrap();
            assert_eq!(answer, Response::new(201, &format!("/a {call} x=1")));
        }
    }

    #[test]
    fn headers_of_the_hop_stay_behind() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX-Customer: alice\r\nContent-Length: 0\r\n\r\n";
        let inbound = read_request(&mut &bytes[..]).unwrap().unwrap();
        let outbound = Request::new("GET", "/b", "").passing_on(&inbound);
        assert_eq!(outbound.headers, [("x-customer".to_owned(), "alice".to_owned())]);
    }

    #[test]
    fn a_half_message_is_an_error_and_none_is_the_end() {
        assert!(read_request(&mut &b""[..]).unwrap().is_none());
        assert!(read_request(&mut &b"GET / HTTP/1.1\r\nHost"[..]).is_err());
        assert!(read_request(&mut &b"GET\r\n\r\n"[..]).is_err());
    }
}
