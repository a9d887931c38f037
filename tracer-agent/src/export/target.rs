//! Where spans go.

use super::{
    console::ConsoleSettings,
    json::JsonDestination,
    otlp::OtlpSettings,
    report::{Counters, Notify},
};

/// Where spans go; one `--export` each.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a handful, made once in a run")]
pub enum Target {
    /// A waterfall on standard output.
    Console(ConsoleSettings),
    /// OTLP/JSON lines.
    Json(JsonDestination),
    /// A backend.
    Otlp(OtlpSettings),
}

impl Target {
    /// The name in reports: what the user wrote, without secrets.
    pub fn name(&self) -> String {
        match self {
            Self::Console(_) => "console".to_owned(),
            Self::Json(JsonDestination::Stdout) => "json:-".to_owned(),
            Self::Json(JsonDestination::File(path)) => format!("json:{}", path.display()),
            Self::Otlp(settings) => format!("otlp:{}", settings.names().join(",")),
        }
    }

    /// Counters of that name, and of each endpoint where there are several.
    pub(super) fn counters(&self, notify: Notify) -> Counters {
        let counters = Counters::new(self.name(), notify);
        match self {
            Self::Otlp(settings) if !settings.others.is_empty() => counters.of_endpoints(settings.names()),
            _ => counters,
        }
    }

    /// What only one can write to at a time, if it is such.
    pub(super) fn place(&self) -> Option<String> {
        match self {
            Self::Console(_) | Self::Json(JsonDestination::Stdout) => Some("standard output".to_owned()),
            Self::Json(JsonDestination::File(path)) => Some(path.display().to_string()),
            Self::Otlp(settings) => {
                let disk = settings.disk.as_ref()?;
                let queue = disk.directory.join(settings.queue_name());
                Some(queue.display().to_string())
            }
        }
    }
}
