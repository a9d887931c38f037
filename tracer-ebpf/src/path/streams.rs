//! Requests that one connection carries at once: which goroutine works on which.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use tracer_common::record::{StreamRecord, kind};

use super::{connection, emit, select::Current, sock::Sock, task::Task};

/// A goroutine works on a stream of this connection from now on, or has had it sent.
#[inline(always)]
pub fn taken(sock: Sock, stream: u32, current: Current, task: Task) -> Option<()> {
    let connection = unsafe { &*connection::known(sock)? };
    if !connection.ignored() {
        report(connection.id, stream, current, task);
    }
    Some(())
}

/// A goroutine is about to make another that sends for it. That tells nothing of one of which the maker is not known.
#[inline(always)]
pub fn calls(current: Current, task: Task) {
    if task.maker != 0 {
        report(0, 0, current, task);
    }
}

#[inline(always)]
fn report(connection: u64, stream: u32, current: Current, task: Task) {
    emit::fixed(&StreamRecord {
        kind: kind::STREAM,
        size: size_of::<StreamRecord>() as u32,
        connection,
        at_ns: unsafe { bpf_ktime_get_boot_ns() },
        task: task.id,
        maker: task.maker,
        tgid: current.tgid,
        stream,
    });
}
