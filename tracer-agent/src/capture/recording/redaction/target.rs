//! A request target, or an authority: path and query keys are kept, and so are scheme, host and port; userinfo, query
//! values, fragments and what has no known form are not.
//!
//! ```text
//! Start ──/──▶ Path ──?──▶ Component ─▶ Key ──=──▶ Value ──&──▶ Component
//!   └─"http(s)://"─▶ Authority ─▶ Userinfo ──▶ HostPort ──/──▶ Path
//! ```

/// How far a target has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// At the first byte.
    Start,
    /// In `http://` or `https://`, at this place of the latter.
    Scheme { at: usize },
    /// At the first byte of an authority.
    Authority,
    /// This many bytes of userinfo follow, all in this piece.
    Userinfo { len: usize },
    /// In host and port.
    HostPort,
    /// In an authority that is cut in two.
    CutAuthority,
    /// In the path.
    Path,
    /// At the first byte of a query component.
    Component,
    /// In a query key, which ends in this piece.
    Key,
    /// In a query key that is cut in two.
    CutKey,
    /// In a query value, or in a component without a key.
    QueryValue,
    /// In a target of no known form.
    Other,
}

impl Target {
    /// Says of each byte whether it is kept, of a target that is there from its first byte to its last.
    pub fn judge(mut self, text: &[u8], kept: &mut Vec<bool>) {
        if text.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f)) {
            // No target holds these, so what it is is not known.
            self = Self::Other;
        }
        let mut rest = text;
        loop {
            self = self.look_ahead(rest, true);
            let Some((byte, more)) = rest.split_first() else {
                return;
            };
            let (is_kept, next) = self.step(*byte);
            kept.push(is_kept);
            self = next;
            rest = more;
        }
    }

    /// Decides what depends on bytes to come, of which the piece has these. It may be the last piece.
    pub fn look_ahead(self, piece: &[u8], is_last: bool) -> Self {
        match (self, piece) {
            (_, []) => self,
            (Self::Authority, _) => {
                let authority = piece
                    .split(|byte| ends_authority(*byte))
                    .next()
                    .unwrap_or_default();
                if authority.len() == piece.len() && !is_last {
                    return Self::CutAuthority;
                }
                match authority.iter().rposition(|byte| *byte == b'@') {
                    Some(len @ 1..) => Self::Userinfo { len },
                    _ => Self::HostPort,
                }
            }
            (Self::Component, _) => match piece.iter().find(|byte| ends_key(**byte)) {
                Some(b'=') => Self::Key,
                Some(_) => Self::QueryValue,
                None => Self::CutKey,
            },
            (Self::Userinfo { len: 0 }, _) => Self::HostPort,
            _ => self,
        }
    }

    /// Whether `byte` is kept, and where the target is after it.
    pub fn step(self, byte: u8) -> (bool, Self) {
        match (self, byte) {
            (Self::Start | Self::HostPort | Self::CutAuthority, b'/') => (true, Self::Path),
            (Self::Start, b'*') => (true, Self::Other),
            (Self::Start, b'h' | b'H') => (true, Self::Scheme { at: 1 }),
            (Self::Scheme { at }, _) => step_scheme(at, byte),
            (Self::Userinfo { len }, _) => (
                false,
                Self::Userinfo {
                    len: len.saturating_sub(1),
                },
            ),
            (Self::HostPort | Self::CutAuthority | Self::Path, b'?') => (true, Self::Component),
            (Self::HostPort | Self::CutAuthority | Self::Path, b'#') => (true, Self::Other),
            (Self::Key | Self::CutKey, b'=') => (true, Self::QueryValue),
            (Self::HostPort | Self::Path | Self::Key, _) => (true, self),
            (Self::CutKey | Self::QueryValue, b'&') => (true, Self::Component),
            (Self::CutAuthority | Self::CutKey | Self::QueryValue, _) => (false, self),
            _ => (false, Self::Other),
        }
    }
}

fn step_scheme(at: usize, byte: u8) -> (bool, Target) {
    const SCHEME: &[u8] = b"https://";
    const AFTER_HTTP: usize = 4;
    let fits = |at: usize| {
        SCHEME
            .get(at)
            .is_some_and(|expected| expected.eq_ignore_ascii_case(&byte))
    };
    let at = if at == AFTER_HTTP && byte == b':' {
        at + 1
    } else {
        at
    };
    match fits(at) {
        true if at + 1 == SCHEME.len() => (true, Target::Authority),
        true => (true, Target::Scheme { at: at + 1 }),
        false => (false, Target::Other),
    }
}

fn ends_authority(byte: u8) -> bool {
    matches!(byte, b'/' | b'?' | b'#' | b' ' | b'\r' | b'\n')
}

fn ends_key(byte: u8) -> bool {
    matches!(byte, b'=' | b'&' | b'#' | b' ' | b'\r' | b'\n')
}
