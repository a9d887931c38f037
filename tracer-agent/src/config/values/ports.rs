//! A list of ports and ranges of ports.

use std::{ops::RangeInclusive, str::FromStr};

use super::NotAValue;

/// Ports, written `80,8000-8010`; port 0 is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

impl Ports {
    /// The list holds this port.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    /// No port is in the list.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, as they were given.
    pub fn ranges(&self) -> &[RangeInclusive<u16>] {
        &self.0
    }

    /// Adds the ports of another list.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl FromStr for Ports {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        text.split(',')
            .map(range)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or(NotAValue("a list of ports such as 80,8000-8010"))
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.trim().parse().ok().filter(|port| *port != 0);
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges_are_taken_together() {
        let ports: Ports = "80, 8000-8010,65535".parse().unwrap();
        for port in [80, 8000, 8005, 8010, 65535] {
            assert!(ports.contains(port), "{port}");
        }
        for port in [0, 79, 81, 7999, 8011] {
            assert!(!ports.contains(port), "{port}");
        }
    }

    #[test]
    fn what_is_no_list_of_ports_is_refused() {
        for text in [
            "abc", "", "80,", "0", "65536", "-1", "90-80", "1-2-3", "80-", "0-5",
        ] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }
}
