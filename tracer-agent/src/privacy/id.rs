//! Whether a segment of a path is the id of something, by its looks: numbers, dates, hashes, names of people.

use super::{REDACTED, segment::is_secret};

/// Longer segments name nothing that a program was written for.
const LONGEST_NAME: usize = 48;
/// So many hexadecimal digits, of which some are digits, are a hash.
const SHORTEST_HASH: usize = 8;

/// Whether a route has a placeholder here, whatever else is seen. It is asked of paths that are masked.
pub fn is_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:$!*+,()".contains(byte);
    let is_strange = bytes.len() > LONGEST_NAME || !bytes.iter().all(is_of_name);
    is_strange || segment.contains(REDACTED) || is_mostly_digits(bytes) || has_hash(bytes) || is_secret(bytes)
}

/// At least half of its letters and digits are digits; `v2`, `s3` and `2fa` are names.
fn is_mostly_digits(segment: &[u8]) -> bool {
    let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = segment.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let is_version = segment.strip_prefix(b"v").is_some_and(|rest| {
        rest.len() <= 5 && rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
    });
    digits > 0 && digits >= letters && !is_version && (letters == 0 || segment.len() > 3)
}

fn has_hash(segment: &[u8]) -> bool {
    let is_hash = |part: &[u8]| {
        part.len() >= SHORTEST_HASH
            && part.iter().all(u8::is_ascii_hexdigit)
            && part.iter().filter(|byte| byte.is_ascii_digit()).count() >= 2
    };
    segment.split(|byte| !byte.is_ascii_alphanumeric()).any(is_hash)
}

#[cfg(test)]
mod tests {
    use super::is_id;

    #[test]
    fn ids_are_told_from_names_at_first_sight() {
        for id in [
            "42",
            "-1",
            "1.5",
            "2024-01-15",
            "123e4567-e89b-12d3-a456-426614174000",
            "507f1f77bcf86cd799439011",
            "3f2a9c1b",
            "main.3f2a9c1b.js",
            "INV-2024-0042",
            "order_000123",
            "REDACTED",
            "k=REDACTED",
            "alice%20smith",
            "~alice",
            "@alice",
            "你好",
            "10.0.0.1",
            "dGhpcyBpcyBhIHNlY3JldCB0b2tlbg",
        ] {
            assert!(is_id(id), "{id}");
        }
        for name in [
            "",
            "users",
            "v1",
            "v2.1",
            "v2beta1",
            "oauth2",
            "s3",
            "2fa",
            "3d",
            "base64",
            "favicon.ico",
            ".well-known",
            "users:batchGet",
            "getCustomerAccountDetails",
            "deadline",
            "facade",
            "com.example.Shop",
        ] {
            assert!(!is_id(name), "{name}");
        }
    }
}
