//! What the kernel side goes by, taken from the running kernel's BTF.

use std::{collections::HashMap, fs, path::Path};

use tracer_common::layout::{ABSENT, Layout};

use super::{
    KernelError,
    btf::{self, Btf, Function},
    family::Family,
};

/// Bytes of a pointer.
const POINTER: u32 = 8;
/// Where the running kernel describes itself.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Members without which nothing can be traced.
const NEEDED: &[Member] = &[
    ("task_struct", "tgid"),
    ("sock", "__sk_common.skc_family"),
    ("sock", "__sk_common.skc_state"),
    ("sock", "__sk_common.skc_dport"),
    ("sock", "__sk_common.skc_num"),
    ("sock", "sk_protocol"),
    ("tcp_sock", "write_seq"),
    ("tcp_sock", "copied_seq"),
];

/// Members that some kernels have not, with nothing lost: `ITER_UBUF` came in 6.0.
const OPTIONAL: &[Member] = &[("iov_iter", "ubuf")];

/// A struct and its member.
type Member = (&'static str, &'static str);

/// What a kernel says of itself, and what it lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// For the kernel side.
    pub layout: Layout,
    missing: Vec<Member>,
    functions: HashMap<&'static str, Function>,
}

impl Resolved {
    /// `struct.member` of every member that was not found and that something is missed by.
    pub fn missing(&self) -> impl Iterator<Item = String> {
        self.missing
            .iter()
            .filter(|member| !OPTIONAL.contains(member))
            .map(|(structure, member)| format!("{structure}.{member}"))
    }

    /// Whether a member was not found.
    pub fn lacks(&self, member: &Member) -> bool {
        self.missing.contains(member)
    }

    /// Whether a function was found.
    pub fn has_function(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    /// What aya has to know of the kernel's types to find the functions that trampolines go to.
    pub(super) fn types_of_functions(&self) -> Result<aya::Btf, aya::BtfError> {
        let functions = self.functions.iter().map(|(name, function)| (*name, *function));
        aya::Btf::parse(&btf::of_functions(functions), aya::Endianness::default())
    }
}

/// Reads the offsets of the running kernel, for control groups in the hierarchy of this controller of version 1, or in the unified one.
///
/// # Errors
/// When there is no BTF, it cannot be read, or a member is missing that nothing works without.
pub fn of_running_kernel(controller: Option<&str>) -> Result<Resolved, KernelError> {
    of_file(Path::new(VMLINUX), controller)
}

/// Reads the offsets from a BTF file.
///
/// # Errors
/// See [`of_running_kernel`].
pub fn of_file(path: &Path, controller: Option<&str>) -> Result<Resolved, KernelError> {
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
    let functions = btf.functions(&Family::functions());
    // The kinds were bits once, with the direction in the lowest; now they are numbers.
    let kinds_are_bits = btf.member_offset("iov_iter", "iter_type").is_none();
    layout.iter_kind_mask = if kinds_are_bits { 0xfe } else { 0xff };
    layout.iter_kind_vector = btf.enumerator("iter_type", "ITER_IOVEC").unwrap_or(ABSENT);
    layout.iter_kind_buffer = btf.enumerator("iter_type", "ITER_UBUF").unwrap_or(ABSENT);
    layout.recvmsg_flags = functions
        .get("tcp_recvmsg")
        .map_or(ABSENT, |function| function.parameters.saturating_sub(2));
    if let Some(controller) = controller {
        layout.css_set_state =
            state_of(&btf, controller).ok_or_else(|| KernelError::NoController(controller.to_owned()))?;
    }
    Ok(Resolved {
        layout,
        missing,
        functions,
    })
}

/// Where in `css_set` the state of a controller is.
fn state_of(btf: &Btf<'_>, controller: &str) -> Option<u32> {
    // The one that was renamed with version 2.
    let name = if controller == "blkio" { "io" } else { controller };
    let number = btf.enumerator("cgroup_subsys_id", &format!("{name}_cgrp_id"))?;
    let states = btf.member_offset("css_set", "subsys")?;
    states.checked_add(number.checked_mul(POINTER)?)
}
