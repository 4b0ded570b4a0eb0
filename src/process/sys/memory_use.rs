//! How much memory a process has of its own.
//!
//! Counted are the private pages that it has written since it was forked (`Private_Dirty`); what it still shares with the
//! process that it was forked from, and shared memory, cost nothing more and do not count.

use std::fs;

/// Whether a process holds more than `limit` bytes of its own. `false` if that cannot be learnt.
pub(in crate::process) fn private_memory_exceeds(pid: u32, limit: u64) -> bool {
    // Cheap, and never too small: it counts what is shared with the parent, too.
    let at_most = fs::read_to_string(format!("/proc/{pid}/statm")).ok().and_then(|line| resident(&line));
    if at_most.is_none_or(|bytes| bytes <= limit) {
        return false;
    }
    // Walks all page tables, so only now.
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    rollup.and_then(|text| private_dirty(&text)).is_some_and(|bytes| bytes > limit)
}

/// Bytes in memory, from a line of /proc/PID/statm.
fn resident(statm: &str) -> Option<u64> {
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

/// Bytes of private dirty memory, from /proc/PID/smaps_rollup.
fn private_dirty(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_holds_at_least_what_it_has_just_written() {
        let written = vec![1u8; 32 << 20];
        assert!(private_memory_exceeds(std::process::id(), 16 << 20));
        assert!(!private_memory_exceeds(std::process::id(), 1 << 40));
        assert_eq!(written.len(), 32 << 20);
    }

    #[test]
    fn what_proc_says_is_read_in_bytes() {
        assert_eq!(private_dirty("Rss:  9 kB\nPrivate_Dirty:    12 kB\n"), Some(12 * 1024));
        assert_eq!(private_dirty("nothing"), None);
        assert_eq!(resident("nonsense"), None);
    }
}
