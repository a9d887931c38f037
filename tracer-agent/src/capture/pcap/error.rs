//! Why a packet capture cannot be read, or not further.

use std::{io, path::PathBuf};

/// Why a packet capture cannot be read, or not further; all packets before the place were given.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file could not be read.
    #[error("cannot read capture {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its format has a version that is not known.
    #[error("capture {path} has {format} version {major}.{minor}; only {known} is read")]
    Version {
        /// The file.
        path: PathBuf,
        /// `pcap` or `pcapng`.
        format: &'static str,
        /// What it says.
        major: u16,
        /// See `major`.
        minor: u16,
        /// What is read.
        known: &'static str,
    },
    /// Its packets were taken from a kind of link that is not read.
    #[error(
        "capture {path} has packets of link type {link_type}; read are Ethernet (1), Linux cooked (113, 276), raw IP \
         (101) and loopback (0, 108)"
    )]
    LinkType {
        /// The file.
        path: PathBuf,
        /// As <https://www.tcpdump.org/linktypes.html> numbers them.
        link_type: u16,
    },
    /// It is not what its format says.
    #[error("capture {path} is corrupt at byte {offset}: {what}; everything before was read")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the header, block or packet that is wrong begins.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
}
