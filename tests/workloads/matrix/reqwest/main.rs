//! A client of HTTPS in reqwest, its TLS by native-tls (OpenSSL) or by rustls, no tracing.
//!
//!     matrix-reqwest ask native-tls|rustls URL CERTIFICATE HTTP METHOD PATH …
//!
//! As `matrix.py` says.

use std::error::Error;

use reqwest::{Certificate, Client, Method, Version};

/// Of a body that is sent.
const BODY_BYTES: usize = 3000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args().skip(2).collect();
    let [library, url, certificate, http, requests @ ..] = words.as_slice() else {
        return Err("not the words that are told above".into());
    };
    let certificate = Certificate::from_pem(&std::fs::read(certificate)?)?;
    let builder = Client::builder()
        .tls_built_in_root_certs(false)
        .add_root_certificate(certificate);
    let builder = match library.as_str() {
        "rustls" => builder.use_rustls_tls(),
        _ => builder.use_native_tls(),
    };
    let client = match http.as_str() {
        "2" => builder,
        _ => builder.http1_only(),
    };
    let client = client.build()?;
    std::io::stdin().read_line(&mut String::new())?;
    for request in requests.chunks_exact(2) {
        let [method, path] = request else { continue };
        let mut sent = client.request(Method::from_bytes(method.as_bytes())?, format!("{url}{path}"));
        if method == "POST" {
            sent = sent.body("X".repeat(BODY_BYTES));
        }
        let answer = sent.send().await?;
        let version = if answer.version() == Version::HTTP_2 { "2" } else { "1.1" };
        let status = answer.status().as_u16();
        answer.bytes().await?;
        println!("{method} {path} {status} {version}");
    }
    Ok(())
}
