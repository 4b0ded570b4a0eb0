//! How much memory a process has of its own.
//!
//! Counted are the private pages that it has written since it was forked (`Private_Dirty`); what it still shares with the
//! process that it was forked from, and shared memory, cost nothing more and do not count. The kernel calls shared memory
//! private where only one process has touched it, so ours is left out by its name.

use std::fs;

/// Whether a process holds more than `limit` bytes of its own. `false` if that cannot be learnt.
pub(in crate::process) fn private_memory_exceeds(pid: u32, limit: u64) -> bool {
    // Cheap, and never too small: it counts what is shared with the parent, too.
    let at_most = fs::read_to_string(format!("/proc/{pid}/statm")).ok().and_then(|line| anonymous(&line));
    if at_most.is_none_or(|bytes| bytes <= limit) {
        return false;
    }
    // Walks all page tables, so only now.
    let mappings = fs::read_to_string(format!("/proc/{pid}/smaps")).ok();
    mappings.and_then(|text| private_dirty(&text)).is_some_and(|bytes| bytes > limit)
}

/// Bytes in memory, without those of files and of shared memory, from a line of /proc/PID/statm.
fn anonymous(statm: &str) -> Option<u64> {
    let mut pages = statm.split_ascii_whitespace().skip(1).map(|pages| pages.parse::<u64>().ok());
    let (resident, shared) = (pages.next()??, pages.next()??);
    resident.saturating_sub(shared).checked_mul(rustix::param::page_size() as u64)
}

/// Bytes of private dirty memory that is not a pool's, from /proc/PID/smaps.
fn private_dirty(smaps: &str) -> Option<u64> {
    let (mut counts, mut kilobytes) = (true, None);
    for line in smaps.lines() {
        if let Some(amount) = line.strip_prefix("Private_Dirty:") {
            let amount: u64 = amount.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kilobytes = Some(kilobytes.unwrap_or(0) + if counts { amount } else { 0 });
        } else if !line.starts_with(|first: char| first.is_ascii_uppercase()) {
            // The first line of a mapping: addresses, and at its end the name.
            counts = !line.contains("/memfd:heavylift");
        }
    }
    kilobytes?.checked_mul(1024)
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
        let heap = "5600-5700 rw-p 0 00:00 0  [heap]\nRss:  9 kB\nPrivate_Dirty:    12 kB\nVmFlags: rd\n";
        let ours = "7f00-7f01 r--p 0 00:01 9  /memfd:heavylift-shared (deleted)\nPrivate_Dirty:   700 kB\n";
        assert_eq!(private_dirty(&[heap, ours, heap].concat()), Some(24 * 1024));
        assert_eq!(private_dirty("nothing"), None);
        assert_eq!(anonymous("900 20 5 1 0 7 0"), Some(15 * rustix::param::page_size() as u64));
        assert_eq!(anonymous("nonsense"), None);
    }
}
