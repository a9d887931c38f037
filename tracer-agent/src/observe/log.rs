//! Where the agent's events go: short lines on standard error, for people or for machines. Of one message so many lines are written in a
//! while; how many more there were is told when the while is over, so that a flood of events is neither a flood of lines nor silence.

use std::{
    hash::{BuildHasher as _, Hasher as _},
    io::Write,
    sync::{Mutex, PoisonError, TryLockError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};

use super::{Event, time::Rfc3339};
use crate::config::values::{Level, LogFormat};

/// Lines of one message that are written within [`WHILE`].
const WRITTEN: u64 = 8;
/// See [`WRITTEN`].
const WHILE: Duration = Duration::from_secs(30);
/// Messages that are told apart; those beyond it count as one.
const MESSAGES: usize = 256;

/// Writes events up to a level.
pub struct Log {
    level: Mutex<Level>,
    format: LogFormat,
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    seen: Vec<Seen>,
    hasher: foldhash::fast::RandomState,
}

/// A message within its while.
struct Seen {
    key: u64,
    kind: &'static str,
    level: Level,
    since: Instant,
    count: u64,
}

impl Log {
    /// A log on standard error.
    pub fn to_stderr(level: Level, format: LogFormat) -> Self {
        Self {
            format,
            ..Self::new(level, std::io::stderr())
        }
    }

    /// A log for people, to any place.
    pub fn new(level: Level, out: impl Write + Send + 'static) -> Self {
        Self {
            level: Mutex::new(level),
            format: LogFormat::Text,
            state: Mutex::new(State {
                out: Box::new(out),
                seen: Vec::new(),
                hasher: foldhash::fast::RandomState::default(),
            }),
        }
    }

    /// How much is written.
    pub fn level(&self) -> Level {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes more or less from now on.
    pub fn set_level(&self, level: Level) {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
    }

    /// Writes the event if it matters enough, and there were not too many of its like.
    pub fn say(&self, event: &Event) {
        self.say_at(event, now());
    }

    /// Says how many there were of what was not written, where the while is over.
    pub fn catch_up(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.catch_up(self.format, Some(now()));
    }

    /// Writes the event, whatever there was before, without waiting for anybody: the agent ends. A thread that panicked while it wrote
    /// would wait for itself.
    pub fn say_at_last(&self, event: &Event) {
        let message = event.to_string();
        let line = line(self.format, event.level(), event.kind(), &message, event.fields());
        match self.state.try_lock() {
            Ok(mut state) => state.write(&line),
            Err(TryLockError::Poisoned(state)) => state.into_inner().write(&line),
            Err(TryLockError::WouldBlock) => {
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
        }
    }

    /// Writes lines for people as they are, unless only errors are wanted.
    pub fn tell(&self, text: &str) {
        if self.level() > Level::Error {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.catch_up(self.format, None);
            for said in text.lines() {
                let event = Event::Summary(said.to_owned());
                state.write(&line(self.format, Level::Info, event.kind(), said, Vec::new()));
            }
        }
    }

    fn say_at(&self, event: &Event, now: Instant) {
        if event.level() > self.level() {
            return;
        }
        let message = event.to_string();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.catch_up(self.format, Some(now));
        if state.is_written(event, &message, now) {
            state.write(&line(
                self.format,
                event.level(),
                event.kind(),
                &message,
                event.fields(),
            ));
        }
    }
}

impl State {
    fn write(&mut self, line: &str) {
        // There is nowhere to say that standard error is gone.
        let _ = self.out.write_all(line.as_bytes());
    }

    /// Counts a message; whether it is written.
    fn is_written(&mut self, event: &Event, message: &str, now: Instant) -> bool {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(event.kind().as_bytes());
        if event.is_text() && self.seen.len() < MESSAGES {
            // Numbers make no message another.
            message
                .bytes()
                .filter(|byte| !byte.is_ascii_digit())
                .for_each(|byte| hasher.write_u8(byte));
        }
        let key = hasher.finish();
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.key == key) {
            seen.count += 1;
            return seen.count <= WRITTEN;
        }
        self.seen.push(Seen {
            key,
            kind: event.kind(),
            level: event.level(),
            since: now,
            count: 1,
        });
        true
    }

    /// Says what was not written within whiles that are over by now, or at all.
    fn catch_up(&mut self, format: LogFormat, now: Option<Instant>) {
        let is_over = |seen: &Seen| now.is_none_or(|now| now.duration_since(seen.since) >= WHILE);
        let over: Vec<_> = self.seen.extract_if(.., |seen| is_over(seen)).collect();
        for seen in over.into_iter().filter(|seen| seen.count > WRITTEN) {
            let more = seen.count - WRITTEN;
            let message = format!("{more} more like this: {}", seen.kind.replace('_', " "));
            let fields = vec![("more", more.into())];
            self.write(&line(format, seen.level, seen.kind, &message, fields));
        }
    }
}

/// A line, with its end.
fn line(
    format: LogFormat,
    level: Level,
    kind: &str,
    message: &str,
    fields: Vec<(&'static str, Value)>,
) -> String {
    match format {
        LogFormat::Text => format!("tracer-agent: {}{message}\n", prefix(level)),
        LogFormat::Json => {
            let mut object = Map::new();
            object.insert("time".to_owned(), Rfc3339(unix_now()).to_string().into());
            object.insert("level".to_owned(), word(level).into());
            object.insert("target".to_owned(), "tracer-agent".into());
            object.insert("event".to_owned(), kind.into());
            object.insert("message".to_owned(), message.into());
            if !fields.is_empty() {
                let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
                object.insert("fields".to_owned(), Value::Object(fields.collect()));
            }
            format!("{}\n", json!(object))
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is written is for people, and no input of the core"
)]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the same")]
fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn prefix(level: Level) -> &'static str {
    match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info | Level::Debug => "",
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use tracer_common::Loss;

    use super::*;
    use crate::capture::recording::WriteError;

    struct Lines(mpsc::Sender<Vec<u8>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn said_as(format: LogFormat, level: Level, act: impl FnOnce(&Log)) -> String {
        let (sender, lines) = mpsc::channel();
        let log = Log {
            format,
            ..Log::new(level, Lines(sender))
        };
        let log = Arc::new(log);
        act(&log);
        drop(log);
        String::from_utf8(lines.into_iter().flatten().collect()).unwrap()
    }

    fn said(level: Level, act: impl FnOnce(&Log)) -> String {
        said_as(LogFormat::Text, level, act)
    }

    #[test]
    fn an_event_is_one_line_that_says_how_bad_it_is() {
        let text = said(Level::Info, |log| {
            log.say(&Event::Ready {
                what: "process 7".into(),
            });
            log.say(&Event::Selected { pid: 7 });
            log.say(&Event::Remark("odd".into()));
        });
        assert_eq!(
            text,
            "tracer-agent: tracing process 7\ntracer-agent: warning: odd\n"
        );
    }

    #[test]
    fn a_flood_of_one_message_becomes_a_few_lines_a_while_and_how_many_more_there_were() {
        let begin = now();
        let text = said(Level::Warn, |log| {
            for second in 0..60 {
                let now = begin + Duration::from_secs(second);
                (0..100).for_each(|span| log.say_at(&Event::Export(format!("{span} refused")), now));
            }
            log.say_at(&Event::Export("another".into()), begin + Duration::from_secs(61));
        });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 8 + 1 + 8 + 1 + 1, "{text}");
        assert_eq!(lines[8], "tracer-agent: warning: 2992 more like this: export");
        assert_eq!(lines[17], "tracer-agent: warning: 2992 more like this: export");
        assert!(lines[18].ends_with("another"));
    }

    #[test]
    fn a_flood_of_one_message_hides_no_other_and_more_messages_than_are_known_are_one() {
        let text = said(Level::Warn, |log| {
            (0..100).for_each(|_| log.say(&Event::Remark("odd".into())));
            log.say(&Event::Remark("odder".into()));
        });
        assert!(text.ends_with("odder\n") && text.lines().count() == 9, "{text}");
        let letters = |number: u32| char::from_u32(0x4e00 + number).unwrap();
        let text = said(Level::Warn, |log| {
            (0..10_000).for_each(|number| log.say(&Event::Remark(letters(number).into())));
            log.tell("end");
        });
        assert_eq!(text.lines().count(), MESSAGES + 8 + 1 + 1);
        assert!(
            text.contains(&format!("{} more like this", 10_000 - MESSAGES - 8)),
            "{text}"
        );
    }

    #[test]
    fn for_machines_a_line_is_an_object_with_what_is_in_the_message() {
        let text = said_as(LogFormat::Json, Level::Info, |log| {
            log.say(&Event::KernelLost {
                cause: Loss::RingFull,
                count: 3,
            });
            log.tell("1 span \"made\"\nand more");
        });
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 3);
        let [lost, made, _] = &lines[..] else {
            unreachable!()
        };
        assert_eq!(
            (&lost["level"], &lost["event"]),
            (&json!("warn"), &json!("kernel_lost"))
        );
        assert_eq!(lost["fields"], json!({ "cause": "ring_full", "count": 3 }));
        assert_eq!(made["message"], "1 span \"made\"");
        assert_eq!(
            lost["time"].as_str().unwrap().len(),
            "2026-01-02T03:04:05.678Z".len()
        );
    }

    #[test]
    fn quiet_says_errors_only() {
        let text = said(Level::Error, |log| {
            log.say(&Event::Remark("odd".into()));
            log.tell("12 spans");
            log.say(&Event::Recording(WriteError::TooLarge {
                path: "r".into(),
                len: 5,
            }));
        });
        assert!(
            text.starts_with("tracer-agent: error: an input of 5 bytes is missing"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
    }
}
