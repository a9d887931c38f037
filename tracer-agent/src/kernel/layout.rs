//! The offsets that the kernel side reads by, taken from the running kernel's BTF.

use std::{fs, path::Path};

use tracer_common::layout::Layout;

use super::{KernelError, btf::Btf};

/// Where the running kernel describes itself.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Members without which nothing can be traced.
const NEEDED: &[(&str, &str)] = &[
    ("task_struct", "files"),
    ("task_struct", "tgid"),
    ("files_struct", "fdt"),
    ("fdtable", "fd"),
    ("fdtable", "max_fds"),
    ("file", "private_data"),
    ("socket", "file"),
    ("socket", "sk"),
    ("sock", "__sk_common.skc_family"),
    ("sock", "__sk_common.skc_state"),
    ("sock", "__sk_common.skc_dport"),
    ("sock", "__sk_common.skc_num"),
    ("sock", "sk_protocol"),
    ("tcp_sock", "write_seq"),
    ("tcp_sock", "copied_seq"),
];

/// The offsets of a kernel, and what it lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// For the kernel side.
    pub layout: Layout,
    /// `struct.member` of every member that was not found and can be done without.
    pub missing: Vec<String>,
}

/// Reads the offsets of the running kernel.
///
/// # Errors
/// When there is no BTF, it cannot be read, or a member is missing that nothing works without.
pub fn of_running_kernel() -> Result<Resolved, KernelError> {
    of_file(Path::new(VMLINUX))
}

/// Reads the offsets from a BTF file.
///
/// # Errors
/// See [`of_running_kernel`].
pub fn of_file(path: &Path) -> Result<Resolved, KernelError> {
    let bytes = fs::read(path).map_err(|source| KernelError::NoBtf {
        path: path.into(),
        source,
    })?;
    let btf = Btf::parse(&bytes).map_err(|source| KernelError::BadBtf {
        path: path.into(),
        source,
    })?;
    let mut layout = Layout::UNKNOWN;
    let mut missing = Vec::new();
    layout.resolve(
        |structure, member| btf.member_offset(structure, member),
        |structure, member| missing.push((structure, member)),
    );
    if let Some((structure, member)) = missing.iter().find(|absent| NEEDED.contains(absent)) {
        return Err(KernelError::MemberMissing { structure, member });
    }
    let missing = missing
        .into_iter()
        .map(|(structure, member)| format!("{structure}.{member}"))
        .collect();
    Ok(Resolved { layout, missing })
}
