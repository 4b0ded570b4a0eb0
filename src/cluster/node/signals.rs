//! [`hear`]: SIGINT and SIGTERM for nodes that serve, beside whoever else listens to them.
//!
//! ```text
//! serving ──first signal──▶ draining ──second──▶ giving back ──third──▶ (the program ends, by the signal)
//! ```

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};
use tokio::sync::watch;

/// How many signals there have been since the last node began to listen. ORDERING: Relaxed. Nothing else is read because of it.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Who hears the signals that come.
#[derive(Debug)]
pub(super) struct Ear(watch::Receiver<u64>);

impl Ear {
    /// Resolves with the next signal. Cancel safe.
    pub(super) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The thread that tells of them ends with the program.
            std::future::pending::<()>().await;
        }
    }
}

/// Installs handlers and thread, unless they are there.
pub(super) fn hear() -> io::Result<Ear> {
    /// Held while they are being installed, so that it happens once.
    static HEARD: Mutex<Option<watch::Receiver<u64>>> = Mutex::new(None);

    let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    if heard.is_none() {
        *heard = Some(install()?);
    }
    COUNT.store(0, Relaxed);
    let mut signals = heard.clone().expect("it was installed just now");
    signals.mark_unchanged();
    Ok(Ear(signals))
}

fn install() -> io::Result<watch::Receiver<u64>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (teller, heard) = watch::channel(0);
    let run = move || {
        for signal in signals.forever() {
            if COUNT.fetch_add(1, Relaxed) >= 2 {
                let _ = emulate_default_handler(signal);
            }
            teller.send_modify(|count| *count += 1);
        }
    };
    thread::Builder::new().name("heavy-node-sig".to_owned()).spawn(run)?;
    Ok(heard)
}
