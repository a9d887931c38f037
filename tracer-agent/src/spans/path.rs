//! What is told of the path of a request: its route, and as much of itself as privacy leaves.

use std::borrow::Cow;

use super::{Settings, routes::Routes, url};
use crate::{
    privacy::{self, Privacy},
    protocols::exchange::Side,
};

/// Who got a request, or made it, and what was answered.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The service that was seen.
    pub service: &'a str,
    /// Whether it was asked or asks.
    pub side: Side,
    /// The host that is asked.
    pub host: &'a str,
    /// What was answered.
    pub status: Option<u16>,
}

/// What is told of a path.
pub struct Told<'a> {
    /// The path, as far as it is shown.
    pub path: Cow<'a, str>,
    /// Its template.
    pub route: Option<Cow<'a, str>>,
    /// The template was not configured.
    pub is_learned: bool,
}

impl<'a> Told<'a> {
    /// Of a path without its query. What has none (`*`, and what `CONNECT` asks for) has no route.
    pub fn of(path: &'a str, asked: Asked<'_>, routes: &mut Routes, settings: &'a Settings) -> Self {
        // What is not masked in a recording alone may not decide about a name: a replay would give another one.
        let masked = match settings.privacy {
            Privacy::Open => Cow::Borrowed(path),
            Privacy::Default | Privacy::Strict => privacy::path::masked(path),
        };
        let configured = settings.routes.iter().find(|route| route.matches(&masked));
        let configured = configured.map(|route| Cow::Borrowed(route.template()));
        let learned = if configured.is_none() && settings.learn_routes {
            let (service, side) = (asked.service, asked.side);
            routes.template(service, side, asked.host, &masked, is_known(asked.status))
        } else {
            None
        };
        let is_learned = learned.is_some();
        let route = configured.or(learned.map(Cow::Owned));
        let path = match (settings.privacy, &route) {
            (Privacy::Default | Privacy::Open, _) => masked,
            (Privacy::Strict, Some(route)) => route.clone(),
            (Privacy::Strict, None) => url::path(path, Privacy::Strict),
        };
        Self {
            path,
            route,
            is_learned,
        }
    }
}

/// Whether the answer shows that the service has such a path: whoever asks for what is not there, or may not, gets one of the
/// 400s whatever the path.
fn is_known(status: Option<u16>) -> bool {
    status.is_some_and(|status| !(400..500).contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::Route;

    fn told(path: &str, settings: &Settings) -> (String, Option<String>, bool) {
        let asked = Asked {
            service: "shop",
            side: Side::Inbound,
            host: "h",
            status: Some(200),
        };
        let mut routes = Routes::default();
        let told = Told::of(path, asked, &mut routes, settings);
        let route = told.route.map(Cow::into_owned);
        (told.path.into_owned(), route, told.is_learned)
    }

    fn settings(privacy: Privacy) -> Settings {
        Settings {
            routes: vec![Route::new("/u/{name}/x").unwrap()],
            privacy,
            learn_routes: privacy != Privacy::Strict,
            ..Settings::default()
        }
    }

    #[test]
    fn a_configured_route_is_stronger_than_a_learned_one() {
        for privacy in [Privacy::Default, Privacy::Open] {
            let settings = settings(privacy);
            let configured = ("/u/alice/x".into(), Some("/u/{name}/x".into()), false);
            assert_eq!(told("/u/alice/x", &settings), configured);
            let learned = ("/u/42".into(), Some("/u/{id}".into()), true);
            assert_eq!(told("/u/42", &settings), learned);
        }
    }

    #[test]
    fn in_strictness_the_path_is_the_route() {
        let settings = settings(Privacy::Strict);
        let route = String::from("/u/{name}/x");
        assert_eq!(told("/u/alice/x", &settings), (route.clone(), Some(route), false));
        assert_eq!(told("/u/alice", &settings), ("/REDACTED".into(), None, false));
        assert_eq!(told("/", &settings), ("/".into(), None, false));
        assert_eq!(told("*", &settings), ("*".into(), None, false));
    }

    #[test]
    fn in_the_open_a_secret_is_told_but_names_nothing() {
        let (path, route, _) = told("/u/me@example.com", &settings(Privacy::Open));
        assert_eq!(
            (path.as_str(), route.as_deref()),
            ("/u/me@example.com", Some("/u/{id}"))
        );
    }
}
