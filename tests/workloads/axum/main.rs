//! One hop of a chain in axum, its calls made by reqwest, on tokio's threads, no tracing.
//!
//!     hop-axum [--next URL] [--client pool] [--calls 1] [--order sequential] [--think-ms 0] [--jitter-ms 0]
//!
//! Prints its port and serves until it is terminated; otherwise as hop.py, whose options it takes. The calls of one
//! request may be made, and their answers read, by different threads.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, Uri};
use axum::{Router, routing};
use clap::Parser;
use futures_util::future;
use reqwest::{Client, Url};

type Called = Result<Vec<String>, Box<dyn Error + Send + Sync>>;

#[derive(Parser)]
struct Options {
    /// The hop it calls; without it, it is the last
    #[arg(long)]
    next: Option<Url>,
    /// pool or oneshot
    #[arg(long, default_value = "pool")]
    client: String,
    /// Calls for each request
    #[arg(long, default_value_t = 1)]
    calls: u32,
    /// How likely each of them is not made
    #[arg(long, default_value_t = 0.0)]
    skip: f64,
    /// Calls after the answer to each request
    #[arg(long, default_value_t = 0)]
    late: u32,
    /// sequential or nested
    #[arg(long, default_value = "sequential")]
    order: String,
    /// Before each call and after the last
    #[arg(long, default_value_t = 0.0)]
    think_ms: f64,
    /// At most this is added to each think time
    #[arg(long, default_value_t = 0.0)]
    jitter_ms: f64,
}

struct Hop {
    options: Options,
    client: Client,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let idle = if options.client == "oneshot" {
        0
    } else {
        usize::MAX
    };
    let client = Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(idle)
        .build()?;
    let hop = Arc::new(Hop { options, client });
    let serve = move |uri: Uri| answer(hop.clone(), uri.path().to_owned());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    Ok(axum::serve(listener, Router::new().fallback(routing::get(serve))).await?)
}

async fn answer(hop: Arc<Hop>, path: String) -> (StatusCode, String) {
    match hop.work(&path).await {
        Ok(called) => {
            tokio::spawn(async move { hop.work_late(&path).await });
            (StatusCode::OK, called.join("\n"))
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
    }
}

impl Hop {
    async fn work(&self, path: &str) -> Called {
        let mut called = vec![path.to_owned()];
        if self.options.order == "nested" {
            self.think().await;
            let answers =
                future::try_join_all(self.children(path).into_iter().map(|child| self.call(child))).await?;
            called.extend(answers.into_iter().flatten());
        } else {
            for child in self.children(path) {
                self.think().await;
                called.extend(self.call(child).await?);
            }
        }
        self.think().await;
        for child in self.late_children(path) {
            called.extend(self.via(&child).into_iter().chain([child]));
        }
        Ok(called)
    }

    async fn work_late(&self, path: &str) {
        for child in self.late_children(path) {
            self.call(child).await.expect("a late call is answered");
        }
    }

    fn children(&self, path: &str) -> Vec<String> {
        let children = 0..if self.is_last(path) { 0 } else { self.options.calls };
        let children = children.filter(|_| fastrand::f64() >= self.options.skip);
        children.map(|number| format!("{path}.{number}")).collect()
    }

    fn late_children(&self, path: &str) -> Vec<String> {
        let children = 0..if self.is_last(path) { 0 } else { self.options.late };
        children.map(|number| format!("{path}.late{number}")).collect()
    }

    fn is_last(&self, path: &str) -> bool {
        self.options.next.is_none() || path.contains(".late")
    }

    async fn call(&self, path: String) -> Called {
        let next = self.options.next.as_ref().ok_or("it is the last hop")?;
        let mut url = next.clone();
        let via = self.via(&path);
        url.set_path(via.as_ref().unwrap_or(&path));
        let body = self
            .client
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?;
        Ok(via
            .into_iter()
            .chain(body.lines().map(ToOwned::to_owned))
            .collect())
    }

    /// The call itself, where a proxy is to take a segment off its path.
    fn via(&self, path: &str) -> Option<String> {
        let segment = self.options.next.as_ref()?.path().trim_end_matches('/');
        (!segment.is_empty()).then(|| format!("{segment}{path}"))
    }

    async fn think(&self) {
        let ms = self.options.think_ms + fastrand::f64() * self.options.jitter_ms;
        if ms > 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(ms / 1000.0)).await;
        }
    }
}
