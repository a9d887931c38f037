//! Where each version of gRPC for Go keeps what tells its streams apart.
//!
//! By the compiler that builds it (`unsafe.Offsetof` in its package `transport`), for the version that begins each row and the one before: the first
//! minor version that has it so. In 1.66 to 1.68 the client is the value of an interface. What came after the last is taken to be as that is: a place
//! that has no socket in it is told apart, and so is a number that no stream has.

use tracer_common::layout::GrpcGo;

/// By minor version of 1, from the first.
const BY_MINOR: [(u32, GrpcGo); 8] = [
    (36, of(32, 64, 24, 0, 0)),
    (52, of(32, 136, 24, 0, 0)),
    (58, of(32, 128, 24, 0, 0)),
    (60, of(16, 128, 24, 0, 0)),
    (66, of(16, 128, 32, 0, 0)),
    (69, of(16, 128, 8, 0, 1)),
    (77, of(16, 128, 328, 108, 0)),
    (84, of(16, 128, 360, 108, 0)),
];

const fn of(server_conn: u32, client_conn: u32, client: u32, id: u32, is_pointed: u32) -> GrpcGo {
    GrpcGo {
        server_conn,
        client_conn,
        client,
        id,
        is_pointed,
    }
}

/// Where this version does, if that is known.
pub(super) fn layout(version: &str) -> Option<GrpcGo> {
    let minor = version.strip_prefix("v1.")?.split('.').next()?;
    let minor: u32 = minor.parse().ok()?;
    let row = BY_MINOR.iter().rev().find(|(first, _)| *first <= minor);
    row.map(|(_, layout)| *layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_as_the_newest_before_it() {
        let client = |version| layout(version).map(|layout| (layout.client, layout.client_conn));
        assert_eq!(client("v1.35.9"), None);
        assert_eq!(client("v1.51.0"), Some((24, 64)));
        assert_eq!(client("v1.76.0-dev"), Some((8, 128)));
        assert_eq!(client("v1.85.0"), Some((360, 128)));
        assert_eq!(client("v1.300.0"), Some((360, 128)));
        assert_eq!(client("v2.0.0"), None);
        assert_eq!(client("(devel)"), None);
    }
}
