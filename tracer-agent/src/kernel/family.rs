//! The hook families: which programs each is made of, and whether a kernel can be expected to take them.

use std::{fmt, path::Path};

use super::{arch, layout::Resolved, preemption::Preemption};

/// A way to see what programs write and read, in the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Trampolines at the kernel's TCP functions.
    Socket,
    /// Breakpoints at the same functions.
    Kprobe,
    /// Raw tracepoints at every system call.
    Syscall,
}

/// How a program is attached, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A raw tracepoint.
    Tracepoint(&'static str),
    /// Entry of a kernel function, by trampoline.
    Entry(&'static str),
    /// Return of a kernel function, by trampoline.
    Exit(&'static str),
    /// Entry of kernel functions, by breakpoint.
    Probe(&'static [&'static str]),
    /// Return of kernel functions, by breakpoint.
    Return(&'static [&'static str]),
    /// A function of a traced program, by breakpoint.
    User,
}

/// A program of the kernel side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name; with `_chain` behind it the variant for kernels without `bpf_loop`, if it has one.
    pub program: &'static str,
    /// Where it goes.
    pub hook: Hook,
}

const fn part(program: &'static str, hook: Hook) -> Part {
    Part { program, hook }
}

/// Lives of processes and connections: part of every family, attached before its calls, so that no call is seen
/// whose process or connection is not.
const LIVES: &[Part] = &[
    CGROUPS,
    part("tracer_fork", Hook::Tracepoint("sched_process_fork")),
    part("tracer_exec", Hook::Tracepoint("sched_process_exec")),
    part("tracer_exit", Hook::Tracepoint("sched_process_exit")),
    part("tracer_set_state", Hook::Tracepoint("inet_sock_set_state")),
];

/// The same by breakpoints.
const KPROBE_LIVES: &[Part] = &[
    CGROUPS,
    part("tracer_kprobe_fork", Hook::Probe(&["wake_up_new_task"])),
    part("tracer_kprobe_exec", Hook::Probe(&["finalize_exec"])),
    part("tracer_kprobe_exit", Hook::Probe(&["exit_files"])),
    part(
        "tracer_kprobe_set_state",
        Hook::Probe(&["inet_sk_set_state", "inet_sk_state_store"]),
    ),
];

const CGROUPS: Part = part("tracer_cgroup_attach", Hook::Tracepoint("cgroup_attach_task"));

/// Calls that wait when the agent comes: attached after all others, for a while.
pub const JOIN: Part = part("tracer_join", Hook::Tracepoint("sys_exit"));

/// The program that ends what [`JOIN`] has begun, and the map that it is found by.
pub const JOIN_RETURN: (&str, &str) = ("tracer_sys_exit", "SYS_RETURN");

/// Returns before entries: a call that is begun is ended.
const SOCKET: &[Part] = &[
    part("tracer_fexit_sendmsg", Hook::Exit("tcp_sendmsg")),
    part("tracer_fexit_recvmsg", Hook::Exit("tcp_recvmsg")),
    part("tracer_fexit_sendpage", Hook::Exit("tcp_sendpage")),
    part("tracer_fexit_splice_read", Hook::Exit("tcp_splice_read")),
    part("tracer_fentry_sendmsg", Hook::Entry("tcp_sendmsg")),
    part("tracer_fentry_recvmsg", Hook::Entry("tcp_recvmsg")),
    part("tracer_fentry_sendpage", Hook::Entry("tcp_sendpage")),
    part("tracer_fentry_splice_read", Hook::Entry("tcp_splice_read")),
    part("tracer_fentry_wait", Hook::Entry(arch::EPOLL_WAIT)),
    part("tracer_fentry_pwait", Hook::Entry(arch::EPOLL_PWAIT)),
    part("tracer_fentry_pwait2", Hook::Entry(arch::EPOLL_PWAIT2)),
    part("tracer_fentry_eventfd_read", Hook::Entry("eventfd_read")),
    part("tracer_fentry_udp_recvmsg", Hook::Entry("udp_recvmsg")),
    part("tracer_fentry_udpv6_recvmsg", Hook::Entry("udpv6_recvmsg")),
];

const KPROBE: &[Part] = &[
    part(
        "tracer_kretprobe",
        Hook::Return(&["tcp_sendmsg", "tcp_recvmsg", "tcp_sendpage", "tcp_splice_read"]),
    ),
    part("tracer_kprobe_release", Hook::Probe(&["release_sock"])),
    part("tracer_kprobe_sendmsg", Hook::Probe(&["tcp_sendmsg"])),
    part("tracer_kprobe_recvmsg", Hook::Probe(&["tcp_recvmsg"])),
    part("tracer_kprobe_sendpage", Hook::Probe(&["tcp_sendpage"])),
    part("tracer_kprobe_splice_read", Hook::Probe(&["tcp_splice_read"])),
    part(
        "tracer_kprobe_wait",
        Hook::Probe(&[arch::EPOLL_WAIT, arch::EPOLL_PWAIT]),
    ),
    part("tracer_kprobe_pwait2", Hook::Probe(&[arch::EPOLL_PWAIT2])),
    part(
        "tracer_kprobe_read",
        Hook::Probe(&["eventfd_read", "udp_recvmsg", "udpv6_recvmsg"]),
    ),
];

/// Unix sockets, unless there is a [`Family::unix_obstacle`]. Their end first: what is followed is seen to end.
const SOCKET_UNIX: &[Part] = &[
    part("tracer_fentry_unix_release", Hook::Entry("unix_release")),
    part("tracer_fexit_unix_sendmsg", Hook::Exit("unix_stream_sendmsg")),
    part("tracer_fexit_unix_sendpage", Hook::Exit("unix_stream_sendpage")),
    part("tracer_fexit_unix_read", Hook::Exit("unix_stream_read_actor")),
    part("tracer_fexit_unix_splice", Hook::Exit("unix_stream_splice_actor")),
    part("tracer_fentry_unix_sendmsg", Hook::Entry("unix_stream_sendmsg")),
    part("tracer_fentry_unix_sendpage", Hook::Entry("unix_stream_sendpage")),
    part("tracer_fentry_unix_read", Hook::Entry("unix_stream_read_actor")),
    part(
        "tracer_fentry_unix_splice",
        Hook::Entry("unix_stream_splice_actor"),
    ),
    part("tracer_fentry_unix_connect", Hook::Entry("unix_stream_connect")),
    part("tracer_fentry_unix_accept", Hook::Entry("security_sock_graft")),
];

const KPROBE_UNIX: &[Part] = &[
    part("tracer_kprobe_unix_release", Hook::Probe(&["unix_release"])),
    part(
        "tracer_kretprobe",
        Hook::Return(&[
            "unix_stream_sendmsg",
            "unix_stream_sendpage",
            "unix_stream_read_actor",
            "unix_stream_splice_actor",
        ]),
    ),
    part(
        "tracer_kprobe_unix_sendmsg",
        Hook::Probe(&["unix_stream_sendmsg"]),
    ),
    part(
        "tracer_kprobe_unix_sendpage",
        Hook::Probe(&["unix_stream_sendpage"]),
    ),
    part(
        "tracer_kprobe_unix_read",
        Hook::Probe(&["unix_stream_read_actor"]),
    ),
    part(
        "tracer_kprobe_unix_splice",
        Hook::Probe(&["unix_stream_splice_actor"]),
    ),
    part(
        "tracer_kprobe_unix_connect",
        Hook::Probe(&["unix_stream_connect"]),
    ),
    part("tracer_kprobe_unix_accept", Hook::Probe(&["security_sock_graft"])),
];

/// Functions and members without which Unix sockets cannot be followed.
const UNIX_FUNCTIONS: [&str; 6] = [
    "unix_stream_sendmsg",
    "unix_stream_read_actor",
    "unix_stream_splice_actor",
    "unix_stream_connect",
    "unix_release",
    "security_sock_graft",
];
const UNIX_MEMBERS: &[(&str, &str)] = &[
    ("sock", "sk_type"),
    ("sock", "sk_socket"),
    ("socket", "sk"),
    ("socket_alloc", "vfs_inode.i_ino"),
    ("unix_sock", "peer"),
    ("unix_sock", "addr"),
    ("unix_stream_read_state", "socket"),
    ("unix_stream_read_state", "msg"),
    ("unix_stream_read_state", "flags"),
];

const SYSCALL: &[Part] = &[
    part("tracer_sys_exit", Hook::Tracepoint("sys_exit")),
    part("tracer_sys_enter", Hook::Tracepoint("sys_enter")),
];

/// Members that the functions of TCP cannot be understood without.
const ITER: &[(&str, &str)] = &[
    ("msghdr", "msg_iter"),
    ("iov_iter", "iter_type|type"),
    ("iov_iter", "iov_offset"),
    ("iov_iter", "__iov|iov"),
    ("iov_iter", "nr_segs"),
];

/// Members that lead from a file descriptor to its socket.
const FILES: &[(&str, &str)] = &[
    ("task_struct", "files"),
    ("files_struct", "fdt"),
    ("fdtable", "fd"),
    ("fdtable", "max_fds"),
    ("file", "private_data"),
    ("socket", "file"),
    ("socket", "sk"),
];

/// A kernel without kprobes has none of these.
const KPROBES: [&str; 3] = [
    "/sys/bus/event_source/devices/kprobe/type",
    "/sys/kernel/tracing/kprobe_events",
    "/sys/kernel/debug/tracing/kprobe_events",
];

impl Family {
    /// All of them, the best first.
    pub const ALL: [Self; 3] = [Self::Socket, Self::Kprobe, Self::Syscall];

    /// Its programs, in the order in which they are attached.
    pub fn parts(self) -> impl Iterator<Item = &'static Part> {
        let (lives, calls) = match self {
            Self::Socket => (LIVES, SOCKET),
            Self::Kprobe => (KPROBE_LIVES, KPROBE),
            Self::Syscall => (LIVES, SYSCALL),
        };
        lives.iter().chain(calls)
    }

    /// Those for Unix sockets.
    pub fn unix_parts(self) -> &'static [Part] {
        match self {
            Self::Socket => SOCKET_UNIX,
            Self::Kprobe => KPROBE_UNIX,
            Self::Syscall => &[],
        }
    }

    /// Whether it takes a read from its return alone, and so one that waited when the agent came. Others need [`JOIN`].
    pub const fn sees_waiting(self) -> bool {
        matches!(self, Self::Syscall)
    }

    /// Why Unix sockets are not seen, if they are not.
    pub fn unix_obstacle(self, kernel: &Resolved) -> Option<String> {
        if self.unix_parts().is_empty() {
            // It would not see them close.
            return Some(format!("the family {self} does not see them"));
        }
        let function = UNIX_FUNCTIONS
            .iter()
            .find(|function| !kernel.has_function(function))
            .map(|function| format!("this kernel has no function {function}, or it is inlined"));
        let member = UNIX_MEMBERS
            .iter()
            .find(|member| kernel.lacks(member))
            .map(|(structure, member)| format!("this kernel has no {structure}.{member}"));
        function.or(member)
    }

    /// The kernel functions that any program goes to.
    pub fn functions() -> Vec<&'static str> {
        let parts = Self::ALL
            .into_iter()
            .flat_map(|family| family.parts().chain(family.unix_parts()));
        parts
            .flat_map(|part| part.hook.functions().iter().copied())
            .collect()
    }

    /// The program that goes on where steps are repeated by programs that call each other, and the map that holds it.
    pub fn chain(self) -> (Part, &'static str) {
        match self {
            Self::Socket => (
                part("tracer_fexit_chain", Hook::Exit("tcp_sendmsg")),
                "FEXIT_CHAIN",
            ),
            Self::Kprobe => (part("tracer_kprobe_chain", Hook::Probe(&[])), "KPROBE_CHAIN"),
            Self::Syscall => (
                part("tracer_sys_chain", Hook::Tracepoint("sys_exit")),
                "SYS_CHAIN",
            ),
        }
    }

    /// What speaks against it before anything is loaded.
    pub fn obstacle(self, kernel: &Resolved) -> Option<String> {
        let needed = match self {
            Self::Socket | Self::Kprobe => ITER,
            Self::Syscall => FILES,
        };
        if let Some((structure, member)) = needed.iter().find(|member| kernel.lacks(member)) {
            return Some(format!("this kernel has no {structure}.{member}"));
        }
        match self {
            Self::Syscall => None,
            Self::Kprobe if !KPROBES.iter().any(|path| Path::new(path).exists()) => {
                Some("this kernel was built without kprobes, or they are not shown in /sys".to_owned())
            }
            Self::Socket | Self::Kprobe => self
                .needed()
                .find(|function| !kernel.has_function(function))
                .map(|function| format!("this kernel has no function {function}, or it is inlined")),
        }
    }

    /// The kernel functions that it cannot do without.
    fn needed(self) -> impl Iterator<Item = &'static str> {
        let lives = match self {
            Self::Kprobe => KPROBE_LIVES,
            Self::Socket | Self::Syscall => LIVES,
        };
        let lives = lives.iter().flat_map(|part| part.hook.functions());
        ["tcp_sendmsg", "tcp_recvmsg", "release_sock"]
            .into_iter()
            .chain(lives.copied())
    }

    /// Whether its programs may be skipped where the kernel preempts them.
    pub fn suffers_from(self, preemption: Preemption) -> bool {
        preemption == Preemption::On && self != Self::Kprobe
    }

    /// What it cannot see, in the words of a user; nothing where it sees all.
    pub fn blind_spots(self) -> &'static str {
        match self {
            Self::Socket | Self::Kprobe => "",
            Self::Syscall => {
                "what goes by io_uring or is done by 32-bit programs is not seen, and counted as unseen"
            }
        }
    }
}

impl Hook {
    /// The kernel functions that the program needs to exist; those that do not are left out.
    pub fn functions(&self) -> &[&'static str] {
        match self {
            Self::Tracepoint(_) | Self::User => &[],
            Self::Entry(function) | Self::Exit(function) => std::slice::from_ref(function),
            Self::Probe(functions) | Self::Return(functions) => functions,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Socket => "socket",
            Self::Kprobe => "kprobe",
            Self::Syscall => "syscall",
        })
    }
}
