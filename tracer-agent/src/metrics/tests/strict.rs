//! A strict reader of both texts, after their specifications: what is out of order, not declared or not escaped is an error.

use std::collections::{BTreeMap, BTreeSet};

/// One sample: its name, its labels in order, its value, and whether it has an exemplar.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
    pub exemplar: Option<String>,
}

impl Sample {
    pub fn label(&self, name: &str) -> Option<&str> {
        let label = self.labels.iter().find(|(known, _)| known == name)?;
        Some(&label.1)
    }
}

/// Reads a text, OpenMetrics or not; panics at what is not well formed.
pub fn read(text: &str, is_open: bool) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    let mut kinds = BTreeMap::<String, String>::new();
    let mut helped = BTreeSet::new();
    let mut family = String::new();
    let body = if is_open {
        text.strip_suffix("# EOF\n").expect("ends with EOF")
    } else {
        text
    };
    assert!(
        body.is_empty() || body.ends_with('\n'),
        "the last line has an end"
    );
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ').unwrap();
            assert!(helped.insert(name.to_owned()), "{name} is declared twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(helped.contains(name), "{name} has help first");
            kinds.insert(name.to_owned(), kind.to_owned());
            family = name.to_owned();
        } else {
            assert!(!line.starts_with('#'), "{line}");
            let sample = sample(line);
            let kind = kinds[&family].as_str();
            let rest = sample
                .name
                .strip_prefix(&family)
                .unwrap_or_else(|| panic!("{line} in {family}"));
            let wanted: &[&str] = match (kind, is_open) {
                ("histogram", _) => &["_bucket", "_sum", "_count"],
                ("counter", true) => &["_total"],
                _ => &[""],
            };
            assert!(wanted.contains(&rest), "{line} in {family}");
            assert!(kind != "counter" || sample.name.ends_with("_total"), "{line}");
            assert!(
                sample.exemplar.is_none() || (is_open && rest == "_bucket"),
                "{line}"
            );
            let is_known = |known: &Sample| known.name == sample.name && known.labels == sample.labels;
            assert!(!samples.iter().any(is_known), "{line} twice");
            samples.push(sample);
        }
    }
    check_histograms(&samples);
    samples
}

fn check_histograms(samples: &[Sample]) {
    for count in samples.iter().filter(|sample| sample.name.ends_with("_count")) {
        let family = count.name.strip_suffix("_count").unwrap();
        let buckets: Vec<_> = samples
            .iter()
            .filter(|sample| {
                let others = sample.labels.iter().filter(|(name, _)| name != "le");
                sample.name == format!("{family}_bucket") && others.eq(count.labels.iter())
            })
            .collect();
        assert!(
            buckets.windows(2).all(|pair| pair[0].value <= pair[1].value),
            "{family}"
        );
        let bounds: Vec<f64> = buckets
            .iter()
            .map(|bucket| bucket.label("le").unwrap().parse().unwrap())
            .collect();
        assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{family}");
        let last = buckets.last().unwrap();
        assert_eq!(
            (last.label("le"), last.value),
            (Some("+Inf"), count.value),
            "{family}"
        );
    }
}

fn is_name(text: &str) -> bool {
    let is_first = |char: char| char.is_ascii_alphabetic() || char == '_';
    text.starts_with(is_first) && text.chars().all(|char| is_first(char) || char.is_ascii_digit())
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap();
    let (name, rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => read_labels(rest),
        None => (Vec::new(), rest),
    };
    let rest = rest.strip_prefix(' ').unwrap();
    let (value, exemplar) = match rest.split_once(" # ") {
        Some((value, exemplar)) => {
            let (labels, rest) = read_labels(exemplar.strip_prefix('{').unwrap());
            let length: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
            assert!(length <= 128, "{line}");
            let numbers: Vec<f64> = rest
                .trim_start()
                .split(' ')
                .map(|text| text.parse().unwrap())
                .collect();
            assert_eq!(numbers.len(), 2, "{line}");
            (value, Some(labels[0].1.clone()))
        }
        None => (rest, None),
    };
    Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().unwrap_or_else(|_| panic!("{line}")),
        exemplar,
    }
}

/// Labels up to the closing brace, and what follows it.
fn read_labels(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut labels: Vec<(String, String)> = Vec::new();
    loop {
        let (name, behind) = rest.split_once("=\"").unwrap();
        assert!(is_name(name), "{name}");
        assert!(labels.iter().all(|(known, _)| known != name), "{name} twice");
        let mut value = String::new();
        let mut chars = behind.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => match chars.next().unwrap().1 {
                    'n' => value.push('\n'),
                    char @ ('\\' | '"') => value.push(char),
                    other => panic!("\\{other}"),
                },
                (_, char) => {
                    assert!(char != '\n');
                    value.push(char);
                }
            }
        };
        labels.push((name.to_owned(), value));
        rest = &behind[end + 1..];
        if let Some(behind) = rest.strip_prefix('}') {
            return (labels, behind);
        }
        rest = rest.strip_prefix(',').unwrap();
    }
}
