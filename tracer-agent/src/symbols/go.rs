//! Programs written in Go: which version made them, where its runtime keeps what tells goroutines apart, and where in the file the
//! function is by which its HTTP client hands a request on.

use std::{fs::File, sync::Arc};

use tracer_common::layout;

use super::{Elf, pclntab};

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

/// `net/http` hands a request to the goroutine that writes on its connection.
const ROUND_TRIP: &str = "net/http.(*persistConn).roundTrip";

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
    /// Where in the file its HTTP client hands a request on, if it has one.
    pub round_trip: Option<u64>,
}

/// What stands at the beginning of build information, which is aligned to 16 bytes.
const MAGIC: &[u8; 14] = b"\xff Go buildinf:";
/// The version stands in it as it is, with its length before it.
const INLINE: u8 = 2;
/// Where it does.
const VERSION_AT: u64 = 32;

/// The Go program in this file, if it is one that says its version.
pub(super) fn read(elf: &Elf<'_>) -> Option<GoProgram> {
    let info = elf.section(&[".go.buildinfo"])?;
    let head: [u8; 16] = elf.read(info.offset).ok()?;
    if !head.starts_with(MAGIC) || head.last()? & INLINE == 0 {
        return None;
    }
    let [len]: [u8; 1] = elf.read(info.behind(VERSION_AT)?.offset).ok()?;
    let text = info.behind(VERSION_AT + 1)?.first(u64::from(len))?;
    let mut bytes = vec![0; usize::from(len)];
    elf.fill(&mut bytes, text.offset).ok()?;
    let version = String::from_utf8(bytes).ok()?;
    let goroutines = minor(&version).and_then(goroutines);
    Some(GoProgram {
        round_trip: goroutines.and_then(|_| {
            let [round_trip] = pclntab::find(elf, [ROUND_TRIP])?;
            Some(round_trip?.entry)
        }),
        goroutines,
        version,
    })
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
