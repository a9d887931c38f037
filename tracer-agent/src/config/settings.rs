//! The table of settings: the one place that says which there are, what they are called and what they mean.

use super::values::{
    Hooks, Identity, Instrumented, LearnRoutes, Level, LogFormat, Privacy, Switch, Tls, Uprobes,
};

/// One setting: a flag `--name`, a variable `TRACER_NAME` and a key `name` of the configuration file.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name as a flag, without the dashes.
    pub name: &'static str,
    /// What the value is, in one word; `None` for a setting that is on or off.
    pub value: Option<&'static str>,
    /// May be given more than once.
    pub repeats: bool,
    /// What it does, in one line of help.
    pub help: &'static str,
    /// `replay` takes it too: it does not concern the kernel side.
    pub in_replay: bool,
    /// What it is where nothing was said, as it would be written; empty where that is nothing, or depends on the host.
    pub default: &'static str,
    /// The values there are, where they can be listed.
    pub words: &'static [&'static str],
    /// Left out of the help, which fits a screen; `tracer-agent config default` has it.
    pub seldom: bool,
}

impl Setting {
    /// Its name in the configuration file: dashes become underscores.
    pub fn key(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key().to_ascii_uppercase())
    }
}

/// What every environment variable of a setting begins with.
pub const PREFIX: &str = "TRACER_";

/// Names the configuration file itself; a flag and a variable, but no key.
pub const CONFIG: Setting = Setting {
    name: "config",
    value: Some("FILE"),
    repeats: false,
    help: "YAML file with these options as keys",
    in_replay: true,
    default: "",
    words: &[],
    seldom: false,
};

/// `CONSTANT = "name", value, repeats, in_replay, "help" = "default" of Words: seldom;`, the last three where they apply.
macro_rules! settings {
    ($($constant:ident = $name:literal, $value:expr, $repeats:literal, $in_replay:literal, $help:literal
        $(= $default:literal)? $(of $words:ident)? $(: $seldom:ident)?;)+) => {
        $(
            #[doc = $help]
            pub const $constant: Setting = Setting {
                name: $name,
                value: $value,
                repeats: $repeats,
                help: $help,
                in_replay: $in_replay,
                default: concat!($($default)?),
                words: words!($($words)?),
                seldom: stringify!($($seldom)?).len() > 0,
            };
        )+
        /// Every setting, in the order of the help.
        pub const SETTINGS: &[Setting] = &[$($constant,)+];
    };
}

macro_rules! words {
    () => {
        &[]
    };
    ($words:ident) => {
        $words::WORDS
    };
}

settings! {
    PID = "pid", Some("PID"), true, false, "Trace this process and its future children";
    PORT = "port", Some("LIST"), true, false, "Trace what listens on these ports (80,8000-8010)";
    EXE = "exe", Some("GLOB"), true, false, "Trace programs by path or file name (*/nginx)";
    CGROUP = "cgroup", Some("PATH"), true, false, "Trace what is in this control group or below it";
    NETNS = "netns", Some("NAME"), true, false, "Trace what is in this network namespace";
    CONTAINER = "container", Some("NAME"), true, false, "Trace containers by name, pattern or id";
    ALL = "all", None, false, false, "Trace every process of the host" = "false" of Switch;
    EXCLUDE_PID = "exclude-pid", Some("PID"), true, false, "Leave it out; --exclude-… for the others too";
    EXCLUDE_PORT = "exclude-port", Some("LIST"), true, false, "Leave out what listens on these ports": seldom;
    EXCLUDE_EXE = "exclude-exe", Some("GLOB"), true, false, "Leave these programs out": seldom;
    EXCLUDE_CGROUP = "exclude-cgroup", Some("PATH"), true, false, "Leave this control group out": seldom;
    EXCLUDE_NETNS = "exclude-netns", Some("NAME"), true, false, "Leave this network namespace out": seldom;
    EXCLUDE_CONTAINER = "exclude-container", Some("NAME"), true, false, "Leave these containers out": seldom;
    EXPORT = "export", Some("TO"), true, true, "console, otlp[=URL,URL] or json=FILE (-: stdout)";
    QUEUE_DIR = "queue-dir", Some("DIR"), false, false, "Keep what OTLP has not delivered in this folder";
    QUEUE_SIZE = "queue-size", Some("SIZE"), false, false, "At most so much of it for each destination" = "512M": seldom;
    QUEUE_AGE = "queue-age", Some("TIME"), false, false, "Drop what has waited there for longer" = "24h": seldom;
    METRICS = "metrics", Some("TO"), true, false, "prometheus[=ADDR] (here, 9464) or otlp[=URL]";
    RECORD = "record", Some("FILE"), false, false, "Keep what the kernel reports, for replay";
    RECORD_RAW = "record-raw", None, false, false, "Do not redact the recording" = "false" of Switch: seldom;
    HOOKS = "hooks", Some("FAMILY"), false, false, "auto, socket, kprobe or syscall" = "auto" of Hooks: seldom;
    UPROBES = "uprobes", Some("WHEN"), false, false, "Breakpoints for goroutines, coroutines and tasks: auto (default) or off" = "auto" of Uprobes;
    TLS = "tls", Some("WHEN"), false, false, "Breakpoints for TLS: auto (default) or off" = "auto" of Tls;
    RING_SIZE = "ring-size", Some("SIZE"), false, false, "Memory for records on their way (by host)": seldom;
    HOST_ROOT = "host-root", Some("DIR"), false, false, "Where / of the host is mounted (/)" = "/": seldom;
    IDENTITY = "identity", Some("WHEN"), false, false, "Ask Kubernetes and runtimes: auto, labels or off" = "auto" of Identity;
    INSTRUMENTED = "instrumented", Some("WHAT"), false, true, "Self-tracing programs: skip (default) or keep" = "skip" of Instrumented;
    ROUTE = "route", Some("PATTERN"), true, true, "Name spans by route (/orders/{id})";
    LEARN_ROUTES = "learn-routes", Some("WHEN"), false, true, "Learn routes of paths: auto (default), on or off" = "auto" of LearnRoutes: seldom;
    PRIVACY = "privacy", Some("MODE"), false, true, "How much is told: default, strict or open" = "default" of Privacy;
    CAPTURE_HEADER = "capture-header", Some("NAME"), true, true, "Keep this HTTP header on spans";
    SAMPLER = "sampler", Some("NAME[=ARG]"), false, true, "Sampler, as OTEL_TRACES_SAMPLER names them" = "parentbased_always_on";
    SAMPLE = "sample", Some("RULE"), true, true, "Head rule: /health* drop, service=shop 0.1, ...";
    TAIL = "tail", Some("LIST"), false, true, "Tail rules: errors,slow=500ms,slow=p99,ratio=0.05";
    MAX_CPU = "max-cpu", Some("PART"), false, false, "Leave out detail above 20% of a processor, say" = "off";
    MAX_MEMORY = "max-memory", Some("SIZE"), false, false, "The same above so much memory (auto: by cgroup)" = "auto";
    WATCHDOG = "watchdog", Some("TIME"), false, false, "Abort if the agent hangs for so long, or off" = "60s": seldom;
    LOG_FORMAT = "log-format", Some("FORMAT"), false, true, "text (default) or json" = "text" of LogFormat: seldom;
    LOG_LEVEL = "log-level", Some("LEVEL"), false, true, "error, warn, info (default) or debug" = "info" of Level;
}

/// The setting with this name as a flag.
pub fn by_name(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// The setting with this key of the configuration file.
pub fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key() == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_has_three_names_and_they_follow_from_one() {
        assert_eq!(EXCLUDE_PORT.name, "exclude-port");
        assert_eq!(EXCLUDE_PORT.key(), "exclude_port");
        assert_eq!(EXCLUDE_PORT.variable(), "TRACER_EXCLUDE_PORT");
        assert_eq!(by_key("exclude_port"), Some(&EXCLUDE_PORT));
    }

    #[test]
    fn no_two_settings_share_a_name() {
        for (place, setting) in SETTINGS.iter().enumerate() {
            assert!(
                SETTINGS[place + 1..]
                    .iter()
                    .all(|other| other.name != setting.name),
                "{}",
                setting.name
            );
        }
    }
}
