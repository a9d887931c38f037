//! The `connection` rung: two ends of one exchange, told in any order and perhaps late.

use crate::{
    capture::address::Address,
    correlate::{Evidence, Settings},
    protocols::exchange::{Cover, OtherEnd},
};

use super::scene::{MILLISECOND, Place, Scene, context, inbound, outbound, span};

#[test]
fn a_server_end_that_is_told_first_waits_for_its_client_end_with_all_that_follows_from_it() {
    let mut scene = Scene::new();
    let s = scene.begin(inbound(2, 1).wire(1).at(11));
    let inner = scene.begin(outbound(2, 1).wire(2).at(20));
    let deeper = scene.begin(inbound(3, 1).wire(2).at(21));
    for id in [deeper, inner, s] {
        scene.end(id);
    }
    scene.wait(1_900);
    assert!(scene.out.is_empty(), "nothing is decided before the client end");
    let c = scene.begin(outbound(1, 1).wire(1).at(10));
    assert_eq!(scene.out.len(), 3, "nothing waits any longer");
    let tree = scene.finish();
    assert_eq!(tree.place(s), Place::Under(c, Evidence::Connection));
    assert_eq!(tree.place(inner), Place::Under(s, Evidence::Task));
    assert_eq!(tree.place(deeper), Place::Under(inner, Evidence::Connection));
    assert!(
        [s, inner, deeper]
            .iter()
            .all(|id| tree.trace(*id) == tree.trace(c))
    );
}

#[test]
fn the_wait_is_bounded_by_what_is_known_of_the_other_end() {
    for (other_end, wait, missed) in [(OtherEnd::Traced, 2_000, 1), (OtherEnd::Maybe, 100, 0)] {
        let mut scene = Scene::new();
        let s = scene.begin(inbound(2, 1).wire(1).other_end(other_end));
        scene.end(s);
        scene.wait(wait - 2);
        assert!(
            scene.out.is_empty() && scene.correlator.next_deadline().is_some(),
            "{other_end:?}"
        );
        scene.wait(3);
        assert_eq!(
            (scene.out.len(), scene.correlator.next_deadline()),
            (1, None),
            "{other_end:?}"
        );
        let tree = scene.finish();
        assert_eq!(tree.place(s), Place::Root);
        assert_eq!(tree.counters.counterpart_missed, missed);
    }
}

#[test]
fn a_server_end_whose_client_is_not_traced_is_given_out_at_once() {
    let mut scene = Scene::new();
    let s = scene.begin(inbound(2, 1).with(context(7, 8)));
    scene.end(s);
    assert_eq!(scene.out.len(), 1);
    assert_eq!(scene.finish().place(s), Place::UnderWire(span(8)));
}

#[test]
fn a_client_end_that_was_over_before_its_server_end_is_told_is_still_its_parent() {
    let mut scene = Scene::new();
    let c = scene.begin(outbound(1, 1).wire(1).at(1));
    scene.end(c);
    scene.wait(5_000);
    let s = scene.begin(inbound(2, 1).wire(1));
    assert_eq!(scene.finish().place(s), Place::Under(c, Evidence::Connection));
}

#[test]
fn requests_of_one_connection_are_told_apart_by_their_place_in_the_stream() {
    let mut scene = Scene::new();
    let mut second = inbound(2, 1).wire(1).at(21);
    second.0.request_seq += 77;
    let mut second_client = outbound(1, 1).wire(1).at(20);
    second_client.0.request_seq += 77;
    let s2 = scene.begin(second);
    let c1 = scene.begin(outbound(1, 1).wire(1).at(10));
    let c2 = scene.begin(second_client);
    let s1 = scene.begin(inbound(2, 2).wire(1).at(11));
    let tree = scene.finish();
    assert_eq!(tree.place(s1), Place::Under(c1, Evidence::Connection));
    assert_eq!(tree.place(s2), Place::Under(c2, Evidence::Connection));
}

#[test]
fn an_end_of_tls_that_was_there_before_is_no_other_end() {
    for apart in [(true, true), (true, false), (false, true)] {
        let mut scene = Scene::new();
        let (mut client, mut server) = (outbound(1, 1).wire(1).at(10), inbound(2, 1).wire(1).at(11));
        for (exchange, is_apart) in [(&mut client, apart.0), (&mut server, apart.1)] {
            exchange.0.cover = if is_apart { Cover::Apart } else { Cover::Tls };
        }
        scene.begin(client);
        let s = scene.begin(server);
        assert_eq!(scene.finish().place(s), Place::Root, "{apart:?}");
    }
}

#[test]
fn mapped_and_plain_ipv4_are_one_address_and_namespaces_do_not_matter() {
    let mut scene = Scene::new();
    let mut client = outbound(1, 1).wire(1);
    client.0.netns = 5;
    for address in [&mut client.0.local, &mut client.0.peer] {
        if let Address::Ip(address) = address
            && let std::net::IpAddr::V4(ip) = address.ip()
        {
            address.set_ip(ip.to_ipv6_mapped().into());
        }
    }
    let c = scene.begin(client);
    let s = scene.begin(inbound(2, 1).wire(1));
    assert_eq!(scene.finish().place(s), Place::Under(c, Evidence::Connection));
}

#[test]
fn a_client_end_that_began_after_its_server_end_is_refused() {
    let mut scene = Scene::new();
    let s = scene.begin(inbound(2, 1).wire(1).at(10));
    scene.begin(outbound(1, 1).wire(1).at(11));
    let tree = scene.finish();
    assert_eq!(tree.place(s), Place::Root);
    assert_eq!(tree.counters.counterpart_refused, 1);
}

#[test]
fn a_thread_that_calls_itself_does_not_become_its_own_ancestor() {
    let mut scene = Scene::new();
    let s = scene.begin(inbound(1, 1).wire(1).at(10));
    let c = scene.begin(outbound(1, 1).wire(1).at(10));
    let tree = scene.finish();
    assert_eq!(tree.place(s), Place::Root);
    assert_eq!(tree.place(c), Place::Under(s, Evidence::Task));
}

#[test]
fn a_client_end_that_is_forgotten_is_not_a_parent() {
    let linger_ns = 1_000 * MILLISECOND;
    let mut scene = Scene::with(Settings {
        linger_ns,
        ..Settings::default()
    });
    let c = scene.begin(outbound(1, 1).wire(1).at(1));
    scene.end(c);
    scene.wait(1_100);
    let s = scene.begin(inbound(2, 1).wire(1));
    assert_eq!(scene.finish().place(s), Place::Root);
}
