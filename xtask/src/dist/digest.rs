//! SHA-256, as images and people write it.

use sha2::{Digest as _, Sha256};

/// The digest of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// With the name of the algorithm before it.
    pub fn named(&self) -> String {
        format!("sha256:{}", self.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn the_digest_is_that_of_fips_180() {
        // The first example of the standard.
        assert_eq!(
            Digest::of(b"abc").named(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
