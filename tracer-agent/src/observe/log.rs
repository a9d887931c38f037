//! Where the agent's events go: short lines on standard error.

use std::{
    io::Write,
    sync::{Mutex, PoisonError},
};

use super::Event;
use crate::config::values::Level;

/// Lines of one kind that are written in full; after it only every power of two, so that a flood of events is
/// neither a flood of lines nor silence.
const WRITTEN_IN_FULL: u64 = 8;

/// Writes events up to a level, and counts all.
pub struct Log {
    level: Mutex<Level>,
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    seen: Vec<(std::mem::Discriminant<Event>, u64)>,
}

impl Log {
    /// A log on standard error.
    pub fn to_stderr(level: Level) -> Self {
        Self::new(level, std::io::stderr())
    }

    /// A log to any place.
    pub fn new(level: Level, out: impl Write + Send + 'static) -> Self {
        Self {
            level: Mutex::new(level),
            state: Mutex::new(State {
                out: Box::new(out),
                seen: Vec::new(),
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

    /// Counts the event and, if it matters enough, writes it.
    pub fn say(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = state.count(event);
        if event.level() > self.level() || (count > WRITTEN_IN_FULL && !count.is_power_of_two()) {
            return;
        }
        let times = if count > WRITTEN_IN_FULL {
            format!(" ({count} times)")
        } else {
            String::new()
        };
        // There is nowhere to say that standard error is gone.
        let _ = writeln!(state.out, "tracer-agent: {}{event}{times}", prefix(event.level()));
    }

    /// Writes lines for people as they are, unless only errors are wanted.
    pub fn tell(&self, text: &str) {
        if self.level() > Level::Error {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            for line in text.lines() {
                let _ = writeln!(state.out, "tracer-agent: {line}");
            }
        }
    }
}

impl State {
    fn count(&mut self, event: &Event) -> u64 {
        let kind = std::mem::discriminant(event);
        match self.seen.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                self.seen.push((kind, 1));
                1
            }
        }
    }
}

fn prefix(level: Level) -> &'static str {
    match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info | Level::Debug => "",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

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

    fn said(level: Level, act: impl FnOnce(&Log)) -> String {
        let (sender, lines) = mpsc::channel();
        let log = Arc::new(Log::new(level, Lines(sender)));
        act(&log);
        drop(log);
        String::from_utf8(lines.into_iter().flatten().collect()).unwrap()
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
    fn a_flood_of_one_kind_becomes_a_trickle_that_says_how_many() {
        let text = said(Level::Warn, |log| {
            (0..1000).for_each(|_| log.say(&Event::Remark("odd".into())))
        });
        assert_eq!(text.lines().count(), 8 + 6);
        assert!(text.ends_with("odd (512 times)\n"), "{text}");
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
