//! [`Title`]: what `ps` shows for this process.
//!
//! Linux shows the memory that the arguments lay in at start. To write there, the arguments and the environment are first
//! copied elsewhere, as PostgreSQL's [ps_status.c](https://github.com/postgres/postgres/blob/master/src/backend/utils/misc/ps_status.c)
//! does, so that `std::env` still finds them.
#![expect(unsafe_code, reason = "rewrites the memory of the process's own arguments")]

use std::{
    ffi::{CStr, c_char},
    slice,
};

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// The memory that `ps` shows.
#[derive(Debug)]
pub(in crate::process) struct Title {
    start: *mut u8,
    len: usize,
}

impl Title {
    /// Moves arguments and environment out of the way. `None` where the start of the arguments is not known.
    ///
    /// # Safety
    ///
    /// `argv` is what the process was started with, or null; no other thread exists.
    pub(in crate::process) unsafe fn take(argv: *const *const c_char) -> Option<Self> {
        if argv.is_null() {
            return None;
        }
        // SAFETY: `argv` and `environ` are the process's own lists, and this is its only thread.
        unsafe {
            let start: *mut u8 = (*argv).cast_mut().cast();
            if start.is_null() {
                return None;
            }
            let mut end = move_strings(argv.cast_mut().cast(), start);
            end = move_strings(environ, end);
            Some(Self { start, len: end.offset_from_unsigned(start) })
        }
    }

    /// Shows `title`, cut to what fits.
    pub(in crate::process) fn set(&self, title: &str) {
        let fits = title.len().min(self.len.saturating_sub(1));
        // SAFETY: `take` has made these bytes ours; nothing else points into them any more.
        let area = unsafe { slice::from_raw_parts_mut(self.start, self.len) };
        area.fill(0);
        area[..fits].copy_from_slice(&title.as_bytes()[..fits]);
    }
}

/// Copies each string of a list that lies at `end` or right behind it, and returns the new end.
///
/// # Safety
///
/// `list` ends with a null pointer, its strings are valid and may be replaced.
unsafe fn move_strings(list: *mut *mut c_char, mut end: *mut u8) -> *mut u8 {
    if list.is_null() {
        return end;
    }
    // SAFETY: the caller's promise; the loop stops at the null pointer.
    unsafe {
        let mut entry = list;
        while !(*entry).is_null() {
            let text = CStr::from_ptr(*entry);
            if text.as_ptr().cast_mut().cast() == end {
                end = end.add(text.to_bytes_with_nul().len());
                *entry = libc::strdup(text.as_ptr());
            }
            entry = entry.add(1);
        }
    }
    end
}
