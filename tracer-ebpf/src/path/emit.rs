//! The way out: one ring buffer, and a counter for everything that does not fit.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::bpf_get_smp_processor_id,
    macros::map,
    maps::{Array, RingBuf, ring_buf::RingBufEntry},
};
use tracer_common::{Loss, Losses};

use crate::atomic;

#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// An entry a CPU, for the agent to see in its own memory: while it asks the kernel for an entry of a map, programs on
/// its CPU are skipped, and for as long as it is preempted in the middle of that.
#[map]
static LOSSES: Array<Losses> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Counts a loss.
#[inline(always)]
pub fn lost(cause: Loss) {
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some(losses) = LOSSES.get_ptr_mut(cpu)
        && let Some(count) = unsafe { &mut (*losses).counts }.get_mut(cause as usize)
    {
        unsafe { atomic::add(count, 1) };
    }
}

/// Delivers a record, or counts it as lost; whether it was delivered.
#[inline(always)]
pub fn record(bytes: &[u8]) -> bool {
    let delivered = RECORDS.output::<[u8]>(bytes, 0).is_ok();
    if !delivered {
        lost(Loss::RingFull);
    }
    delivered
}

/// Delivers a record of constant size.
#[inline(always)]
pub fn fixed<T>(record_: &T) -> bool {
    record(unsafe { core::slice::from_raw_parts(core::ptr::from_ref(record_).cast(), size_of::<T>()) })
}

/// Room for a record, to be made in place, or counts it as lost.
#[inline(always)]
pub fn reserve<T: 'static>() -> Option<RingBufEntry<T>> {
    let entry = RECORDS.reserve::<T>(0);
    if entry.is_none() {
        lost(Loss::RingFull);
    }
    entry
}
