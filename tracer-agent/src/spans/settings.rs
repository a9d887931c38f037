//! What can be chosen about spans.

use std::borrow::Cow;

use crate::privacy::Privacy;

/// The methods that RFC 9110 and RFC 5789 define.
const KNOWN_METHODS: [&str; 9] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];

/// The choices of this stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Methods that are named as they are; all others are `_OTHER`. Case-sensitive.
    /// `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` replaces the list.
    pub known_methods: Vec<Cow<'static, str>>,
    /// Routes such as `/users/{id}`, the first that matches names the span.
    pub routes: Vec<Route>,
    /// Routes are learned where none of these matches.
    pub learn_routes: bool,
    /// How much of a request is told.
    pub privacy: Privacy,
    /// `http.request.body.size` and `http.response.body.size` are exported. They are opt-in in the conventions because
    /// an SDK pays for counting them; here they are known anyway, tell nothing of the content, and explain durations.
    pub body_sizes: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            known_methods: KNOWN_METHODS.map(Cow::Borrowed).to_vec(),
            routes: Vec::new(),
            learn_routes: true,
            privacy: Privacy::Default,
            body_sizes: true,
        }
    }
}

impl Settings {
    /// The list of `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`: comma-separated, a full replacement.
    pub fn known_methods_of(list: &str) -> Vec<Cow<'static, str>> {
        let methods = list.split(',').map(str::trim).filter(|method| !method.is_empty());
        methods.map(|method| Cow::Owned(method.to_owned())).collect()
    }
}

/// A path template: literal segments, `{name}` for any one segment, `{name...}` at the end for any rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    template: String,
}

/// Why a text is not a route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// It does not begin with a slash.
    #[error("route `{0}` does not begin with `/`")]
    Relative(String),
    /// A segment has a brace but is not `{name}`, or `{name...}` is not at the end.
    #[error("route `{route}`: segment `{segment}` is neither literal nor `{{name}}`")]
    Segment {
        /// The route.
        route: String,
        /// Its segment.
        segment: String,
    },
}

impl Route {
    /// The route of this template.
    pub fn new(template: &str) -> Result<Self, RouteError> {
        let Some(segments) = template.strip_prefix('/') else {
            return Err(RouteError::Relative(template.to_owned()));
        };
        let mut segments = segments.split('/').peekable();
        while let Some(segment) = segments.next() {
            let is_good = match placeholder(segment) {
                Some(name) => !name.ends_with("...") || segments.peek().is_none(),
                None => !segment.contains(['{', '}']),
            };
            if !is_good {
                return Err(RouteError::Segment {
                    route: template.to_owned(),
                    segment: segment.to_owned(),
                });
            }
        }
        Ok(Self {
            template: template.to_owned(),
        })
    }

    /// The template as given.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Whether a path (without query) is of this route.
    pub fn matches(&self, path: &str) -> bool {
        let mut parts = path.split('/');
        for segment in self.template.split('/') {
            let part = match (parts.next(), placeholder(segment)) {
                (Some(_), Some(name)) if name.ends_with("...") => return true,
                (Some(part), Some(_)) => !part.is_empty(),
                (Some(part), None) => part == segment,
                (None, _) => false,
            };
            if !part {
                return false;
            }
        }
        parts.next().is_none()
    }
}

fn placeholder(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    (!name.is_empty() && !name.contains(['{', '}'])).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_matches_one_segment_and_a_rest_any_number() {
        let cases = [
            ("/users/{id}", "/users/42", true),
            ("/users/{id}", "/users/", false),
            ("/users/{id}", "/users/42/orders", false),
            ("/users/{id}", "/users", false),
            ("/files/{path...}", "/files/a/b/c", true),
            ("/files/{path...}", "/files", false),
            ("/", "/", true),
            ("/", "/x", false),
        ];
        for (template, path, matches) in cases {
            let route = Route::new(template).unwrap();
            assert_eq!(route.matches(path), matches, "{template} against {path}");
        }
    }

    #[test]
    fn a_template_that_can_match_nothing_is_refused() {
        for template in ["users", "/a{b}", "/{}", "/{rest...}/more", "/{a}{b}"] {
            assert!(Route::new(template).is_err(), "{template}");
        }
    }

    #[test]
    fn a_list_of_known_methods_replaces_the_default() {
        assert_eq!(Settings::known_methods_of("GET, PURGE,,"), ["GET", "PURGE"]);
    }
}
