//! A format of our own that does on purpose what a picture does by a bug in its decoder.
//!
//! Whoever sends one of these bodies sees what becomes of it, and that nobody else notices:
//!
//! | body begins with | and the decoder |
//! |---|---|
//! | `CRASH!SEGV` | writes to memory that is not there |
//! | `CRASH!LOOP` | never comes back |
//! | `CRASH!HOG` | takes all the memory that it can get |
//!
//! It is always there, as bugs are. A service that does not show this off leaves the file out.
#![allow(unsafe_code, reason = "it takes unsafe code to crash")]

use std::hint::black_box;

/// Misbehaves if it is told to.
pub(crate) fn obey(body: &[u8]) {
    match body.strip_prefix(b"CRASH!") {
        Some(order) if order.starts_with(b"SEGV") => crash(),
        Some(order) if order.starts_with(b"LOOP") => spin(),
        Some(order) if order.starts_with(b"HOG") => hog(),
        _ => {}
    }
}

fn crash() {
    let nowhere = std::ptr::without_provenance_mut::<u64>(64);
    // SAFETY: there is none: this is the bug. No page is ever mapped at that address, so the kernel ends the process.
    unsafe { nowhere.write_volatile(1) };
}

fn spin() -> ! {
    let mut n = 1u64;
    loop {
        n = black_box(n.wrapping_mul(3));
    }
}

fn hog() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(vec![1u8; 16 << 20]);
        black_box(&taken);
    }
}
