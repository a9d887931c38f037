//! Where spans go.

use std::{path::PathBuf, str::FromStr};

use super::NotAValue;

/// One destination of spans.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExportTarget {
    /// A waterfall for people.
    Console,
    /// A backend that speaks OTLP; `OTEL_EXPORTER_OTLP_*` say the rest.
    Otlp {
        /// Endpoint in the place of `OTEL_EXPORTER_OTLP_ENDPOINT`.
        url: Option<String>,
    },
    /// A file of one `ExportTraceServiceRequest` a line.
    Json {
        /// The file; `None` for standard output, written `-`.
        file: Option<PathBuf>,
    },
}

impl FromStr for ExportTarget {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        match text.split_once('=').unwrap_or((text, "")) {
            ("console", "") if text == "console" => Ok(Self::Console),
            ("otlp", "") if text == "otlp" => Ok(Self::Otlp { url: None }),
            ("otlp", url) if is_url(url) => Ok(Self::Otlp {
                url: Some(url.to_owned()),
            }),
            ("json", "-") => Ok(Self::Json { file: None }),
            ("json", file) if !file.is_empty() => Ok(Self::Json {
                file: Some(file.into()),
            }),
            _ => Err(NotAValue("console, otlp, otlp=http://HOST:PORT or json=FILE")),
        }
    }
}

/// The exporter parses the URL; here it is only told from a slip such as `otlp=console`.
pub(super) fn is_url(text: &str) -> bool {
    text.strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_destination_is_written_as_the_help_says() {
        assert_eq!("console".parse(), Ok(ExportTarget::Console));
        assert_eq!("otlp".parse(), Ok(ExportTarget::Otlp { url: None }));
        assert_eq!(
            "otlp=http://h:4317".parse(),
            Ok(ExportTarget::Otlp {
                url: Some("http://h:4317".into())
            })
        );
        assert_eq!("json=-".parse(), Ok(ExportTarget::Json { file: None }));
        assert_eq!(
            "json=a=b.json".parse(),
            Ok(ExportTarget::Json {
                file: Some("a=b.json".into())
            })
        );
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        for text in [
            "",
            "json",
            "json=",
            "console=",
            "otlp=",
            "otlp=host:4317",
            "otlp=http://",
            "jaeger",
        ] {
            assert!(text.parse::<ExportTarget>().is_err(), "{text}");
        }
    }
}
