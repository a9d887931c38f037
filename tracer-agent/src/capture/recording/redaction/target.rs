//! A request target, or an authority: path and query keys are kept, and so are scheme, host and port; userinfo, what looks like
//! a secret in the path, query values, fragments and what has no known form are not. [`Privacy`] keeps more of path and query, or less.
//!
//! ```text
//! Start ──/──▶ Segment ─▶ Part ──/──▶ Segment, ──;──▶ Parameter, ──?──▶ Component ─▶ Key ──=──▶ Value ──&──▶ Component
//!   └─"http(s)://"─▶ Authority ─▶ Userinfo ──▶ HostPort ──/──▶ Segment
//! ```

use crate::privacy::{Privacy, segment};

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
    /// At the first byte of what stands behind a slash of the path.
    Segment,
    /// At the first byte of what stands behind a semicolon there.
    Parameter,
    /// In either, which ends in this piece: so many bytes are kept, then so many are not.
    Part { kept: usize, masked: usize },
    /// In either, which is cut in two.
    CutPart,
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
    pub fn judge(mut self, text: &[u8], privacy: Privacy, kept: &mut Vec<bool>) {
        if text.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f)) {
            // No target holds these, so what it is is not known.
            self = Self::Other;
        }
        let mut rest = text;
        loop {
            self = self.look_ahead(rest, true, privacy);
            let Some((byte, more)) = rest.split_first() else {
                return;
            };
            let (is_kept, next) = self.step(*byte, privacy);
            kept.push(is_kept);
            self = next;
            rest = more;
        }
    }

    /// Decides what depends on bytes to come, of which the piece has these. It may be the last piece.
    pub fn look_ahead(self, piece: &[u8], is_last: bool, privacy: Privacy) -> Self {
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
            (Self::Segment | Self::Parameter, _) => {
                let part = piece.split(|byte| ends_part(*byte)).next().unwrap_or_default();
                if part.len() == piece.len() && !is_last && privacy != Privacy::Open {
                    return Self::CutPart;
                }
                let kept = match privacy {
                    Privacy::Strict => 0,
                    Privacy::Default => segment::kept(part, matches!(self, Self::Parameter)),
                    Privacy::Open => part.len(),
                };
                Self::Part {
                    kept,
                    masked: part.len().saturating_sub(kept),
                }
            }
            (Self::Component, _) if privacy == Privacy::Strict => Self::QueryValue,
            (Self::Component, _) => match piece.iter().position(|byte| ends_key(*byte)) {
                Some(len) if piece.get(len) == Some(&b'=') => match piece.get(..len) {
                    Some(key) if privacy == Privacy::Default && segment::is_secret_key(key) => Self::CutKey,
                    _ => Self::Key,
                },
                Some(_) => Self::QueryValue,
                None => Self::CutKey,
            },
            (Self::Userinfo { len: 0 }, _) => Self::HostPort,
            _ => self,
        }
    }

    /// Whether `byte` is kept, and where the target is after it.
    pub fn step(self, byte: u8, privacy: Privacy) -> (bool, Self) {
        let is_open = privacy == Privacy::Open;
        match (self, byte) {
            (Self::Start | Self::HostPort | Self::CutAuthority, b'/') => (true, Self::Segment),
            (Self::Part { kept: 1.., .. }, _) | (Self::Part { masked: 1.., .. }, _) => step_part(self),
            (Self::Part { .. } | Self::CutPart, b'/') => (true, Self::Segment),
            (Self::Part { .. } | Self::CutPart, b';') => (true, Self::Parameter),
            (Self::Start, b'*') => (true, Self::Other),
            (Self::Start, b'h' | b'H') => (true, Self::Scheme { at: 1 }),
            (Self::Scheme { at }, _) => step_scheme(at, byte),
            (Self::Userinfo { len }, _) => (
                false,
                Self::Userinfo {
                    len: len.saturating_sub(1),
                },
            ),
            (Self::HostPort | Self::CutAuthority | Self::Part { .. } | Self::CutPart, b'?') => {
                (true, Self::Component)
            }
            (Self::HostPort | Self::CutAuthority | Self::Part { .. } | Self::CutPart, b'#') => {
                (true, Self::Other)
            }
            (Self::Key | Self::CutKey, b'=') => (true, Self::QueryValue),
            (Self::HostPort | Self::Key, _) => (true, self),
            (Self::CutKey | Self::QueryValue, b'#') if is_open => (true, Self::Other),
            (Self::CutKey | Self::QueryValue, b'&') => (true, Self::Component),
            (Self::CutKey | Self::QueryValue, _) => (is_open, self),
            (Self::CutAuthority | Self::CutPart, _) => (false, self),
            _ => (false, Self::Other),
        }
    }
}

fn step_part(part: Target) -> (bool, Target) {
    match part {
        Target::Part { kept: 0, masked } => {
            let masked = masked.saturating_sub(1);
            (false, Target::Part { kept: 0, masked })
        }
        Target::Part { kept, masked } => {
            let kept = kept.saturating_sub(1);
            (true, Target::Part { kept, masked })
        }
        _ => (false, part),
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

fn ends_part(byte: u8) -> bool {
    matches!(byte, b'/' | b';' | b'?' | b'#' | b' ' | b'\r' | b'\n')
}

fn ends_key(byte: u8) -> bool {
    matches!(byte, b'=' | b'&' | b'#' | b' ' | b'\r' | b'\n')
}
