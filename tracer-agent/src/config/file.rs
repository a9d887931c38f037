//! The configuration file: YAML, one mapping of keys to a value or a list of values, nothing nested.
//!
//! The file is read as a stream of events, without recursion, aliases or tags, up to [`MAX_BYTES`]: a hostile
//! file costs its own length and no more.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use saphyr_parser::{Event, Parser};

use super::{
    error::{ConfigError, Origin},
    nearest,
    settings::{self, SETTINGS, Setting},
};

/// A configuration is a page, not a library.
const MAX_BYTES: u64 = 1 << 20;

/// The values of one key, each with its line.
pub type Entry = (&'static Setting, Vec<(Origin, String)>);

/// Reads a configuration file.
///
/// # Errors
/// [`ConfigError`] when it cannot be read, is no YAML, or holds what no setting takes.
pub fn read(path: &Path) -> Result<Vec<Entry>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(unreadable(std::io::Error::other("more than 1 MiB")));
    }
    parse(path, &text)
}

/// Parses the text of a configuration file; `path` is for messages only.
fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let mut reader = Reader {
        path: path.to_owned(),
        parser: Parser::new_from_str(text),
    };
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let (event, line) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            // An empty file, or one with nothing but comments, configures nothing.
            Event::Scalar(text, ..) if matches!(&*text, "" | "~" | "null") => {}
            Event::MappingStart(..) => reader.mapping(&mut entries)?,
            Event::DocumentEnd | Event::StreamEnd => return Ok(entries),
            _ => return Err(reader.shape(line, "expected lines of `key: value`")),
        }
    }
}

struct Reader<'a> {
    path: PathBuf,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn mapping(&mut self, entries: &mut Vec<Entry>) -> Result<(), ConfigError> {
        loop {
            let (event, line) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(()),
                Event::Scalar(key, ..) => key,
                _ => return Err(self.shape(line, "a key must be plain text")),
            };
            let Some(setting) = settings::by_key(&key) else {
                return Err(ConfigError::UnknownKey {
                    origin: self.origin(line),
                    nearest: nearest_key(&key),
                    key: key.into_owned(),
                });
            };
            if entries.iter().any(|(known, _)| *known == setting) {
                return Err(ConfigError::Repeated {
                    origin: self.origin(line),
                });
            }
            let values = self.values(&key)?;
            entries.push((setting, values));
        }
    }

    fn values(&mut self, key: &str) -> Result<Vec<(Origin, String)>, ConfigError> {
        let (event, line) = self.next()?;
        let mut values = Vec::new();
        match event {
            Event::Scalar(value, ..) => values.push((self.origin(line), value.into_owned())),
            Event::SequenceStart(..) => loop {
                match self.next()? {
                    (Event::Scalar(value, ..), line) => values.push((self.origin(line), value.into_owned())),
                    (Event::SequenceEnd, _) => break,
                    (_, line) => {
                        return Err(
                            self.shape(line, format!("the list of {key:?} may hold plain values only"))
                        );
                    }
                }
            },
            Event::Alias(_) => return Err(self.shape(line, "aliases are not supported; write the value out")),
            _ => return Err(self.shape(line, format!("{key:?} takes a value or a list of values"))),
        }
        Ok(values)
    }

    fn next(&mut self) -> Result<(Event<'a>, usize), ConfigError> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => Err(self.shape(error.marker().line(), format!("not YAML: {}", error.info()))),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    fn shape(&self, line: usize, problem: impl Into<String>) -> ConfigError {
        ConfigError::Shape {
            origin: self.origin(line),
            problem: problem.into(),
        }
    }

    fn origin(&self, line: usize) -> Origin {
        Origin::File {
            path: self.path.clone(),
            line,
        }
    }
}

/// Flags and keys differ by their dashes alone: whoever writes one for the other is told.
fn nearest_key(key: &str) -> Option<String> {
    let name = nearest(
        &key.replace('_', "-"),
        SETTINGS.iter().map(|setting| setting.name),
    )?;
    settings::by_name(name).map(Setting::key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::settings::{ALL, EXPORT, PORT};

    fn parsed(text: &str) -> Result<Vec<Entry>, String> {
        parse(Path::new("agent.yaml"), text).map_err(|error| error.to_string())
    }

    fn refused(text: &str) -> String {
        parsed(text).unwrap_err()
    }

    #[test]
    fn values_and_lists_are_read_with_their_lines() {
        let entries =
            parsed("# who\nport: 80\nall: true\nexport:\n  - console\n  - json=out.json\n").unwrap();
        let origin = |line| Origin::File {
            path: "agent.yaml".into(),
            line,
        };
        assert_eq!(
            entries,
            [
                (&PORT, vec![(origin(2), "80".into())]),
                (&ALL, vec![(origin(3), "true".into())]),
                (
                    &EXPORT,
                    vec![(origin(5), "console".into()), (origin(6), "json=out.json".into())]
                ),
            ]
        );
    }

    #[test]
    fn a_file_without_keys_configures_nothing() {
        assert_eq!(parsed(""), Ok(vec![]));
        assert_eq!(parsed("# later\n"), Ok(vec![]));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
        assert_eq!(
            refused("all: true\nprot: 80\n"),
            r#"agent.yaml:2: unknown key "prot"; did you mean "port"?"#
        );
        assert_eq!(
            refused("capture-header: x\n"),
            r#"agent.yaml:1: unknown key "capture-header"; did you mean "capture_header"?"#
        );
        assert_eq!(refused("zzz: 1\n"), r#"agent.yaml:1: unknown key "zzz""#);
    }

    #[test]
    fn what_is_not_a_plain_mapping_is_refused_with_its_line() {
        assert_eq!(
            refused("- port\n"),
            "agent.yaml:1: expected lines of `key: value`"
        );
        assert_eq!(
            refused("port:\n  a: 1\n"),
            r#"agent.yaml:2: "port" takes a value or a list of values"#
        );
        assert_eq!(
            refused("port:\n  - [1]\n"),
            r#"agent.yaml:2: the list of "port" may hold plain values only"#
        );
        assert_eq!(
            refused("port: &a 1\nexe: *a\n"),
            "agent.yaml:2: aliases are not supported; write the value out"
        );
        assert_eq!(
            refused("port: 1\nport: 2\n"),
            "agent.yaml:2: given more than once; give one value"
        );
        assert!(refused("port: [1\n").starts_with("agent.yaml:"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("/nonexistent/agent.yaml"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("cannot read the configuration /nonexistent/agent.yaml: No such file"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "([a-z_]{0,8}|[-:#&*!|>'\"%@`{}\\[\\],? \n\t]|\\PC){0,40}") {
            let _ = parse(Path::new("f"), &text);
        }
    }
}
