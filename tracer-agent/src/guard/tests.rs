//! The guard against readings that are made up: what it says is to be done.

use std::{cell::Cell, rc::Rc};

use super::*;

const MIB: u64 = 1 << 20;

/// A guard, and what it reads: milliseconds of processor time, bytes.
struct Scene {
    guard: Guard<'static>,
    taken: Rc<Cell<(u64, u64)>>,
    second: u64,
}

impl Scene {
    fn new(cpu: Option<f64>, memory: Option<u64>) -> Self {
        let taken = Rc::new(Cell::new((0, 0)));
        let read = Rc::clone(&taken);
        let read = move || Reading {
            cpu: Duration::from_millis(read.get().0),
            memory: Some(read.get().1),
        };
        Self {
            guard: Guard::new(Limits { cpu, memory }, read, || ()).unwrap(),
            taken,
            second: 100,
        }
    }

    fn now(&self) -> BootNanos {
        BootNanos(self.second * 1_000_000_000)
    }

    /// Two seconds in which so many milliseconds were taken, and then so much memory is held.
    fn pass(&mut self, millis: u64, bytes: u64) -> Look {
        let (before, _) = self.taken.get();
        self.taken.set((before + millis, bytes));
        self.second += 2;
        self.guard.look(self.now()).unwrap()
    }
}

#[test]
fn without_limits_there_is_no_guard() {
    assert!(Guard::new(Limits::default(), Reading::default, || ()).is_none());
}

#[test]
fn it_looks_every_two_seconds_and_sleeps_where_nothing_is_left_out() {
    let mut scene = Scene::new(Some(0.2), None);
    assert!(scene.guard.look(scene.now()).is_some());
    assert!(scene.guard.look(scene.now().plus(EVERY_NS - 1)).is_none());
    assert_eq!(scene.guard.due(), None);
    scene.pass(500, 0);
    assert_eq!(scene.guard.shed(), Shed { cpu: 1, memory: 0 });
    assert_eq!(scene.guard.due(), Some(scene.now().plus(EVERY_NS)));
}

#[test]
fn too_much_processor_time_enters_every_step_and_less_leaves_it_each_said_once() {
    let mut scene = Scene::new(Some(0.2), None);
    scene.pass(0, 0);
    let mut said = Vec::new();
    let mut told = Vec::new();
    for millis in [500, 500, 500, 500, 500, 10, 10, 10, 10, 10, 10, 10, 10, 10] {
        let look = scene.pass(millis, 0);
        said.extend(look.events.iter().map(ToString::to_string));
        told.extend(look.shed.map(|shed| shed.cpu));
    }
    assert_eq!(told, [1, 2, 3, 4, 3, 2, 1, 0]);
    assert_eq!(said.len(), 8);
    assert_eq!(
        said[0],
        "at the limit of processor time (25.0 % of a processor, of 20.0 %), step 0 to 1: calls are not linked by their times"
    );
    assert_eq!(
        said[7],
        "less is taken of processor time (0.5 % of a processor, of 20.0 %), step 1 to 0: nothing is left out"
    );
    assert_eq!(scene.guard.tally().cpu_changes, 8);
}

/// Only at the last step, for as long as it takes, and never so long that the loop would stand still.
#[test]
fn at_the_last_step_the_loop_waits_until_the_limit_is_met() {
    let mut scene = Scene::new(Some(0.2), None);
    (0..4).for_each(|_| drop(scene.pass(500, 0)));
    assert_eq!(scene.guard.pause(scene.now()), None);
    scene.pass(500, 0);
    assert_eq!(scene.guard.shed().cpu, steps::PACED);
    assert_eq!(scene.guard.pause(scene.now()), None);
    let (before, _) = scene.taken.get();
    // 10 ms of work are 50 ms of the limit, of which 20 have passed.
    scene.taken.set((before + 10, 0));
    let at = scene.now().plus(20_000_000);
    let wait = scene.guard.pause(at).unwrap();
    assert!(
        wait.abs_diff(Duration::from_millis(30)) < Duration::from_millis(1),
        "{wait:?}"
    );
    scene.taken.set((before + 10_000, 0));
    assert_eq!(scene.guard.pause(at), Some(LONGEST_WAIT));
    assert_eq!(scene.guard.tally().waited_ms, 30 + 200);
    // Two seconds in which nearly nothing was taken are no credit for the next two.
    scene.taken.set((before, 0));
    scene.pass(1, 0);
    let (before, _) = scene.taken.get();
    scene.taken.set((before + 400, 0));
    assert!(scene.guard.pause(scene.now().plus(1_000_000_000)).is_some());
}

#[test]
fn too_much_memory_enters_every_step_and_at_the_last_the_core_begins_anew_once_a_minute() {
    let mut scene = Scene::new(None, Some(100 * MIB));
    assert!(scene.pass(0, 84 * MIB).shed.is_none());
    let steps: Vec<_> = (0..4)
        .map(|_| scene.pass(0, 86 * MIB).shed.unwrap().memory)
        .collect();
    assert_eq!(steps, [1, 2, 3, 4]);
    let anew: Vec<_> = (0..60).filter(|_| scene.pass(0, 99 * MIB).begins_anew).collect();
    assert_eq!(anew, [29, 59]);
    // The first was when the step was entered.
    assert_eq!(scene.guard.tally().begun_anew, 3);
    // What has become idle since is dropped at each look, while it is too much.
    assert!(scene.pass(0, 99 * MIB).shed.is_some());
    assert!(scene.pass(0, 80 * MIB).shed.is_none());
    let left: Vec<_> = (0..9).filter_map(|_| scene.pass(0, 20 * MIB).shed).collect();
    assert_eq!(
        left.iter().map(|shed| shed.memory).collect::<Vec<_>>(),
        [3, 2, 1, 0]
    );
    assert_eq!(scene.guard.tally().memory_changes, 8);
}

#[test]
fn memory_that_cannot_be_read_leaves_nothing_out() {
    let limits = Limits {
        cpu: None,
        memory: Some(1),
    };
    let mut guard = Guard::new(limits, Reading::default, || ()).unwrap();
    assert!(guard.look(BootNanos(5)).unwrap().shed.is_none());
}
