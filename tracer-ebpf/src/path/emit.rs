//! The way out: one ring buffer, and a counter for everything that does not fit.

use aya_ebpf::{
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use tracer_common::Loss;

/// Room of the counters: more than there are causes.
const CAUSES: u32 = 16;

#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(CAUSES, 0);

/// Counts a loss.
#[inline(always)]
pub fn lost(cause: Loss) {
    if let Some(count) = LOSSES.get_ptr_mut(cause as u32) {
        unsafe { *count += 1 };
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
