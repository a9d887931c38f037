//! The rules by which the kernel side selects, and how they are changed while it runs.
//!
//! Which kinds of rules there are is fixed when it is loaded: a kind that nobody asked for is code that the verifier leaves out, and costs
//! nothing. What the rules say may change at any time. A process keeps what it is: a rule that is taken away ends nothing,
//! one that is added counts for processes that run too, and one that excludes ends what is traced.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use tracer_common::{
    glob::{self, NAME_MAX, NameRule},
    layout::{
        PORT_WORDS,
        mark::{self, decided},
        process,
    },
};

use super::{
    super::plan::{Excludes, Selection},
    Probes,
    attach::entries,
    of_map, take,
};
use crate::kernel::KernelError;

/// Room for places where there is a rule about places at all.
const PLACES: usize = 256;

/// Why another selection cannot be taken before the next start.
#[derive(Debug, thiserror::Error)]
pub enum ReselectError {
    /// It has rules of a kind that the programs were not loaded for.
    #[error(
        "the agent has to be started again for a selection by {0} that it did not have, or had, when it was started"
    )]
    Kind(&'static str),
    /// There are more rules than there is room for.
    #[error("there are more rules by {0} than there is room for before a new start")]
    Room(&'static str),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Containers that are selected or excluded at once, where they are by name.
const CONTAINERS: u32 = 1024;

/// Room for rules about control groups, and for those of containers.
pub(super) fn room_for_cgroups(selection: &Selection) -> u32 {
    let containers = selection.containers.map_or(0, |_| CONTAINERS);
    places(selection.cgroups.len()).saturating_add(containers)
}

/// Room for so many rules about places, and for more to come; none where there are none.
pub(super) fn places(count: usize) -> u32 {
    entries(if count == 0 { 0 } else { count.max(PLACES) })
}

/// The rules, in maps of the kernel.
pub(super) struct Rules {
    ports: Array<MapData, u64>,
    /// Its words that have a bit set.
    ports_set: BTreeMap<u32, u64>,
    cgroups: HashMap<MapData, u64, u8>,
    netns: HashMap<MapData, u32, u8>,
    names: Array<MapData, Name>,
    kinds: Kinds,
    /// Control groups that the selection names: others are of containers.
    named: Vec<u64>,
    /// See [`Selection::containers`].
    containers: Option<Excludes>,
    /// Names are compared in the kernel.
    has_names: bool,
}

/// The kinds of rules that the programs in the kernel were loaded for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kinds {
    all: bool,
    by_cgroup: bool,
    /// See [`Selection::controller`].
    controller: Option<String>,
    by_netns: bool,
    by_program: bool,
    /// Programs are asked about, so that rules may be about paths.
    asks: bool,
}

impl Kinds {
    fn of(selection: &Selection, asks: bool) -> Self {
        Self {
            all: selection.all,
            by_cgroup: selection.has_cgroups(),
            controller: selection.controller.clone(),
            by_netns: !selection.netns.is_empty(),
            by_program: selection.asks || !selection.names.is_empty(),
            asks,
        }
    }

    /// The kind of rule for which the programs would have to be loaded again.
    fn lacks(&self, wanted: &Self) -> Option<&'static str> {
        let missing = [
            (self.all != wanted.all, "all"),
            (!self.by_cgroup && wanted.by_cgroup, "cgroup"),
            (
                wanted.by_cgroup && self.controller != wanted.controller,
                "cgroup in another hierarchy",
            ),
            (!self.by_netns && wanted.by_netns, "netns"),
            (!self.by_program && wanted.by_program, "exe"),
            (
                !self.asks && wanted.asks,
                "exe with a path, or with so many patterns,",
            ),
        ];
        missing.iter().find(|(lacks, _)| *lacks).map(|(_, kind)| *kind)
    }
}

impl Rules {
    /// Those of programs that were loaded for this selection, in which names are compared, or asked about.
    pub(super) fn take(
        loaded: &mut Ebpf,
        selection: &Selection,
        (has_names, asks): (bool, bool),
    ) -> Result<Self, KernelError> {
        Ok(Self {
            ports: take(loaded, "PORTS")?,
            ports_set: BTreeMap::new(),
            cgroups: take(loaded, "CGROUPS")?,
            netns: take(loaded, "NETNS")?,
            names: take(loaded, "NAMES")?,
            kinds: Kinds::of(selection, asks),
            named: Vec::new(),
            containers: selection.containers,
            has_names,
        })
    }

    /// Makes the rules these. Those that select come before those that were left are gone, so that nothing is missed between.
    pub(super) fn write(&mut self, selection: &Selection, names: &[NameRule]) -> Result<(), KernelError> {
        let ports = port_words(selection);
        let gone = self.ports_set.keys().filter(|place| !ports.contains_key(place));
        let changes = ports.iter().map(|(place, bits)| (*place, *bits));
        for (place, bits) in changes.chain(gone.map(|place| (*place, 0))) {
            self.ports.set(place, bits, 0).map_err(of_map("PORTS"))?;
        }
        self.ports_set = ports;
        let cgroups = selection.of_containers.iter().chain(&selection.cgroups);
        insert(&mut self.cgroups, cgroups).map_err(of_map("CGROUPS"))?;
        let gone = self.named.iter().filter(|id| is_gone(*id, &selection.cgroups));
        gone.clone()
            .try_for_each(|id| self.cgroups.remove(id))
            .map_err(of_map("CGROUPS"))?;
        self.named = selection.cgroups.iter().map(|(id, _)| *id).collect();
        insert(&mut self.netns, &selection.netns).map_err(of_map("NETNS"))?;
        let known: Vec<_> = self.netns.keys().filter_map(Result::ok).collect();
        let mut gone = known.iter().filter(|number| is_gone(*number, &selection.netns));
        gone.try_for_each(|number| self.netns.remove(number))
            .map_err(of_map("NETNS"))?;
        if self.has_names {
            let rules = names.iter().copied().chain(std::iter::repeat(NOTHING));
            for (place, rule) in (0..glob::RULES).zip(rules) {
                self.names.set(place, Name(rule), 0).map_err(of_map("NAMES"))?;
            }
        }
        Ok(())
    }
}

/// A rule for files that have no name: none.
const NOTHING: NameRule = NameRule {
    pattern: [0; NAME_MAX],
    len: 0,
    verdict: process::PASSED as u32,
};

impl Probes {
    /// A control group was judged, or is gone. One that was excluded by its path stays so.
    ///
    /// # Errors
    /// When the map of control groups is full.
    pub fn place(&mut self, group: u64, verdict: u8) -> Result<(), KernelError> {
        let cgroups = &mut self.rules.cgroups;
        let before = cgroups.get(&group, 0).ok();
        match (verdict, before) {
            (process::PASSED, None) | (process::SELECTED, Some(process::EXCLUDED)) => Ok(()),
            (process::PASSED, Some(_)) => cgroups.remove(&group).map_err(of_map("CGROUPS")),
            _ => cgroups.insert(group, verdict, 0).map_err(of_map("CGROUPS")),
        }
    }

    /// Selects by other rules from now on. Processes that were passed over are judged anew when they are seen next, and traced ones for what
    /// excludes them; who listens on a port already, and whose program selects it, is for the caller to say.
    ///
    /// # Errors
    /// When the programs in the kernel were loaded for other kinds of rules; then nothing has changed.
    pub fn reselect(&mut self, after: Selection) -> Result<(), ReselectError> {
        // Containers are watched as they were asked for at the start.
        let after = Selection {
            containers: self.rules.containers,
            ..after
        };
        if let Some(kind) = self.rules.kinds.lacks(&Kinds::of(&after, after.asks)) {
            return Err(ReselectError::Kind(kind));
        }
        for (kind, count) in [("cgroup", after.cgroups.len()), ("netns", after.netns.len())] {
            if count > PLACES {
                return Err(ReselectError::Room(kind));
            }
        }
        self.rules.write(&after, &after.names)?;
        self.chosen = after.chosen();
        self.unlearn()?;
        let known: Vec<_> = self.processes.iter().filter_map(Result::ok).collect();
        for (pid, value) in known {
            match decided(value) {
                process::PASSED => self.forget(pid)?,
                // One that has ended since is not to come back.
                process::SELECTED if self.chosen == process::DUE => {
                    self.replace(pid, mark::of(process::DUE, mark::kind(value)))?;
                }
                _ => {}
            }
        }
        for pid in &after.excluded_pids {
            self.judge(*pid, process::EXCLUDED)?;
        }
        for pid in &after.pids {
            self.judge(*pid, after.chosen())?;
        }
        Ok(())
    }
}

fn insert<'a, K: aya::Pod>(
    map: &mut HashMap<MapData, K, u8>,
    wanted: impl IntoIterator<Item = &'a (K, u8)>,
) -> Result<(), aya::maps::MapError> {
    let mut wanted = wanted.into_iter();
    wanted.try_for_each(|(key, value)| map.insert(key, value, 0))
}

fn is_gone<K: PartialEq>(known: &K, wanted: &[(K, u8)]) -> bool {
    wanted.iter().all(|(key, _)| key != known)
}

/// One bit a port, in words of 64, by their places; only those with a bit set.
fn port_words(selection: &Selection) -> BTreeMap<u32, u64> {
    let mut words = BTreeMap::<u32, u64>::new();
    for (first, ports) in [(0, &selection.ports), (PORT_WORDS, &selection.excluded_ports)] {
        for port in ports {
            *words.entry(first + u32::from(port >> 6)).or_default() |= 1 << (port & 63);
        }
    }
    words
}

/// A rule as a value of a map.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Name(NameRule);

#[expect(unsafe_code, reason = "values are handed to the kernel as bytes")]
// SAFETY: it is repr(C), without padding, and any bytes are one.
unsafe impl aya::Pod for Name {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_a_kind_that_there_was_are_taken_and_others_want_a_new_start() {
        let selection = |cgroups: &[(u64, u8)], all, asks| Selection {
            all,
            cgroups: cgroups.to_vec(),
            asks,
            ..Selection::default()
        };
        let lacks = |loaded: &Selection, wanted: &Selection| {
            Kinds::of(loaded, loaded.asks).lacks(&Kinds::of(wanted, wanted.asks))
        };
        let (none, one) = (selection(&[], false, false), selection(&[(1, 1)], false, false));
        assert_eq!(lacks(&one, &selection(&[(2, 1), (3, 1)], false, false)), None);
        assert_eq!(lacks(&one, &none), None);
        assert_eq!(lacks(&none, &one), Some("cgroup"));
        assert_eq!(lacks(&none, &selection(&[], true, false)), Some("all"));
        assert_eq!(lacks(&selection(&[], true, false), &none), Some("all"));
        assert_eq!(lacks(&none, &selection(&[], false, true)), Some("exe"));
    }

    #[test]
    fn ports_are_bits_and_those_that_exclude_come_behind_those_that_select() {
        let selection = Selection {
            ports: vec![0, 63, 64, 65535],
            excluded_ports: vec![1],
            ..Selection::default()
        };
        let words: Vec<_> = port_words(&selection).into_iter().collect();
        assert_eq!(words, [(0, 1 | 1 << 63), (1, 1), (1023, 1 << 63), (1024, 2)]);
    }
}
