//! The name that was probably meant.

/// The candidate nearest to `name`, if one is near enough to be a slip of the fingers.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this, a suggestion is more of a riddle than a help (the bound that clap uses for flags).
    const NEAR_ENOUGH: f64 = 0.7;
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > NEAR_ENOUGH)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_met_with_the_name_that_was_meant() {
        assert_eq!(nearest("prot", ["port", "pid", "export"]), Some("port"));
        assert_eq!(
            nearest("capture_headers", ["capture_header", "exe"]),
            Some("capture_header")
        );
    }

    #[test]
    fn a_name_like_no_other_gets_no_suggestion() {
        assert_eq!(nearest("zzz", ["port", "pid"]), None);
    }
}
