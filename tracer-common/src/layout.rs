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
    task_compat = "task_struct", "thread_info.status|thread_info.flags";
    task_stack = "task_struct", "stack";
    task_fsbase = "task_struct", "thread.fsbase";
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
    sock_type = "sock", "sk_type";
    sock_socket = "sock", "sk_socket";
    socket_inode = "socket_alloc", "vfs_inode.i_ino";
    unix_peer = "unix_sock", "peer";
    unix_address = "unix_sock", "addr";
    address_len = "unix_address", "len";
    address_name = "unix_address", "name";
    read_socket = "unix_stream_read_state", "socket";
    read_message = "unix_stream_read_state", "msg";
    read_flags = "unix_stream_read_state", "flags";
    net_inum = "net", "ns.inum";
    task_nsproxy = "task_struct", "nsproxy";
    nsproxy_net = "nsproxy", "net_ns";
    task_cgroups = "task_struct", "cgroups";
    css_set_group = "css_set", "dfl_cgrp";
    cgroup_node = "cgroup", "kn";
    cgroup_parent = "cgroup", "self.parent";
    css_group = "cgroup_subsys_state", "cgroup";
    kernfs_id = "kernfs_node", "id";
    task_mm = "task_struct", "mm";
    mm_exe_file = "mm_struct", "exe_file";
    file_dentry = "file", "f_path.dentry";
    dentry_name = "dentry", "d_name.name";
    file_inode = "file", "f_inode";
    inode_number = "inode", "i_ino";
    inode_mode = "inode", "i_mode";
    inode_generation = "inode", "i_generation";
    inode_super = "inode", "i_sb";
    super_device = "super_block", "s_dev";
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
    /// Of `css_set`, where rules are about control groups of version 1: the state of the controller whose hierarchy they are in.
    css_set_state,
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
    /// [`rule`]: what processes are judged by.
    pub rules: u32,
    /// Number of rules by file name of the executable.
    pub names: u32,
    /// 1: what its caller does not sample is not captured.
    pub follows_sampling: u32,
    /// [`registers`]: how the registers of a process are found.
    pub registers: u32,
    /// 1: breakpoints may go into libraries of TLS, so that connections which begin as TLS are looked at again.
    pub sees_tls: u32,
}

impl Settings {
    /// Nothing is selected.
    pub const NONE: Self = Self {
        agent_tgid: 0,
        select_all: 0,
        rules: 0,
        names: 0,
        follows_sampling: 0,
        registers: 0,
        sees_tls: 0,
    };
}

/// Calls that one CPU may frame at once.
pub mod scratch_areas {
    /// Where programs are run to their end: one may still come in an interrupt of another.
    pub const RUN_TO_END: u32 = 2;
    /// Where the kernel preempts them.
    pub const PREEMPTED: u32 = 8;
}

/// Bits of [`Settings::rules`].
pub mod rule {
    /// By control group.
    pub const CGROUP: u32 = 1 << 0;
    /// By network namespace.
    pub const NETNS: u32 = 1 << 1;
    /// By path of the executable, which the user side has to look at.
    pub const ASK: u32 = 1 << 2;
}

/// Where a process has left its registers when it called the kernel.
pub mod registers {
    /// Not known: goroutines are not told apart.
    pub const UNKNOWN: u32 = 0;
    /// Where `bpf_task_pt_regs` says.
    pub const BY_HELPER: u32 = 1;
    /// At the end of the thread's stack in the kernel, as it is on kernels without that helper.
    pub const ON_STACK: u32 = 2;
}

/// Where Go keeps what tells goroutines apart, in its `runtime.g`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Goroutines {
    /// Offset of `goid`.
    pub id: u32,
    /// Offset of `parentGoid`, 0 where there is none (before Go 1.21).
    pub maker: u32,
}

/// Where gRPC for Go keeps what tells streams apart, all of them offsets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrpcGo {
    /// Of `conn` in `transport.http2Server`.
    pub server_conn: u32,
    /// Of `conn` in `transport.http2Client`.
    pub client_conn: u32,
    /// Of the client in what `NewStream` returns.
    pub client: u32,
    /// Of the number of a stream.
    pub id: u32,
    /// 1 if what `NewStream` returns, and `handleStream` is given, only points to that with its first word.
    pub is_pointed: u32,
}

/// Where Java keeps what tells its virtual threads apart, all of them offsets in its `JavaThread`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JavaThreads {
    /// Of the address that the thread's stack begins at, from which it grows down.
    pub stack_base: u32,
    /// Of how large it may get.
    pub stack_size: u32,
    /// Of the entry of the continuation that is mounted; 0 there while none is.
    pub continuation: u32,
    /// Of `Thread.threadId()` of what runs, of a virtual thread while one is mounted.
    pub id: u32,
}

/// Kinds of [`Goroutines`] that can be told apart in the process map, with that of none.
pub const GO_KINDS: u8 = 8;

/// Where a process keeps what tells the coroutines of CPython apart. All of it begins at the thread's own memory, which the kernel knows as
/// its `fsbase`: a pointer there leads to the values that the thread has for keys, one of these to its `PyThreadState`, and that names
/// the `contextvars.Context` it runs in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coroutines {
    /// Offset of the pointer to the values.
    pub values: u32,
    /// Of the value with the thread state.
    pub state: u32,
    /// Offset of `context` in `PyThreadState`; 0 where there is no such kind.
    pub context: u32,
}

/// How coroutines of a kind are told apart.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoroutineKind {
    /// Where they are found.
    pub places: Coroutines,
    /// Always 0.
    pub reserved: u32,
    /// What their numbers are changed by (exclusive or): they are told by their addresses, and where a process has its memory is nobody's business.
    pub mask: u64,
}

const _: () = assert!(size_of::<CoroutineKind>() == 24);

/// Kinds of [`Coroutines`] that can be told apart in the process map.
pub const COROUTINE_KINDS: u8 = 6;

/// Where tokio keeps what tells its tasks apart.
pub mod tokio {
    /// Offset of the number of a task in its header. What is in front of it is `repr(C)`: four words of `Header`, and the scheduler of
    /// `Core`.
    pub const ID: u64 = 40;
}

/// A value of the process map: what is decided about the process, and above it the number of its kind of tasks: first 0 for
/// none, then those of goroutines, then those of coroutines.
pub mod mark {
    /// How many bits [`super::process`] takes.
    pub const BITS: u32 = 4;

    /// What is decided.
    pub const fn decided(value: u8) -> u8 {
        value & ((1 << BITS) - 1)
    }

    /// The kind of tasks.
    pub const fn kind(value: u8) -> u8 {
        value >> BITS
    }

    /// Both together.
    pub const fn of(decided: u8, kind: u8) -> u8 {
        decided | kind << BITS
    }

    /// The number among kinds of goroutines, 0 for none.
    pub const fn goroutines(kind: u8) -> u8 {
        if kind < super::GO_KINDS { kind } else { 0 }
    }

    /// The number among kinds of coroutines.
    pub const fn coroutines(kind: u8) -> Option<u8> {
        kind.checked_sub(super::GO_KINDS)
    }

    /// The kind of the coroutines with this number, below [`super::COROUTINE_KINDS`].
    pub const fn of_coroutines(number: u8) -> u8 {
        super::GO_KINDS + number
    }

    /// Of processes that run the tasks of tokio.
    pub const TASKS: u8 = super::GO_KINDS + super::COROUTINE_KINDS;

    /// Of processes whose threads hand work on to others that wait for it, by waking them.
    pub const POOLS: u8 = (1 << (u8::BITS - BITS)) - 1;

    /// Whether the threads of a process are all that there is to tell its work by.
    pub const fn has_threads_only(kind: u8) -> bool {
        kind == 0 || kind == POOLS
    }
}

/// Values of the process map, and of the maps of control groups, network namespaces and executables.
pub mod process {
    /// No rule decides; never in a map.
    pub const UNDECIDED: u8 = 0;
    /// The process is traced, and its children.
    pub const SELECTED: u8 = 1;
    /// The process is left out, and its children.
    pub const EXCLUDED: u8 = 2;
    /// The process was judged, and no rule selects it; its next program is judged anew.
    pub const PASSED: u8 = 3;
    /// The process is selected unless its control group, network namespace or program excludes it, which is looked at
    /// when it is next seen.
    pub const DUE: u8 = 4;
}

/// Most levels of control groups that are looked at, from that of the process upwards.
pub const CGROUP_LEVELS: u32 = 16;

/// Words of 64 ports in the map of ports: first those that select who listens on them, then those that exclude.
pub const PORT_WORDS: u32 = 1024;

/// An executable file, as the kernel knows it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Exe {
    /// Inode number.
    pub inode: u64,
    /// Device, as the kernel numbers it.
    pub device: u32,
    /// Tells a file from an earlier one with the same inode number.
    pub generation: u32,
}

impl Exe {
    /// No file.
    pub const NONE: Self = Self {
        inode: 0,
        device: 0,
        generation: 0,
    };
}
