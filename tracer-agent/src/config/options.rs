//! What the agent was asked to do, with nothing left to interpret.

use std::{path::PathBuf, str::FromStr};

use super::{
    error::{ConfigError, Origin},
    layers::Layers,
    settings::{self, Setting},
    values::{
        ExportTarget, Glob, HeaderName, Hooks, HostRoot, Identity, Instrumented, LearnRoutes, Level,
        LogFormat, MaxCpu, MaxMemory, MetricsTarget, Name, NotAValue, Ports, Privacy, ProcessId, QueueAge,
        QueueSize, RingSize, Route, Rule, Sampler, Switch, Tail, Tls, Uprobes, Watchdog,
    },
};
use crate::{export::DiskSettings, metrics, pipeline, privacy::header};

/// The options of `trace`, `run` and `replay`, resolved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Which processes are traced.
    pub selection: Selection,
    /// Which kernel functions are hooked.
    pub hooks: Hooks,
    /// Whether breakpoints go into traced programs.
    pub uprobes: Uprobes,
    /// Whether breakpoints go into libraries of TLS.
    pub tls: Tls,
    /// Memory for records on their way out of the kernel.
    pub ring_size: RingSize,
    /// Where the host's root is mounted.
    pub host_root: HostRoot,
    /// Whether others than `/proc` are asked who processes are.
    pub identity: Identity,
    /// Where spans go, in the order given; empty when nothing was said.
    pub exports: Vec<ExportTarget>,
    /// What waits for OTLP waits on disk too.
    pub queue: Option<DiskSettings>,
    /// Where metrics go, in the order given; empty: nothing is counted for anybody.
    pub metrics: Vec<MetricsTarget>,
    /// The same by `OTEL_METRICS_EXPORTER`, for a daemon: around a command it is the command's.
    pub metrics_of_environment: Vec<MetricsTarget>,
    /// The recording to write.
    pub record: Option<Recording>,
    /// What happens to spans of processes that make their own, if that was said.
    pub instrumented: Option<Instrumented>,
    /// Routes that name spans, the first that matches wins.
    pub routes: Vec<Route>,
    /// Whether routes are learned where none of these matches.
    pub learn_routes: LearnRoutes,
    /// How much of a request is told.
    pub privacy: Privacy,
    /// Headers to keep on spans, in lower case.
    pub capture_headers: Vec<HeaderName>,
    /// Which traces are kept.
    pub sampler: Sampler,
    /// What is dropped and kept of requests, the first that fits decides.
    pub rules: Vec<Rule>,
    /// What is kept of finished traces, if that is to be decided.
    pub tail: Option<Tail>,
    /// Attributes for every resource (the agent's own `OTEL_RESOURCE_ATTRIBUTES`); what a process says of itself is
    /// stronger.
    pub resource: Vec<(String, String)>,
    /// How much processor time the agent may take.
    pub max_cpu: MaxCpu,
    /// How much memory.
    pub max_memory: MaxMemory,
    /// How long it may hang.
    pub watchdog: Watchdog,
    /// How the agent writes what it says of itself.
    pub log_format: LogFormat,
    /// How much the agent says of itself.
    pub log_level: Level,
    /// The agent has `OTEL_EXPORTER_OTLP_*` variables of its own.
    pub has_otlp_environment: bool,
    /// What was said that has no effect, for a warning.
    pub remarks: Vec<String>,
}

/// Which processes are traced; excluding is stronger.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Every process of the host.
    pub all: bool,
    /// These, with all their threads and future children.
    pub pids: Vec<u32>,
    /// Those that listen on one of these ports, now or later.
    pub ports: Ports,
    /// Those whose executable matches, now or later.
    pub exes: Vec<Glob>,
    /// Those in one of these control groups, or below it.
    pub cgroups: Vec<String>,
    /// Those in one of these network namespaces.
    pub netns: Vec<String>,
    /// Those in a container with such a name or id, now or later.
    pub containers: Vec<Glob>,
    /// Not these.
    pub exclude_pids: Vec<u32>,
    /// Not those that listen on one of these ports.
    pub exclude_ports: Ports,
    /// Not those whose executable matches.
    pub exclude_exes: Vec<Glob>,
    /// Not those in one of these control groups, or below it.
    pub exclude_cgroups: Vec<String>,
    /// Not those in one of these network namespaces.
    pub exclude_netns: Vec<String>,
    /// Not those in such a container.
    pub exclude_containers: Vec<Glob>,
}

impl Selection {
    /// Nothing is selected.
    pub fn is_empty(&self) -> bool {
        !self.all && self.pids.is_empty() && !self.may_grow()
    }

    /// Processes may be selected that are not named one by one.
    pub fn may_grow(&self) -> bool {
        self.all
            || !(self.ports.is_empty()
                && self.exes.is_empty()
                && self.cgroups.is_empty()
                && self.netns.is_empty()
                && self.containers.is_empty())
    }
}

/// A recording to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The file, made anew.
    pub file: PathBuf,
    /// Without redaction.
    pub raw: bool,
}

impl Options {
    /// Resolves what the sources say.
    ///
    /// # Errors
    /// [`ConfigError`] for the first value that cannot be used, in the order of the table of settings.
    pub fn resolve(layers: &Layers) -> Result<Self, ConfigError> {
        let mut remarks: Vec<String> = layers.unknown_variables.iter().map(unknown_variable).collect();
        let capture_headers = list(layers, &settings::CAPTURE_HEADER)?;
        remarks.extend(capture_headers.iter().filter_map(credential));
        Ok(Self {
            selection: selection(layers)?,
            hooks: one(layers, &settings::HOOKS)?,
            uprobes: one(layers, &settings::UPROBES)?,
            tls: one(layers, &settings::TLS)?,
            ring_size: one(layers, &settings::RING_SIZE)?,
            host_root: one(layers, &settings::HOST_ROOT)?,
            identity: one(layers, &settings::IDENTITY)?,
            exports: distinct(layers, &settings::EXPORT)?,
            queue: queue(layers)?,
            metrics: distinct(layers, &settings::METRICS)?,
            metrics_of_environment: metrics_of_environment(layers, &mut remarks),
            record: record(layers)?,
            instrumented: optional(layers, &settings::INSTRUMENTED)?,
            routes: list(layers, &settings::ROUTE)?,
            learn_routes: one(layers, &settings::LEARN_ROUTES)?,
            privacy: one(layers, &settings::PRIVACY)?,
            capture_headers,
            sampler: sampler(layers, &mut remarks)?,
            rules: list(layers, &settings::SAMPLE)?,
            tail: optional(layers, &settings::TAIL)?,
            resource: resource(layers, &mut remarks),
            max_cpu: one(layers, &settings::MAX_CPU)?,
            max_memory: one(layers, &settings::MAX_MEMORY)?,
            watchdog: one(layers, &settings::WATCHDOG)?,
            log_format: one(layers, &settings::LOG_FORMAT)?,
            log_level: one(layers, &settings::LOG_LEVEL)?,
            has_otlp_environment: layers.has_otel("OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_METRICS_"),
            remarks,
        })
    }

    /// The options of a daemon: the same, with a selection, and with the metrics that its environment asks for.
    ///
    /// # Errors
    /// [`ConfigError::NothingSelected`] when there is none.
    pub fn with_selection(mut self) -> Result<Self, ConfigError> {
        if self.selection.is_empty() {
            return Err(ConfigError::NothingSelected);
        }
        if self.metrics.is_empty() {
            self.metrics.append(&mut self.metrics_of_environment);
        }
        Ok(self)
    }
}

impl Options {
    /// What of it concerns the core.
    pub fn pipeline(&self) -> pipeline::Settings {
        let headers: Vec<_> = self.capture_headers.iter().map(|name| name.0.clone()).collect();
        let mut settings = pipeline::Settings::default();
        settings.protocols.captured_request_headers.clone_from(&headers);
        settings.protocols.captured_response_headers = headers;
        settings.correlate.sampler = self.sampler;
        settings.rules = self.rules.iter().map(|rule| rule.0.clone()).collect();
        settings.tail = self.tail.as_ref().map(|tail| tail.0.clone());
        settings.correlate.instrumented = self.instrumented.unwrap_or_default();
        settings.spans.routes.clone_from(&self.routes);
        settings.metrics = (!self.metrics.is_empty()).then(metrics::Settings::default);
        settings.spans.privacy = self.privacy;
        settings.spans.learn_routes = match self.learn_routes {
            LearnRoutes::Auto => self.privacy != Privacy::Strict,
            LearnRoutes::On => true,
            LearnRoutes::Off => false,
        };
        settings
    }

    /// The same for packet captures. What an address serves and what it calls need not be one program: times tell
    /// nothing of it, and that one of its programs makes spans of its own is no reason to leave out the others'.
    pub fn pipeline_of_capture(&self) -> pipeline::Settings {
        let mut settings = self.pipeline();
        settings.correlate.wait_timing_ns = 0;
        settings.correlate.instrumented = self.instrumented.unwrap_or(Instrumented::Keep);
        settings
    }
}

fn selection(layers: &Layers) -> Result<Selection, ConfigError> {
    let pids = |setting| {
        Ok(list::<ProcessId>(layers, setting)?
            .into_iter()
            .map(|pid| pid.0)
            .collect())
    };
    let names = |setting| {
        let names = list::<Name>(layers, setting)?.into_iter();
        Ok(names.map(|name| name.0).collect())
    };
    let ports = |setting| {
        let mut ports = Ports::default();
        list::<Ports>(layers, setting)?
            .into_iter()
            .for_each(|more| ports.extend(more));
        Ok(ports)
    };
    Ok(Selection {
        pids: pids(&settings::PID)?,
        ports: ports(&settings::PORT)?,
        exes: list(layers, &settings::EXE)?,
        all: one::<Switch>(layers, &settings::ALL)? == Switch::On,
        exclude_pids: pids(&settings::EXCLUDE_PID)?,
        exclude_ports: ports(&settings::EXCLUDE_PORT)?,
        exclude_exes: list(layers, &settings::EXCLUDE_EXE)?,
        cgroups: names(&settings::CGROUP)?,
        netns: names(&settings::NETNS)?,
        exclude_cgroups: names(&settings::EXCLUDE_CGROUP)?,
        exclude_netns: names(&settings::EXCLUDE_NETNS)?,
        containers: list(layers, &settings::CONTAINER)?,
        exclude_containers: list(layers, &settings::EXCLUDE_CONTAINER)?,
    })
}

/// Destinations, each once: two writers to one would tangle their lines or deliver everything twice.
fn distinct<T: FromStr<Err = NotAValue> + PartialEq>(
    layers: &Layers,
    setting: &Setting,
) -> Result<Vec<T>, ConfigError> {
    let mut targets: Vec<T> = Vec::new();
    for (origin, text) in layers.values(setting) {
        let target = parse(origin, text)?;
        if targets.contains(&target) {
            return Err(ConfigError::Value {
                origin: origin.clone(),
                value: text.clone(),
                wanted: "a destination that was not given before",
            });
        }
        targets.push(target);
    }
    Ok(targets)
}

fn queue(layers: &Layers) -> Result<Option<DiskSettings>, ConfigError> {
    let max_bytes = optional::<QueueSize>(layers, &settings::QUEUE_SIZE)?;
    let max_age = optional::<QueueAge>(layers, &settings::QUEUE_AGE)?;
    match optional::<Name>(layers, &settings::QUEUE_DIR)? {
        Some(directory) => Ok(Some(DiskSettings {
            directory: directory.0.into(),
            max_bytes: max_bytes.unwrap_or_default().0,
            max_age: max_age.unwrap_or_default().0,
        })),
        None if max_bytes.is_some() => Err(needs_queue(&settings::QUEUE_SIZE)),
        None if max_age.is_some() => Err(needs_queue(&settings::QUEUE_AGE)),
        None => Ok(None),
    }
}

fn needs_queue(setting: &Setting) -> ConfigError {
    ConfigError::Needs {
        setting: setting.name,
        needs: settings::QUEUE_DIR.name,
    }
}

fn record(layers: &Layers) -> Result<Option<Recording>, ConfigError> {
    let raw = one::<Switch>(layers, &settings::RECORD_RAW)? == Switch::On;
    match layers.value(&settings::RECORD)? {
        Some((origin, file)) if file.is_empty() => Err(ConfigError::Value {
            origin: origin.clone(),
            value: String::new(),
            wanted: "the name of a file",
        }),
        Some((_, file)) => Ok(Some(Recording {
            file: file.into(),
            raw,
        })),
        None if raw => Err(ConfigError::Needs {
            setting: settings::RECORD_RAW.name,
            needs: settings::RECORD.name,
        }),
        None => Ok(None),
    }
}

/// `OTEL_METRICS_EXPORTER`: a list of names, of which the specification knows four.
fn metrics_of_environment(layers: &Layers, remarks: &mut Vec<String>) -> Vec<MetricsTarget> {
    const NAME: &str = "OTEL_METRICS_EXPORTER";
    let mut targets = Vec::new();
    let names = layers.otel(NAME).unwrap_or_default().split(',').map(str::trim);
    for name in names.filter(|name| !matches!(*name, "" | "none")) {
        match name.parse() {
            Ok(target) if matches!(name, "otlp" | "prometheus") => {
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
            _ => remarks.push(format!(
                "{NAME}: {name:?} is none of otlp, prometheus and none; it is ignored"
            )),
        }
    }
    targets
}

fn sampler(layers: &Layers, remarks: &mut Vec<String>) -> Result<Sampler, ConfigError> {
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    if let Some((origin, text)) = layers.value(&settings::SAMPLER)? {
        return parse(origin, text);
    }
    let Some(name) = layers.otel(NAME) else {
        return Ok(Sampler::default());
    };
    // The specification wants a warning and the default for a value that is not understood.
    Ok(
        Sampler::named(name, layers.otel("OTEL_TRACES_SAMPLER_ARG")).unwrap_or_else(|error| {
            remarks.push(format!(
                "{NAME}: {name:?} with its argument is {error}; using parentbased_always_on"
            ));
            Sampler::default()
        }),
    )
}

/// `key=value` pairs, percent-encoded as in W3C Baggage; if one is malformed the specification drops them all.
fn resource(layers: &Layers, remarks: &mut Vec<String>) -> Vec<(String, String)> {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let Some(text) = layers.otel(NAME) else {
        return Vec::new();
    };
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        Some((percent_decoded(key.trim())?, percent_decoded(value.trim())?))
            .filter(|(key, _)| !key.is_empty())
    };
    let pairs = text
        .split(',')
        .filter(|part| !part.trim().is_empty())
        .map(pair)
        .collect::<Option<_>>();
    pairs.unwrap_or_else(|| {
        remarks.push(format!(
            "{NAME}: not a list of key=value pairs; all of it is ignored"
        ));
        Vec::new()
    })
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digit = |byte: &u8| {
            char::from(*byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let [high, low] = digits else { return None };
        bytes.push(digit(high)? << 4 | digit(low)?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// Warns of a header that nobody gets to see.
fn credential(name: &HeaderName) -> Option<String> {
    header::is_credential(&name.0).then(|| {
        let (flag, name) = (settings::CAPTURE_HEADER.name, &name.0);
        format!("--{flag} {name}: it may carry credentials, so spans say REDACTED instead of its value")
    })
}

fn unknown_variable((name, nearest): &(String, Option<String>)) -> String {
    match nearest {
        Some(nearest) => format!("the variable {name} means nothing to the agent; did you mean {nearest}?"),
        None => format!("the variable {name} means nothing to the agent"),
    }
}

fn one<T: FromStr<Err = NotAValue> + Default>(layers: &Layers, setting: &Setting) -> Result<T, ConfigError> {
    match layers.value(setting)? {
        Some((origin, text)) => parse(origin, text),
        None => Ok(T::default()),
    }
}

fn optional<T: FromStr<Err = NotAValue>>(
    layers: &Layers,
    setting: &Setting,
) -> Result<Option<T>, ConfigError> {
    let value = layers.value(setting)?;
    value.map(|(origin, text)| parse(origin, text)).transpose()
}

fn list<T: FromStr<Err = NotAValue>>(layers: &Layers, setting: &Setting) -> Result<Vec<T>, ConfigError> {
    layers
        .values(setting)
        .iter()
        .map(|(origin, text)| parse(origin, text))
        .collect()
}

fn parse<T: FromStr<Err = NotAValue>>(origin: &Origin, text: &str) -> Result<T, ConfigError> {
    text.parse().map_err(|NotAValue(wanted)| ConfigError::Value {
        origin: origin.clone(),
        value: text.to_owned(),
        wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::RootSampler;

    fn resolved(flags: &[(&'static Setting, &str)], environment: &[(&str, &str)]) -> Result<Options, String> {
        let mut given: Vec<(&'static Setting, Vec<String>)> = Vec::new();
        for (setting, value) in flags {
            match given.iter_mut().find(|(known, _)| known == setting) {
                Some((_, values)) => values.push((*value).to_owned()),
                None => given.push((setting, vec![(*value).to_owned()])),
            }
        }
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let layers = Layers::gather(given, None, environment).map_err(|error| error.to_string())?;
        Options::resolve(&layers).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_that_cannot_be_used_names_its_source() {
        assert_eq!(
            resolved(&[(&settings::PORT, "abc")], &[]).unwrap_err(),
            r#"--port: "abc" is not a list of ports such as 80,8000-8010"#
        );
        assert_eq!(
            resolved(&[], &[("TRACER_ALL", "yes")]).unwrap_err(),
            r#"TRACER_ALL: "yes" is not true or false"#
        );
    }

    #[test]
    fn port_lists_of_several_flags_are_one_list() {
        let options = resolved(&[(&settings::PORT, "80"), (&settings::PORT, "81-82")], &[]).unwrap();
        assert!(
            [80, 81, 82]
                .iter()
                .all(|port| options.selection.ports.contains(*port))
        );
    }

    #[test]
    fn a_daemon_needs_a_selection_and_an_exclusion_is_none() {
        let options = resolved(&[(&settings::EXCLUDE_PID, "1")], &[]).unwrap();
        assert!(matches!(
            options.with_selection(),
            Err(ConfigError::NothingSelected)
        ));
        assert!(
            resolved(&[(&settings::ALL, "true")], &[])
                .unwrap()
                .with_selection()
                .is_ok()
        );
    }

    #[test]
    fn bounds_of_the_queue_on_disk_need_the_queue() {
        let options = resolved(&[(&settings::QUEUE_DIR, "/q"), (&settings::QUEUE_AGE, "1h")], &[]).unwrap();
        let queue = options.queue.unwrap();
        assert_eq!((queue.max_bytes, queue.max_age.as_secs()), (512 << 20, 3600));
        for (setting, value) in [(&settings::QUEUE_SIZE, "1G"), (&settings::QUEUE_AGE, "1h")] {
            let error = resolved(&[(setting, value)], &[]).unwrap_err();
            assert!(error.contains("queue-dir"), "{error}");
        }
    }

    #[test]
    fn one_destination_is_given_once() {
        assert!(
            resolved(
                &[(&settings::EXPORT, "json=a"), (&settings::EXPORT, "json=b")],
                &[]
            )
            .is_ok()
        );
        assert_eq!(
            resolved(&[(&settings::EXPORT, "otlp"), (&settings::EXPORT, "otlp")], &[]).unwrap_err(),
            r#"--export: "otlp" is not a destination that was not given before"#
        );
    }

    #[test]
    fn metrics_go_where_the_flag_says_and_a_daemon_asks_its_environment_too() {
        let otel = [("OTEL_METRICS_EXPORTER", "otlp, prometheus,none,console")];
        let options = resolved(&[(&settings::ALL, "true")], &otel).unwrap();
        assert_eq!(options.metrics, []);
        assert_eq!(options.pipeline().metrics, None);
        assert_eq!(options.remarks.len(), 1, "console");
        let options = options.with_selection().unwrap();
        let both = [
            MetricsTarget::Otlp { url: None },
            MetricsTarget::Prometheus { address: None },
        ];
        assert_eq!(options.metrics, both);
        assert!(options.pipeline().metrics.is_some());
        let flags = [(&settings::ALL, "true"), (&settings::METRICS, "otlp")];
        let options = resolved(&flags, &otel).unwrap().with_selection().unwrap();
        assert_eq!(options.metrics, [MetricsTarget::Otlp { url: None }]);
    }

    #[test]
    fn variables_of_metrics_alone_send_no_spans() {
        let of = |name| {
            resolved(&[], &[(name, "http://h:4318")])
                .unwrap()
                .has_otlp_environment
        };
        assert!(!of("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"));
        assert!(of("OTEL_EXPORTER_OTLP_ENDPOINT"));
    }

    #[test]
    fn routes_are_learned_unless_privacy_is_strict_and_nobody_asks_for_them() {
        let learns = |flags: &[(&'static Setting, &str)]| {
            let settings = resolved(flags, &[]).unwrap().pipeline();
            settings.spans.learn_routes
        };
        let strict = (&settings::PRIVACY, "strict");
        assert!(learns(&[]) && learns(&[(&settings::PRIVACY, "open")]));
        assert!(!learns(&[strict]) && learns(&[strict, (&settings::LEARN_ROUTES, "on")]));
        assert!(!learns(&[(&settings::LEARN_ROUTES, "off")]));
    }

    #[test]
    fn a_header_that_carries_credentials_is_remarked() {
        let remarks = |name| {
            resolved(&[(&settings::CAPTURE_HEADER, name)], &[])
                .unwrap()
                .remarks
        };
        assert_eq!(remarks("Authorization").len(), 1);
        assert!(remarks("x-tenant").is_empty());
    }

    #[test]
    fn a_raw_recording_needs_a_recording() {
        assert_eq!(
            resolved(&[(&settings::RECORD_RAW, "true")], &[]).unwrap_err(),
            "--record-raw needs --record as well"
        );
    }

    #[test]
    fn the_sampler_of_the_flag_is_stronger_than_that_of_opentelemetry() {
        let otel = [
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
        ];
        assert_eq!(
            resolved(&[], &otel).unwrap().sampler,
            Sampler::Always(RootSampler::of_share(0.5))
        );
        let options = resolved(&[(&settings::SAMPLER, "always_off")], &otel).unwrap();
        assert_eq!(options.sampler, Sampler::Always(RootSampler::Off));
    }

    #[test]
    fn a_sampler_of_opentelemetry_that_is_not_understood_is_remarked_and_the_default_used() {
        let options = resolved(&[], &[("OTEL_TRACES_SAMPLER", "jaeger_remote")]).unwrap();
        assert_eq!(options.sampler, Sampler::default());
        assert_eq!(options.remarks.len(), 1);
    }

    #[test]
    fn rules_of_sampling_are_read_in_order_and_what_is_wrong_is_said() {
        let rules = [
            (&settings::SAMPLE, "/health* drop"),
            (&settings::SAMPLE, "service=shop 0.5"),
        ];
        let options = resolved(&rules, &[("TRACER_TAIL", "errors,ratio=0.1")]).unwrap();
        let settings = options.pipeline();
        assert_eq!(
            settings.rules,
            ["/health* drop", "service=shop 0.5"].map(|rule| rule.parse().unwrap())
        );
        assert_eq!(settings.tail, Some("errors,ratio=0.1".parse().unwrap()));
        assert_eq!(
            resolved(&[(&settings::SAMPLE, "/health* dorp")], &[]).unwrap_err(),
            r#"--sample: "/health* dorp" is not a rule: its last word is what to do, drop, keep or a share above 0 and up to 1"#
        );
        assert_eq!(
            resolved(&[(&settings::TAIL, "slow=soon")], &[]).unwrap_err(),
            r#"--tail: "slow=soon" is not a list with a duration such as slow=500ms, slow=2s or slow=p99"#
        );
    }

    #[test]
    fn resource_attributes_are_percent_decoded_and_dropped_whole_when_malformed() {
        let options = resolved(&[], &[("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb, env = prod,")]).unwrap();
        assert_eq!(
            options.resource,
            [("team".into(), "a,b".into()), ("env".into(), "prod".into())]
        );
        for text in ["a", "a=%4", "a=%zz", "=b", "a=b,c"] {
            let options = resolved(&[], &[("OTEL_RESOURCE_ATTRIBUTES", text)]).unwrap();
            assert!(
                options.resource.is_empty() && options.remarks.len() == 1,
                "{text}"
            );
        }
    }
}
