//! Exit statuses: what each one means to a script.

use std::process::{ExitCode, ExitStatus};

/// How the agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done: 0.
    Done,
    /// It could not be done: 1.
    Failed,
    /// It was asked for in a way that makes no sense: 2.
    Misused,
    /// CMD is there but cannot be run: 126, as shells say it.
    NotExecutable,
    /// There is no CMD: 127, as shells say it.
    NotFound,
    /// CMD's own exit status.
    Status(u8),
}

impl Exit {
    /// The exit status of a command that ended like this: its own, or 128 and the signal that killed it.
    pub fn of(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let code = status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal));
        Self::Status(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
    }

    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Misused => 2,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
            Self::Status(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_command_that_was_killed_counts_128_and_its_signal() {
        assert_eq!(Exit::of(ExitStatus::from_raw(9)).code(), 137);
        assert_eq!(Exit::of(ExitStatus::from_raw(3 << 8)).code(), 3);
    }
}
