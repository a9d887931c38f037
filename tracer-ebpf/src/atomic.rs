//! An addition that nothing comes in between, neither another program that preempts this one nor another CPU. What was there before is not
//! told: that instruction came in 5.12.

/// Adds to a word in the memory of a map.
///
/// # Safety
/// `to` is valid, and aligned.
#[inline(always)]
pub unsafe fn add(to: *mut u64, number: u64) {
    unsafe {
        core::arch::asm!("lock *(u64 *)({to} + 0) += {number}", to = in(reg) to, number = in(reg) number);
    }
}
