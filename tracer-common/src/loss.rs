//! Why something that happened did not reach user space: one counter a cause, counted where it happens.

macro_rules! losses {
    ($($(#[doc = $doc:literal])+ $variant:ident = $value:literal, $name:literal;)+) => {
        /// A cause of loss in the kernel; the value is the place of its counter in [`Losses`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Loss { $($(#[doc = $doc])+ $variant = $value,)+ }

        impl Loss {
            /// Every cause, in the order of its counter.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The cause as it appears in metrics, logs and recordings.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

losses! {
    /// A record did not fit into the ring buffer: user space was too slow.
    RingFull = 0, "ring_full";
    /// A connection could not be remembered: the connection map was full.
    ConnectionsFull = 1, "connections_full";
    /// A call in progress could not be remembered: the call map was full.
    CallsFull = 2, "calls_full";
    /// A process could not be selected: the process map was full.
    ProcessesFull = 3, "processes_full";
    /// User memory that held a message could not be read.
    UserFault = 4, "user_fault";
    /// A call carried more buffers than are walked.
    TooManyBuffers = 5, "too_many_buffers";
    /// One call carried more messages or chunks than are framed.
    TooManySteps = 6, "too_many_steps";
    /// A head went past the bound of what is copied; the part within it was delivered.
    HeadTruncated = 7, "head_truncated";
    /// A head went past the bound of what is searched for its end: the connection is opaque from there.
    HeadEndless = 8, "head_endless";
    /// Bytes passed that this hook family does not see (the stream position jumped).
    Unseen = 9, "unseen";
    /// A connection was joined in the middle of a message; what was left of it is not reported.
    MidStream = 10, "mid_stream";
    /// The head of a request did not fit into the ring buffer: an exchange of which nothing will be known. Each is
    /// counted under [`Loss::RingFull`] as a record too.
    RequestLost = 11, "request_lost";
    /// The return of a call was not seen: how many bytes it moved shows by the next call on the connection only. Or what a call has read is
    /// of another connection than the one that its file descriptor stands for when it returns.
    Unpaired = 12, "unpaired";
    /// The bytes of a call were not looked at, because the CPU was in the middle of too many others.
    Busy = 13, "busy";
    /// The kernel did not run a program, because the CPU was in the middle of the same one: it preempts them. Counted
    /// by the kernel itself.
    Skipped = 14, "skipped";
    /// A library of TLS gave or took something, and on which connection that is was not known.
    TlsUnplaced = 15, "tls_unplaced";
}

/// The counters of one CPU, by the number of the cause; as long as the cache lines that no other CPU writes to.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct Losses {
    /// How often each happened.
    pub counts: [u64; 16],
}

const _: () = assert!(Loss::ALL.len() <= 16);

#[cfg(test)]
mod tests {
    use super::Loss;

    #[test]
    fn the_index_of_a_cause_is_its_place_in_the_list() {
        for (place, cause) in Loss::ALL.iter().enumerate() {
            assert_eq!(place, *cause as usize);
        }
    }
}
