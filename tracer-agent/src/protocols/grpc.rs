//! How a call by gRPC is known, and where its status stands.

/// How a call puts its messages and its status into HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grpc {
    /// gRPC itself, in HTTP/2 alone
    /// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>): the status is in the trailers, or in the only
    /// header fields.
    Native,
    /// gRPC-Web, in any version of HTTP (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>): the status is in
    /// the last frame of the body, which is never read, or in the header fields where there is no message.
    Web,
}

impl Grpc {
    /// What a `Content-Type` says: `application/grpc`, `application/grpc-web` (messages as they are) or
    /// `application/grpc-web-text` (in base64), each alone, with what the messages are written in (`+…`) or with
    /// parameters. Types have no case (RFC 9110 §8.3.1).
    pub(super) fn of(content_type: &[u8]) -> Option<Self> {
        const TYPES: [(&[u8], Grpc); 3] = [
            (b"application/grpc", Grpc::Native),
            (b"application/grpc-web", Grpc::Web),
            (b"application/grpc-web-text", Grpc::Web),
        ];
        let named = TYPES.iter().find(|(name, _)| {
            let parts = content_type.split_at_checked(name.len());
            parts.is_some_and(|(start, rest)| {
                start.eq_ignore_ascii_case(name) && matches!(rest, [] | [b'+' | b';' | b' ' | b'\t', ..])
            })
        });
        named.map(|(_, grpc)| *grpc)
    }
}

#[cfg(test)]
mod tests {
    use super::Grpc;

    #[test]
    fn a_content_type_says_how_a_call_is_made() {
        for (said, is) in [
            ("application/grpc", Some(Grpc::Native)),
            ("application/grpc+proto", Some(Grpc::Native)),
            ("application/grpc;charset=utf-8", Some(Grpc::Native)),
            ("application/grpc-web", Some(Grpc::Web)),
            ("application/grpc-web+proto", Some(Grpc::Web)),
            ("application/grpc-web+json; a=b", Some(Grpc::Web)),
            ("application/grpc-web ; a=b", Some(Grpc::Web)),
            ("application/grpc-web-text", Some(Grpc::Web)),
            ("application/grpc-web-text+proto", Some(Grpc::Web)),
            ("Application/gRPC-Web-Text;charset=utf-8", Some(Grpc::Web)),
            ("", None),
            ("application/grp", None),
            ("application/grpcs", None),
            ("application/grpc-", None),
            ("application/grpc-website", None),
            ("application/grpc-web-", None),
            ("application/grpc-web-texts", None),
            ("application/json", None),
            ("text/plain, application/grpc-web", None),
        ] {
            assert_eq!(Grpc::of(said.as_bytes()), is, "{said}");
        }
    }
}
