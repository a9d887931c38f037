//! System calls that are not cut short when the agent is killed.
//!
//! The kernel writes a breakpoint into the memory of every process that it is for, and takes it away from there, only as long as nobody
//! kills the thread that asked for it. What is left then stays until those processes end: they go on stopping there, for nobody
//! (`dmesg`: "failed to unregister, leaking uprobe"). `exit_group` kills the other threads too. So such calls are made by a process
//! that shares memory and open files with the agent and is killed with neither; the thread waits for it. If the agent is gone when it
//! ends, the files are closed by its own end, which nothing cuts short.

use std::ffi::{c_int, c_void};

/// Bytes: a call and what it reads of `/sys`.
const STACK: usize = 64 << 10;

/// Makes calls there; here where there can be no process.
#[expect(unsafe_code, reason = "nothing else makes a process that shares memory")]
pub(super) fn shielded<Call: FnMut()>(mut call: Call) {
    extern "C" fn run<Call: FnMut()>(call: *mut c_void) -> c_int {
        // SAFETY: what `clone` was given below, by a thread that waits.
        unsafe { (*call.cast::<Call>())() };
        0
    }
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let top = stack.as_mut_ptr_range().end;
    // SAFETY: the process runs on a stack of its own while this thread stands still (CLONE_VFORK), so it may use all that this thread
    // may, its thread-local memory too; no handler of a signal runs in it. It touches neither once this thread goes on.
    let has_run = unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_VFORK;
        let child = libc::clone(run::<Call>, top.cast(), flags, (&raw mut call).cast());
        if child > 0 {
            // It ends without a signal; what it has closed is closed for good when it has ended.
            libc::waitpid(child, std::ptr::null_mut(), libc::__WALL);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        child > 0
    };
    if !has_run {
        call();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::{fs::File, io::Read as _, process};

    #[test]
    fn what_is_called_sees_the_same_memory_and_files_from_another_process() {
        let (mut number, mut opened, mut pid) = (1, None, 0);
        shielded(|| {
            number += 1;
            opened = File::open("/proc/self/comm").ok();
            pid = process::id();
        });
        assert_eq!(number, 2);
        assert!(pid != 0 && pid != process::id());
        let mut text = String::new();
        // It is open here, and says who opened it.
        assert!(opened.unwrap().read_to_string(&mut text).is_err(), "{text}");
    }
}
