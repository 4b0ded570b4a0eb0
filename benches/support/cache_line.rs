//! The floor of a round trip between processes: one cache line in shared memory, on which both spin.
#![expect(unsafe_code, reason = "shared memory and fork are the OS's")]

use std::{
    hint::spin_loop,
    ptr,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use super::handoff::median_and_p99;

/// Said instead of a number, to end the other process.
const LEAVE: u32 = u32::MAX;
/// A spin that long means that the other process is gone or has no core.
const PATIENCE: u32 = 100_000_000;

/// Median and 99th percentile of `times` round trips, in seconds.
pub(crate) fn round_trips(times: usize) -> Result<[f64; 2], String> {
    let line = shared_word()?;
    // SAFETY: the child calls nothing that allocates or locks: it spins on a word and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    match child {
        -1 => return Err("no fork".to_owned()),
        0 => echo(line),
        _ => {}
    }
    let mut all = Vec::with_capacity(times);
    for n in 0..times as u32 {
        let begun = Instant::now();
        // ORDERING: Release and Acquire pair with those in `echo`, as for any data that travels beside the word.
        line.store(2 * n + 1, Ordering::Release);
        await_word(line, |word| word == 2 * n + 2);
        all.push(begun.elapsed().as_secs_f64());
    }
    line.store(LEAVE, Ordering::Release);
    // SAFETY: the child is ours and was not waited for; a null status is allowed.
    unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
    Ok(median_and_p99(all))
}

/// One word that this process and those that it forks share. It stays mapped until the program ends.
fn shared_word() -> Result<&'static AtomicU32, String> {
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err("no shared memory".to_owned());
    }
    // SAFETY: the page is aligned, zeroed, never unmapped, and used as nothing but this word.
    Ok(unsafe { &*page.cast::<AtomicU32>() })
}

fn echo(line: &AtomicU32) -> ! {
    loop {
        let word = await_word(line, |word| word % 2 == 1);
        if word == LEAVE {
            // SAFETY: ends the process without running anything of the parent's.
            unsafe { libc::_exit(0) }
        }
        line.store(word + 1, Ordering::Release);
    }
}

fn await_word(line: &AtomicU32, is_it: impl Fn(u32) -> bool) -> u32 {
    for _ in 0..PATIENCE {
        let word = line.load(Ordering::Acquire);
        if is_it(word) {
            return word;
        }
        spin_loop();
    }
    LEAVE
}
