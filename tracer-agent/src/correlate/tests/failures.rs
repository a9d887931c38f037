//! Exchanges that go wrong: each is given out once, with its end as it was told, and its children keep it.

use crate::{
    correlate::{Evidence, Observed, Settings},
    protocols::{
        ExchangeId,
        exchange::{Ending, Failure},
    },
};

use super::scene::{Place, Scene, Tree, inbound, outbound};

fn ending(tree: &Tree, id: ExchangeId) -> &Ending {
    match &tree.linked(id).expect("it is given out").observed {
        Observed::Exchange(_, ending) => ending,
        Observed::ConnectFailed(_) => panic!("not an exchange"),
    }
}

#[test]
fn whatever_cuts_an_exchange_short_it_keeps_its_place_and_says_why() {
    for failure in [
        Failure::Reset,
        Failure::Closed,
        Failure::Unanswered,
        Failure::Errno(110),
    ] {
        let mut scene = Scene::new();
        let s = scene.begin(inbound(1, 1));
        let c = scene.begin(outbound(1, 1).wire(1));
        let n = scene.begin(inbound(2, 1).wire(1));
        for id in [n, c, s] {
            scene.fail(id, failure);
        }
        let tree = scene.finish();
        assert_eq!(tree.place(s), Place::Root);
        assert_eq!(tree.place(c), Place::Under(s, Evidence::Task));
        assert_eq!(tree.place(n), Place::Under(c, Evidence::Connection));
        for id in [s, c, n] {
            let ending = ending(&tree, id);
            assert_eq!((ending.failure, &ending.response), (Some(failure), &None));
        }
    }
}

#[test]
fn what_has_no_end_when_the_input_ends_is_given_out_as_incomplete() {
    let mut scene = Scene::new();
    let s = scene.begin(inbound(1, 1).wire(9));
    let c = scene.begin(outbound(1, 1));
    scene.end(c);
    let tree = scene.finish();
    assert_eq!(tree.place(c), Place::Under(s, Evidence::Task));
    let end = ending(&tree, s);
    assert!(end.incomplete && end.response.is_none() && end.failure.is_none());
    assert_eq!(tree.counters.unended, 1);
}

#[test]
fn past_the_bound_the_oldest_in_flight_is_given_out_as_incomplete_so_its_children_keep_it() {
    let mut scene = Scene::with(Settings {
        max_in_flight: 2,
        ..Settings::default()
    });
    let s = scene.begin(inbound(1, 1).wire(9));
    let c = scene.begin(outbound(1, 1));
    let other = scene.begin(outbound(5, 5));
    assert_eq!(scene.out.len(), 1);
    scene.end(s);
    let tree = scene.finish();
    assert!(ending(&tree, s).incomplete);
    assert_eq!([tree.place(s), tree.place(other)], [Place::Root; 2]);
    assert_eq!(tree.place(c), Place::Under(s, Evidence::Task));
    assert_eq!(
        (tree.counters.evicted_in_flight, tree.counters.unknown_endings),
        (1, 1)
    );
}

#[test]
fn a_parent_that_is_over_stays_known_while_a_child_is_in_flight() {
    let mut scene = Scene::with(Settings {
        max_over: 2,
        ..Settings::default()
    });
    let s = scene.begin(inbound(1, 1));
    let c = scene.begin(outbound(1, 1));
    scene.end(s);
    for _ in 0..3 {
        let other = scene.begin(outbound(5, 5));
        scene.end(other);
    }
    scene.end(c);
    let tree = scene.finish();
    assert_eq!(tree.place(c), Place::Under(s, Evidence::Task));
    assert!(tree.counters.evicted_over > 0);
}

#[test]
fn a_parent_that_had_to_be_forgotten_is_not_named() {
    let mut scene = Scene::with(Settings {
        max_over: 1,
        ..Settings::default()
    });
    // Three parents that are over while their children are in flight: more than twice the bound.
    let families = [1, 2, 3].map(|pid| {
        let s = scene.begin(inbound(pid, 1));
        let c = scene.begin(outbound(pid, 1));
        scene.end(s);
        (s, c)
    });
    let (first_parent, first_child) = families[0];
    scene.end(first_child);
    let tree = scene.finish();
    assert_eq!(
        [tree.place(first_parent), tree.place(first_child)],
        [Place::Root; 2]
    );
    assert_eq!(
        tree.trace(first_child),
        tree.trace(first_parent),
        "it was in that trace all along"
    );
    assert!(tree.counters.parent_withheld > 0);
}

#[test]
fn an_ending_that_is_told_twice_or_of_nothing_is_counted() {
    let mut scene = Scene::new();
    let c = scene.begin(outbound(1, 1));
    scene.end(c);
    scene.end(c);
    let tree = scene.finish();
    assert_eq!((tree.spans.len(), tree.counters.unknown_endings), (1, 1));
}
