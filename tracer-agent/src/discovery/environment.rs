//! The variables of a traced process that name it. No other variable is looked at, and none is kept.

use super::text;

/// What a process's environment says of its identity.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    /// `OTEL_SERVICE_NAME`, else `service.name` of `OTEL_RESOURCE_ATTRIBUTES`.
    pub service_name: Option<String>,
    /// The other `OTEL_RESOURCE_ATTRIBUTES`, no key twice.
    pub attributes: Vec<(String, String)>,
    /// `HOSTNAME`: in a pod, the pod's name.
    pub hostname: Option<String>,
}

/// Attributes of one process that are kept.
const ATTRIBUTES_MAX: usize = 64;

impl Environment {
    /// Reads the `NAME=value\0` entries of `/proc/PID/environ`; of a name that is there twice the first
    /// counts, as for `getenv`.
    pub(super) fn parse(environ: &[u8]) -> Self {
        let service_name = variable(environ, b"OTEL_SERVICE_NAME").and_then(text::non_empty);
        let mut attributes = variable(environ, b"OTEL_RESOURCE_ATTRIBUTES")
            .and_then(resource_attributes)
            .unwrap_or_default();
        let named = attributes
            .iter()
            .position(|(key, _)| key == "service.name")
            .map(|place| attributes.remove(place).1);
        Self {
            service_name: service_name.or_else(|| named.filter(|name| !name.is_empty())),
            attributes,
            hostname: variable(environ, b"HOSTNAME").and_then(text::non_empty),
        }
    }
}

fn variable<'a>(environ: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let value = environ
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))?;
    str::from_utf8(value).ok()
}

/// `key=value,key=value`, percent-encoded. As the specification asks, one error discards them all.
fn resource_attributes(list: &str) -> Option<Vec<(String, String)>> {
    let mut attributes: Vec<(String, String)> = Vec::new();
    for pair in list.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (key, value) = pair.split_once('=')?;
        let key = text::non_empty(&percent_decoded(key.trim())?)?;
        let value = text::clean(&percent_decoded(value.trim())?);
        if let Some((_, known)) = attributes.iter_mut().find(|(known, _)| *known == key) {
            *known = value;
        } else if attributes.len() < ATTRIBUTES_MAX {
            attributes.push((key, value));
        } else {
            return None;
        }
    }
    Some(attributes)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            plain => plain,
        });
    }
    String::from_utf8(decoded).ok()
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Environment, percent_decoded};

    fn parse(entries: &[&str]) -> Environment {
        Environment::parse(entries.join("\0").as_bytes())
    }

    #[test]
    fn the_service_name_variable_wins_over_the_attribute() {
        let both = parse(&[
            "OTEL_RESOURCE_ATTRIBUTES=service.name=b,deployment.environment.name=prod",
            "OTEL_SERVICE_NAME=a",
        ]);
        assert_eq!(both.service_name.as_deref(), Some("a"));
        assert_eq!(
            both.attributes,
            [("deployment.environment.name".to_owned(), "prod".to_owned())]
        );
        let empty = parse(&["OTEL_SERVICE_NAME=", "OTEL_RESOURCE_ATTRIBUTES=service.name=b"]);
        assert_eq!(empty.service_name.as_deref(), Some("b"));
    }

    #[test]
    fn values_are_percent_decoded_and_the_last_of_a_key_counts() {
        let found = parse(&["OTEL_RESOURCE_ATTRIBUTES= k = a%2Cb%3D%C3%A9 ,,x=1,x=2,"]);
        assert_eq!(
            found.attributes,
            [
                ("k".to_owned(), "a,b=é".to_owned()),
                ("x".to_owned(), "2".to_owned())
            ]
        );
    }

    #[test]
    fn one_error_discards_all_attributes() {
        for list in ["a=1,b", "a=1,b=%2", "a=1,b=%zz", "a=1,=2", "a=1,b=%ff"] {
            let found = parse(&[&format!("OTEL_RESOURCE_ATTRIBUTES={list}")]);
            assert_eq!(found, Environment::default(), "{list}");
        }
    }

    #[test]
    fn nothing_but_the_naming_variables_is_kept() {
        let found = parse(&[
            "AWS_SECRET_ACCESS_KEY=hunter2",
            "PATH=/hunter2",
            "OTEL_EXPORTER_OTLP_HEADERS=k=hunter2",
        ]);
        assert_eq!(found, Environment::default());
        assert!(
            !format!(
                "{:?}",
                parse(&["XOTEL_SERVICE_NAME=hunter2", "OTEL_SERVICE_NAMES=hunter2"])
            )
            .contains("hunter2")
        );
    }

    #[test]
    fn the_first_of_two_entries_counts() {
        assert_eq!(
            parse(&["OTEL_SERVICE_NAME=a", "OTEL_SERVICE_NAME=b"])
                .service_name
                .as_deref(),
            Some("a")
        );
    }

    #[test]
    fn too_many_attributes_are_none() {
        let list: Vec<String> = (0..100).map(|key| format!("k{key}=v")).collect();
        assert_eq!(
            parse(&[&format!("OTEL_RESOURCE_ATTRIBUTES={}", list.join(","))]),
            Environment::default()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_failing(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut environ = b"OTEL_RESOURCE_ATTRIBUTES=".to_vec();
            environ.extend(&bytes);
            let found = Environment::parse(&environ);
            prop_assert!(found.attributes.iter().all(|(key, _)| !key.is_empty() && key != "service.name"));
        }

        #[test]
        fn decoding_undoes_encoding(text in ".{0,40}") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(percent_decoded(&encoded), Some(text));
        }
    }
}
