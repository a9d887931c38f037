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
        /// Endpoints in the place of `OTEL_EXPORTER_OTLP_ENDPOINT`, which requests take turns among; empty for that.
        urls: Vec<String>,
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
            ("otlp", "") if text == "otlp" => Ok(Self::Otlp { urls: Vec::new() }),
            ("otlp", list) if urls(list).all(is_url) => Ok(Self::Otlp {
                urls: urls(list).map(str::to_owned).collect(),
            }),
            ("json", "-") => Ok(Self::Json { file: None }),
            ("json", file) if !file.is_empty() => Ok(Self::Json {
                file: Some(file.into()),
            }),
            _ => Err(NotAValue(
                "console, otlp, otlp=http://HOST:PORT[,http://HOST:PORT ...] or json=FILE",
            )),
        }
    }
}

/// The URLs of a list with commas: a comma is one of a URL's own unless another begins behind it.
pub fn urls(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let list = rest.take()?;
        let begins = |(at, _): &(usize, &str)| {
            list.get(at + 1..).is_some_and(|after| {
                let after = after.trim_start();
                after.starts_with("http://") || after.starts_with("https://")
            })
        };
        let Some((at, _)) = list.match_indices(',').find(begins) else {
            return Some(list);
        };
        let (url, others) = list.split_at(at);
        rest = others.get(1..).map(str::trim_start);
        Some(url)
    })
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
        assert_eq!("otlp".parse(), Ok(ExportTarget::Otlp { urls: vec![] }));
        assert_eq!(
            "otlp=http://h:4317".parse(),
            Ok(ExportTarget::Otlp {
                urls: vec!["http://h:4317".into()]
            })
        );
        assert_eq!(
            "otlp=http://h:4317,https://g:4317/a,b, http://f".parse(),
            Ok(ExportTarget::Otlp {
                urls: vec![
                    "http://h:4317".into(),
                    "https://g:4317/a,b".into(),
                    "http://f".into()
                ]
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
            "otlp=http://h,http://",
            "otlp=h,http://h",
            "jaeger",
        ] {
            assert!(text.parse::<ExportTarget>().is_err(), "{text}");
        }
    }
}
