//! What workers print: taken out of their pipes, and handed on. [`Pipe`] is one stream of one process, [`Copier`] the thread
//! of a pool.
//!
//! 1. Whoever takes bytes from a pipe (the copier, or a keeper when a job begins or ends or a worker has died) puts them into
//!    the tail and behind what is pending under one lock, so that none is lost, doubled or out of order.
//! 2. Only the copier hands on, under no lock, so that nobody else is held up by a standard error that is stuck or by
//!    a subscriber.
//! 3. A pipe is read until it would block, never until its end: a stray process may hold it open.
//! 4. Memory is bounded: the copier reads no further while [`ENOUGH`] is pending, so that who prints waits; a keeper, which
//!    waits for nobody, takes what the pipe holds, and what goes beyond [`MOST`] is lost and counted.
//! 5. Where each line is told with its task: a worker is sent one job at a time, and its keeper marks the stream before it sends
//!    one and when it has the reply, after it has taken what the pipe holds. A worker flushes before it replies, so what lies
//!    between the two marks was printed while that job, and no other, ran.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    fs::{OFlags, fcntl_setfl},
    io::{Errno, ioctl_fionread, read},
    pipe::{PipeFlags, pipe_with},
};

use super::sink::Sink;
use crate::{
    error::TaskLabel,
    process::sys::{Bell, ClosedInCopies, wait_any},
    trace::JobSpan,
};

/// How much of what a process printed last is kept.
const TAIL: usize = 4096;

/// How much may be pending before the copier reads on.
const ENOUGH: usize = 16 * TAIL;

/// How much may be pending at all.
const MOST: usize = 1 << 20;

/// How long the end of a pool waits until everything has been handed on: the program's own standard error may be stuck.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One stream of one process.
#[derive(Debug)]
pub(super) struct Pipe {
    // Before the descriptor.
    _in_copies: ClosedInCopies,
    end: OwnedFd,
    /// Wakes the copier, once one watches.
    bell: OnceLock<Arc<Bell>>,
    /// Guards what has been read; taken alone.
    read: Mutex<Read>,
}

#[derive(Debug, Default)]
struct Read {
    tail: Vec<u8>,
    /// Not yet handed on.
    pending: Vec<Piece>,
    /// How many bytes that is.
    len: usize,
    /// The last line has no end yet.
    is_mid_line: bool,
    /// What was handed on last keeps a span open.
    keeps_span: bool,
    /// Nothing more is to be expected; the pipe is left once it is empty.
    over: bool,
}

/// What is handed on.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// So many bytes that came here were dropped.
    Lost(u64),
    /// What follows was printed while this task's job ran, or none.
    Of(Option<Owner>),
}

/// A task, for what is printed while its job runs.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "only events say whose they are"))]
pub(super) struct Owner {
    pub(super) label: TaskLabel,
    pub(super) span: JobSpan,
}

impl Pipe {
    /// Makes a pipe, and returns its end for the process.
    pub(super) fn new() -> std::io::Result<(Arc<Self>, OwnedFd)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Self::over(reader)?, writer))
    }

    /// Reads from a pipe that somebody else has made.
    pub(super) fn over(end: OwnedFd) -> std::io::Result<Arc<Self>> {
        fcntl_setfl(&end, OFlags::NONBLOCK)?;
        let _in_copies = ClosedInCopies::new(&end);
        Ok(Arc::new(Self { _in_copies, end, bell: OnceLock::new(), read: Mutex::default() }))
    }

    /// The last that the process printed, as text.
    pub(super) fn tail(&self) -> String {
        let mut read = self.lock();
        self.take_all(&mut read);
        String::from_utf8_lossy(&read.tail).into_owned()
    }

    /// The process is gone: what the pipe still holds is the last of it.
    pub(super) fn finish(&self) {
        let mut read = self.lock();
        self.take_all(&mut read);
        read.over = true;
        drop(read);
        self.ring();
    }

    /// Ascribes what is printed from now on to `task`.
    pub(super) fn mark(&self, task: Option<Owner>) {
        let mut read = self.lock();
        if read.over {
            return;
        }
        self.take_all(&mut read);
        let must_look = read.len > 0 || read.is_mid_line || read.keeps_span;
        read.is_mid_line = false;
        // A span that is not wanted any more closes once the lock is free.
        let last = match read.pending.last_mut() {
            Some(Piece::Of(last)) => std::mem::replace(last, task),
            _ => {
                read.pending.push(Piece::Of(task));
                None
            }
        };
        drop(read);
        drop(last);
        if must_look {
            self.ring();
        }
    }

    /// Takes what the pipe holds at this moment, and not what a flood brings after it.
    fn take_all(&self, read: &mut Read) {
        let waiting = ioctl_fionread(&self.end).unwrap_or(0);
        self.take(read, usize::try_from(waiting).unwrap_or(usize::MAX));
    }

    /// Takes up to `most` bytes out of the pipe. Says whether it is at its end.
    fn take(&self, state: &mut Read, mut most: usize) -> bool {
        let mut block = [0; TAIL];
        while most > 0 {
            let part = most.min(block.len());
            match read(&self.end, &mut block[..part]) {
                Ok(0) => return true,
                Ok(n) => {
                    state.add(&block[..n]);
                    most -= n;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                Err(_) => return true,
            }
        }
        false
    }

    /// What is to be handed on, and whether nothing more will come.
    fn next(&self) -> (Vec<Piece>, bool) {
        let mut read = self.lock();
        let room = ENOUGH.saturating_sub(read.len);
        read.over |= self.take(&mut read, room);
        read.len = 0;
        let pending = std::mem::take(&mut read.pending);
        read.keeps_span = keeps_span(&pending).unwrap_or(read.keeps_span);
        // What is over may have been read only in part.
        (pending, read.over && ioctl_fionread(&self.end).unwrap_or(0) == 0)
    }

    fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether who takes these keeps a span open afterwards; `None` if they say nothing about that.
fn keeps_span(pieces: &[Piece]) -> Option<bool> {
    pieces.iter().rev().find_map(|piece| match piece {
        Piece::Of(owner) => Some(owner.as_ref().is_some_and(|owner| !owner.span.is_none())),
        _ => None,
    })
}

impl Read {
    fn add(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..excess);
        self.is_mid_line = bytes.last().is_some_and(|&last| last != b'\n');
        let fits = bytes.len().min(MOST.saturating_sub(self.len));
        let (kept, lost) = bytes.split_at(fits);
        self.len += fits;
        match self.pending.last_mut() {
            _ if kept.is_empty() => {}
            Some(Piece::Bytes(last)) => last.extend_from_slice(kept),
            _ => self.pending.push(Piece::Bytes(kept.to_vec())),
        }
        match self.pending.last_mut() {
            _ if lost.is_empty() => {}
            Some(Piece::Lost(count)) => *count += lost.len() as u64,
            _ => self.pending.push(Piece::Lost(lost.len() as u64)),
        }
    }
}

/// Hands on what a pool's processes print.
#[derive(Debug)]
pub(super) struct Copier {
    bell: Arc<Bell>,
    /// Guards what the thread is told; taken alone.
    told: Mutex<Told>,
    ended: Condvar,
}

#[derive(Default)]
struct Told {
    /// Pipes that the thread has not seen yet.
    new: Vec<Watched>,
    /// Nothing will be added.
    over: bool,
    /// The thread has handed everything on.
    done: bool,
}

/// A pipe with where its bytes go.
struct Watched {
    pipe: Arc<Pipe>,
    sink: Sink,
}

impl Copier {
    /// Starts the thread.
    pub(super) fn start(pool: &str) -> std::io::Result<Arc<Self>> {
        let copier =
            Arc::new(Self { bell: Arc::new(Bell::new()?), told: Mutex::default(), ended: Condvar::new() });
        let run = copier.clone();
        thread::Builder::new().name(format!("{pool}-output")).spawn(move || run.run())?;
        Ok(copier)
    }

    pub(super) fn watch(&self, pipe: Arc<Pipe>, sink: Sink) {
        let _ = pipe.bell.set(self.bell.clone());
        self.lock().new.push(Watched { pipe, sink });
        self.bell.ring();
    }

    /// Ends the thread once everything has been handed on, and waits for that, but not for long.
    pub(super) fn end(&self) {
        self.lock().over = true;
        self.bell.ring();
        drop(self.ended.wait_timeout_while(self.lock(), LAST_WORDS, |told| !told.done));
    }

    fn run(&self) {
        let mut watched: Vec<Watched> = Vec::new();
        loop {
            self.bell.silence();
            let mut told = self.lock();
            watched.append(&mut told.new);
            let over = told.over;
            drop(told);
            // Those that are finished are closed here and now, not after the next wait.
            watched.retain_mut(Watched::hand_on);
            if over && watched.is_empty() {
                self.lock().done = true;
                return self.ended.notify_all();
            }
            let pipes = watched.iter().map(|watched| watched.pipe.end.as_fd());
            wait_any(std::iter::once(self.bell.as_fd()).chain(pipes));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Hands on what has come. Says whether there may be more.
    fn hand_on(&mut self) -> bool {
        let (pieces, over) = self.pipe.next();
        self.sink.take(pieces);
        if over {
            self.sink.finish();
        }
        !over
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told").field("over", &self.over).field("done", &self.done).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_tail_is_the_last_four_kibibytes() {
        let (pipe, writer) = Pipe::new().unwrap();
        let text: String = (0..2000).map(|n| format!("{n:04}\n")).collect();
        std::fs::File::from(writer).write_all(text.as_bytes()).unwrap();
        assert_eq!(pipe.tail(), text[text.len() - TAIL..]);
    }

    #[test]
    fn what_nobody_takes_is_kept_up_to_a_limit_and_the_rest_is_counted() {
        let (pipe, writer) = Pipe::new().unwrap();
        let mut writer = std::fs::File::from(writer);
        let block = vec![b'x'; 1 << 16];
        for _ in 0..20 {
            writer.write_all(&block).unwrap();
            pipe.mark(None);
        }
        let (pieces, over) = pipe.next();
        let (mut kept, mut lost) = (0, 0);
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => kept += bytes.len(),
                Piece::Lost(count) => lost += count,
                Piece::Of(_) => {}
            }
        }
        assert_eq!((kept, lost, over), (MOST, 4 << 16, false));
        assert_eq!(pipe.tail().len(), TAIL);
    }

    #[test]
    fn marks_lie_between_what_was_printed_before_and_after_them() {
        let (pipe, writer) = Pipe::new().unwrap();
        let mut writer = std::fs::File::from(writer);
        writer.write_all(b"before").unwrap();
        pipe.mark(None);
        pipe.mark(None);
        writer.write_all(b"after").unwrap();
        drop(writer);
        let (pieces, over) = pipe.next();
        let found = pieces.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Piece::Of(_) => "|".to_owned(),
            Piece::Lost(_) => "lost".to_owned(),
        });
        assert_eq!(found.collect::<String>(), "before|after");
        assert!(over, "it is at its end, and empty");
        // Nobody looks here any more, so nothing may pile up.
        pipe.mark(None);
        assert!(pipe.next().0.is_empty());
    }
}
