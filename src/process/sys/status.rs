//! The exit status of a process that is not our child.

use crate::error::ExitCause;

/// Reads the exit status of a zombie from /proc; `Unknown` if it is gone, or if it is hidden from us.
pub(in crate::process) fn exit_of_zombie(pid: u32) -> ExitCause {
    let Ok(line) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return ExitCause::Unknown };
    parse(&line).unwrap_or(ExitCause::Unknown)
}

/// Parses a line of /proc/PID/stat ([proc_pid_stat(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)).
fn parse(line: &str) -> Option<ExitCause> {
    // The name in parentheses may contain anything, so the fields are counted from behind it.
    let (_, fields) = line.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    if fields.first() != Some(&"Z") {
        return None;
    }
    // Field 52, and the first one here is field 3.
    let status: i32 = fields.get(49)?.parse().ok()?;
    Some(match status & 0x7f {
        0 => ExitCause::Code(status >> 8),
        signal => ExitCause::Signal(signal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_read_from_behind_any_name() {
        let line = |state: &str, status: u32| format!("12 (a) b) {state} {}{status}\n", "0 ".repeat(48));
        assert_eq!(parse(&line("Z", 3 << 8)), Some(ExitCause::Code(3)));
        assert_eq!(parse(&line("Z", 11)), Some(ExitCause::Signal(11)));
        assert_eq!(parse(&line("Z", 6 | 0x80)), Some(ExitCause::Signal(6)));
        assert_eq!(parse(&line("R", 0)), None);
        assert_eq!(parse("nonsense"), None);
    }
}
