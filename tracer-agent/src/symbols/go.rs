//! Programs written in Go: which version made them, where its runtime keeps what tells goroutines apart, and where in the file the
//! functions are by which goroutines hand requests on and take them.

use std::{fs::File, sync::Arc};

use tracer_common::layout::{self, GrpcGo};

use super::{Elf, build_info::BuildInfo, grpc_go, pclntab};

/// A kind of goroutine, as the kernel side numbers it: its place in [`GOROUTINES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goroutines(pub u8);

/// Where each kind of Go keeps `goid` and `parentGoid`, from the debug information that each version gives its programs.
pub const GOROUTINES: [layout::Goroutines; 5] =
    [of(0, 0), of(152, 0), of(152, 272), of(160, 280), of(152, 280)];

const fn of(id: u32, maker: u32) -> layout::Goroutines {
    layout::Goroutines { id, maker }
}

/// By minor version of Go 1, from the first that keeps the goroutine in a register and its version where it is read here.
const FIRST_MINOR: u32 = 18;
const BY_MINOR: [Goroutines; 9] = [
    Goroutines(1),
    Goroutines(1),
    Goroutines(1),
    Goroutines(2),
    Goroutines(2),
    Goroutines(3),
    Goroutines(3),
    Goroutines(2),
    Goroutines(4),
];

/// A place in a Go program where a breakpoint goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoHook {
    /// `net/http` hands a request to the goroutine that writes on its connection.
    RoundTrip,
    /// A goroutine begins to work on a stream of HTTP/2.
    Serves,
    /// One is about to make another that has a request sent on a stream.
    Calls,
    /// The same as [`Self::Serves`], in gRPC.
    GrpcServes,
    /// One has had a request sent on a stream.
    GrpcCalled,
}

impl GoHook {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::RoundTrip,
        Self::Serves,
        Self::Calls,
        Self::GrpcServes,
        Self::GrpcCalled,
    ];
}

/// The functions that have them. What has both a function with a small and one with a large first letter calls the former in the latter.
const FUNCTIONS: [(GoHook, &str); 9] = [
    (GoHook::RoundTrip, "net/http.(*persistConn).roundTrip"),
    (GoHook::Serves, "net/http.(*http2serverConn).runHandler"),
    (GoHook::Serves, "golang.org/x/net/http2.(*serverConn).runHandler"),
    (GoHook::Calls, "net/http.(*http2ClientConn).roundTrip"),
    (GoHook::Calls, "net/http.(*http2ClientConn).RoundTrip"),
    (GoHook::Calls, "golang.org/x/net/http2.(*ClientConn).roundTrip"),
    (GoHook::Calls, "golang.org/x/net/http2.(*ClientConn).RoundTrip"),
    (
        GoHook::GrpcServes,
        "google.golang.org/grpc.(*Server).handleStream",
    ),
    (
        GoHook::GrpcCalled,
        "google.golang.org/grpc/internal/transport.(*http2Client).NewStream",
    ),
];
const GRPC: &str = "google.golang.org/grpc";

/// A file with a program written in Go.
#[derive(Clone, Debug)]
pub struct Go {
    /// The file, open: whatever becomes of the process that runs it, it is this one.
    pub file: Arc<File>,
    /// What is known of it.
    pub program: Arc<GoProgram>,
}

/// A program written in Go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoProgram {
    /// The version of Go that made it, as it says itself: `go1.26.8`.
    pub version: String,
    /// How its goroutines are told apart; `None` for a version that is not known here.
    pub goroutines: Option<Goroutines>,
    /// Where in the file breakpoints go.
    pub hooks: Vec<(GoHook, u64)>,
    /// How its gRPC tells streams apart, if it has any of a version that is known here.
    pub grpc: Option<GrpcGo>,
}

/// The Go program in this file, if it is one that says its version.
pub(super) fn read(elf: &Elf<'_>) -> Option<GoProgram> {
    let info = BuildInfo::read(elf)?;
    let goroutines = minor(&info.version).and_then(goroutines);
    let grpc = info.module(GRPC).and_then(grpc_go::layout);
    let hooks = goroutines.and_then(|_| hooks(elf, grpc.is_some()));
    Some(GoProgram {
        goroutines,
        hooks: hooks.unwrap_or_default(),
        grpc,
        version: info.version,
    })
}

fn hooks(elf: &Elf<'_>, has_grpc: bool) -> Option<Vec<(GoHook, u64)>> {
    let found = pclntab::find(elf, FUNCTIONS.map(|(_, name)| name))?;
    let has = |name: &str| {
        let named = FUNCTIONS.iter().zip(&found);
        named
            .into_iter()
            .any(|((_, other), found)| *other == name && found.is_some())
    };
    let is_wanted = |hook, name: &str| match hook {
        GoHook::GrpcServes | GoHook::GrpcCalled => has_grpc,
        GoHook::Calls => !name.ends_with("RoundTrip") || !has(&name.replace("RoundTrip", "roundTrip")),
        GoHook::RoundTrip | GoHook::Serves => true,
    };
    let mut hooks = Vec::new();
    for ((hook, name), function) in FUNCTIONS.iter().zip(&found) {
        let Some(function) = function.as_ref().filter(|_| is_wanted(*hook, name)) else {
            continue;
        };
        match hook {
            GoHook::GrpcCalled => hooks.extend(function.returns.iter().map(|place| (*hook, *place))),
            _ => hooks.push((*hook, function.entry)),
        }
    }
    Some(hooks)
}

fn goroutines(minor: u32) -> Option<Goroutines> {
    let place = minor.checked_sub(FIRST_MINOR)?;
    BY_MINOR.get(usize::try_from(place).ok()?).copied()
}

/// 26 of `go1.26.8`, `go1.26rc1` and `go1.26.8 X:experiment`.
fn minor(version: &str) -> Option<u32> {
    let behind = version.strip_prefix("go1.")?;
    let digits = behind
        .split(|character: char| !character.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_go_writes_them() {
        for (text, known) in [
            ("go1.26.8", Some(26)),
            ("go1.21", Some(21)),
            ("go1.27rc1", Some(27)),
            ("go1.24.1 X:nocoverageredesign", Some(24)),
            ("devel go1.27-abcdef", None),
            ("go2.1", None),
            ("go1.", None),
            ("", None),
        ] {
            assert_eq!(minor(text), known, "{text}");
        }
    }

    #[test]
    fn a_version_that_is_not_known_has_no_goroutines() {
        assert_eq!(goroutines(17), None);
        assert_eq!(goroutines(18), Some(Goroutines(1)));
        assert_eq!(goroutines(26), Some(Goroutines(4)));
        assert_eq!(goroutines(27), None);
        assert!(GOROUTINES.len() <= layout::GO_KINDS as usize);
    }
}
