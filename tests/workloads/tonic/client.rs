//! A client that calls each method so often, and counts how the calls ended.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::iter;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Uri;
use tokio::sync::mpsc;
use tonic::{Code, Request, Status, Streaming};

use crate::MESSAGES;
use crate::hop::{Server, as_path};
use crate::raw::Raw;

#[derive(Args, Clone)]
pub struct Options {
    /// Be a client of this server
    #[arg(long)]
    pub ask: Option<Uri>,
    /// What it calls there
    #[arg(long, value_delimiter = ',', default_value = "Unary")]
    methods: Vec<String>,
    /// Calls of each method
    #[arg(long, default_value_t = 20)]
    total: u32,
    /// Calls at once, on one connection
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Bytes of a message, at least those of its id
    #[arg(long, default_value_t = 0)]
    size: usize,
    /// Of DeadlineExceeded
    #[arg(long, default_value_t = 200)]
    deadline_ms: u64,
    /// Word that the ids begin with
    #[arg(long, default_value = "r")]
    run: String,
    /// Where the paths go that jobs called
    #[arg(long)]
    truth: Option<PathBuf>,
}

#[derive(Clone)]
struct Asker {
    options: Options,
    server: Server,
}

/// How a call ended, and the paths that it called if it was a job.
type Ended = (String, Vec<String>);

pub async fn ask_all(options: Options, url: Uri) -> Result<(), Box<dyn Error>> {
    let asker = Asker {
        server: Server::new(url),
        options: options.clone(),
    };
    let work = (0..options.total)
        .flat_map(|number| options.methods.iter().map(move |method| (method.clone(), number)));
    let calls = work.map(|(method, number)| {
        let asker = asker.clone();
        // In a task of its own, so that calls are made by many threads.
        async move {
            let call = tokio::spawn(async move {
                let ended = asker.end(&method, number).await;
                (method, ended)
            });
            call.await
        }
    });
    let mut counts = BTreeMap::<String, BTreeMap<String, u32>>::new();
    let mut all_called = Vec::new();
    let mut calls = stream::iter(calls).buffer_unordered(options.in_flight);
    while let Some((method, (status, called))) = calls.try_next().await? {
        *counts.entry(method).or_default().entry(status).or_default() += 1;
        all_called.extend(called);
    }
    if let Some(truth) = &options.truth {
        fs::write(truth, all_called.join("\n") + "\n")?;
    }
    println!("{}", serde_json::to_string(&counts)?);
    Ok(())
}

impl Asker {
    async fn end(&self, method: &str, number: u32) -> Ended {
        let run = &self.options.run;
        let ended = if method == "Job" {
            self.server.job(&format!("/job/{run}{number}")).await
        } else {
            self.ask(method, &format!("{run}-{method}-{number}"))
                .await
                .map(|()| Vec::new())
        };
        match ended {
            Ok(called) => ("0".to_owned(), called),
            Err(status) => (told(&status), Vec::new()),
        }
    }

    async fn ask(&self, method: &str, id: &str) -> Result<(), Status> {
        let message = Bytes::from(id.to_owned() + &".".repeat(self.options.size.saturating_sub(id.len())));
        let path = format!("/chain.Echo/{method}");
        let mut request = Request::new(message.clone());
        let metadata = id.parse().map_err(|_| Status::unknown("no metadata"))?;
        request.metadata_mut().insert("x-echo-id", metadata);
        match method {
            "ServerStream" | "DataLoss" => {
                let mut grpc = self.server.ready().await?;
                let answers = grpc.server_streaming(request, as_path(&path)?, Raw).await?;
                judge(all(answers.into_inner()).await?, message, MESSAGES)
            }
            "ClientStream" => {
                let mut grpc = self.server.ready().await?;
                let messages = stream::iter(iter::repeat_n(message.clone(), MESSAGES));
                let answer = grpc.client_streaming(request.map(|_| messages), as_path(&path)?, Raw);
                judge(
                    vec![answer.await?.into_inner()],
                    message.repeat(MESSAGES).into(),
                    1,
                )
            }
            "BidiStream" => self.converse(&path, request).await,
            "Cancelled" => {
                let mut grpc = self.server.ready().await?;
                let answers = grpc.server_streaming(request, as_path(&path)?, Raw).await?;
                let first = answers.into_inner().message().await?;
                judge(first.into_iter().collect(), message, 1)?;
                // The stream was dropped at its first message, by which the call is cancelled.
                Err(Status::cancelled("by this client"))
            }
            _ => {
                if method == "DeadlineExceeded" {
                    request.set_timeout(Duration::from_millis(self.options.deadline_ms));
                }
                let answer = self.server.unary(&path, request).await?;
                judge(vec![answer.into_inner()], message, 1)
            }
        }
    }

    /// Says the next only when the last was answered.
    async fn converse(&self, path: &str, request: Request<Bytes>) -> Result<(), Status> {
        let message = request.get_ref().clone();
        let (say, mut said) = mpsc::unbounded_channel();
        let messages = stream::poll_fn(move |context| said.poll_recv(context));
        let gone = |_| Status::unknown("the call has ended");
        let mut grpc = self.server.ready().await?;
        // A server may send its metadata with its first answer.
        say.send(message.clone()).map_err(gone)?;
        let answers = grpc.streaming(request.map(|_| messages), as_path(path)?, Raw);
        let mut answers = answers.await?.into_inner();
        for number in 1..=MESSAGES {
            let answer = answers.message().await?;
            judge(answer.into_iter().collect(), message.clone(), 1)?;
            if number < MESSAGES {
                say.send(message.clone()).map_err(gone)?;
            }
        }
        drop(say);
        judge(all(answers).await?, message, 0)
    }
}

async fn all(answers: Streaming<Bytes>) -> Result<Vec<Bytes>, Status> {
    answers.try_collect().await
}

fn judge(answers: Vec<Bytes>, expected: Bytes, times: usize) -> Result<(), Status> {
    let is_right = answers.len() == times && answers.iter().all(|answer| *answer == expected);
    is_right
        .then_some(())
        .ok_or_else(|| Status::unknown("wrong answer"))
}

fn told(status: &Status) -> String {
    if status.code() == Code::Unknown {
        eprintln!("{status}");
        return "wrong answer".to_owned();
    }
    i32::from(status.code()).to_string()
}
