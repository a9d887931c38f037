//! Turns of event loops: what a thread does between two waits for many files at once, and the reads that it makes meanwhile.
//!
//! A thread that waits so and then reads acts on what it has read until it reads again. So each of its calls has a place: the turn, and
//! the reads in it so far. What has the place of a read was done after that read and before the next. What was read is of no matter
//! here: sockets, event counters and datagrams count alike.
//!
//! A loop also acts when a timer expires. It says how long it waits at most: until its next timer. What is done before then is done for no
//! timer, but for one that was set since. A loop that has more to do at once waits for no time, and says nothing of timers by that.

use aya_ebpf::{helpers::bpf_ktime_get_boot_ns, macros::map, maps::LruHashMap};

use super::select::Current;

/// Loops count time in milliseconds, and by the clock as it was when they looked last.
const GRAIN_NS: u64 = 1_000_000;

/// A thread that waits for many files at once.
#[repr(C)]
#[derive(Clone, Copy)]
struct Waiter {
    /// When it began to wait.
    waited_ns: u64,
    /// When it read last.
    read_ns: u64,
    /// No timer expires before that was set before this turn.
    quiet_until: u64,
    /// Turns so far.
    turn: u32,
    /// Reads in this turn.
    reads: u32,
}

impl Waiter {
    #[inline(always)]
    fn moment(&self, at_ns: u64) -> Moment {
        Moment {
            turn: self.turn,
            reads: self.reads,
            timer: at_ns >= self.quiet_until,
        }
    }
}

/// A place in the work of a thread; turn 0 where it is no loop.
#[derive(Clone, Copy)]
pub struct Moment {
    /// The turn.
    pub turn: u32,
    /// Reads in it so far.
    pub reads: u32,
    /// A timer may have expired.
    pub timer: bool,
}

impl Moment {
    /// In none.
    pub const NONE: Self = Self {
        turn: 0,
        reads: 0,
        timer: false,
    };
}

#[map]
static WAITERS: LruHashMap<u64, Waiter> = LruHashMap::with_max_entries(4096, 0);

/// The thread waits, so many milliseconds at most, without end if it is negative.
#[inline(always)]
pub fn waits(current: Current, timeout_ms: i32) {
    if current.has_goroutines() {
        return;
    }
    let key = current.key();
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let Some(known) = WAITERS.get_ptr_mut(key) else {
        let first = Waiter {
            waited_ns: now,
            read_ns: now,
            quiet_until: quiet_until(now, timeout_ms).unwrap_or(0),
            turn: 1,
            reads: 0,
        };
        // Without room it is no loop.
        let _ = WAITERS.insert(key, first, 0);
        return;
    };
    let waiter = unsafe { &mut *known };
    // Since then the loop has looked at the clock.
    let looked = if waiter.reads != 0 {
        waiter.read_ns
    } else {
        waiter.waited_ns
    };
    if let Some(until) = quiet_until(looked, timeout_ms) {
        waiter.quiet_until = until;
    }
    waiter.waited_ns = now;
    waiter.turn = waiter.turn.wrapping_add(1);
    waiter.reads = 0;
}

/// When the next timer expires of a loop that has `looked` at the clock then and is ready to wait so long. Who does not wait says nothing of it.
#[inline(always)]
fn quiet_until(looked: u64, timeout_ms: i32) -> Option<u64> {
    match timeout_ms {
        ..0 => Some(u64::MAX),
        0 => None,
        1.. => Some(looked + (timeout_ms as u64 - 1) * GRAIN_NS),
    }
}

/// The thread reads something.
#[inline(always)]
pub fn reads(current: Current) {
    let _ = reads_at(current, unsafe { bpf_ktime_get_boot_ns() });
}

/// The same, where the time is known; where it is in its work then.
#[inline(always)]
pub fn reads_at(current: Current, now: u64) -> Moment {
    let Some(known) = waiter(current) else {
        return Moment::NONE;
    };
    let waiter = unsafe { &mut *known };
    waiter.reads = waiter.reads.wrapping_add(1);
    waiter.read_ns = now;
    waiter.moment(now)
}

/// Where the thread is in its work, for what it began to do at `at_ns`.
#[inline(always)]
pub fn moment(current: Current, at_ns: u64) -> Moment {
    match waiter(current) {
        Some(known) => unsafe { (*known).moment(at_ns) },
        None => Moment::NONE,
    }
}

/// What is known of the thread, if it runs a loop.
#[inline(always)]
fn waiter(current: Current) -> Option<*mut Waiter> {
    if current.has_goroutines() {
        return None;
    }
    WAITERS.get_ptr_mut(current.key())
}

/// Forgets a thread that ends.
#[inline(always)]
pub fn forget(current: Current) {
    let _ = WAITERS.remove(current.key());
}
