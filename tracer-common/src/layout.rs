//! Where members stand in the structs of the running kernel, and what the user side asks for: both are handed
//! to the kernel side as globals before it is loaded.

/// A member that the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

macro_rules! layout {
    (members { $($field:ident = $structure:literal, $member:literal;)+ } values { $($(#[doc = $doc:literal])+ $value:ident,)+ }) => {
        /// What the running kernel's BTF says: byte offsets of members in its structs, and a few values. [`ABSENT`] where
        /// it has none.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Layout {
            $(#[doc = concat!("`", $structure, ".", $member, "`")] pub $field: u32,)+
            $($(#[doc = $doc])+ pub $value: u32,)+
        }

        impl Layout {
            /// Nothing is known.
            pub const UNKNOWN: Self = Self { $($field: ABSENT,)+ $($value: ABSENT,)+ };

            /// Fills every offset by asking `find` for `(struct, member path)`, in all spellings that kernels know; gives
            /// back the members it did not find.
            pub fn resolve(
                &mut self,
                mut find: impl FnMut(&'static str, &'static str) -> Option<u32>,
                mut missing: impl FnMut(&'static str, &'static str),
            ) {
                $(
                    match $member.split('|').find_map(|member| find($structure, member)) {
                        Some(offset) => self.$field = offset,
                        None => missing($structure, $member),
                    }
                )+
            }
        }
    };
}

layout! {
    members {
    task_files = "task_struct", "files";
    task_pid = "task_struct", "pid";
    task_tgid = "task_struct", "tgid";
    task_signal = "task_struct", "signal";
    task_status = "task_struct", "thread_info.status";
    signal_live = "signal_struct", "live";
    files_fdt = "files_struct", "fdt";
    fdtable_max_fds = "fdtable", "max_fds";
    fdtable_fd = "fdtable", "fd";
    file_private_data = "file", "private_data";
    socket_file = "socket", "file";
    socket_sk = "socket", "sk";
    sock_family = "sock", "__sk_common.skc_family";
    sock_state = "sock", "__sk_common.skc_state";
    sock_dport = "sock", "__sk_common.skc_dport";
    sock_num = "sock", "__sk_common.skc_num";
    sock_daddr = "sock", "__sk_common.skc_daddr";
    sock_rcv_saddr = "sock", "__sk_common.skc_rcv_saddr";
    sock_v6_daddr = "sock", "__sk_common.skc_v6_daddr";
    sock_v6_rcv_saddr = "sock", "__sk_common.skc_v6_rcv_saddr";
    sock_net = "sock", "__sk_common.skc_net";
    sock_protocol = "sock", "sk_protocol";
    sock_shutdown = "sock", "sk_shutdown";
    sock_err = "sock", "sk_err";
    net_inum = "net", "ns.inum";
    tcp_write_seq = "tcp_sock", "write_seq";
    tcp_copied_seq = "tcp_sock", "copied_seq";
    tcp_rcv_nxt = "tcp_sock", "rcv_nxt";
    tcp_bytes_received = "tcp_sock", "bytes_received";
    tcp_bytes_sent = "tcp_sock", "bytes_sent";
    msghdr_iter = "msghdr", "msg_iter";
    iter_kind = "iov_iter", "iter_type|type";
    iter_offset = "iov_iter", "iov_offset";
    iter_vector = "iov_iter", "__iov|iov";
    iter_buffer = "iov_iter", "ubuf";
    iter_segments = "iov_iter", "nr_segs";
    }
    values {
    /// What of `iov_iter.iter_type` is the kind.
    iter_kind_mask,
    /// `ITER_IOVEC`
    iter_kind_vector,
    /// `ITER_UBUF`
    iter_kind_buffer,
    /// Which parameter of `tcp_recvmsg` the flags are, counted from 0: the last but one.
    recvmsg_flags,
    }
}

/// What the user side asks of the kernel side.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Process id of the agent in the initial pid namespace: its own sockets are never traced.
    pub agent_tgid: u32,
    /// 1: every process is selected that is not excluded.
    pub select_all: u32,
}

impl Settings {
    /// Nothing is selected.
    pub const NONE: Self = Self {
        agent_tgid: 0,
        select_all: 0,
    };
}

/// Values of the process map.
pub mod process {
    /// The process is traced, and its children.
    pub const SELECTED: u8 = 1;
    /// The process is left out, and its children.
    pub const EXCLUDED: u8 = 2;
}
