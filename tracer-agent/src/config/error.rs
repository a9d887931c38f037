//! What can be wrong with the configuration, and where it was read.

use std::{fmt, path::PathBuf};

/// Where a value was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag, by its name without dashes.
    Flag(&'static str),
    /// An environment variable.
    Variable(String),
    /// A line of the configuration file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(out, "--{name}"),
            Self::Variable(name) => write!(out, "{name}"),
            Self::File { path, line } => write!(out, "{}:{line}", path.display()),
        }
    }
}

/// A configuration that cannot be used: misuse, exit status 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that its setting does not take.
    #[error("{origin}: {value:?} is not {wanted}")]
    Value {
        /// Where it was read.
        origin: Origin,
        /// The value.
        value: String,
        /// What would have been right.
        wanted: &'static str,
    },
    /// Two values where there can be one.
    #[error("{origin}: given more than once; give one value")]
    Repeated {
        /// Where the second was read.
        origin: Origin,
    },
    /// A key that no setting has.
    #[error("{origin}: unknown key {key:?}{}", suggestion(.nearest.as_deref()))]
    UnknownKey {
        /// Where it was read.
        origin: Origin,
        /// The key.
        key: String,
        /// The key that was probably meant.
        nearest: Option<String>,
    },
    /// The file is not a plain mapping of keys to values or lists of values.
    #[error("{origin}: {problem}")]
    Shape {
        /// Where.
        origin: Origin,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// The file could not be read.
    #[error("cannot read the configuration {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `run` was not told what to trace.
    #[error(
        "nothing is selected: say what to trace with --pid PID, --port LIST, --exe GLOB, --cgroup PATH or --netns NAME, or --all for every process"
    )]
    NothingSelected,
    /// A setting that means nothing without another.
    #[error("--{setting} needs --{needs} as well")]
    Needs {
        /// The setting.
        setting: &'static str,
        /// The one it needs.
        needs: &'static str,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest
        .map(|name| format!("; did you mean {name:?}?"))
        .unwrap_or_default()
}
