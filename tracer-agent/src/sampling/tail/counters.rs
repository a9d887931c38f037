//! What this stage counts, by cause.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $field:ident,)+) => {
        /// What happened to traces and spans so far. A trace here is what of it was seen on this host.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl Counters {
            /// Every counter with its name, in a fixed order.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Traces kept because of an error, or because they were slow.
    kept_by_rule,
    /// Traces kept by their id.
    kept_by_share,
    /// Traces left out, those over the limit among them.
    dropped_traces,
    /// Spans left out.
    dropped_spans,
    /// Spans that came when their trace was decided, and went the same way.
    late_spans,
    /// Traces that would have been kept, were it not for the limit of their service.
    over_limit,
    /// Links taken away, since what they point to was left out.
    dropped_links,
    /// Traces decided before their time, because too much was held.
    decided_early,
    /// Decisions forgotten because there were too many: a span that comes later still is decided alone.
    evicted_decisions,
    /// Routes whose durations were forgotten because there were too many.
    evicted_routes,
    /// Services whose traces are no longer counted because there were too many.
    evicted_services,
}
