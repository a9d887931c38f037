//! Looking a header up by name.

use super::Malformed;

/// The headers of one request.
#[derive(Clone, Copy)]
pub(super) struct Headers<'h, 'a>(pub &'h [httparse::Header<'a>]);

impl<'h, 'a: 'h> Headers<'h, 'a> {
    /// The value of the header `name`, without surrounding white space.
    ///
    /// # Errors
    /// Twice the same header, even with equal values, is malformed: which of the two counts is not known.
    pub fn one(self, name: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() {
            return Err(Malformed);
        }
        Ok(first)
    }

    /// What the value of the header `name` says.
    ///
    /// # Errors
    /// What cannot be parsed is malformed, as [`Self::one`] is.
    pub fn parsed<T>(
        self,
        name: &'static str,
        parse: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<Option<T>, Malformed> {
        let value = self.one(name)?;
        value.map(|value| parse(value).ok_or(Malformed)).transpose()
    }

    /// The values of every header `name`, in order, without surrounding white space.
    pub fn all(self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'h, 'a> {
        self.0
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| trim(header.value))
    }
}

/// Strips the optional white space of RFC 9110 section 5.6.3: spaces and tabs, nothing else.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
