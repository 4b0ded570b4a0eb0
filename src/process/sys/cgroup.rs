//! A cgroup of version 2 for each worker: a hard limit of memory, and an end for all that is in it
//! ([cgroup-v2](https://docs.kernel.org/admin-guide/cgroup-v2.html)).
//!
//! 1. The user names a directory that has been delegated to the program. In it the program makes *leaves*, one for each worker,
//!    and touches nothing else, except that it enables the memory controller for leaves when there is a limit.
//! 2. A worker enters its leaf before it runs anything, so its children are in it, too.
//! 3. A leaf is removed when its worker is dead, and whatever still lives in it is killed first.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::fs::statfs;

/// How the kernel marks a file system of cgroups, version 2.
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
/// How long what was killed in a leaf may take to die.
const EMPTY_WITHIN: Duration = Duration::from_secs(1);

/// Checks that leaves can be made in a directory, with a limit of memory if `limited`. Returns its absolute path.
///
/// # Errors
///
/// A text that names what is missing.
pub(in crate::process) fn check_cgroup(directory: &Path, limited: bool) -> Result<PathBuf, String> {
    let shown = directory.display();
    let directory = directory.canonicalize().map_err(|error| format!("{shown}: {error}"))?;
    if !is_cgroup2(&directory) {
        return Err(format!("{shown} is no cgroup of version 2"));
    }
    if limited {
        enable_memory(&directory)?;
    }
    let trial = Leaves::new(&directory)
        .and_then(|leaves| leaves.path(0).ok_or_else(|| io::Error::other("no path for a leaf")))
        .map_err(|error| error.to_string())?;
    fs::create_dir(&trial)
        .map_err(|error| format!("no cgroup can be made in {shown}, is it delegated? {error}"))?;
    let has_limit = trial.join("memory.max").exists();
    let removed = fs::remove_dir(&trial);
    if limited && !has_limit {
        return Err(format!("a cgroup in {shown} has no memory.max"));
    }
    removed.map_err(|error| format!("a cgroup made in {shown} cannot be removed: {error}"))?;
    Ok(directory)
}

/// Whether a path lies in a file system of cgroups, version 2.
pub(in crate::process) fn is_cgroup2(path: &Path) -> bool {
    // The type differs between architectures.
    #[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
    statfs(path).is_ok_and(|found| found.f_type as i64 == CGROUP2_SUPER_MAGIC)
}

/// Whether a cgroup may limit the memory of those below it; what is missing if not.
pub(in crate::process) fn has_memory_controller(directory: &Path) -> Result<(), String> {
    let listed = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    if listed.split_ascii_whitespace().any(|controller| controller == "memory") {
        return Ok(());
    }
    let (shown, listed) = (directory.display(), listed.trim());
    Err(format!("the memory controller is not available in {shown} (cgroup.controllers: {listed:?})"))
}

fn enable_memory(directory: &Path) -> Result<(), String> {
    has_memory_controller(directory)?;
    let file = directory.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file).unwrap_or_default();
    if enabled.split_ascii_whitespace().any(|controller| controller == "memory") {
        return Ok(());
    }
    write(&file, "+memory").map_err(|error| {
        let hint = match error.raw_os_error() {
            Some(libc::EBUSY) => ": processes lie in the directory itself, move them into a cgroup below",
            _ => "",
        };
        format!("the memory controller cannot be enabled in {}: {error}{hint}", file.display())
    })
}

/// The leaves that the workers of one zygote get.
#[derive(Debug, Clone)]
pub(in crate::process) struct Leaves {
    /// What all their paths begin with.
    stem: PathBuf,
}

impl Leaves {
    /// Leaves that nobody else has, in a directory that was checked.
    pub(in crate::process) fn new(directory: &Path) -> io::Result<Self> {
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let name = format!("heavylift-{}-{:016x}-", std::process::id(), u64::from_ne_bytes(random));
        Ok(Self { stem: directory.join(name) })
    }

    pub(in crate::process) fn from_stem(stem: PathBuf) -> Self {
        Self { stem }
    }

    pub(in crate::process) fn stem(&self) -> &Path {
        &self.stem
    }

    /// The leaf of the worker with this ticket.
    pub(in crate::process) fn path(&self, ticket: u64) -> Option<PathBuf> {
        let mut name = self.stem.file_name()?.to_owned();
        name.push(ticket.to_string());
        Some(self.stem.with_file_name(name))
    }

    /// Makes the leaf of a worker.
    ///
    /// # Errors
    ///
    /// A text that names the file and what the kernel says of it.
    pub(in crate::process) fn make(&self, ticket: u64, memory: Option<u64>) -> Result<Leaf, String> {
        let path = self.path(ticket).ok_or("no path for a leaf")?;
        let failed = |file: &Path, error: io::Error| format!("its cgroup {}: {error}", file.display());
        fs::create_dir(&path).map_err(|error| failed(&path, error))?;
        // From here on it is removed whatever happens.
        let leaf = Leaf { path, memory };
        let Some(bytes) = memory else { return Ok(leaf) };
        for (file, value) in [("memory.max", bytes), ("memory.swap.max", 0), ("memory.oom.group", 1)] {
            let file = leaf.path.join(file);
            match write(&file, value.to_string()) {
                // A kernel without swap has nothing to limit there.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !file.ends_with("memory.max") => {}
                outcome => outcome.map_err(|error| failed(&file, error))?,
            }
        }
        Ok(leaf)
    }

    /// Removes every leaf that is left, with all that lives in them, until `deadline`.
    pub(in crate::process) fn clear(&self, deadline: Instant) {
        let (Some(directory), Some(name)) = (self.stem.parent(), self.stem.file_name()) else { return };
        let Ok(entries) = fs::read_dir(directory) else { return };
        let is_ours = |path: &PathBuf| {
            let found = path.file_name().map_or(&[][..], |found| found.as_encoded_bytes());
            found.starts_with(name.as_encoded_bytes())
        };
        let leaves: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ours).collect();
        leaves.iter().for_each(|leaf| kill_all(leaf));
        leaves.iter().for_each(|leaf| remove(leaf, deadline));
    }
}

/// One worker's cgroup.
#[derive(Debug)]
pub(in crate::process) struct Leaf {
    path: PathBuf,
    memory: Option<u64>,
}

impl Leaf {
    /// Kills whatever lives in it, and removes it. Where processes cannot be killed (state D, or a kernel before 5.14) it is left
    /// to the zygote's end.
    pub(in crate::process) fn clear(&self) {
        kill_all(&self.path);
        remove(&self.path, Instant::now() + EMPTY_WITHIN);
    }

    /// Says that the kernel has killed what was in it, if its limit of memory was reached.
    pub(in crate::process) fn out_of_memory(&self) -> Option<String> {
        let limit = self.memory?;
        let events = fs::read_to_string(self.path.join("memory.events")).ok()?;
        (kills(&events) > 0).then(|| over_hard_limit(limit))
    }
}

impl Drop for Leaf {
    /// For a worker that was never forked. Otherwise it is gone already.
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

fn over_hard_limit(limit: u64) -> String {
    format!(
        "the kernel killed it at its memory limit: max_memory_per_worker, as memory.max of its cgroup, is {limit} bytes"
    )
}

/// How often the kernel has killed for want of memory, from memory.events.
fn kills(events: &str) -> u64 {
    let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Moves this process into a leaf.
pub(in crate::process) fn enter_cgroup(leaf: &Path) -> io::Result<()> {
    let file = leaf.join("cgroup.procs");
    // Zero is whoever writes.
    write(&file, "0").map_err(|error| io::Error::other(format!("{}: {error}", file.display())))
}

fn kill_all(leaf: &Path) {
    // Fails where it is gone, and on kernels before 5.14.
    let _ = write(leaf.join("cgroup.kill"), "1");
}

/// Removes a leaf as soon as it is empty.
fn remove(leaf: &Path, deadline: Instant) {
    let mut pause = Duration::from_micros(200);
    // Busy while what was killed in it is dying.
    while fs::remove_dir(leaf).is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY))
        && Instant::now() < deadline
    {
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Writes to a file that must exist: nothing is ever created but directories.
fn write(file: impl AsRef<Path>, text: impl AsRef<[u8]>) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(file)?.write_all(text.as_ref())
}

/// Where cgroups of version 2 are mounted, if they are.
pub(in crate::process) fn cgroup2_mount() -> Option<&'static Path> {
    static MOUNT: OnceLock<Option<PathBuf>> = OnceLock::new();
    MOUNT.get_or_init(|| mount_of(&fs::read_to_string("/proc/self/mounts").ok()?)).as_deref()
}

/// The first file system of cgroups, version 2, in /proc/self/mounts.
fn mount_of(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (path, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_by_the_limit_is_read_from_the_events() {
        let events = "low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(kills(events), 2);
        assert_eq!(kills("oom 3\noom_kill 0\n"), 0);
        assert_eq!(kills(""), 0);
        assert!(over_hard_limit(77).contains("memory limit") && over_hard_limit(77).contains("77 bytes"));
    }

    #[test]
    fn the_mount_of_version_two_is_found_beside_those_of_version_one() {
        let hybrid = "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount_of(hybrid), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_of("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn a_directory_that_is_no_cgroup_is_named_and_so_is_what_it_lacks() {
        let plain = tempfile::tempdir().unwrap();
        let error = check_cgroup(plain.path(), false).unwrap_err();
        assert_eq!(error, format!("{} is no cgroup of version 2", plain.path().display()));
        let error = check_cgroup(Path::new("/nonexistent"), false).unwrap_err();
        assert!(error.starts_with("/nonexistent: "), "{error}");
        fs::write(plain.path().join("cgroup.controllers"), "cpu io\n").unwrap();
        let error = has_memory_controller(plain.path()).unwrap_err();
        assert!(error.contains("memory controller") && error.contains("\"cpu io\""), "{error}");
        fs::write(plain.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        has_memory_controller(plain.path()).unwrap();
    }

    #[test]
    fn leaves_have_paths_of_their_own_and_are_cleared_together() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, others) = (Leaves::new(directory.path()).unwrap(), Leaves::new(directory.path()).unwrap());
        assert_ne!(ours.path(1), others.path(1));
        let first = ours.make(1, None).unwrap();
        let _second = ours.make(2, None).unwrap();
        let other = others.make(1, None).unwrap();
        drop(first);
        assert!(!ours.path(1).unwrap().exists());
        Leaves::from_stem(ours.stem().to_owned()).clear(Instant::now());
        assert!(!ours.path(2).unwrap().exists() && other.path.exists());
        let error = ours.make(3, Some(1)).unwrap_err();
        assert!(error.contains("memory.max"), "{error}");
        assert!(!ours.path(3).unwrap().exists());
    }
}
