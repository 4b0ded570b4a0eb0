//! [`Store`]: pictures and their thumbnails in an embedded database, on a pool of threads because it blocks.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use heavylift::{Shutdown, TaskError, ThreadPool};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, named_params};

use crate::{budget::Budget, failure::Failure, picture::Thumbnail};

/// How many threads may be in the database at a time.
const THREADS: usize = 4;

/// How many jobs may wait for one of them.
const QUEUE: usize = 256;

/// How many bytes of pictures may be on their way from the database to whoever reads them.
const IN_FLIGHT: usize = 128 << 20;

/// What each connection begins with. The columns of the list come before the large ones: SQLite reads a row up to the last column that is wanted.
const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA journal_size_limit = 67108864;
    CREATE TABLE IF NOT EXISTS images (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        added INTEGER NOT NULL,
        content_type TEXT NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        thumbnail BLOB NOT NULL,
        original BLOB NOT NULL
    ) STRICT;";

/// What must go so that the rest stays within the limits: everything from the newest picture that does not fit to the oldest.
const REMOVE_OLDEST: &str = "
    DELETE FROM images WHERE id <= (
        SELECT max(id) FROM (
            SELECT id, sum(bytes) OVER newest AS total, row_number() OVER newest AS place
            FROM images WINDOW newest AS (ORDER BY id DESC)
        ) WHERE total > :bytes OR place > :images
    )";

/// How much is kept. Beyond that the oldest pictures are removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) images: i64,
    /// Pictures and their thumbnails together.
    pub(crate) bytes: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { images: 1000, bytes: 512 << 20 }
    }
}

/// A picture in the list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: i64,
    /// In seconds since 1970.
    pub(crate) added: i64,
    pub(crate) content_type: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Of the picture, without its thumbnail.
    pub(crate) bytes: i64,
}

/// Which of the two is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    Original,
    Thumbnail,
}

/// Pictures. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    pool: ThreadPool,
    database: Arc<Database>,
    in_flight: Budget,
}

impl Store {
    /// Opens the database in `directory`, or makes one.
    pub(crate) fn open(directory: &Path, limits: Limits) -> anyhow::Result<Self> {
        let pool = ThreadPool::builder().name("store").max_workers(THREADS).queue_limit(QUEUE).build()?;
        let database = Database { file: directory.join("images.sqlite"), limits, idle: Mutex::default() };
        database.idle.lock().unwrap_or_else(PoisonError::into_inner).push(database.connect()?);
        Ok(Self { pool, database: Arc::new(database), in_flight: Budget::new(IN_FLIGHT) })
    }

    /// Keeps a picture, and returns its number.
    pub(crate) async fn add(&self, original: Bytes, thumbnail: &Thumbnail) -> Result<i64, Failure> {
        let (png, size, content_type) =
            (thumbnail.png.clone(), thumbnail.size, thumbnail.content_type.clone());
        self.run("add", move |database| database.add(&original, &png, size, &content_type)).await
    }

    /// Returns the newest pictures, at most `limit`, whose numbers are below `before`.
    pub(crate) async fn list(&self, before: i64, limit: u32) -> Result<Vec<Entry>, Failure> {
        self.run("list", move |database| database.list(before, limit)).await
    }

    /// Returns a picture and its content type.
    pub(crate) async fn get(&self, id: i64, which: Which) -> Result<(String, Bytes), Failure> {
        let in_flight = self.in_flight.clone();
        self.run("get", move |database| database.get(id, which, &in_flight)).await
    }

    /// Runs a job that blocks. Dropping the future lets it end by itself, if it has begun.
    async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        job: impl FnOnce(&Database) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let database = self.database.clone();
        let task = self.pool.job(move || job(&database)).name(name).try_run().map_err(TaskError::from)?;
        task.await?
    }

    /// Finishes what is in work.
    pub(crate) async fn end(&self, limit: Duration) {
        self.pool.shutdown(Shutdown::Drain).timeout(limit).await;
    }
}

/// The database, and the connections to it that nobody uses at the moment: as many as there were jobs at a time.
struct Database {
    file: PathBuf,
    limits: Limits,
    /// Never held while SQLite is at work.
    idle: Mutex<Vec<Connection>>,
}

impl Database {
    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open(&self.file)?;
        connection.execute_batch(SCHEMA)?;
        Ok(connection)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let outcome = work(&mut connection);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        outcome
    }

    fn add(
        &self,
        original: &[u8],
        thumbnail: &[u8],
        size: (u32, u32),
        content_type: &str,
    ) -> Result<i64, Failure> {
        let added = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64);
        self.with(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(
                "INSERT INTO images (added, content_type, width, height, bytes, thumbnail, original)
                 VALUES (:added, :content_type, :width, :height, :bytes, :thumbnail, :original)",
                named_params! {
                    ":added": added,
                    ":content_type": content_type,
                    ":width": size.0,
                    ":height": size.1,
                    ":bytes": (original.len() + thumbnail.len()) as i64,
                    ":thumbnail": thumbnail,
                    ":original": original,
                },
            )?;
            let id = transaction.last_insert_rowid();
            let limits = named_params! { ":bytes": self.limits.bytes, ":images": self.limits.images };
            transaction.execute(REMOVE_OLDEST, limits)?;
            transaction.commit()?;
            Ok(id)
        })
    }

    fn list(&self, before: i64, limit: u32) -> Result<Vec<Entry>, Failure> {
        self.with(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT id, added, content_type, width, height, length(original) FROM images
                 WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let entries = query.query_map((before, limit), entry)?;
            Ok(entries.collect::<Result<_, _>>()?)
        })
    }

    fn get(&self, id: i64, which: Which, in_flight: &Budget) -> Result<(String, Bytes), Failure> {
        let query = match which {
            Which::Original => "SELECT content_type, original FROM images WHERE id = ?1",
            Which::Thumbnail => "SELECT 'image/png', thumbnail FROM images WHERE id = ?1",
        };
        let copy = |row: &Row<'_>| {
            let mut buffer = in_flight.buffer();
            let pushed = buffer.push(row.get_ref(1)?.as_blob()?);
            Ok(pushed.map(|()| (row.get(0), buffer.freeze())))
        };
        self.with(|connection| {
            let found = connection.prepare_cached(query)?.query_row([id], copy).optional()?;
            let (content_type, bytes) =
                found.ok_or_else(Failure::no_such_image)?.map_err(|_| Failure::busy())?;
            Ok((content_type?, bytes))
        })
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get(0)?,
        added: row.get(1)?,
        content_type: row.get(2)?,
        width: row.get(3)?,
        height: row.get(4)?,
        bytes: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_too_much() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Limits { images: 4, bytes: 1000 }).unwrap();
        let add = |bytes: usize| store.database.add(&vec![7; bytes], b"", (1, 1), "image/gif").unwrap();
        let kept = || {
            let entries = store.database.list(i64::MAX, 100).unwrap();
            entries.iter().map(|entry| entry.id).collect::<Vec<_>>()
        };
        for _ in 0..6 {
            add(10);
        }
        assert_eq!(kept(), [6, 5, 4, 3]);
        add(960);
        assert_eq!(kept(), [7, 6, 5, 4]);
        add(20);
        assert_eq!(kept(), [8, 7, 6, 5]);
        add(30);
        assert_eq!(kept(), [9, 8], "1010 bytes are too many");
        add(1001);
        assert_eq!(kept(), [0i64; 0], "more than everything together");
        assert_eq!(add(1), 11, "no number is given twice");
    }

    #[test]
    fn more_than_may_be_in_flight_is_refused_until_it_has_been_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Limits::default()).unwrap();
        let id = store.database.add(&[7; 3000], b"small", (1, 1), "image/gif").unwrap();
        let budget = Budget::new(4096);
        let (content_type, bytes) = store.database.get(id, Which::Original, &budget).unwrap();
        assert_eq!((&*content_type, bytes.len()), ("image/gif", 3000));
        assert!(store.database.get(id, Which::Original, &budget).is_err());
        assert_eq!(store.database.get(id, Which::Thumbnail, &budget).unwrap().1, "small");
        drop(bytes);
        assert!(store.database.get(id, Which::Original, &budget).is_ok());
    }
}
