//! Has the processor fetch memory that will be looked at soon, so that it need not be waited for then. Where it cannot be told it is not.
#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls the instructions"))]

/// Fetches where `place` begins.
#[inline]
pub(crate) fn prefetch<T>(place: &T) {
    fetch((&raw const *place).cast());
}

/// Fetches all of `value`.
#[inline]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "for process pools"))]
pub(crate) fn prefetch_whole<T: ?Sized>(value: &T) {
    /// Of a cache line.
    const SIZE: usize = 64;
    let first: *const i8 = (&raw const *value).cast();
    (0..=size_of_val(value) / SIZE).for_each(|line| fetch(first.wrapping_add(line * SIZE)));
}

/// Fetches what `handle` points to, if it looks like one: a future of one or two words is mostly a receiver, a task or a box, whose first
/// word is a pointer. Where it is something else, nothing useful is fetched.
#[cfg_attr(
    not(all(target_arch = "x86_64", not(miri))),
    expect(unused_variables, reason = "nobody to be told")
)]
#[inline]
pub(crate) fn prefetch_pointee<T>(handle: &T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if matches!(size_of::<T>(), 8 | 16) && align_of::<T>() == 8 {
        // SAFETY: reads one word of `handle`, in assembler since to Rust it may be no pointer, be uninitialized, or be changed by
        // others; whatever it is, a prefetch of it is a hint that never faults.
        unsafe {
            std::arch::asm!(
                "mov {word}, [{word}]",
                "prefetcht0 [{word}]",
                word = inout(reg) &raw const *handle => _,
                options(nostack, preserves_flags, readonly),
            );
        }
    }
}

#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "nobody to be told"))]
#[inline]
fn fetch(address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction, which is a hint and changes nothing, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address);
    }
}
