//! What of a capture was read, passed over and missed, by cause.

use crate::connections::counters::counters;

counters! {
    /// Counters of a packet capture.
    CaptureCounters {
        /// Packets in the file.
        packets,
        /// TCP connections on which bytes passed.
        tcp_connections,
        /// TCP segments that brought nothing new: sent again, or captured twice.
        repeated_segments,
        /// Packets of links that are not read.
        unknown_link,
        /// Packets that are neither IPv4 nor IPv6.
        not_ip,
        /// IP packets that are not TCP.
        not_tcp,
        /// Parts of IP packets, which are not put together.
        fragments,
        /// Packets whose headers are broken or cut off.
        bad_headers,
        /// Segments of which the capture kept a part only (`tcpdump -s`).
        cut_segments,
        /// Places where bytes passed that are not in the capture.
        holes,
        /// Bytes that are not in the capture, of cut segments and in holes.
        missing_bytes,
        /// Times when more had come too early than is kept for a connection.
        early_over_bound,
        /// Heads of which a part was not copied for their length.
        heads_truncated,
        /// Heads without an end: the connection is not looked at from there.
        heads_endless,
        /// Connections on which no HTTP/1 message was found: another protocol, or joined within a long message.
        connections_without_http,
        /// Connections asked for and neither accepted nor refused in the capture.
        connects_unanswered,
        /// Connections forgotten before their end because there were too many.
        evicted_connections,
        /// Packets that the program which made the capture says it missed.
        missed_by_capture,
        /// The file stops in the middle of a packet.
        cut_off,
    }
}
