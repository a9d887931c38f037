//! What there is to configure, written out of the table of settings: for people, for editors, and for who asks what is in force.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{
    Layers,
    settings::{SETTINGS, Setting},
    values::urls,
};

#[cfg(test)]
mod page;

/// A configuration file with every key in it, each with what it does, and left as it is: commented out.
pub fn defaults() -> String {
    let mut text = String::from(
        "# Every setting of tracer-agent. Each is also a flag (--log-level) and a variable (TRACER_LOG_LEVEL);\n\
         # a flag is stronger than a variable, and a variable than this file.\n",
    );
    for setting in SETTINGS {
        let (key, help) = (setting.key(), setting.help);
        let value = match setting {
            Setting {
                default: "", value, ..
            } => format!("<{}>", value.unwrap_or_default()),
            setting => scalar(setting.default),
        };
        let value = if setting.repeats {
            format!("[{value}]")
        } else {
            value
        };
        // Writing to a text does not fail.
        let _ = write!(text, "\n# {help}\n# {key}: {value}\n");
    }
    text
}

/// The JSON Schema of the configuration file (draft 2020-12).
pub fn schema() -> Value {
    let properties: Map<String, Value> = SETTINGS
        .iter()
        .map(|setting| (setting.key(), property(setting)))
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tracer-agent",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn property(setting: &Setting) -> Value {
    let one = match setting.words {
        [] => json!({ "type": ["string", "number"] }),
        // YAML makes a boolean of it.
        ["true", "false"] => json!({ "enum": [true, false, "true", "false"] }),
        words => json!({ "enum": words }),
    };
    let mut property = match one {
        Value::Object(one) if !setting.repeats => one,
        one => Map::from_iter([(
            "anyOf".to_owned(),
            json!([one, { "type": "array", "items": one }]),
        )]),
    };
    property.insert("description".to_owned(), setting.help.into());
    match setting.default {
        "" => None,
        "true" | "false" => property.insert("default".to_owned(), (setting.default == "true").into()),
        default => property.insert("default".to_owned(), default.into()),
    };
    property.into()
}

/// What is in force and was said by somebody: each value with who said it. Secrets in URLs are left out.
pub fn effective(layers: &Layers) -> String {
    let mut text = String::new();
    for setting in SETTINGS {
        let (key, values) = (setting.key(), layers.values(setting));
        let line = |text: &mut String, before: &str, (origin, value): &(super::Origin, String)| {
            // Writing to a text does not fail.
            let _ = writeln!(text, "{before}{}  # {origin}", scalar(&without_userinfo(value)));
        };
        match values {
            [] => {}
            [one] if !setting.repeats => line(&mut text, &format!("{key}: "), one),
            several => {
                let _ = writeln!(text, "{key}:");
                several.iter().for_each(|value| line(&mut text, "  - ", value));
            }
        }
    }
    if text.is_empty() {
        text.push_str("# nothing was said: everything is as `tracer-agent config default` shows\n");
    }
    text
}

/// A plain YAML scalar, in quotes where it would be read as something else.
fn scalar(text: &str) -> String {
    let is_plain = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
        && !text.starts_with('-');
    if is_plain {
        return text.to_owned();
    }
    // A JSON string is a YAML scalar.
    Value::from(text).to_string()
}

/// `otlp=http://user:password@host,http://…` without the users and the passwords.
fn without_userinfo(value: &str) -> String {
    urls(value).map(without_user).collect::<Vec<_>>().join(",")
}

fn without_user(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else {
        return value.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest.split_at(end).0.rfind('@') {
        Some(at) => format!("{scheme}://REDACTED{}", rest.split_at(at).1),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;

    #[test]
    fn every_default_is_what_nothing_said_means() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = SETTINGS
            .iter()
            .filter(|setting| !setting.default.is_empty())
            .map(|setting| format!("{}: {}\n", setting.key(), scalar(setting.default)));
        std::io::Write::write_all(&mut file, text.collect::<String>().as_bytes()).unwrap();
        // What others say more of.
        let first = || [("TRACER_QUEUE_DIR".to_owned(), "/queue".to_owned())];
        let said = Layers::gather(vec![], Some(file.path().to_owned()), first()).unwrap();
        let mut said = Options::resolve(&said).unwrap();
        // What was said counts as said here, though it is the same.
        said.instrumented = None;
        let nothing = Layers::gather(vec![], None, first()).unwrap();
        assert_eq!(said, Options::resolve(&nothing).unwrap());
    }

    #[test]
    fn the_words_of_a_setting_are_all_taken_and_no_other() {
        for setting in SETTINGS.iter().filter(|setting| !setting.words.is_empty()) {
            let resolved = |word: &str| {
                let said = [(setting.variable(), word.to_owned())];
                let record = [("TRACER_RECORD".to_owned(), "f".to_owned())];
                Options::resolve(&Layers::gather(vec![], None, said.into_iter().chain(record)).unwrap())
            };
            for word in setting.words {
                assert!(resolved(word).is_ok(), "{} {word}", setting.name);
            }
            assert!(resolved("else").is_err(), "{}", setting.name);
        }
    }

    #[test]
    fn the_file_of_defaults_configures_nothing_and_names_every_key() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = defaults();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let layers = Layers::gather(vec![], Some(file.path().to_owned()), []).unwrap();
        assert_eq!(
            Options::resolve(&layers).unwrap(),
            Options::resolve(&Layers::default()).unwrap()
        );
        for setting in SETTINGS {
            assert!(
                text.contains(&format!("\n# {}: ", setting.key())),
                "{}",
                setting.name
            );
        }
    }

    #[test]
    fn what_is_in_force_is_shown_with_who_said_it_and_can_be_read_again() {
        let flags = [(
            super::super::settings::by_name("export").unwrap(),
            vec![
                "otlp=http://me:secret@host:4317/a@b".to_owned(),
                "otlp=http://one:4317,http://me:sec,ret@two:4317".to_owned(),
                "json=-".to_owned(),
            ],
        )];
        let environment = [("TRACER_HOOKS".to_owned(), "kprobe".to_owned())];
        let layers = Layers::gather(flags.to_vec(), None, environment).unwrap();
        let text = effective(&layers);
        assert_eq!(
            text,
            "export:\n  - \"otlp=http://REDACTED@host:4317/a@b\"  # --export\n  \
             - \"otlp=http://one:4317,http://REDACTED@two:4317\"  # --export\n  - \"json=-\"  # --export\n\
             hooks: kprobe  # TRACER_HOOKS\n"
        );
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        assert!(Layers::gather(vec![], Some(file.path().to_owned()), []).is_ok());
    }
}
