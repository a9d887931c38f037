use proptest::{prelude::*, strategy::ValueTree as _, string::string_regex, test_runner::TestRunner};

use super::{is_secret, kept};

/// Segments of paths of ordinary services: none is a secret.
const ORDINARY: &[&str] = &[
    // words
    "checkout",
    "getCustomerAccountDetailsByIdentifier",
    "how-to-write-a-great-blog-post-in-2024",
    "the-quick-brown-fox-jumps-over-the-lazy-dog",
    "internationalization_and_localization",
    "com.example.shop.InventoryService",
    "grpc.reflection.v1alpha.ServerReflection",
    "rechtsschutzversicherungsgesellschaften",
    "les-miserables-victor-hugo-tome-premier",
    "informacion-sobre-el-transporte-publico",
    "kubernetes-dashboard-metrics-scraper",
    "HTTPSURLConnectionFactory",
    "WebApplicationContextInitializer",
    "x86_64-unknown-linux-gnu",
    "oauth2-authorization-server-metadata",
    ".well-known",
    "openid-configuration",
    "apple-app-site-association",
    "favicon.ico",
    "robots.txt",
    "sitemap_index.xml.gz",
    "swagger-ui-standalone-preset.js",
    "prometheus_tsdb_head_series",
    "%E4%BD%A0%E5%A5%BD%E4%B8%96%E7%95%8C",
    "你好世界你好世界你好世界",
    "K%C3%B6ln-D%C3%BCsseldorf-M%C3%BCnchen",
    "hello%20world%20this%20is%20a%20title",
    "100%",
    // numbers, dates, versions
    "1234567890123456789012345",
    "1700000000000",
    "2024-01-15T10:30:00.000Z",
    "20240115T103000Z",
    "2024-01-15",
    "v1.2.3-rc.1+build.20240115",
    "48.8566,2.3522,15z",
    "order-20240115-000123456",
    "192.168.100.200",
    "978-3-16-148410-0",
    // ids
    "123e4567-e89b-12d3-a456-426614174000",
    "550E8400-E29B-41D4-A716-446655440000",
    "507f1f77bcf86cd799439011",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "dQw4w9WgXcQ",
    "3f2a9c1b",
    "da39a3ee5e6b4b0",
    "V1StGXR8_Z5jdHi",
    "00f067aa0ba902b7",
    "cus_NffrFeUfNV2Hib",
    // names of files with hashes
    "main.3f2a9c1bd41d8cd98f00.js",
    "app-d41d8cd98f00b204e9800998ecf8427e.css",
    "logo.d41d8cd98f00b204e9800998ecf8427e.png",
    "vendors~main.8f3a2c.chunk.js.map",
    "inter-latin-wght-normal.BxTgd8Yd12aQzUr.woff2",
    "IMG_20230115_123456789.jpg",
    // what an @ may stand for besides
    "@angular",
    "react@18.2.0",
    "lodash@4",
    "left-pad@v1.3.0",
    "vue@next",
    "@48.8566,2.3522,15z",
    // operations on resources
    "users:batchGet",
    "Products(42)",
    "pods%2Fexec",
];

/// Segments that are, with what is kept of them.
const SECRETS: &[(&str, &str)] = &[
    // JSON Web Tokens
    (
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "",
    ),
    ("eyJhbGciOiJub25lIn0", ""),
    ("%65yJhbGciOiJub25lIn0", ""),
    // random, in hexadecimal, base32, base58, base64, with and without padding
    ("9f86d081884c7d659a2feaa0c55ad015", ""),
    ("9F86D081884C7D659A2F", ""),
    ("da39a3ee5e6b4b0d3255bfef95601890afd80709", ""),
    ("JBSWY3DPEHPK3PXPJBSWY3DP", ""),
    ("Vb9kQ2xW7nRt4LpZ8mYc", ""),
    ("dGhpcyBpcyBhIHNlY3JldCB0b2tlbg", ""),
    ("cGFzc3dvcmQ=", ""),
    ("cGFzc3dvcmQ%3D", ""),
    ("aG90ZWwx", "aG90ZWwx"),
    ("mF_9.B5f-4.1JqM0aQw3Zx7k", ""),
    ("bwx3jq-9d8f0b7e6c5a4f3e2d1c0b9a8f7e6d5c", ""),
    ("reset-password-9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c", ""),
    ("bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw", ""),
    ("9f86d081884c7d659a2feaa0c55ad015.png", ""),
    // of known issuers
    ("sk_live_4eC39HqLyj", ""),
    ("ghp_16C7e42F292c", ""),
    ("AKIAIOSFODNN7EXAMPLE", ""),
    ("xoxb-123456789012-abc", ""),
    ("Bearer%20abcDEF123456", ""),
    // addresses
    ("alice@example.com", ""),
    ("Alice.O'Neil+news@Mail.Example.CO.UK", ""),
    ("alice%40example.com", ""),
    ("alice%2540example.com", ""),
    ("alice%252540example.com", ""),
    ("%61%6c%69%63%65%40%65%78%2e%63%6f", ""),
    ("a@b.co", ""),
    ("root@localhost", ""),
    ("me:hunter2@1.2.3.4", ""),
    ("https%3A%2F%2Fme%3Ahunter2%40shop", ""),
    ("\u{fc}ml\u{e4}ut@ex\u{e4}mple.de", ""),
    // cards
    ("4111111111111111", ""),
    ("4111-1111-1111-1111", ""),
    ("4111%201111%201111%201111", ""),
    ("%34111111111111111", ""),
    // keys with values
    ("user=alice", "user="),
    ("k=v", "k="),
    ("user%3Dalice", ""),
    ("Products(ID=1)", ""),
    ("alice@example.com=1", ""),
    ("9f86d081884c7d659a2feaa0c55ad015=1", ""),
    // hidden
    ("%2525252540example", ""),
    // what a recording holds in their place
    ("xxxxxxxxxxxx", ""),
    ("mmmmmmsssss", ""),
];

fn shown(segment: &str) -> &str {
    &segment[..kept(segment.as_bytes(), false)]
}

#[test]
fn what_is_ordinary_is_kept() {
    let masked: Vec<_> = ORDINARY
        .iter()
        .filter(|segment| shown(segment) != **segment)
        .collect();
    assert!(masked.is_empty(), "{masked:#?}");
}

#[test]
fn of_a_secret_nothing_is_kept_but_its_key() {
    let other: Vec<_> = SECRETS
        .iter()
        .filter(|(segment, expected)| shown(segment) != *expected)
        .collect();
    assert!(other.is_empty(), "{other:#?}");
}

#[test]
fn of_a_parameter_the_key_is_kept() {
    for (parameter, expected) in [
        ("jsessionid=1", 11),
        ("v=", 2),
        ("hunter2", 0),
        ("", 0),
        ("=hunter2", 0),
        ("a@b=1", 0),
    ] {
        assert_eq!(kept(parameter.as_bytes(), true), expected, "{parameter}");
    }
}

/// All of a text or some of it percent-encoded, once or more.
fn encoded(text: &str, which: &[bool], times: usize) -> String {
    let mut text = text.to_owned();
    for _ in 0..times {
        text = text
            .bytes()
            .zip(which.iter().cycle())
            .map(|(byte, is_encoded)| match *is_encoded || byte == b'%' {
                true => format!("%{byte:02x}"),
                false => char::from(byte).to_string(),
            })
            .collect();
    }
    text
}

/// What is drawn at random may look like words, the seldomer the longer it is: how many are found is counted, on the same draws each time.
#[test]
fn of_tokens_drawn_at_random_hardly_one_is_missed_however_they_are_encoded() {
    const DRAWN: usize = 5_000;
    let mut runner = TestRunner::deterministic();
    for (form, most_missed) in [
        ("[0-9a-f]{32,128}", 0),
        ("[0-9A-F]{40}", 0),
        ("[A-Za-z0-9]{28,64}", 2),
        ("[A-Za-z0-9_-]{32,200}", 2),
        ("[a-z0-9]{32,64}", 5),
    ] {
        let drawn = (
            string_regex(form).unwrap(),
            prop::collection::vec(any::<bool>(), 1..9),
            0_usize..4,
        );
        let is_missed = |_: &usize| {
            let (token, which, times) = drawn.new_tree(&mut runner).unwrap().current();
            !is_secret(encoded(&token, &which, times).as_bytes())
        };
        let missed = (0..DRAWN).filter(is_missed).count();
        println!("{form}: {missed} of {DRAWN} missed");
        assert!(missed <= most_missed, "{form}: {missed}");
    }
}

proptest! {
    #[test]
    fn addresses_and_cards_are_found_however_they_are_encoded(
        secret in prop_oneof!["[a-zA-Z0-9._+-]{1,20}@[a-z]{1,10}\\.[a-z]{2,4}", "[a-z]{1,9}:[a-z0-9]{1,20}@[a-z0-9]{3,9}", Just("4111111111111111".to_owned())],
        which in prop::collection::vec(any::<bool>(), 1..9),
        times in 0_usize..4,
    ) {
        prop_assume!(!["latest", "next", "beta"].iter().any(|tag| secret.ends_with(&format!("@{tag}"))));
        prop_assert!(is_secret(encoded(&secret, &which, times).as_bytes()));
    }

    #[test]
    fn numbers_and_uuids_are_kept(id in prop_oneof!["[0-9]{1,12}", "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"]) {
        prop_assert!(!is_secret(id.as_bytes()));
    }

    #[test]
    fn any_bytes_are_judged_and_no_more_is_kept_than_there_is(part in prop::collection::vec(any::<u8>(), 0..300), is_parameter: bool) {
        prop_assert!(kept(&part, is_parameter) <= part.len());
    }

    #[test]
    fn what_a_recording_holds_instead_is_judged_alike(part in "[a-zA-Z0-9@.=%;:_-]{0,60}", is_parameter: bool) {
        let kept_of = kept(part.as_bytes(), is_parameter);
        let mut masked = part.clone().into_bytes();
        masked[kept_of..].fill(b'x');
        prop_assert_eq!(kept(&masked, is_parameter), kept_of);
    }
}
