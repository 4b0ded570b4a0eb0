//! Standard error of workers: passed through, and its end kept. [`Stderr`] is one worker's, [`Copier`] the thread of a pool.
//!
//! 1. Whoever takes bytes from a pipe (the copier, or a keeper that wants the tail of a dead worker) puts them into the tail
//!    and into `pending` under one lock, so that none is lost or doubled.
//! 2. Only the copier writes to the program's standard error, so that nobody else is held up by it.
//! 3. A pipe is read until it would block, never until its end: a stray process may hold it open.

use std::{
    io::Write,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    fs::{OFlags, fcntl_setfl},
    io::{Errno, read},
    pipe::{PipeFlags, pipe_with},
};

use crate::process::sys::{Bell, wait_any};

/// How much of a worker's standard error is kept.
const TAIL: usize = 4096;

/// How long the end of a pool waits until everything has been passed on: the program's own standard error may be stuck.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The standard error of one process.
#[derive(Debug)]
pub(super) struct Stderr {
    pipe: OwnedFd,
    /// Wakes the copier, once one watches.
    bell: OnceLock<Arc<Bell>>,
    /// Guards what has been read; taken alone.
    read: Mutex<Read>,
}

#[derive(Debug, Default)]
struct Read {
    tail: Vec<u8>,
    /// Not yet passed on.
    pending: Vec<u8>,
    /// The process is gone; the pipe is left once it is empty.
    over: bool,
}

impl Stderr {
    /// Makes a pipe, and returns its end for the process.
    pub(super) fn new() -> std::io::Result<(Arc<Self>, OwnedFd)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Self::over(reader)?, writer))
    }

    /// Reads from a pipe that somebody else has made.
    pub(super) fn over(pipe: OwnedFd) -> std::io::Result<Arc<Self>> {
        fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
        Ok(Arc::new(Self { pipe, bell: OnceLock::new(), read: Mutex::default() }))
    }

    /// The last that the process wrote, as text.
    pub(super) fn tail(&self) -> String {
        self.take_in();
        String::from_utf8_lossy(&self.lock().tail).into_owned()
    }

    /// The process is gone: what the pipe still holds is the last of it.
    pub(super) fn finish(&self) {
        self.take_in();
        self.lock().over = true;
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }

    /// Reads until the pipe would block. Says whether it is at its end.
    fn take_in(&self) -> bool {
        let mut block = [0; TAIL];
        let mut state = self.lock();
        loop {
            match read(&self.pipe, &mut block) {
                Ok(0) => return true,
                Ok(n) => {
                    state.pending.extend_from_slice(&block[..n]);
                    state.tail.extend_from_slice(&block[..n]);
                    let excess = state.tail.len().saturating_sub(TAIL);
                    state.tail.drain(..excess);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                Err(_) => return true,
            }
            // A pipe that is filled faster than it is emptied must not hold up the others.
            if state.pending.len() >= 16 * TAIL {
                return false;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes on what a pool's processes write to standard error.
#[derive(Debug)]
pub(super) struct Copier {
    bell: Arc<Bell>,
    /// Guards the pipes that the thread watches; taken alone.
    watched: Mutex<Watched>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Watched {
    pipes: Vec<Arc<Stderr>>,
    /// Nothing will be added.
    over: bool,
    /// The thread has passed everything on.
    done: bool,
}

impl Copier {
    /// Starts the thread.
    pub(super) fn start(pool: &str) -> std::io::Result<Arc<Self>> {
        let copier =
            Arc::new(Self { bell: Arc::new(Bell::new()?), watched: Mutex::default(), ended: Condvar::new() });
        let run = copier.clone();
        thread::Builder::new().name(format!("{pool}-stderr")).spawn(move || run.run())?;
        Ok(copier)
    }

    pub(super) fn watch(&self, stderr: Arc<Stderr>) {
        let _ = stderr.bell.set(self.bell.clone());
        self.lock().pipes.push(stderr);
        self.bell.ring();
    }

    /// Ends the thread once everything has been passed on, and waits for that, but not for long.
    pub(super) fn end(&self) {
        self.lock().over = true;
        self.bell.ring();
        drop(self.ended.wait_timeout_while(self.lock(), LAST_WORDS, |watched| !watched.done));
    }

    fn run(&self) {
        loop {
            self.bell.silence();
            let (mut open, over) = {
                let watched = self.lock();
                (watched.pipes.clone(), watched.over)
            };
            let finished: Vec<bool> = open.iter().map(|pipe| pass_on(pipe)).collect();
            let mut finished = finished.into_iter();
            // Pipes are only ever added at the end, so the first ones are those looked at. Those that are finished are closed
            // here and now, not after the next wait.
            self.lock().pipes.retain(|_| !finished.next().unwrap_or(false));
            open.clone_from(&self.lock().pipes);
            if over && open.is_empty() {
                self.lock().done = true;
                return self.ended.notify_all();
            }
            let fds = std::iter::once(self.bell.as_fd()).chain(open.iter().map(|pipe| pipe.pipe.as_fd()));
            wait_any(fds);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes on what a pipe holds. Says whether nothing more will come.
fn pass_on(stderr: &Stderr) -> bool {
    let at_end = stderr.take_in();
    let (pending, over) = {
        let mut state = stderr.lock();
        (std::mem::take(&mut state.pending), state.over)
    };
    if !pending.is_empty() {
        // Standard error that is closed is nobody's fault.
        let _ = std::io::stderr().write_all(&pending);
        return false;
    }
    at_end || over
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_four_kibibytes() {
        let (stderr, writer) = Stderr::new().unwrap();
        let text: String = (0..2000).map(|n| format!("{n:04}\n")).collect();
        std::fs::File::from(writer).write_all(text.as_bytes()).unwrap();
        assert_eq!(stderr.tail(), text[text.len() - TAIL..]);
    }
}
