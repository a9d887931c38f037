//! What each part of the shop does. A checkout goes
//!
//! ```text
//! shopper -> gateway -> auth
//!                    -> orders -> inventory (once an item, and once more to give them back)
//!                              -> payment -> bank, which is slow
//! ```
//!
//! Gateway and payment pass the headers they get on; orders drops every one.

use std::{
    net::{SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use super::http::{self, Client, Request, Response};

/// A part in the play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Bank,
    Payment,
    Inventory,
    Orders,
    Auth,
    Gateway,
    Shopper,
}

/// Where the other parts are.
pub(super) type Peers = Vec<(String, SocketAddr)>;

impl Role {
    /// The services, each after those it calls.
    pub(super) const SERVICES: [Self; 6] = [
        Self::Bank,
        Self::Payment,
        Self::Inventory,
        Self::Orders,
        Self::Auth,
        Self::Gateway,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bank => "bank",
            Self::Payment => "payment",
            Self::Inventory => "inventory",
            Self::Orders => "orders",
            Self::Auth => "auth",
            Self::Gateway => "gateway",
            Self::Shopper => "shopper",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::SERVICES
            .into_iter()
            .chain([Self::Shopper])
            .find(|role| role.name() == name)
    }

    fn answer(self, request: &Request, calls: &mut Calls) -> Response {
        match self {
            Self::Gateway => gateway(request, calls),
            Self::Auth => auth(request),
            Self::Orders => orders(request, calls),
            Self::Inventory => inventory(request),
            Self::Payment => payment(request, calls),
            Self::Bank => bank(request),
            Self::Shopper => Response::new(404, "nothing is sold here"),
        }
    }
}

/// The connections of one thread to the services it calls.
struct Calls(Vec<(String, Client)>);

impl Calls {
    fn new(peers: &Peers) -> Self {
        let client = |(name, address): &(String, SocketAddr)| (name.clone(), Client::new(*address));
        Self(peers.iter().map(client).collect())
    }

    /// A service that cannot be reached is a bad gateway.
    fn make(&mut self, service: &str, request: &Request) -> Response {
        let client = self.0.iter_mut().find(|(name, _)| name == service);
        client
            .and_then(|(_, client)| client.call(request).ok())
            .unwrap_or_else(|| Response::new(502, &format!("{service} does not answer")))
    }
}

/// Serves this part on the listener; never returns.
pub(super) fn serve(role: Role, listener: &TcpListener, peers: Peers) {
    http::serve(listener, move || {
        let mut calls = Calls::new(&peers);
        move |request: &Request| role.answer(request, &mut calls)
    });
}

fn gateway(request: &Request, calls: &mut Calls) -> Response {
    work(3);
    let customer = request.field("customer").unwrap_or_default();
    let session = Request::new("GET", &format!("/session?token=secret-of-{customer}"), "");
    let session = calls.make("auth", &session.passing_on(request));
    if session.status != 200 {
        return session;
    }
    calls.make(
        "orders",
        &Request::new("POST", "/orders", &request.body).passing_on(request),
    )
}

fn auth(request: &Request) -> Response {
    work(8);
    if request.target.ends_with("token=secret-of-") {
        return Response::new(401, "who are you");
    }
    Response::new(200, "welcome")
}

fn orders(request: &Request, calls: &mut Calls) -> Response {
    work(5);
    let items = request.field("items").unwrap_or_default();
    for item in items.split(',') {
        let reserved = calls.make(
            "inventory",
            &Request::new("POST", "/reservations", &format!("item={item}")),
        );
        if reserved.status != 201 {
            return Response::new(502, "inventory has lost count");
        }
    }
    let paid = calls.make("payment", &Request::new("POST", "/payments", &request.body));
    if paid.status != 201 {
        calls.make(
            "inventory",
            &Request::new("DELETE", "/reservations", &format!("items={items}")),
        );
    }
    paid
}

fn inventory(request: &Request) -> Response {
    work(15);
    match request.field("item") {
        Some("unicorn") => Response::new(500, "no such shelf"),
        Some(_) => Response::new(201, "reserved"),
        None => Response::new(200, "given back"),
    }
}

fn payment(request: &Request, calls: &mut Calls) -> Response {
    work(5);
    calls.make(
        "bank",
        &Request::new("POST", "/transfers", &request.body).passing_on(request),
    )
}

fn bank(request: &Request) -> Response {
    work(400);
    if request.field("card") == Some("empty") {
        return Response::new(402, "declined");
    }
    Response::new(201, "transferred")
}

fn work(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}

/// One customer at the checkout.
struct Checkout {
    customer: &'static str,
    items: &'static str,
    card: &'static str,
    story: &'static str,
    status: u16,
}

const CHECKOUTS: [Checkout; 4] = [
    Checkout {
        customer: "alice",
        items: "kettle",
        card: "good",
        story: "alice buys a kettle",
        status: 201,
    },
    Checkout {
        customer: "bob",
        items: "lamp,teapot",
        card: "good",
        story: "bob buys a lamp and a teapot",
        status: 201,
    },
    Checkout {
        customer: "carol",
        items: "kettle",
        card: "empty",
        story: "carol's card is declined",
        status: 402,
    },
    Checkout {
        customer: "dave",
        items: "unicorn",
        card: "good",
        story: "dave asks for what inventory cannot count",
        status: 502,
    },
];

/// Plays the customers one after the other and prints how each fared.
pub(super) fn go_shopping(peers: &Peers) -> anyhow::Result<()> {
    let (_, gateway) = peers
        .iter()
        .find(|(name, _)| name == "gateway")
        .context("the shopper needs to know where the gateway is")?;
    let mut gateway = Client::new(*gateway);
    for checkout in &CHECKOUTS {
        let body = format!(
            "customer={}&items={}&card={}",
            checkout.customer, checkout.items, checkout.card
        );
        let mut request = Request::new("POST", "/checkouts", &body);
        request
            .headers
            .push(("x-customer".to_owned(), checkout.customer.to_owned()));
        #[expect(
            clippy::disallowed_methods,
            reason = "the customer looks at the clock; the core is not involved"
        )]
        let start = Instant::now();
        let response = gateway.call(&request).context("the gateway does not answer")?;
        let millis = start.elapsed().as_millis();
        println!(
            "  {:<42} {} {:<25} {millis:>4} ms",
            checkout.story, response.status, response.body
        );
        ensure!(
            response.status == checkout.status,
            "{} should end with {}",
            checkout.story,
            checkout.status
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        sync::{Arc, Mutex},
        thread,
    };

    use super::{Calls, Peers, Request, Response, Role, go_shopping, http, serve};

    /// All services in threads of this process.
    fn open_shop() -> Peers {
        let mut peers = Peers::new();
        for role in Role::SERVICES {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let known = peers.clone();
            thread::spawn(move || serve(role, &listener, known));
            peers.push((role.name().to_owned(), address));
        }
        peers
    }

    #[test]
    fn every_checkout_ends_as_its_story_says() {
        go_shopping(&open_shop()).unwrap();
    }

    #[test]
    fn every_part_is_found_by_its_name() {
        for role in Role::SERVICES {
            assert_eq!(Role::named(role.name()), Some(role));
        }
        assert_eq!(Role::named("butcher"), None);
    }

    #[test]
    fn orders_drops_every_header_and_the_others_pass_them_on() {
        for (role, peer, passes) in [
            (Role::Gateway, "orders", true),
            (Role::Payment, "bank", true),
            (Role::Orders, "payment", false),
        ] {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let log = Arc::clone(&seen);
            thread::spawn(move || {
                http::serve(&listener, move || {
                    let log = Arc::clone(&log);
                    move |request: &Request| {
                        log.lock().unwrap().extend(request.headers.clone());
                        Response::new(if request.method == "GET" { 200 } else { 201 }, "")
                    }
                });
            });
            let peers = ["auth", "inventory", peer]
                .map(|name| (name.to_owned(), address))
                .to_vec();
            let mut request = Request::new("POST", "/", "customer=alice&items=kettle");
            request
                .headers
                .push(("x-customer".to_owned(), "alice".to_owned()));
            role.answer(&request, &mut Calls::new(&peers));
            assert_eq!(!seen.lock().unwrap().is_empty(), passes, "{role:?}");
        }
    }

    #[test]
    fn a_service_that_is_away_is_a_bad_gateway() {
        let response = Role::Payment.answer(&Request::new("POST", "/", ""), &mut Calls::new(&Peers::new()));
        assert_eq!(response.status, 502);
    }
}
