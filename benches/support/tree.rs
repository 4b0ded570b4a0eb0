//! A large tree of files, copied from what every machine with Rust on it has.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// How large the tree is to be, at least.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// No single file may be most of the work.
const LARGEST: u64 = 4 << 20;

/// A tree, and what it holds.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// The tree of that size; made once, then kept beside what the benches build.
pub(crate) fn tree(size: Size) -> io::Result<Tree> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tree_{}_{}", size.files, size.bytes));
    let complete = root.with_extension("complete");
    if let Some((files, bytes)) = fs::read_to_string(&complete).ok().and_then(|text| numbers(&text)) {
        return Ok(Tree { root, files, bytes });
    }
    let _incomplete = fs::remove_dir_all(&root);
    let mut copy = Copy { wanted: size, files: 0, bytes: 0 };
    // A file that is there twice is read and hashed twice: what counts is how many there are.
    for pass in 0..16 {
        for (n, source) in sources().iter().enumerate() {
            copy.directory(source, &root.join(format!("{pass}_{n}")))?;
        }
        if copy.is_done() {
            let Copy { files, bytes, .. } = copy;
            fs::write(complete, format!("{files} {bytes}"))?;
            return Ok(Tree { root, files, bytes });
        }
    }
    Err(io::Error::other(format!("not enough to copy: found {} files, {} bytes", copy.files, copy.bytes)))
}

fn numbers(text: &str) -> Option<(u64, u64)> {
    let (files, bytes) = text.split_once(' ')?;
    Some((files.parse().ok()?, bytes.parse().ok()?))
}

fn sources() -> Vec<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let registry = cargo.map(|cargo| cargo.join("registry/src"));
    registry
        .into_iter()
        .chain(["/usr/include".into(), "/usr/share".into(), "/usr/lib/python3".into()])
        .collect()
}

struct Copy {
    wanted: Size,
    files: u64,
    bytes: u64,
}

impl Copy {
    /// Until there are enough bytes and enough files.
    fn is_done(&self) -> bool {
        self.files >= self.wanted.files && self.bytes >= self.wanted.bytes
    }

    fn directory(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
        let mut entries: Vec<_> = entries.flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        fs::create_dir_all(to)?;
        for entry in entries {
            if self.is_done() {
                break;
            }
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            match entry.metadata() {
                Ok(found) if found.is_dir() => self.directory(&from, &to)?,
                Ok(found) if found.is_file() && found.len() <= LARGEST => self.file(&from, &to),
                _ => {}
            }
        }
        Ok(())
    }

    /// A file that cannot be read is left out.
    fn file(&mut self, from: &Path, to: &Path) {
        if let Ok(bytes) = fs::copy(from, to) {
            self.files += 1;
            self.bytes += bytes;
        }
    }
}
