//! Machine code, as far as it is looked at: how functions written in Go begin and return. A file for another processor than this is not
//! looked into, since it is there for an emulator: what a breakpoint writes into it would be read by that.

use object::Architecture;

/// A kind of processor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Machine {
    architecture: Architecture,
    /// In how many bytes Go counts code.
    pub quantum: u8,
    /// How a function begins that looks whether its stack is large enough.
    pub prologues: &'static [[u8; 4]],
    /// What returns.
    return_: &'static [u8],
    /// What does nothing, and may stand before it for the processor's sake.
    nothing: &'static [&'static [u8]],
}

pub(super) const X86_64: Machine = Machine {
    architecture: Architecture::X86_64,
    quantum: 1,
    prologues: &[
        // `cmp rsp, [r14+16]`, or `lea r12, [rsp-N]` before it.
        [0x49, 0x3b, 0x66, 0x10],
        [0x4c, 0x8d, 0x64, 0x24],
        [0x4c, 0x8d, 0xa4, 0x24],
    ],
    // `ret`
    return_: &[0xc3],
    // `nop`, from one byte to nine.
    nothing: &[
        &[0x90],
        &[0x66, 0x90],
        &[0x0f, 0x1f, 0x00],
        &[0x0f, 0x1f, 0x40, 0x00],
        &[0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
        &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
        &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    ],
};

pub(super) const ARM64: Machine = Machine {
    architecture: Architecture::Aarch64,
    quantum: 4,
    // `ldr x16, [x28, #16]`
    prologues: &[[0x90, 0x0b, 0x40, 0xf9]],
    // `ret`
    return_: &[0xc0, 0x03, 0x5f, 0xd6],
    nothing: &[],
};

impl Machine {
    /// The one that this program was built for.
    pub const THIS: &'static Self = if cfg!(target_arch = "aarch64") {
        &ARM64
    } else {
        &X86_64
    };

    /// Whether a file is for it.
    pub fn runs(&self, architecture: Architecture) -> bool {
        self.architecture == architecture
    }

    /// Where the return is, behind instructions that do nothing.
    pub fn return_at(&self, mut code: &[u8]) -> Option<u64> {
        let whole = code.len();
        while let Some(rest) = self
            .nothing
            .iter()
            .find_map(|nothing| code.strip_prefix(*nothing))
        {
            code = rest;
        }
        code.starts_with(self.return_)
            .then(|| (whole - code.len()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_may_stand_behind_what_does_nothing_and_nothing_else() {
        let ret = 0xc3;
        assert_eq!(X86_64.return_at(&[ret, 0x90]), Some(0));
        assert_eq!(X86_64.return_at(&[0x90, ret]), Some(1));
        assert_eq!(
            X86_64.return_at(&[0x0f, 0x1f, 0x40, 0x00, 0x66, 0x90, ret]),
            Some(6)
        );
        assert_eq!(X86_64.return_at(&[0x48, 0x89, 0x44, 0x24, 0x08, ret]), None);
        assert_eq!(X86_64.return_at(&[0x0f, 0x1f, ret]), None);
        assert_eq!(X86_64.return_at(&[0x90; 8]), None);
    }

    #[test]
    fn a_return_of_arm64_is_a_whole_word() {
        let ret = [0xc0, 0x03, 0x5f, 0xd6];
        assert_eq!(ARM64.return_at(&ret), Some(0));
        assert_eq!(ARM64.return_at(&ret[..3]), None);
        // `ret x1`, `nop`
        assert_eq!(ARM64.return_at(&[0x20, 0x00, 0x5f, 0xd6]), None);
        assert_eq!(ARM64.return_at(&[0x1f, 0x20, 0x03, 0xd5]), None);
        assert_eq!(X86_64.return_at(&ret), None);
    }
}
