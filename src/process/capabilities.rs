//! [`Capabilities`]: what this machine offers to process pools and what it lacks, by name.

use std::fmt;

/// What this machine offers to process pools, and what it lacks.
///
/// Obtained from [`ProcessPool::capabilities`](crate::ProcessPool::capabilities). Plain data, as it was when asked. `Display`
/// writes one line for each.
///
/// An option that needs what is missing is never silently left out: [`build`](crate::ProcessPoolBuilder::build) is then an error,
/// or tasks finish as unavailable, and either names it.
///
/// | name | what it is for |
/// |---|---|
/// | `linux` | process pools at all |
/// | `pidfd` | signals that cannot hit a stranger, deaths that cannot be missed; needed |
/// | `memfd_seals` | shared memory that nobody can cut; needed |
/// | `subreaper` | grandchildren that cannot get away; needed |
/// | `close_range` | fast starts; without it descriptors are closed one by one through /proc |
/// | `clone3` | nothing yet; tells a kernel or a sandbox that knows recent calls |
/// | `proc` | /proc is there: starting workers; exit codes where the zygote cannot tell |
/// | `proc_children` | grandchildren that left their group are killed with their worker |
/// | `private_memory` | `max_memory_per_worker` |
/// | `cgroup2` | `cgroup` |
/// | `cgroup2_memory` | `cgroup` with `max_memory_per_worker` |
/// | `cgroup2_kill` | `cgroup`: whatever is left in the cgroup of a dead worker is killed |
///
/// # Examples
///
/// ```
/// use heavylift::ProcessPool;
///
/// let machine = ProcessPool::capabilities();
/// println!("{machine}");
/// if let Some(missing) = machine.get("cgroup2_memory").and_then(|found| found.missing()) {
///     println!("no hard limit of memory here: {missing}");
/// }
/// # assert!(machine.get("pidfd").is_some_and(|found| found.is_there()));
/// # assert!(machine.to_string().contains("pidfd: yes"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    kernel: String,
    found: Vec<Capability>,
}

impl Capabilities {
    pub(super) fn new(kernel: String, found: Vec<Capability>) -> Self {
        Self { kernel, found }
    }

    /// The release of the running kernel, such as `6.1.0-18-amd64`; empty where it cannot be learnt.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// What was found under a name; `None` if there is no such name.
    pub fn get(&self, name: &str) -> Option<&Capability> {
        self.found.iter().find(|capability| capability.name == name)
    }

    /// Everything that was looked for, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = &Capability> {
        self.found.iter()
    }

    /// What is missing.
    pub fn lacking(&self) -> impl Iterator<Item = &Capability> {
        self.found.iter().filter(|capability| !capability.is_there())
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = if self.kernel.is_empty() { "unknown" } else { &self.kernel };
        write!(f, "kernel: {kernel}")?;
        self.found.iter().try_for_each(|capability| write!(f, "\n{capability}"))
    }
}

/// One thing that a machine offers, or lacks.
///
/// Obtained from [`Capabilities`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    name: &'static str,
    missing: Option<String>,
}

impl Capability {
    pub(super) fn new(name: &'static str, found: Result<(), String>) -> Self {
        Self { name, missing: found.err() }
    }

    /// Its name, from the table at [`Capabilities`].
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the machine has it.
    pub fn is_there(&self) -> bool {
        self.missing.is_none()
    }

    /// Why it cannot be used; `None` if it can.
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.missing {
            None => write!(f, "{}: yes", self.name),
            Some(why) => write!(f, "{}: no: {why}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_by_name_with_the_reason() {
        let there = Capability::new("pidfd", Ok(()));
        let missing = Capability::new("cgroup2", Err("not mounted".to_owned()));
        let machine = Capabilities::new("6.1".to_owned(), vec![there.clone(), missing.clone()]);
        assert_eq!(machine.to_string(), "kernel: 6.1\npidfd: yes\ncgroup2: no: not mounted");
        assert_eq!(machine.lacking().collect::<Vec<_>>(), [&missing]);
        assert_eq!(machine.get("pidfd"), Some(&there));
        assert_eq!(machine.get("nonsense"), None);
    }
}
