//! The one time that is written into what is made: that of the last commit, so that the same tree gives the same bytes
//! whenever it is built.

use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{output, root};

/// Seconds since 1970, as <https://reproducible-builds.org/specs/source-date-epoch/> has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub u64);

/// `SOURCE_DATE_EPOCH` where it is set, else the time of the last commit.
pub fn of_last_commit() -> Result<Moment> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => output(
            Command::new("git")
                .current_dir(root())
                .args(["log", "-1", "--format=%ct"]),
        )
        .context("the time of the last commit; outside of a clone, set SOURCE_DATE_EPOCH")?,
    };
    text.parse()
        .map(Moment)
        .with_context(|| format!("{text:?} is no number of seconds"))
}

impl Moment {
    /// As images write it (RFC 3339).
    pub fn rfc3339(self) -> Result<String> {
        self.written("+%Y-%m-%dT%H:%M:%SZ")
    }

    /// As the changelog of a package writes it (RFC 5322).
    pub fn rfc5322(self) -> Result<String> {
        self.written("+%a, %d %b %Y %H:%M:%S +0000")
    }

    fn written(self, format: &str) -> Result<String> {
        output(Command::new("date").env("LC_ALL", "C").args([
            "--utc",
            &format!("--date=@{}", self.0),
            format,
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;

    #[test]
    fn a_moment_is_written_as_images_and_packages_want_it() {
        let moment = Moment(951_782_400);
        assert_eq!(moment.rfc3339().unwrap(), "2000-02-29T00:00:00Z");
        assert_eq!(moment.rfc5322().unwrap(), "Tue, 29 Feb 2000 00:00:00 +0000");
    }
}
