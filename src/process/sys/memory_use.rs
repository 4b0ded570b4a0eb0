//! How much memory a process has of its own.
//!
//! Counted are the private pages that it has written since it was forked (`Private_Dirty`); what it still shares with the
//! process that it was forked from, and shared memory, cost nothing more and do not count. The kernel calls shared memory
//! private where only one process has touched it, so ours is left out by its name.

use std::{fs, io, sync::OnceLock};

/// Measures one process again and again. Its page tables are walked only when it may hold more than the limit: that takes
/// milliseconds for each GiB, also of what it shares with others.
#[derive(Debug, Default)]
pub(in crate::process) struct MemoryGauge {
    last: Option<Measured>,
}

/// What the last walk has found.
#[derive(Debug, Clone, Copy)]
struct Measured {
    private: u64,
    /// The page faults of the process until then.
    faults: u64,
}

impl Measured {
    /// The most private memory that a process can have after so many faults: each brings one page, at most a huge one.
    fn at_most(self, faults: u64, largest_page: u64) -> u64 {
        let new = faults.saturating_sub(self.faults);
        self.private.saturating_add(new.saturating_mul(largest_page))
    }
}

impl MemoryGauge {
    /// How many bytes a process holds of its own, if that is more than `limit`.
    ///
    /// # Errors
    ///
    /// When /proc does not tell: the process is gone, or it is hidden from us.
    pub(in crate::process) fn excess(&mut self, pid: u32, limit: u64) -> io::Result<Option<u64>> {
        // Never too small: it counts what is shared with the process that it was forked from, too.
        if read(pid, "statm", anonymous)? <= limit {
            return Ok(None);
        }
        let faults = read(pid, "stat", faults)?;
        if self.last.is_some_and(|last| last.at_most(faults, largest_page()) <= limit) {
            return Ok(None);
        }
        let private = private_memory(pid, limit)?;
        self.last = Some(Measured { private, faults });
        Ok((private > limit).then_some(private))
    }
}

/// Whether /proc tells how much memory a process has of its own; the reason if it does not.
pub(in crate::process) fn private_memory_is_told() -> io::Result<()> {
    private_memory(std::process::id(), 0).map(drop)
}

/// The private memory of a process. Exact if it is more than `limit`, else perhaps too large, by shared memory that nobody else
/// maps at this moment.
fn private_memory(pid: u32, limit: u64) -> io::Result<u64> {
    let with_shared = read(pid, "smaps_rollup", private_dirty)?;
    if with_shared <= limit { Ok(with_shared) } else { read(pid, "smaps", private_dirty_of_private_mappings) }
}

fn read(pid: u32, file: &str, parse: impl Fn(&str) -> Option<u64>) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    parse(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/{file} is empty")))
}

/// Bytes in memory, without those of files and of shared memory, from a line of /proc/PID/statm.
fn anonymous(statm: &str) -> Option<u64> {
    let mut pages = statm.split_ascii_whitespace().skip(1).map(|pages| pages.parse::<u64>().ok());
    let (resident, shared) = (pages.next()??, pages.next()??);
    resident.saturating_sub(shared).checked_mul(rustix::param::page_size() as u64)
}

/// Page faults so far, from a line of /proc/PID/stat
/// ([proc_pid_stat(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)).
fn faults(stat: &str) -> Option<u64> {
    // The name in parentheses may contain anything, so the fields are counted from behind it: the first is field 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(7);
    let (minor, major) = (fields.next()?, fields.nth(1)?);
    Some(minor.parse::<u64>().ok()?.saturating_add(major.parse().ok()?))
}

/// Bytes of private dirty memory, from /proc/PID/smaps_rollup.
fn private_dirty(rollup: &str) -> Option<u64> {
    rollup.lines().find_map(private_dirty_line)
}

/// The same, from /proc/PID/smaps, without what lies in shared mappings and in our shared memory, however it is mapped: there a
/// page counts as private while only one process has touched it.
fn private_dirty_of_private_mappings(smaps: &str) -> Option<u64> {
    let (mut sum, mut shared, mut found) = (0u64, false, false);
    for line in smaps.lines() {
        if let Some(bytes) = private_dirty_line(line) {
            found = true;
            sum = sum.saturating_add(if shared { 0 } else { bytes });
        } else if let Some(permissions) = permissions(line) {
            shared = permissions.ends_with('s') || line.contains("/memfd:heavylift");
        }
    }
    found.then_some(sum)
}

fn private_dirty_line(line: &str) -> Option<u64> {
    let kilobytes = line.strip_prefix("Private_Dirty:")?.trim().strip_suffix("kB")?;
    kilobytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The permissions of a mapping, if this is the line that describes one: `7f00-7f10 rw-p …`.
fn permissions(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|range| range.contains('-') && !range.ends_with(':'))?;
    words.next().filter(|permissions| permissions.len() == 4)
}

/// The largest page that one fault can bring.
fn largest_page() -> u64 {
    static LARGEST: OnceLock<u64> = OnceLock::new();
    *LARGEST.get_or_init(|| {
        let huge = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").ok();
        let huge = huge.and_then(|text| text.trim().parse().ok());
        huge.unwrap_or_else(|| rustix::param::page_size() as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_holds_at_least_what_it_has_just_written() {
        let mut gauge = MemoryGauge::default();
        let written = vec![1u8; 32 << 20];
        let pid = std::process::id();
        assert!(gauge.excess(pid, 16 << 20).unwrap().is_some_and(|bytes| bytes >= 32 << 20));
        assert_eq!(gauge.excess(pid, 1 << 40).unwrap(), None);
        assert_eq!(written.len(), 32 << 20);
        assert!(private_memory_is_told().is_ok());
        assert!(gauge.excess(u32::MAX, 1).is_err());
    }

    #[test]
    fn what_proc_says_is_read_in_bytes() {
        assert_eq!(private_dirty("Rss:  9 kB\nPrivate_Dirty:    12 kB\n"), Some(12 * 1024));
        assert_eq!(private_dirty("nothing"), None);
        assert_eq!(anonymous("900 20 5 1 0 7 0"), Some(15 * rustix::param::page_size() as u64));
        assert_eq!(anonymous("nonsense"), None);
        assert_eq!(faults("7 (a) b) S 1 7 7 0 -1 4194304 120 9 3 0 1 2"), Some(123));
        assert_eq!(faults("7 (a S"), None);
    }

    #[test]
    fn what_lies_in_shared_mappings_does_not_count() {
        let smaps = "55d0-55d8 rw-p 00000000 00:00 0 [heap]\nRss: 8 kB\nPrivate_Dirty: 8 kB\nVmFlags: rd wr\n\
                     7f00-7f40 rw-s 00000000 00:01 5 /memfd:segment (deleted)\nPrivate_Dirty: 64 kB\n\
                     7f41-7f42 r--p 0 00:01 9  /memfd:heavylift-shared (deleted)\nPrivate_Dirty: 700 kB\n\
                     7f50-7f60 rw-p 00000000 00:00 0\nPrivate_Dirty: 4 kB\n";
        assert_eq!(private_dirty_of_private_mappings(smaps), Some(12 * 1024));
        assert_eq!(private_dirty_of_private_mappings(""), None);
    }

    #[test]
    fn without_enough_faults_no_walk_is_needed() {
        let last = Measured { private: 100, faults: 7 };
        assert_eq!(last.at_most(7, 4096), 100);
        assert_eq!(last.at_most(9, 4096), 100 + 2 * 4096);
        assert_eq!(last.at_most(u64::MAX, 4096), u64::MAX);
    }
}
