//! [`Yard`]: what jobs need around them, made when it is first asked for and gone with it.

use std::{
    cell::OnceCell,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{database, server::Server};

/// A directory with files and a database, and a web server.
#[derive(Default)]
pub(crate) struct Yard {
    directory: OnceCell<TempDir>,
    database: OnceCell<PathBuf>,
    server: OnceCell<Server>,
}

impl Yard {
    /// A file of `size` bytes, which is written when it is asked for the first time. It is in memory, then.
    pub(crate) fn file(&self, size: usize, nth: usize) -> PathBuf {
        let path = self.directory().join(format!("{size}-{nth}"));
        if !path.exists() {
            write(&path, &noise(nth as u64, size))
                .expect("a file can be written into a directory of our own");
        }
        path
    }

    /// Such a file, which lies on the disk only.
    pub(crate) fn cold_file(&self, size: usize, nth: usize) -> PathBuf {
        let path = self.file(size, nth);
        File::open(&path).and_then(|file| forget(&file)).expect("a file of our own can be opened");
        path
    }

    /// A database of some thousands of rows.
    pub(crate) fn database(&self) -> PathBuf {
        let make = || {
            let path = self.directory().join("crates.sqlite");
            database::create(&path).expect("a database can be made in a directory of our own");
            path
        };
        self.database.get_or_init(make).clone()
    }

    /// The port of a server on this machine that thinks before it answers.
    pub(crate) fn server(&self) -> u16 {
        self.server.get_or_init(|| Server::start().expect("there is a free port")).port()
    }

    fn directory(&self) -> &Path {
        self.directory.get_or_init(|| tempfile::tempdir().expect("there is room for files")).path()
    }
}

/// Pages that are not on the disk yet could not be forgotten.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Has the kernel drop what it keeps of a file, as a program does that reads much and everything once.
#[cfg(target_os = "linux")]
pub(crate) fn forget(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
}

/// Elsewhere a file that is cold is one that is warm.
#[cfg(not(target_os = "linux"))]
pub(crate) fn forget(_: &File) -> io::Result<()> {
    Ok(())
}

/// Bytes that do not repeat, always the same for a seed.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    random(seed).flat_map(u64::to_le_bytes).take(bytes).collect()
}

/// Numbers that do not repeat, always the same for a seed: xorshift.
pub(crate) fn random(seed: u64) -> impl Iterator<Item = u64> {
    let first = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::iter::successors(Some(first | 1), |x| {
        let x = x ^ (x << 13);
        let x = x ^ (x >> 7);
        Some(x ^ (x << 17))
    })
}
