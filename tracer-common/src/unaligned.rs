//! Eight bytes at any address. The compiler's own unaligned access for BPF goes byte by byte, because the stack
//! must be accessed aligned; map memory need not, and that is the only memory these are used on.
#![expect(unsafe_code, reason = "raw loads and stores; each caller proves its bounds")]

/// Loads eight bytes.
///
/// # Safety
/// `from` is valid for 8 bytes; in a BPF program it points into a map value.
#[inline(always)]
pub unsafe fn load(from: *const u8) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let word: u64;
        // SAFETY: the caller's; the instruction reads 8 bytes and nothing else.
        unsafe {
            core::arch::asm!(
                "{word} = *(u64 *)({from} + 0)",
                word = out(reg) word,
                from = in(reg) from,
                options(pure, readonly, nostack),
            );
        }
        word
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's.
    unsafe {
        from.cast::<u64>().read_unaligned()
    }
}

/// Stores eight bytes.
///
/// # Safety
/// `to` is valid for 8 bytes; in a BPF program it points into a map value.
#[inline(always)]
pub unsafe fn store(to: *mut u8, word: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller's; the instruction writes 8 bytes and nothing else.
    unsafe {
        core::arch::asm!("*(u64 *)({to} + 0) = {word}", word = in(reg) word, to = in(reg) to);
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's.
    unsafe {
        to.cast::<u64>().write_unaligned(word);
    }
}

/// Copies 64 bytes.
///
/// # Safety
/// Both are valid for 64 bytes and do not overlap; in a BPF program they point into map values.
#[inline(always)]
pub unsafe fn copy_8(to: *mut u8, from: *const u8) {
    let mut at = 0;
    while at < 64 {
        // SAFETY: the caller's.
        unsafe { store(to.add(at), load(from.add(at))) };
        at += 8;
    }
}
