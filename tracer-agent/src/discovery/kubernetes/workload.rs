//! The workload a pod belongs to, as far as its name tells: without asking the Kubernetes API.

/// Who made a pod, read off its name.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Workload<'a> {
    /// The attribute that names this kind of workload; `None` for a pod that nothing but its name tells of.
    pub attribute: Option<&'static str>,
    /// The name of the workload, or of the pod.
    pub name: &'a str,
}

/// The characters of generated suffixes (`k8s.io/apimachinery/pkg/util/rand`): no vowels, no digits that look
/// like letters, so that no words come about.
const GENERATED: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

impl<'a> Workload<'a> {
    /// `<deployment>-<template hash>-<5>`, `<stateful set>-<ordinal>`, `<daemon set or replica set>-<5>`.
    ///
    /// The last two are not told from a job's or from a name given by hand: the stem is a good name for the
    /// service, but which kind of workload it is stays open.
    pub(in super::super) fn of_pod(pod: &'a str) -> Self {
        let unknown = Self {
            attribute: None,
            name: pod,
        };
        let Some((stem, suffix)) = pod.rsplit_once('-').filter(|(stem, _)| !stem.is_empty()) else {
            return unknown;
        };
        if is_generated(suffix, 5..=5) {
            return match stem.rsplit_once('-') {
                Some((deployment, hash)) if !deployment.is_empty() && is_generated(hash, 8..=10) => Self {
                    attribute: Some("k8s.deployment.name"),
                    name: deployment,
                },
                _ => Self {
                    attribute: None,
                    name: stem,
                },
            };
        }
        if !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self {
                attribute: None,
                name: stem,
            };
        }
        unknown
    }
}

fn is_generated(text: &str, len: std::ops::RangeInclusive<usize>) -> bool {
    len.contains(&text.len()) && text.bytes().all(|byte| GENERATED.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::Workload;

    #[test]
    fn the_workload_is_the_pod_name_without_what_was_generated() {
        for (pod, name, attribute) in [
            (
                "shop-api-6d4cf56db6-x7k2p",
                "shop-api",
                Some("k8s.deployment.name"),
            ),
            ("db-0", "db", None),
            ("node-exporter-x7k2p", "node-exporter", None),
            ("debug", "debug", None),
            ("my-pod", "my-pod", None),
            ("-x7k2p", "-x7k2p", None),
            ("6d4cf56db6-x7k2p", "6d4cf56db6", None),
            ("", "", None),
        ] {
            assert_eq!(Workload::of_pod(pod), Workload { attribute, name }, "{pod}");
        }
    }
}
