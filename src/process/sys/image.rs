//! Where this code lies in the process, and with which rights it runs.
#![expect(unsafe_code, reason = "dl_iterate_phdr and getauxval, which no safe interface offers")]

use std::ffi::{c_int, c_void};

/// Whether the process has more rights than who started it (set-uid, file capabilities).
pub(in crate::process) fn is_privileged() -> bool {
    // SAFETY: reads a number from the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether `address` lies in the program itself, not in a library that it has loaded.
pub(in crate::process) fn entry_is_in_program(address: usize) -> bool {
    struct Query {
        address: usize,
        found: bool,
    }

    /// Looks at the first object, which is the program, and stops.
    unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _size: usize, query: *mut c_void) -> c_int {
        // SAFETY: `query` is the `Query` below, which nobody else touches during the call.
        let query = unsafe { &mut *query.cast::<Query>() };
        // SAFETY: the C library passes a valid description.
        let info = unsafe { &*info };
        for index in 0..usize::from(info.dlpi_phnum) {
            // SAFETY: the description has `dlpi_phnum` headers.
            let header = unsafe { &*info.dlpi_phdr.add(index) };
            let start = (info.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
            if header.p_type == libc::PT_LOAD && query.address.wrapping_sub(start) < header.p_memsz as usize {
                query.found = true;
            }
        }
        1
    }

    let mut query = Query { address, found: false };
    // SAFETY: `look` matches the signature, and `query` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut query).cast()) };
    query.found
}
