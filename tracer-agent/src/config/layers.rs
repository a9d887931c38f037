//! The three sources of settings, one above the other.

use std::path::PathBuf;

use super::{
    error::{ConfigError, Origin},
    file::{self, Entry},
    nearest,
    settings::{CONFIG, PREFIX, SETTINGS, Setting},
};

/// What was said about each setting, the strongest source first: flags, environment, file.
#[derive(Debug, Default)]
pub struct Layers {
    entries: Vec<Entry>,
    /// Variables with the agent's prefix that name no setting, each with the nearest that does.
    pub unknown_variables: Vec<(String, Option<String>)>,
    /// The agent's `OTEL_…` variables.
    otel: Vec<(String, String)>,
}

impl Layers {
    /// Gathers the sources: `flags` as given on the command line, `environment` whole, and the file that
    /// `config` names, else the variable `TRACER_CONFIG`, if any.
    ///
    /// A variable holds a list where its setting repeats, separated by commas. An empty variable is as good as none.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be used.
    pub fn gather(
        flags: Vec<(&'static Setting, Vec<String>)>,
        config: Option<PathBuf>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        for (setting, values) in flags {
            let origin = Origin::Flag(setting.name);
            layers.add((
                setting,
                values.into_iter().map(|value| (origin.clone(), value)).collect(),
            ));
        }
        let mut config = config;
        for (name, value) in environment {
            if value.is_empty() {
                continue;
            }
            if name.starts_with("OTEL_") {
                layers.otel.push((name, value));
            } else if name == CONFIG.variable() {
                config = config.or(Some(value.into()));
            } else if name.starts_with(PREFIX) {
                layers.variable(name, &value);
            }
        }
        if let Some(path) = config {
            for entry in file::read(&path)? {
                layers.add(entry);
            }
        }
        Ok(layers)
    }

    /// The values of a setting from the strongest source that has any; empty if none has.
    pub fn values(&self, setting: &Setting) -> &[(Origin, String)] {
        self.entries
            .iter()
            .find(|(known, _)| *known == setting)
            .map(|(_, values)| values.as_slice())
            .unwrap_or_default()
    }

    /// The value of a setting that has one at most.
    ///
    /// # Errors
    /// [`ConfigError::Repeated`] when there are more.
    pub fn value(&self, setting: &Setting) -> Result<Option<&(Origin, String)>, ConfigError> {
        match self.values(setting) {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [_, (origin, _), ..] => Err(ConfigError::Repeated {
                origin: origin.clone(),
            }),
        }
    }

    /// The agent's own `OTEL_…` variable of this name.
    pub fn otel(&self, name: &str) -> Option<&str> {
        self.otel
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Some variable of OpenTelemetry begins like this, and not like that.
    pub fn has_otel(&self, beginning: &str, but: &str) -> bool {
        let mut names = self.otel.iter().map(|(name, _)| name);
        names.any(|name| name.starts_with(beginning) && !name.starts_with(but))
    }

    fn variable(&mut self, name: String, value: &str) {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) else {
            let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
            let near = nearest(&name, known.iter().map(String::as_str)).map(str::to_owned);
            self.unknown_variables.push((name, near));
            return;
        };
        let origin = Origin::Variable(name);
        let values = if setting.repeats {
            elements(value)
                .into_iter()
                .map(|part| (origin.clone(), part))
                .collect()
        } else {
            vec![(origin, value.to_owned())]
        };
        self.add((setting, values));
    }

    /// Adds what a source says; a stronger source was added before.
    fn add(&mut self, entry: Entry) {
        let (setting, values) = &entry;
        if !values.is_empty() && self.values(setting).is_empty() {
            self.entries.push(entry);
        }
    }
}

/// The elements of a list with commas. One that is a URL and nothing else goes on the element before it, which has more
/// endpoints than one.
fn elements(list: &str) -> Vec<String> {
    let mut elements: Vec<String> = Vec::new();
    for part in list.split(',').map(str::trim) {
        match elements.last_mut() {
            Some(last) if part.starts_with("http://") || part.starts_with("https://") => {
                last.push(',');
                last.push_str(part);
            }
            _ => elements.push(part.to_owned()),
        }
    }
    elements
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::settings::{EXPORT, HOOKS, PORT};

    fn texts<'a>(layers: &'a Layers, setting: &Setting) -> Vec<&'a str> {
        layers
            .values(setting)
            .iter()
            .map(|(_, value)| value.as_str())
            .collect()
    }

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_flag_is_stronger_than_a_variable_and_a_variable_than_the_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "port: 1\nhooks: kprobe\nexport: [console, json=f]").unwrap();
        let layers = Layers::gather(
            vec![(&PORT, vec!["3".into()])],
            Some(file.path().to_owned()),
            environment(&[("TRACER_PORT", "2"), ("TRACER_HOOKS", "syscall")]),
        )
        .unwrap();
        assert_eq!(texts(&layers, &PORT), ["3"]);
        assert_eq!(texts(&layers, &HOOKS), ["syscall"]);
        assert_eq!(texts(&layers, &EXPORT), ["console", "json=f"]);
    }

    #[test]
    fn the_file_can_be_named_by_a_variable() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "port: 1").unwrap();
        let path = file.path().to_str().unwrap();
        let layers = Layers::gather(vec![], None, environment(&[("TRACER_CONFIG", path)])).unwrap();
        assert_eq!(texts(&layers, &PORT), ["1"]);
    }

    #[test]
    fn a_variable_holds_a_list_where_its_setting_repeats() {
        let layers =
            Layers::gather(vec![], None, environment(&[("TRACER_EXPORT", "console, otlp")])).unwrap();
        assert_eq!(texts(&layers, &EXPORT), ["console", "otlp"]);
    }

    #[test]
    fn a_url_in_a_list_belongs_to_the_destination_before_it() {
        let said = [("TRACER_EXPORT", "otlp=http://a:4317, https://b:4317,console")];
        let layers = Layers::gather(vec![], None, environment(&said)).unwrap();
        assert_eq!(
            texts(&layers, &EXPORT),
            ["otlp=http://a:4317,https://b:4317", "console"]
        );
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        let layers =
            Layers::gather(vec![], None, environment(&[("TRACER_PORT", ""), ("OTEL_X", "")])).unwrap();
        assert!(layers.values(&PORT).is_empty());
        assert!(!layers.has_otel("OTEL_", "OTEL_NONE"));
    }

    #[test]
    fn an_unknown_variable_with_the_prefix_is_kept_with_the_nearest() {
        let layers =
            Layers::gather(vec![], None, environment(&[("TRACER_PROT", "1"), ("PORT", "1")])).unwrap();
        assert_eq!(
            layers.unknown_variables,
            [("TRACER_PROT".to_owned(), Some("TRACER_PORT".to_owned()))]
        );
    }

    #[test]
    fn two_values_are_refused_where_there_can_be_one() {
        let layers = Layers::gather(vec![(&HOOKS, vec!["auto".into(), "kprobe".into()])], None, []).unwrap();
        assert_eq!(
            layers.value(&HOOKS).unwrap_err().to_string(),
            "--hooks: given more than once; give one value"
        );
    }
}
