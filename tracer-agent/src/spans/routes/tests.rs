//! Templates as they come out of paths.

mod cost;

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::{MAX_NODES, MAX_NODES_OF_ONE, MAX_SERVICES, Routes, tree::MAX_RARE};
use crate::protocols::exchange::Side;

fn learn(routes: &mut Routes, path: &str) -> String {
    routes
        .template("shop", Side::Inbound, "", path, true)
        .unwrap_or_default()
}

fn find(routes: &mut Routes, path: &str) -> Option<String> {
    routes.template("shop", Side::Inbound, "", path, false)
}

#[test]
fn ids_are_placeholders_from_the_first_span_on() {
    let mut routes = Routes::default();
    for (path, template) in [
        ("/", "/"),
        ("/users/42", "/users/{id}"),
        ("/users/search", "/users/search"),
        ("/users/REDACTED/orders/2024-01-15", "/users/{id}/orders/{id}"),
        ("/users/", "/users/"),
        ("/static/main.3f2a9c1b.js", "/static/{id}"),
        ("/api/v1/health", "/api/v1/health"),
    ] {
        assert_eq!(learn(&mut routes, path), template, "{path}");
        assert_eq!(learn(&mut routes, path), template, "{path} again");
    }
}

#[test]
fn where_names_are_too_many_those_that_come_often_stay_and_the_rest_are_ids() {
    let mut routes = Routes::default();
    for _ in 0..20 {
        assert_eq!(learn(&mut routes, "/users/search"), "/users/search");
    }
    let name = |number: usize| {
        let letter = |place: usize| char::from(b'a' + u8::try_from(place % 26).unwrap());
        format!("/users/m{}{}/cart", letter(number), letter(number / 26))
    };
    for number in 0..MAX_RARE {
        assert_eq!(learn(&mut routes, &name(number)), name(number));
    }
    for number in MAX_RARE..200 {
        assert_eq!(learn(&mut routes, &name(number)), "/users/{id}/cart");
    }
    // What had a name of its own has it no more, and never again.
    assert_eq!(learn(&mut routes, &name(0)), "/users/{id}/cart");
    assert_eq!(learn(&mut routes, "/users/search"), "/users/search");
    assert_eq!(learn(&mut routes, "/users/"), "/users/");
}

#[test]
fn what_is_not_there_teaches_nothing_and_is_named_by_what_is_known() {
    let mut routes = Routes::default();
    learn(&mut routes, "/users/42/orders");
    assert_eq!(find(&mut routes, "/wp-admin/setup.php"), None);
    assert_eq!(find(&mut routes, "/users/7"), None);
    assert_eq!(
        find(&mut routes, "/users/7/orders").as_deref(),
        Some("/users/{id}/orders")
    );
    let before = routes.nodes();
    for number in 0..10_000 {
        find(&mut routes, &format!("/scan-{number}/x.php"));
    }
    assert_eq!(routes.nodes(), before);
}

#[test]
fn hosts_that_are_called_are_kept_apart_as_long_as_they_are_few() {
    let mut routes = Routes::default();
    let mut call = |host: &str, path: &str| routes.template("shop", Side::Outbound, host, path, true);
    assert_eq!(call("stock.example", "/items/7").as_deref(), Some("/items/{id}"));
    assert_eq!(call("bank.example", "/pay").as_deref(), Some("/pay"));
    for number in 0..1_000 {
        assert_eq!(
            call(&format!("tenant{number}.example"), "/pay").as_deref(),
            Some("/pay")
        );
    }
    assert!(routes.nodes() < 200);
}

#[test]
fn a_path_that_is_too_deep_ends_in_a_rest() {
    let mut routes = Routes::default();
    let template = learn(&mut routes, &"/a".repeat(4_000));
    assert_eq!(template, format!("{}/{{path...}}", "/a".repeat(12)));
    assert_eq!(routes.counters().cut, 1);
}

#[test]
fn whatever_is_asked_for_of_however_many_services_no_more_is_kept_than_there_is_room_for() {
    let mut routes = Routes::default();
    for service in 0..MAX_SERVICES + 50 {
        for number in 0..200 {
            // Names that come often, so that none of them is an id.
            let letters: String = format!("{number:03}")
                .bytes()
                .map(|digit| char::from(digit + 50))
                .collect();
            let path = format!("/{letters}/{letters}/{letters}");
            routes.template(&format!("s{service}"), Side::Inbound, "", &path, true);
        }
    }
    assert!(routes.nodes() <= MAX_NODES);
    assert!(routes.services.len() <= MAX_SERVICES);
    assert!(routes.counters().shared > 0);
}

proptest! {
    #[test]
    fn templates_only_become_more_general_and_their_number_is_bounded(
        paths in prop::collection::vec("(/[a-d]{0,3}){1,4}", 1..400),
    ) {
        let mut routes = Routes::default();
        let mut last: HashMap<&str, String> = HashMap::new();
        for path in paths.iter().chain(&paths) {
            let template = learn(&mut routes, path);
            if let Some(before) = last.insert(path, template.clone()) {
                let mut now = template.split('/');
                for segment in before.split('/') {
                    let now = now.next().unwrap();
                    if now == "{path...}" {
                        break;
                    }
                    prop_assert!(now == segment || now == "{id}", "{before} became {template}");
                }
            }
        }
        let names: HashSet<_> = last.values().collect();
        prop_assert!(names.len() <= MAX_NODES_OF_ONE);
    }

    #[test]
    fn the_same_paths_give_the_same_templates(paths in prop::collection::vec("(/[a-c0-9]{0,3}){1,5}", 1..200)) {
        let all = |routes: &mut Routes| paths.iter().map(|path| learn(routes, path)).collect::<Vec<_>>();
        prop_assert_eq!(all(&mut Routes::default()), all(&mut Routes::default()));
    }

    #[test]
    fn what_is_found_is_what_would_be_learned(paths in prop::collection::vec("(/[a-c0-9]{0,3}){1,5}", 1..200)) {
        let mut routes = Routes::default();
        for path in &paths {
            let learned = learn(&mut routes, path);
            prop_assert_eq!(find(&mut routes, path), Some(learned));
        }
    }
}
