//! What this stage could not follow, by cause.

/// Makes a struct of counters, each a public field that can also be read by its name.
macro_rules! counters {
    ($(#[$doc:meta])+ $name:ident { $($(#[$field_doc:meta])+ $field:ident,)+ }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])+ pub $field: u64,)+ }

        impl $name {
            /// Every counter with its name, in a fixed order.
            pub fn by_cause(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }
        }
    };
}
pub(crate) use counters;

counters! {
    /// Counters of the `connections` stage.
    ConnectionCounters {
        /// Connection ends seen.
        opened,
        /// Ends of the agent's own connections among them.
        own,
        /// Ends whose open record was lost: their addresses are not known.
        open_lost,
        /// Ends forgotten before their close because the table was full.
        evicted,
        /// Bytes that passed and were not reported.
        lost_bytes,
        /// Data records that tell of bytes already told of.
        overlapping_records,
    }
}
