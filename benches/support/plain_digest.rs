//! What one would write without any pool: two threads with `sha2` over the files of a tree.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use sha2::{Digest, Sha256};

/// Prints the digest of each regular file below `root`, in order of their names.
pub(crate) fn run(root: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    walk(root, &mut files)?;
    files.sort();
    let next = AtomicUsize::new(0);
    let mut lines: Vec<(usize, String)> = thread::scope(|scope| {
        let worker = || -> io::Result<Vec<(usize, String)>> {
            let mut lines = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(file) = files.get(at) else { return Ok(lines) };
                lines.push((at, line(file)?));
            }
        };
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        let lines = workers.into_iter().map(|worker| worker.join().expect("it does not panic"));
        lines.collect::<io::Result<Vec<_>>>().map(|lines| lines.concat())
    })?;
    lines.sort_unstable_by_key(|(at, _)| *at);
    let mut out = io::BufWriter::new(io::stdout().lock());
    lines.iter().try_for_each(|(_, line)| out.write_all(line.as_bytes()))?;
    out.flush()
}

fn line(file: &Path) -> io::Result<String> {
    let digest: String = Sha256::digest(fs::read(file)?).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{digest}  {}\n", file.display()))
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
