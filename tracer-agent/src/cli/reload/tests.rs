//! What a file that changes asks for, and what it cannot.

use std::{io::Write, sync::Mutex};

use tempfile::NamedTempFile;

use super::*;
use crate::config::values::Level;

/// A file, and what is said about it.
struct Bench {
    written: NamedTempFile,
    file: File,
    said: Arc<Mutex<Vec<u8>>>,
}

struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Bench {
    /// An agent that was started with this.
    fn new(text: &str) -> Self {
        let written = NamedTempFile::new().unwrap();
        fs::write(written.path(), text).unwrap();
        let said = Arc::default();
        let log = Arc::new(Log::new(Level::Info, Said(Arc::clone(&said))));
        let mut settings = Settings::default();
        settings.config = Some(written.path().to_owned());
        let inbox = Inbox::new().unwrap();
        let file = File::new(written.path().to_owned(), &settings, &log, &inbox).unwrap();
        Self { written, file, said }
    }

    /// What the run is asked for when the file is this.
    fn asked(&mut self, text: &str) -> Option<Change> {
        fs::write(self.written.path(), text).unwrap();
        self.file.read();
        self.file.inbox.take()
    }
}

#[test]
fn destinations_and_tail_rules_are_asked_for_at_once_and_what_cannot_change_is_named() {
    let mut bench = Bench::new("port: 1\nexport: console\nmetrics: prometheus=0\n");
    let change = bench
        .asked("port: 1\nexport: [console, otlp=http://a]\nmetrics: otlp=http://b\ntail: errors\nring_size: 1M\n")
        .unwrap();
    assert_eq!(change.changed, ["export", "metrics", "ring-size", "tail"]);
    assert_eq!(change.ignored, ["ring-size"]);
    let names = |targets: &[Target]| targets.iter().map(Target::name).collect::<Vec<_>>();
    assert_eq!(names(&change.targets.unwrap()), ["console", "otlp:http://a"]);
    let readers = change.readers.unwrap();
    assert_eq!((readers.listen.len(), readers.push.len()), (0, 1));
    assert!(change.options.tail.is_some());

    // Of what stays nothing is asked; a queue on disk is part of a destination.
    let change = bench
        .asked("port: 1\nexport: [console, otlp=http://a]\nmetrics: otlp=http://b\nqueue_dir: /queue\n")
        .unwrap();
    assert!(change.readers.is_none());
    let targets = change.targets.unwrap();
    assert!(matches!(&targets[1], Target::Otlp(settings) if settings.disk.is_some()));
    assert!(change.options.tail.is_none());
    let change = bench
        .asked("port: 2\nexport: [console, otlp=http://a]\nmetrics: otlp=http://b\nqueue_dir: /queue\n")
        .unwrap();
    assert!(change.targets.is_none() && change.readers.is_none());
}

#[test]
fn an_agent_that_counts_nothing_says_that_it_has_to_be_started_again_for_metrics() {
    let mut bench = Bench::new("port: 1\n");
    let change = bench.asked("port: 1\nmetrics: prometheus=0\n").unwrap();
    assert_eq!(change.ignored, ["metrics"]);
    assert!(change.readers.is_none());
}

#[test]
fn a_destination_that_cannot_be_used_changes_nothing() {
    let mut bench = Bench::new("port: 1\nexport: console\n");
    assert!(
        bench
            .asked("port: 2\nexport: \"otlp=http://a,http://b c\"\n")
            .is_none()
    );
    let said = String::from_utf8(bench.said.lock().unwrap().clone()).unwrap();
    assert!(
        said.contains("the configuration stays as it was: --export otlp:"),
        "{said}"
    );
    // What was refused was not taken for known.
    let change = bench.asked("port: 2\nexport: console\n").unwrap();
    assert_eq!(change.changed, ["port"]);
    assert!(change.targets.is_none());
}
