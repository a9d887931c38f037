//! What the table keeps, forgets and counts.

use tracer_common::record::{data_flags, open_flags};

use super::{Connections, FarEnd, Limits, Passed};
use crate::{
    ids::ConnectionId,
    testing::{End, STEP_NS, Way::Received},
};

fn feed(connections: &mut Connections, end: &End) -> Vec<ConnectionId> {
    end.records()
        .filter_map(|record| connections.apply(&record).evicted)
        .collect()
}

#[test]
fn bytes_that_were_lost_are_told_before_those_that_follow() {
    let mut connections = Connections::new(Limits::default());
    let end = End::accepted(2)
        .body(Received, 10)
        .body(Received, 7)
        .lost()
        .body(Received, 5);
    let mut gaps = Vec::new();
    for record in end.records() {
        if let Passed::Bytes { lost_before, .. } = connections.apply(&record).passed {
            gaps.push(lost_before);
        }
    }
    assert_eq!(gaps, [0, 7]);
    assert_eq!(connections.counters().lost_bytes, 7);
}

#[test]
fn more_lost_bytes_than_can_be_counted_are_as_many_as_can_be_counted() {
    let mut connections = Connections::new(Limits::default());
    for id in [2, 4, 6] {
        let end = End::accepted(id).body(Received, 1 << 63).lost().body(Received, 1);
        feed(&mut connections, &end);
    }
    assert_eq!(connections.counters().lost_bytes, u64::MAX);
}

#[test]
fn bytes_told_twice_are_taken_once() {
    let mut connections = Connections::new(Limits::default());
    let end = End::accepted(2).body(Received, 10);
    feed(&mut connections, &end);
    let again = connections.apply(&end.records().nth(1).unwrap()).passed;
    assert!(matches!(again, Passed::Nothing));
    assert_eq!(connections.counters().overlapping_records, 1);
}

#[test]
fn a_full_table_forgets_the_end_that_is_not_in_use() {
    let mut connections = Connections::new(Limits {
        connections: 2,
        ..Limits::default()
    });
    let busy = End::accepted(2);
    assert!(feed(&mut connections, &busy).is_empty());
    assert!(feed(&mut connections, &End::accepted(4)).is_empty());
    // Nothing was used, so that the oldest goes.
    assert_eq!(feed(&mut connections, &End::accepted(6)), [ConnectionId(2)]);
    feed(&mut connections, &End::new(4).body(Received, 1));
    assert_eq!(feed(&mut connections, &End::accepted(8)), [ConnectionId(6)]);
    assert_eq!(connections.len(), 2);
    assert_eq!(connections.counters().evicted, 2);
}

#[test]
fn closed_ends_make_room_first_and_are_not_a_loss() {
    let mut connections = Connections::new(Limits {
        connections: 2,
        ..Limits::default()
    });
    feed(&mut connections, &End::accepted(2));
    feed(&mut connections, &End::accepted(4).close());
    assert_eq!(feed(&mut connections, &End::accepted(6)), [ConnectionId(4)]);
    assert_eq!(connections.counters().evicted, 0);
}

#[test]
fn a_closed_end_is_forgotten_after_a_while() {
    let mut connections = Connections::new(Limits {
        linger_ns: 10 * STEP_NS,
        ..Limits::default()
    });
    feed(&mut connections, &End::accepted(2).close());
    assert_eq!(connections.len(), 1);
    feed(
        &mut connections,
        &End::new(4).wait(20 * STEP_NS).open(open_flags::ACCEPTED),
    );
    assert_eq!(connections.len(), 1);
    assert_eq!(connections.counters().evicted, 0);
}

#[test]
fn an_open_record_that_comes_late_is_taken() {
    let mut connections = Connections::new(Limits::default());
    feed(&mut connections, &End::new(2).body(Received, 3));
    assert_eq!(connections.counters().open_lost, 1);
    let late = End::accepted(2)
        .body(Received, 3)
        .lost()
        .head(Received, b"\n\n", data_flags::MESSAGE_END);
    let mut peer = None;
    for record in late.records() {
        if let Passed::Bytes { connection, .. } = connections.apply(&record).passed {
            peer = connection.open().map(|open| open.peer);
        }
    }
    assert_eq!(peer, Some(([10, 9, 9, 9], 40_000).into()));
}

fn far_end(connections: &mut Connections, end: &End) -> FarEnd {
    let mut far_end = None;
    for record in end.records() {
        if let Passed::Bytes { connection, .. } = connections.apply(&record).passed {
            far_end = Some(connection.far_end());
        }
    }
    far_end.unwrap()
}

#[test]
fn unix_sockets_are_of_one_connection_by_its_number_in_any_namespace() {
    let mut connections = Connections::new(Limits::default());
    let end = |connection, pair, first| End::new(connection).over_unix(pair, first, b"/run/app.sock\0");
    feed(
        &mut connections,
        &end(1, 7, true).in_netns(9).open(open_flags::CONNECTED),
    );
    let server = |end: End| end.open(open_flags::ACCEPTED).receive("GET / HTTP/1.1", 0);
    assert_eq!(
        far_end(&mut connections, &server(end(2, 7, false))),
        FarEnd::Traced
    );
    assert_eq!(
        far_end(&mut connections, &server(end(4, 8, false))),
        FarEnd::Maybe
    );
}

#[test]
fn unix_sockets_without_a_number_are_not_of_one_connection() {
    let mut connections = Connections::new(Limits::default());
    let joined = |connection| {
        let end = End::new(connection)
            .over_unix(0, false, b"")
            .open(open_flags::MID_STREAM);
        end.receive("GET / HTTP/1.1", 0)
    };
    assert_eq!(far_end(&mut connections, &joined(2)), FarEnd::Maybe);
    assert_eq!(far_end(&mut connections, &joined(3)), FarEnd::Maybe);
}

#[test]
fn the_same_addresses_in_two_namespaces_are_two_connections() {
    let (here, there) = (([10, 1, 1, 1], 80), ([10, 1, 1, 2], 5));
    let client = |netns, flags| {
        End::new(2 * u64::from(netns) + 1)
            .in_netns(netns)
            .between(there, here)
            .open(flags)
    };
    let server = |netns| {
        let end = End::new(2 * u64::from(netns))
            .in_netns(netns)
            .between(here, there);
        end.open(open_flags::ACCEPTED).receive("GET / HTTP/1.1", 0)
    };
    let mut connections = Connections::new(Limits::default());
    feed(&mut connections, &client(1, open_flags::OWN));
    feed(&mut connections, &client(2, open_flags::CONNECTED));
    assert_eq!(far_end(&mut connections, &server(1)), FarEnd::Own);
    assert_eq!(far_end(&mut connections, &server(2)), FarEnd::Traced);
    // Through a bridge, the two ends are in different namespaces.
    assert_eq!(far_end(&mut connections, &server(3)), FarEnd::Traced);
}
