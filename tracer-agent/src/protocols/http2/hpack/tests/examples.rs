//! The examples of RFC 7541, Appendix C.

use super::{super::primitives::Input, Decoder, bytes, fields, known};

/// A block of a connection, its fields, and what stands in the table after it.
struct Example {
    section: &'static str,
    block: &'static str,
    fields: &'static [(&'static str, &'static str)],
    table: &'static [(&'static str, &'static str)],
    size: usize,
}

const AUTHORITY: (&str, &str) = (":authority", "www.example.com");
const NO_CACHE: (&str, &str) = ("cache-control", "no-cache");
const CUSTOM: (&str, &str) = ("custom-key", "custom-value");
const METHOD: (&str, &str) = (":method", "GET");
const PATH: (&str, &str) = (":path", "/");
const HTTP: (&str, &str) = (":scheme", "http");
const HTTPS: (&str, &str) = (":scheme", "https");
const INDEX: (&str, &str) = (":path", "/index.html");

const PRIVATE: (&str, &str) = ("cache-control", "private");
const DATE: (&str, &str) = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
const LATER: (&str, &str) = ("date", "Mon, 21 Oct 2013 20:13:22 GMT");
const LOCATION: (&str, &str) = ("location", "https://www.example.com");
const FOUND: (&str, &str) = (":status", "302");
const REDIRECT: (&str, &str) = (":status", "307");
const OK: (&str, &str) = (":status", "200");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const COOKIE: (&str, &str) = (
    "set-cookie",
    "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
);

/// What the responses of C.5 and C.6 have in common.
const RESPONSES: [(&str, &str); 4] = [FOUND, PRIVATE, DATE, LOCATION];

/// Each line is a connection.
const CONNECTIONS: &[&[Example]] = &[
    &[Example {
        section: "C.2.1",
        block: "400a6375 73746f6d 2d6b6579 0d637573 746f6d2d 68656164 6572",
        fields: &[("custom-key", "custom-header")],
        table: &[("custom-key", "custom-header")],
        size: 55,
    }],
    &[Example {
        section: "C.2.2",
        block: "040c2f73 616d706c 652f7061 7468",
        fields: &[(":path", "/sample/path")],
        table: &[],
        size: 0,
    }],
    &[Example {
        section: "C.2.3",
        block: "10087061 7373776f 72640673 65637265 74",
        fields: &[("password", "secret")],
        table: &[],
        size: 0,
    }],
    &[Example {
        section: "C.2.4",
        block: "82",
        fields: &[METHOD],
        table: &[],
        size: 0,
    }],
    &[
        Example {
            section: "C.3.1",
            block: "82868441 0f777777 2e657861 6d706c65 2e636f6d",
            fields: &[METHOD, HTTP, PATH, AUTHORITY],
            table: &[AUTHORITY],
            size: 57,
        },
        Example {
            section: "C.3.2",
            block: "828684be 58086e6f 2d636163 6865",
            fields: &[METHOD, HTTP, PATH, AUTHORITY, NO_CACHE],
            table: &[NO_CACHE, AUTHORITY],
            size: 110,
        },
        Example {
            section: "C.3.3",
            block: "828785bf 400a6375 73746f6d 2d6b6579 0c637573 746f6d2d 76616c75 65",
            fields: &[METHOD, HTTPS, INDEX, AUTHORITY, CUSTOM],
            table: &[CUSTOM, NO_CACHE, AUTHORITY],
            size: 164,
        },
    ],
    &[
        Example {
            section: "C.4.1",
            block: "82868441 8cf1e3c2 e5f23a6b a0ab90f4 ff",
            fields: &[METHOD, HTTP, PATH, AUTHORITY],
            table: &[AUTHORITY],
            size: 57,
        },
        Example {
            section: "C.4.2",
            block: "828684be 5886a8eb 10649cbf",
            fields: &[METHOD, HTTP, PATH, AUTHORITY, NO_CACHE],
            table: &[NO_CACHE, AUTHORITY],
            size: 110,
        },
        Example {
            section: "C.4.3",
            block: "828785bf 408825a8 49e95ba9 7d7f8925 a849e95b b8e8b4bf",
            fields: &[METHOD, HTTPS, INDEX, AUTHORITY, CUSTOM],
            table: &[CUSTOM, NO_CACHE, AUTHORITY],
            size: 164,
        },
    ],
    &[
        Example {
            section: "the table of C.5 has 256 bytes",
            block: "3fe101",
            fields: &[],
            table: &[],
            size: 0,
        },
        Example {
            section: "C.5.1",
            block: "48033330 32580770 72697661 7465611d 4d6f6e2c 20323120 4f637420 32303133 20
                    32303a31 333a3231 20474d54 6e176874 7470733a 2f2f7777 772e6578 616d706c
                    652e636f 6d",
            fields: &RESPONSES,
            table: &[LOCATION, DATE, PRIVATE, FOUND],
            size: 222,
        },
        Example {
            section: "C.5.2",
            block: "48033330 37c1c0bf",
            fields: &[REDIRECT, PRIVATE, DATE, LOCATION],
            table: &[REDIRECT, LOCATION, DATE, PRIVATE],
            size: 222,
        },
        Example {
            section: "C.5.3",
            block: "88c1611d 4d6f6e2c 20323120 4f637420 32303133 2032303a 31333a32 3220474d
                    54c05a04 677a6970 7738666f 6f3d4153 444a4b48 514b425a 584f5157 454f5049
                    55415851 57454f49 553b206d 61782d61 67653d33 3630303b 20766572 73696f6e
                    3d31",
            fields: &[OK, PRIVATE, LATER, LOCATION, GZIP, COOKIE],
            table: &[COOKIE, GZIP, LATER],
            size: 215,
        },
    ],
    &[
        Example {
            section: "the table of C.6 has 256 bytes",
            block: "3fe101",
            fields: &[],
            table: &[],
            size: 0,
        },
        Example {
            section: "C.6.1",
            block: "48826402 5885aec3 771a4b61 96d07abe 941054d4 44a82005 95040b81 66e082a6
                    2d1bff6e 919d29ad 171863c7 8f0b97c8 e9ae82ae 43d3",
            fields: &RESPONSES,
            table: &[LOCATION, DATE, PRIVATE, FOUND],
            size: 222,
        },
        Example {
            section: "C.6.2",
            block: "4883640e ffc1c0bf",
            fields: &[REDIRECT, PRIVATE, DATE, LOCATION],
            table: &[REDIRECT, LOCATION, DATE, PRIVATE],
            size: 222,
        },
        Example {
            section: "C.6.3",
            block: "88c16196 d07abe94 1054d444 a8200595 040b8166 e084a62d 1bffc05a 839bd9ab
                    77ad94e7 821dd7f2 e6c7b335 dfdfcd5b 3960d5af 27087f36 72c1ab27 0fb5291f
                    95873160 65c003ed 4ee5b106 3d5007",
            fields: &[OK, PRIVATE, LATER, LOCATION, GZIP, COOKIE],
            table: &[COOKIE, GZIP, LATER],
            size: 215,
        },
    ],
];

#[test]
fn blocks_have_the_fields_and_leave_the_table_of_the_rfc() {
    for connection in CONNECTIONS {
        let mut decoder = Decoder::new(false);
        for example in *connection {
            let pairs = |of: &[(&str, &str)]| -> Vec<_> {
                of.iter()
                    .map(|(name, value)| known(name.as_bytes(), value.as_bytes()))
                    .collect()
            };
            let found = fields(&mut decoder, &bytes(example.block));
            assert_eq!(found, pairs(example.fields), "{}", example.section);
            let table: Vec<_> = decoder
                .table()
                .entries()
                .map(|(name, value)| (name.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec)))
                .collect();
            assert_eq!(table, pairs(example.table), "{}", example.section);
            assert_eq!(decoder.table().size(), example.size, "{}", example.section);
        }
    }
}

#[test]
fn only_a_field_that_may_never_be_indexed_says_so() {
    for (block, expected) in [("1008706173737764 0178", true), ("0008706173737764 0178", false)] {
        let mut said = None;
        let block = bytes(&block.replace("7764", "776f7264"));
        let read = Decoder::new(false).block(&block, |field| said = Some(field.never_indexed));
        assert_eq!((read, said), (Ok(()), Some(expected)));
    }
}

#[test]
fn integers_are_those_of_the_rfc() {
    for (section, encoded, prefix, expected) in [
        ("C.1.1", "0a", 5, 10),
        ("C.1.2", "1f9a0a", 5, 1337),
        ("C.1.3", "2a", 8, 42),
        ("bits before it are another's", "ea", 5, 10),
        ("padded, as §5.1 allows", "1f9a8a808000", 5, 1337),
        ("the largest", "1fe0ffffff0f", 5, 4_294_967_295),
    ] {
        assert_eq!(
            Input::new(&bytes(encoded)).integer(prefix),
            Ok(expected),
            "{section}"
        );
    }
}
