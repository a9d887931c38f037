//! The values of settings, each with the one parser that makes it.

mod amount;
mod export;
mod limits;
pub mod metrics;
mod ports;
mod queue;
mod sampler;
mod sampling;

use std::{path::PathBuf, str::FromStr};

pub use export::{ExportTarget, urls};
pub use limits::{MaxCpu, MaxMemory, Watchdog};
pub use metrics::MetricsTarget;
pub use ports::Ports;
pub use queue::{QueueAge, QueueSize};

pub use crate::{
    correlate::{Instrumented, Sampler},
    discovery::Glob,
    privacy::Privacy,
    spans::Route,
};
pub use sampling::{Rule, Tail};

/// A text that is no value of its type; says what would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {0}")]
pub struct NotAValue(pub &'static str);

macro_rules! words {
    ($(#[$doc:meta])+ $name:ident, $wanted:literal { $($(#[$variant_doc:meta])+ $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])+ $variant,)+ }

        impl $name {
            /// All, as they are written.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl FromStr for $name {
            type Err = NotAValue;

            fn from_str(text: &str) -> Result<Self, NotAValue> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(NotAValue($wanted)),
                }
            }
        }
    };
}

words! {
    /// Which kernel functions are hooked.
    Hooks, "a hook family: auto, socket, kprobe or syscall" {
        /// The best family that this kernel takes.
        #[default]
        Auto = "auto",
        /// fentry and fexit on the socket functions.
        Socket = "socket",
        /// Kprobes on the socket functions.
        Kprobe = "kprobe",
        /// Raw tracepoints on system calls.
        Syscall = "syscall",
    }
}

words! {
    /// Whether breakpoints go into traced programs.
    Uprobes, "auto or off" {
        /// Where they tell what nothing else does.
        #[default]
        Auto = "auto",
        /// Nowhere.
        Off = "off",
    }
}

words! {
    /// Whether breakpoints go into libraries of TLS.
    Tls, "auto or off" {
        /// Where a traced process has one.
        #[default]
        Auto = "auto",
        /// Nowhere: what is in TLS is not seen.
        Off = "off",
    }
}

words! {
    /// Whether the Kubernetes API and container runtimes are asked who processes are.
    Identity, "auto, labels or off" {
        /// Where they are there.
        #[default]
        Auto = "auto",
        /// The same, and the well-known labels of pods (`app.kubernetes.io/…`) name services.
        Labels = "labels",
        /// Never.
        Off = "off",
    }
}

words! {
    /// Whether routes are learned from paths.
    LearnRoutes, "auto, on or off" {
        /// Unless privacy is strict.
        #[default]
        Auto = "auto",
        /// Always.
        On = "on",
        /// Never: only configured routes name spans.
        Off = "off",
    }
}

words! {
    /// How much the agent says of itself; each level includes those before.
    Level, "a level: error, warn, info or debug" {
        /// Something asked for cannot be done.
        Error = "error",
        /// Something was lost or is not as it should be.
        Warn = "warn",
        /// What the agent begins and ends.
        #[default]
        Info = "info",
        /// Every step.
        Debug = "debug",
    }
}

words! {
    /// How the agent's own lines are written.
    LogFormat, "text or json" {
        /// For people.
        #[default]
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

words! {
    /// A switch.
    Switch, "true or false" {
        /// On.
        On = "true",
        /// Off.
        #[default]
        Off = "false",
    }
}

/// A process id: positive, within what Linux can number (`PID_MAX_LIMIT`, 2^22).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId(pub u32);

impl FromStr for ProcessId {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        text.parse()
            .ok()
            .filter(|pid| (1..=1 << 22).contains(pid))
            .map(Self)
            .ok_or(NotAValue("a process id (a number from 1)"))
    }
}

/// Size of the ring buffer in bytes, by the host where nothing was said: what the kernel takes is a power of two, a page at
/// least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingSize(pub Option<u32>);

impl FromStr for RingSize {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        let (number, unit) = match text.char_indices().find(|(_, char)| !char.is_ascii_digit()) {
            Some((at, _)) => text.split_at(at),
            None => (text, ""),
        };
        let shift = match unit {
            "" => Some(0),
            "K" | "KiB" => Some(10),
            "M" | "MiB" => Some(20),
            _ => None,
        };
        let number: Option<u32> = number.parse().ok();
        number
            .zip(shift)
            .and_then(|(number, shift)| number.checked_mul(1 << shift))
            .filter(|size| size.is_power_of_two() && (4096..=1 << 30).contains(size))
            .map(|size| Self(Some(size)))
            .ok_or(NotAValue("a power of two from 4K to 1024M"))
    }
}

/// The name of an HTTP header, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(pub String);

impl FromStr for HeaderName {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        // RFC 9110 section 5.6.2: token
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || !text.bytes().all(token) {
            return Err(NotAValue("the name of an HTTP header"));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// Where the host's root is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoot(pub PathBuf);

impl Default for HostRoot {
    fn default() -> Self {
        Self("/".into())
    }
}

impl FromStr for HostRoot {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        if !text.starts_with('/') {
            return Err(NotAValue("an absolute path"));
        }
        Ok(Self(text.into()))
    }
}

/// The name of a place: not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub String);

impl FromStr for Name {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        if text.is_empty() {
            return Err(NotAValue("a name or a path"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Privacy {
    /// All, as they are written.
    pub const WORDS: &'static [&'static str] = &["default", "strict", "open"];
}

impl Instrumented {
    /// All, as they are written.
    pub const WORDS: &'static [&'static str] = &["skip", "keep"];
}

impl FromStr for Instrumented {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        match text {
            "skip" => Ok(Self::Skip),
            "keep" => Ok(Self::Keep),
            _ => Err(NotAValue("skip or keep")),
        }
    }
}

impl FromStr for Privacy {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        match text {
            "default" => Ok(Self::Default),
            "strict" => Ok(Self::Strict),
            "open" => Ok(Self::Open),
            _ => Err(NotAValue("default, strict or open")),
        }
    }
}

impl FromStr for Route {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        Self::new(text)
            .map_err(|_| NotAValue("a route: a path with parameters in braces, such as /orders/{id}"))
    }
}

impl FromStr for Glob {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        if text.is_empty() {
            return Err(NotAValue("a pattern such as nginx or /opt/*/server"));
        }
        Ok(Self::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_a_positive_number_that_linux_can_give() {
        assert_eq!("4194304".parse(), Ok(ProcessId(4_194_304)));
        for text in ["0", "-1", "4194305", "abc", "", "1.0", "99999999999999999999"] {
            assert!(text.parse::<ProcessId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_name_is_a_token_and_becomes_lower_case() {
        assert_eq!("X-Request-ID".parse(), Ok(HeaderName("x-request-id".into())));
        for text in ["", "a b", "a:", "é"] {
            assert!(text.parse::<HeaderName>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_route_is_refused() {
        assert!("/orders/{id}".parse::<Route>().is_ok());
        for text in ["orders", "", "/a/{"] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
    }

    #[test]
    fn words_are_taken_as_they_are_written_in_the_help() {
        assert_eq!("kprobe".parse(), Ok(Hooks::Kprobe));
        assert_eq!("keep".parse(), Ok(Instrumented::Keep));
        assert_eq!(
            "Info".parse::<Level>(),
            Err(NotAValue("a level: error, warn, info or debug"))
        );
        assert!(Level::Error < Level::Debug);
        let refused = Err(NotAValue("a power of two from 4K to 1024M"));
        for (text, size) in [
            ("4096", Ok(RingSize(Some(4096)))),
            ("64K", Ok(RingSize(Some(65536)))),
            ("16MiB", Ok(RingSize(Some(16 << 20)))),
            ("2048", refused),
            ("5M", refused),
            ("4096M", refused),
            ("M", refused),
            ("4G", refused),
        ] {
            assert_eq!(text.parse(), size, "{text}");
        }
    }
}
