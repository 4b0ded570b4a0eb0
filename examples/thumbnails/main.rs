//! A web service that makes thumbnails of whatever strangers send it, and goes on when what they send is meant to end it.
//!
//! ```text
//! cargo run --release --example thumbnails --all-features -- [--listen ADDR] [--data DIR] [--workers N] [--run-timeout SECONDS]
//! ```
//!
//! | path | is |
//! |---|---|
//! | `POST /thumbnail?width=N` | the thumbnail, as PNG, of the PNG, JPEG, GIF or WebP in the body |
//! | `GET /images?limit=N&before=ID` | the latest pictures, as JSON |
//! | `GET /images/{id}`, `GET /images/{id}/thumbnail` | one of them, as it was sent and as it was answered |
//! | `GET /` | a page to drop a picture on |
//! | `GET /health` | whether the service answers, and how busy it is |
//! | `/dashboard` | the pools, live |
//!
//! A decoder of pictures is large, written for speed, and fed by strangers. So it runs in child processes ([`decoder`]), with
//! limits on time, memory and the number of jobs that wait; a picture that crashes it costs one process and is answered with an
//! error. The database, which blocks, is on a pool of threads ([`store`]). Whatever else could grow has a limit as well:
//! connections ([`door`]), bytes of requests that are in memory ([`budget`]), pictures that are kept.
//!
//! SIGTERM and Ctrl-C drain: no new connection, requests in flight are finished, then the pools end.

mod args;
mod budget;
mod decoder;
mod door;
mod failure;
mod heap;
mod hostile;
mod log;
mod picture;
mod service;
mod store;
mod upload;

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use args::{Args, Command};
use decoder::Decoder;
use door::Door;
use service::Service;
use store::Store;
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{sleep, timeout},
};

/// How long requests in flight may take once the service is asked to end.
const DRAIN: Duration = Duration::from_secs(15);

/// How long what was cut off then may take to be answered, and a pool to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> ExitCode {
    heap::give_back_what_is_large();
    let args = match args::parse(env::args_os().skip(1)) {
        Ok(Command::Serve(args)) => args,
        Ok(Command::Help) => {
            let _ = io::stdout().write_all(args::HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            log::write(&format!("{message}\n\n{}", args::HELP));
            return ExitCode::from(2);
        }
    };
    match serve(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::write(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Serves until it is asked to end.
async fn serve(args: Args) -> anyhow::Result<()> {
    let data = Data::new(args.data)?;
    let store = Store::open(data.path(), store::Limits::default())?;
    let decoder = Decoder::new(args.place, args.workers, args.run_timeout)?;
    let listener = TcpListener::bind(&args.listen).await?;
    let mut signals = Signals::listen()?;
    let _ = writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?);

    let (stop, stopping) = watch::channel(false);
    let router = Service::new(decoder.clone(), store.clone()).router(stopping.clone());
    let serving = axum::serve(Door::new(listener), router).with_graceful_shutdown(stopped(stopping));
    let mut serving = tokio::spawn(serving.into_future());

    signals.next().await;
    stop.send_replace(true);
    let all_answered = tokio::select! {
        _ = &mut serving => true,
        () = sleep(DRAIN) => false,
        () = signals.next() => false,
    };
    decoder.end(LAST_WORDS).await;
    if !all_answered {
        let _ = timeout(LAST_WORDS, serving).await;
    }
    store.end(LAST_WORDS).await;
    Ok(())
}

/// Resolves when the service is asked to end.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|&stopping| stopping).await;
}

/// Where the database lies: where the user said, or in a directory that is removed at the end.
enum Data {
    Given(PathBuf),
    Temporary(TempDir),
}

impl Data {
    fn new(given: Option<PathBuf>) -> io::Result<Self> {
        Ok(match given {
            Some(directory) => {
                std::fs::create_dir_all(&directory)?;
                Self::Given(directory)
            }
            None => Self::Temporary(tempfile::Builder::new().prefix("thumbnails-").tempdir()?),
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(directory) => directory,
            Self::Temporary(directory) => directory.path(),
        }
    }
}

/// The signals that ask for the end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
