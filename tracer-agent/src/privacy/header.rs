//! Which headers carry credentials, and which the URL of another request, by their names.

/// Words of names of headers that carry credentials.
const WORDS: [&str; 25] = [
    "apikey",
    "auth",
    "authorization",
    "authtoken",
    "bearer",
    "cookie",
    "cookie2",
    "credential",
    "credentials",
    "csrf",
    "jwt",
    "key",
    "otp",
    "passphrase",
    "passwd",
    "password",
    "pin",
    "secret",
    "session",
    "sessionid",
    "sid",
    "signature",
    "token",
    "tokens",
    "xsrf",
];
/// Parts of such words, where they are written together.
const PARTS: [&str; 8] = [
    "authoriz",
    "cookie",
    "credential",
    "passw",
    "secret",
    "token",
    "apikey",
    "session",
];
/// Names that have such words and carry none.
const PUBLIC: [&str; 5] = [
    "sec-websocket-key",
    "surrogate-key",
    "idempotency-key",
    "cache-key",
    "x-cache-key",
];
/// Headers whose value is a URL, or the path of one.
const URLS: [&str; 9] = [
    "content-location",
    "location",
    "origin",
    "referer",
    "x-envoy-original-path",
    "x-forwarded-uri",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// Whether a header, by its name in lower case, carries what lets its holder in.
pub fn is_credential(name: &str) -> bool {
    let mut words = name.split(['-', '_', '.']);
    let has_word =
        words.any(|word| WORDS.binary_search(&word).is_ok() || PARTS.iter().any(|part| word.contains(part)));
    has_word && !PUBLIC.contains(&name)
}

/// Whether the value of a header, by its name in lower case, is a URL or the path of one.
pub fn is_url(name: &str) -> bool {
    URLS.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted() {
        assert!(WORDS.is_sorted() && URLS.is_sorted());
    }

    #[test]
    fn credentials_are_known_by_their_names() {
        for name in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "x-auth-token",
            "x-csrf-token",
            "x-amz-security-token",
            "x-goog-api-key",
            "x-vault-token",
            "x-accesstoken",
            "php-auth-pw",
            "x-session-id",
            "x-hub-signature",
            "authentication-info-token",
        ] {
            assert!(is_credential(name), "{name}");
        }
        for name in [
            "x-request-id",
            "content-type",
            "x-author",
            "authority",
            "sec-websocket-key",
            "idempotency-key",
            "keep-alive",
            "x-tenant",
        ] {
            assert!(!is_credential(name), "{name}");
        }
    }
}
