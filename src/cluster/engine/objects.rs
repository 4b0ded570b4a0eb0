//! Payloads that are too large for a message: objects in a bucket.

use std::{future::poll_fn, io, pin::Pin, sync::PoisonError, time::Duration};

use async_nats::jetstream::object_store::{DeleteErrorKind, GetErrorKind, Object, ObjectStore};
use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::{Engine, EngineError, TIME_LIMIT, errors::chain, watch::Complaints};

/// Slower than that is as good as not at all.
const BYTES_PER_SECOND: u64 = 2 << 20;

/// How long an object of that many bytes may take: it goes in many requests.
fn limit(len: u64) -> Duration {
    TIME_LIMIT * 2 + Duration::from_secs(len / BYTES_PER_SECOND)
}

impl Engine {
    /// Some objects go at a time: how long an object waits for others is not bounded here.
    pub(in crate::cluster) async fn store(&self, object: &str, bytes: Bytes) -> Result<(), EngineError> {
        // It is never closed.
        let _turn = self.shared.transfers.acquire().await;
        let len = bytes.len() as u64;
        let storing = async {
            let bucket = self.payloads().await?;
            let put = bucket.put(object, &mut &bytes[..]).await;
            put.map(drop).map_err(|error| {
                let text = chain(&error);
                if text.contains("maximum") { EngineError::Full(text) } else { EngineError::Lost(text) }
            })
        };
        self.guard_all(self.about_payloads(), object, limit(len), storing)
            .await
            .inspect_err(|error| self.doubt(error))
    }

    /// Checks length and digest. Waits for its turn as [`store`](Self::store) does.
    pub(in crate::cluster) async fn load(&self, object: &str, len: u64) -> Result<Bytes, EngineError> {
        let _turn = self.shared.transfers.acquire().await;
        let loading = async {
            let mut found = self.payloads().await?.get(object).await.map_err(|error| match error.kind() {
                GetErrorKind::NotFound => {
                    EngineError::Failed(format!("payload `{object}` is not there any more"))
                }
                _ => EngineError::Lost(chain(&error)),
            })?;
            let (size, wrong) = (found.info().size as u64, |size| {
                EngineError::Failed(format!("payload `{object}` has {size} bytes, not {len}"))
            });
            if size != len {
                return Err(wrong(size));
            }
            read(&mut found, len).await.map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::OutOfMemory | io::ErrorKind::UnexpectedEof => {
                    EngineError::Failed(format!("payload `{object}` cannot be read: {error}"))
                }
                _ => EngineError::Lost(format!("payload `{object}`: {error}")),
            })
        };
        self.guard_all(self.about_payloads(), object, limit(len), loading)
            .await
            .inspect_err(|error| self.doubt(error))
    }

    pub(in crate::cluster) async fn discard(&self, object: &str) -> Result<(), EngineError> {
        let discarding = async {
            match self.payloads().await?.delete(object).await {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == DeleteErrorKind::NotFound => Ok(()),
                Err(error) => Err(EngineError::Lost(chain(&error))),
            }
        };
        self.guard_all(self.about_payloads(), object, TIME_LIMIT * 2, discarding).await
    }

    async fn payloads(&self) -> Result<ObjectStore, EngineError> {
        let known = || self.shared.payloads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = known().clone() {
            return Ok(bucket);
        }
        let name = self.names().payloads_bucket();
        let found = self.shared.context.get_object_store(&name).await;
        let bucket = found.map_err(|error| {
            let text = format!("bucket `{name}`: {}", chain(&error));
            if text.contains("not found") { EngineError::Failed(text) } else { EngineError::Lost(text) }
        })?;
        *known() = Some(bucket.clone());
        Ok(bucket)
    }

    /// The bucket may be gone: the next try asks for it, and says so.
    fn doubt(&self, error: &EngineError) {
        if let EngineError::Lost(why) = error {
            self.shared.watch.note_trouble(why);
            *self.shared.payloads.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn about_payloads(&self) -> Complaints {
        let (bucket, stream) = (self.names().payloads_bucket(), self.names().payloads_stream());
        Complaints::of(&self.shared.watch, vec![format!("\"$O.{bucket}."), format!(".{stream}")])
    }
}

/// Reads as many bytes as there must be, and sees to it that there are no more.
async fn read(object: &mut Object, len: u64) -> io::Result<Bytes> {
    let too_large = |_| io::Error::from(io::ErrorKind::OutOfMemory);
    let room = usize::try_from(len).ok().and_then(|len| len.checked_add(1));
    let room = room.ok_or(io::ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(room).map_err(too_large)?;
    bytes.resize(room, 0);
    let mut filled = 0;
    while filled < room {
        let mut buffer = ReadBuf::new(&mut bytes[filled..]);
        poll_fn(|cx| Pin::new(&mut *object).poll_read(cx, &mut buffer)).await?;
        match buffer.filled().len() {
            0 => break,
            more => filled += more,
        }
    }
    if filled as u64 != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bytes.truncate(filled);
    Ok(Bytes::from(bytes))
}
