//! What a Go program says of how it was made (`.go.buildinfo`), which it carries even where its symbols were stripped.
//!
//! ```text
//! magic (14 bytes), size of a pointer u8, flags u8, 16 bytes for older versions
//! version of Go, then its modules: each with its length before it, seven bits a byte
//! modules   16 bytes, then lines: `dep`, path, version, sum; after one that is replaced `=>`, path, version, sum; 16 bytes
//! ```

use super::{Elf, Stretch};

/// What stands at the beginning of build information, which is aligned to 16 bytes.
const MAGIC: &[u8; 14] = b"\xff Go buildinf:";
/// Both texts stand in it as they are.
const INLINE: u8 = 2;
/// Where the version does.
const VERSION_AT: u64 = 32;
/// More bytes than any version takes.
const MAX_VERSION: u64 = 256;
/// More bytes than the modules of any program take.
const MAX_MODULES: u64 = 1 << 20;

/// A program's build information.
#[derive(Debug)]
pub(super) struct BuildInfo {
    /// The version of Go.
    pub version: String,
    modules: String,
}

impl BuildInfo {
    /// That of this file, if it has one that is read here.
    pub fn read(elf: &Elf<'_>) -> Option<Self> {
        let info = elf.section(&[".go.buildinfo"])?;
        let head: [u8; 16] = elf.read(info.offset).ok()?;
        if !head.starts_with(MAGIC) || head.last()? & INLINE == 0 {
            return None;
        }
        let (version, rest) = text(elf, info.behind(VERSION_AT)?, MAX_VERSION)?;
        let modules = text(elf, rest, MAX_MODULES).map(|(modules, _)| modules);
        Some(Self {
            version: String::from_utf8(version).ok()?,
            // It is framed by bytes that are no text.
            modules: String::from_utf8_lossy(&modules.unwrap_or_default()).into_owned(),
        })
    }

    /// The version of a module that is in the program.
    pub fn module(&self, path: &str) -> Option<&str> {
        let mut lines = self.modules.lines();
        let of = |line: &str| {
            line.strip_prefix("dep\t")?
                .strip_prefix(path)?
                .starts_with('\t')
                .then_some(())
        };
        let named = lines.find(|line| of(line).is_some())?;
        let is_replaced = |line: &&str| line.starts_with("=>\t");
        lines
            .next()
            .filter(is_replaced)
            .unwrap_or(named)
            .split('\t')
            .nth(2)
    }
}

/// A text with its length before it, and what is behind it.
fn text(elf: &Elf<'_>, place: Stretch, most: u64) -> Option<(Vec<u8>, Stretch)> {
    let mut len = 0;
    let mut place = place;
    for shift in (0..28).step_by(7) {
        let [byte]: [u8; 1] = elf.read(place.offset).ok()?;
        place = place.behind(1)?;
        len |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    let whole = place.first(len.min(most))?;
    let mut bytes = vec![0; usize::try_from(whole.len).ok()?];
    elf.fill(&mut bytes, whole.offset).ok()?;
    Some((bytes, place.behind(len)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_has_the_version_that_it_is_replaced_by() {
        let info = BuildInfo {
            version: String::new(),
            modules: "path\tx\nmod\tx\t(devel)\t\ndep\tgoogle.golang.org/grpc/x\tv0.1.0\th1:a\n\
                      dep\tgoogle.golang.org/grpc\tv1.2.0\th1:b\n=>\texample.org/grpc\tv1.3.0\th1:c\ndep\ty\tv2.0.0\n"
                .to_owned(),
        };
        assert_eq!(info.module("google.golang.org/grpc"), Some("v1.3.0"));
        assert_eq!(info.module("y"), Some("v2.0.0"));
        assert_eq!(info.module("x"), None);
        assert_eq!(info.module("google.golang.org"), None);
    }
}
