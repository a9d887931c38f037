//! Why the kernel side cannot be loaded, in words that say what to do.

use std::{io, path::PathBuf};

use super::{btf::BtfError, load::Refusal};

/// Why the kernel side cannot be loaded or asked.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each is")]
pub enum KernelError {
    #[error(
        "the kernel's type information {path} cannot be read: {source}; the agent needs a kernel built with \
         CONFIG_DEBUG_INFO_BTF=y and, in a container, the host's /sys"
    )]
    NoBtf { path: PathBuf, source: io::Error },
    #[error("the kernel's type information {path} cannot be used: {source}")]
    BadBtf { path: PathBuf, source: BtfError },
    #[error("this kernel has no {structure}.{member}, without which no connection can be recognised")]
    MemberMissing {
        structure: &'static str,
        member: &'static str,
    },
    #[error("this kernel does not say where the control groups of the controller {0} are")]
    NoController(String),
    #[error("not permitted to load BPF programs: {missing}; run as root or with these capabilities")]
    NotPermitted { missing: String },
    #[error("the kernel takes none of the hook families: {}", in_words(.refused))]
    NoFamily { refused: Vec<Refusal> },
    #[error("the kernel side cannot be set up: {0}")]
    Setup(aya::EbpfError),
    #[error(
        "the kernel refuses memory for the kernel side: {0}; before Linux 5.11 it counts as locked memory: give the agent \
         CAP_SYS_RESOURCE, or an unlimited `ulimit -l`; in a container the seccomp profile may allow bpf(2) with CAP_SYS_ADMIN only"
    )]
    LockedMemory(aya::EbpfError),
    #[error("which processors this host may have cannot be read: {0}")]
    Cpus(io::Error),
    #[error("the kernel's counters of losses cannot be mapped: {0}")]
    Counters(io::Error),
    #[error("the ring of records cannot be mapped: {0}")]
    Ring(io::Error),
    #[error("BPF map {name} cannot be used: {source}")]
    Map {
        name: &'static str,
        source: aya::maps::MapError,
    },
}

impl From<aya::EbpfError> for KernelError {
    fn from(error: aya::EbpfError) -> Self {
        let refused = anyhow::Chain::new(&error)
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| cause.kind() == io::ErrorKind::PermissionDenied);
        match error {
            aya::EbpfError::MapError(_) if refused => Self::LockedMemory(error),
            _ => Self::Setup(error),
        }
    }
}

fn in_words(refused: &[Refusal]) -> String {
    let words = refused
        .iter()
        .map(|Refusal { family, reason, .. }| format!("{family}: {reason}"));
    words.collect::<Vec<_>>().join("; ")
}
