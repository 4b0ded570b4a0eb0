//! Queries to SQLite.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, Result};

use super::{RealJob, text::prose};

pub(crate) fn jobs() -> Vec<RealJob> {
    let family = "database";
    vec![
        RealJob::new(family, "sqlite", 100, report, |yard, nth| (yard.database(), nth as u32)),
        RealJob::new(family, "sqlite-row", 30_000, row, |yard, nth| (yard.database(), nth as u32)),
        RealJob::new(family, "sqlite-open", 2_000, open_and_row, |yard, nth| (yard.database(), nth as u32)),
    ]
}

const ROWS: u32 = 20_000;

/// Makes the database: words of this crate's text, each with where it stands.
pub(crate) fn create(path: &Path) -> Result<()> {
    let mut database = Connection::open(path)?;
    let all = database.transaction()?;
    all.execute_batch(
        "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL, page INTEGER NOT NULL)",
    )?;
    let text = prose(0, ROWS as usize * 16);
    let mut insert = all.prepare("INSERT INTO words VALUES (?1, ?2, ?3)")?;
    for (id, word) in (0..ROWS).zip(text.split_whitespace()) {
        insert.execute((id, word, id % 100))?;
    }
    drop(insert);
    all.commit()
}

fn open(path: &Path) -> Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// With a connection that this thread keeps, as a pool of them would.
fn with<T>(path: &Path, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    thread_local! {
        static KEPT: RefCell<Option<(PathBuf, Connection)>> = const { RefCell::new(None) };
    }
    KEPT.with_borrow_mut(|kept| {
        if !matches!(kept, Some((known, _)) if known == path) {
            *kept = Some((path.to_owned(), open(path)?));
        }
        let (_, connection) = kept.as_ref().expect("it was opened above");
        query(connection)
    })
}

/// The most frequent words of some pages: a scan.
fn report((path, page): (PathBuf, u32)) -> Vec<(String, u32)> {
    const QUERY: &str =
        "SELECT word, count(*) FROM words WHERE page % 10 = ?1 GROUP BY word ORDER BY 2 DESC, 1 LIMIT 10";
    let top = with(&path, |database| {
        let mut query = database.prepare_cached(QUERY)?;
        query.query_map([page % 10], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    });
    top.expect("the database is there")
}

/// One row by its key.
fn row((path, id): (PathBuf, u32)) -> String {
    with(&path, |database| row_of(database, id)).expect("the row is there")
}

/// The same, with a connection for this row alone.
fn open_and_row((path, id): (PathBuf, u32)) -> String {
    open(&path).and_then(|database| row_of(&database, id)).expect("the row is there")
}

fn row_of(database: &Connection, id: u32) -> Result<String> {
    let mut query = database.prepare_cached("SELECT word FROM words WHERE id = ?1")?;
    query.query_row([id % ROWS], |row| row.get(0))
}
