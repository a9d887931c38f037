//! Reads what httparse refuses and real servers accept: folded headers, odd bytes in a target, a line among
//! the headers that is none. A start line must still be one; a header line that is not `token:` is passed
//! over, so that nothing is taken for what it is not.

use std::borrow::Cow;

use compact_str::CompactString;
use httparse::Header;

/// The lines of a head, without their ends and without the blank lines around it.
pub(super) fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
}

/// The head with every fold (a line end followed by space or tab) turned into spaces, as RFC 9112 §5.2 asks
/// of a server.
pub(super) fn unfolded(head: &[u8]) -> Cow<'_, [u8]> {
    let is_fold = |pair: &[u8]| matches!(pair, [b'\n', b' ' | b'\t']);
    if !head.windows(2).any(is_fold) {
        return Cow::Borrowed(head);
    }
    let mut bytes = head.to_vec();
    let mut before = 0;
    for at in 0..bytes.len() {
        if bytes
            .get(at..)
            .is_some_and(|rest| rest.get(..2).is_some_and(is_fold))
        {
            let carriage_return = before == b'\r';
            let from = at - usize::from(carriage_return);
            if let Some(end) = bytes.get_mut(from..=at) {
                end.fill(b' ');
            }
        }
        before = bytes.get(at).copied().unwrap_or_default();
    }
    Cow::Owned(bytes)
}

/// The head up to its last whole line, ended by a blank line. A start line that is itself cut gives nothing.
pub(super) fn without_cut_line(head: &[u8]) -> Vec<u8> {
    let whole = head
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let mut kept = head.get(..whole).unwrap_or_default().to_vec();
    kept.extend_from_slice(b"\r\n");
    kept
}

/// Method, target and minor version.
pub(super) fn request_line(line: &[u8]) -> Option<(CompactString, CompactString, u8)> {
    let line = line.trim_ascii_end();
    let method_len = line.iter().position(|byte| *byte == b' ')?;
    let version_at = line.iter().rposition(|byte| *byte == b' ')?;
    let method = line.get(..method_len).filter(|method| is_token(method))?;
    let target = line.get(method_len..version_at)?.trim_ascii();
    let minor_version = version(line.get(version_at + 1..)?)?;
    if target.is_empty() {
        return None;
    }
    let [method, target] = [method, target].map(CompactString::from_utf8_lossy);
    Some((method, target, minor_version))
}

/// Status code and minor version.
pub(super) fn status_line(line: &[u8]) -> Option<u16> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    version(words.next()?)?;
    let code: u16 = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    (100..=999).contains(&code).then_some(code)
}

fn version(word: &[u8]) -> Option<u8> {
    match word.strip_prefix(b"HTTP/1.")? {
        [minor] if minor.is_ascii_digit() => Some(minor - b'0'),
        _ => None,
    }
}

/// Every line that is a header. Space before the colon is taken in responses only: RFC 9112 §5.1 has servers
/// refuse it, and clients accept it.
pub(super) fn headers<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    space_before_colon: bool,
) -> Vec<Header<'a>> {
    lines
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            let name = if space_before_colon {
                name.trim_ascii_end()
            } else {
                name
            };
            let name = std::str::from_utf8(name)
                .ok()
                .filter(|name| is_token(name.as_bytes()))?;
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            (!value.contains(&0)).then_some(Header { name, value })
        })
        .collect()
}

/// RFC 9110 §5.6.2
fn is_token(bytes: &[u8]) -> bool {
    let is_mark = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || is_mark(*byte))
}
