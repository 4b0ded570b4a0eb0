//! The regular files below some paths, as `find PATH… -type f | LC_ALL=C sort` lists them, without listing them all first.
//!
//! 1. Order is that of the bytes of the whole path. The siblings in a directory come in that order when the names of
//!    directories are compared with their `/`: `a.txt` is before `a/x`, because `.` is before `/`.
//! 2. Memory is bounded: a directory's names are held only [`BATCH`] at a time; for more it is read again.
//! 3. Symbolic links are not followed. What cannot be looked at is an item, too.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

/// Names of one directory that are held at a time.
pub(crate) const BATCH: usize = 1 << 16;

/// A regular file with its size, or something that could not be looked at.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: OsString,
    pub(crate) size: io::Result<u64>,
}

/// The files below several paths, merged into one order. A path that is given twice is listed twice, as `find` does.
pub(crate) struct Walk {
    heads: BinaryHeap<Reverse<Head>>,
}

impl Walk {
    pub(crate) fn new(paths: impl IntoIterator<Item = OsString>) -> Self {
        Self::over(paths.into_iter().map(|path| Tree::new(path, &[], BATCH)))
    }

    /// Walks the current directory, leaving out what it holds by the names of `skipped`.
    pub(crate) fn here_without(skipped: &'static [&'static str]) -> Self {
        Self::over([Tree::new(".".into(), skipped, BATCH)])
    }

    fn over(trees: impl IntoIterator<Item = Tree>) -> Self {
        // No file comes before the path it lies below, so a tree need not be touched before the merge gets there.
        let untouched = |tree: Tree| Reverse(Head { at: tree.root.clone(), found: None, rest: tree });
        Self { heads: trees.into_iter().map(untouched).collect() }
    }
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let Reverse(Head { at, found, mut rest }) = self.heads.pop()?;
            if let Some(next) = rest.next() {
                self.heads.push(Reverse(Head { at: next.name, found: Some(next.size), rest }));
            }
            if let Some(size) = found {
                return Some(Found { name: at, size });
            }
        }
    }
}

/// How far the merge has come in one tree.
struct Head {
    /// The name of `found`; of the tree itself while that is untouched.
    at: OsString,
    found: Option<io::Result<u64>>,
    rest: Tree,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// The files below one path.
struct Tree {
    root: OsString,
    skipped: &'static [&'static str],
    batch: usize,
    started: bool,
    /// The directories that lead to where the walk is.
    levels: Vec<Level>,
}

impl Tree {
    fn new(root: OsString, skipped: &'static [&'static str], batch: usize) -> Self {
        Self { root, skipped, batch, started: false, levels: Vec::new() }
    }

    /// Looks at the path itself, which may be anything.
    fn start(&mut self) -> Option<Found> {
        match fs::symlink_metadata(&self.root) {
            Ok(root) if root.is_dir() => self.levels.push(Level::new(self.root.clone(), self.batch)),
            Ok(root) if root.is_file() => {
                return Some(Found { name: self.root.clone(), size: Ok(root.len()) });
            }
            Ok(_) => {}
            Err(error) => return Some(Found { name: self.root.clone(), size: Err(error) }),
        }
        None
    }

    fn is_skipped(&self, sibling: &Sibling) -> bool {
        self.levels.len() == 1 && self.skipped.iter().any(|&skipped| sibling.name() == skipped)
    }
}

impl Iterator for Tree {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if !std::mem::replace(&mut self.started, true)
            && let Some(root) = self.start()
        {
            return Some(root);
        }
        loop {
            let level = self.levels.last_mut()?;
            match level.next() {
                None => drop(self.levels.pop()),
                Some(Err(error)) => return Some(Found { name: level.directory.clone(), size: Err(error) }),
                Some(Ok(sibling)) => {
                    let name = level.path_of(&sibling);
                    if self.is_skipped(&sibling) {
                        continue;
                    }
                    if !sibling.is_directory() {
                        let size = fs::symlink_metadata(&name).map(|file| file.len());
                        return Some(Found { name, size });
                    }
                    self.levels.push(Level::new(name, self.batch));
                }
            }
        }
    }
}

/// One directory that is being walked.
struct Level {
    directory: OsString,
    batch: usize,
    /// The next names, the first one last.
    names: Vec<Sibling>,
    /// The greatest name that was ever in `names`.
    seen: Option<Sibling>,
    /// Whether the directory may hold names after `seen`.
    more: bool,
}

impl Level {
    fn new(directory: OsString, batch: usize) -> Self {
        Self { directory, batch, names: Vec::new(), seen: None, more: true }
    }

    fn path_of(&self, sibling: &Sibling) -> OsString {
        let mut path = self.directory.clone();
        if !path.as_bytes().ends_with(b"/") {
            path.push("/");
        }
        path.push(sibling.name());
        path
    }

    /// Reads the directory and keeps the first names after `seen`.
    fn refill(&mut self) -> io::Result<()> {
        self.more = false;
        let mut names = BinaryHeap::new();
        let mut outcome = Ok(());
        for entry in fs::read_dir(&self.directory)? {
            match entry {
                Ok(entry) => names.extend(Sibling::of(&entry).filter(|name| Some(name) > self.seen.as_ref())),
                Err(error) => outcome = Err(error),
            }
            if names.len() > self.batch {
                names.pop();
                self.more = true;
            }
        }
        self.names = names.into_sorted_vec();
        self.seen = self.names.last().cloned();
        self.names.reverse();
        outcome
    }
}

impl Iterator for Level {
    type Item = io::Result<Sibling>;

    fn next(&mut self) -> Option<io::Result<Sibling>> {
        if self.names.is_empty()
            && self.more
            && let Err(error) = self.refill()
        {
            return Some(Err(error));
        }
        self.names.pop().map(Ok)
    }
}

/// The name of a regular file, or that of a directory with a `/` behind it: what it is, and its place in the order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Sibling(Box<[u8]>);

impl Sibling {
    fn of(entry: &fs::DirEntry) -> Option<Self> {
        let mut name = entry.file_name().into_vec();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => name.push(b'/'),
            Ok(kind) if !kind.is_file() => return None,
            // If the kind is not to be had, the file's metadata will not be either, and that is reported in its turn.
            Ok(_) | Err(_) => {}
        }
        Some(Self(name.into_boxed_slice()))
    }

    fn is_directory(&self) -> bool {
        self.0.ends_with(b"/")
    }

    fn name(&self) -> &OsStr {
        OsStr::from_bytes(self.0.strip_suffix(b"/").unwrap_or(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a directory with these files, each of which may lie in directories of its own.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        root
    }

    fn names(root: &tempfile::TempDir, paths: &[&str], batch: usize) -> Vec<String> {
        let inside = |path: &&str| Tree::new(root.path().join(path).into_os_string(), &[], batch);
        let prefix = root.path().join("");
        Walk::over(paths.iter().map(inside))
            .map(|found| found.name.into_string().unwrap().replace(prefix.to_str().unwrap(), ""))
            .collect()
    }

    #[test]
    fn the_order_is_that_of_whole_paths_for_any_batch() {
        let files =
            ["a-b/x", "a.txt", "a/x", "a/y/z", "a0", "a0a/q", "b/1", "b/10", "b/1a/x", "b/2", "é", "𝄞"];
        let root = tree(&files);
        let mut expected = files.map(String::from);
        expected.sort();
        for batch in [1, 2, 3, 100] {
            assert_eq!(
                names(&root, &["."], batch),
                expected.clone().map(|name| format!("./{name}")),
                "{batch}"
            );
        }
    }

    #[test]
    fn overlapping_paths_are_merged_and_repeat() {
        let root = tree(&["a/x", "a/y/z", "a.txt", "b"]);
        let expected = ["a.txt", "a/x", "a/x", "a/y/z", "a/y/z", "a/y/z", "b"];
        assert_eq!(names(&root, &["b", "a", "a/y", "a.txt", "a"], BATCH), expected);
    }

    #[test]
    fn slashes_stay_as_find_keeps_them() {
        let root = tree(&["d/x"]);
        assert_eq!(names(&root, &["d//", "d/.", "d"], BATCH), ["d/./x", "d//x", "d/x"]);
    }

    #[test]
    fn links_are_not_followed_and_what_is_missing_is_an_item() {
        let root = tree(&["d/x"]);
        std::os::unix::fs::symlink("d", root.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("d/dangling")).unwrap();
        assert_eq!(names(&root, &["link"], BATCH), [""; 0]);
        assert_eq!(names(&root, &["link/", "."], BATCH), ["./d/x", "link/x"]);

        let missing: Vec<Found> = Walk::new(["/no/such/path".into(), "".into()]).collect();
        assert_eq!(missing.len(), 2);
        assert!(missing.iter().all(|found| found.size.is_err()), "{missing:?}");
    }
}
