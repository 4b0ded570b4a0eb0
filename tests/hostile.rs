//! A worker that turns against the program: a job that attacks its own link, in a real process.
//!
//! What the ring's own property test does to the parent's side in memory, this does from outside: through the arena's
//! mapping (found in /proc/self/maps), and through the socket (found in /proc/self/fd). Everything of that worker may be
//! lost or wrong; nothing of anybody else's.

#![expect(
    unsafe_code,
    reason = "a hostile process does what it can, and that needs neither types nor owners"
)]

mod processes;

use std::{
    fs,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use heavylift::{ProcessPool, Shutdown, Task, TaskError};
use processes::*;
use proptest::{collection::vec, prelude::*, test_runner::Config};
use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create},
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg},
};
use serde::{Deserialize, Serialize};

/// One act against the parent. Offsets and slots are taken modulo what there is.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Blow {
    /// Bytes anywhere in the shared memory.
    Scribble {
        offset: u64,
        bytes: Vec<u8>,
    },
    /// A number where a slot has its word, or one of its other fields.
    Forge {
        slot: u64,
        field: u64,
        value: u64,
    },
    /// Doorbells that nothing calls for.
    Ring(u16),
    /// A message of any content.
    Say(Vec<u8>),
    /// A message that looks right, with a number of descriptors.
    Offer {
        tag: u8,
        id: u32,
        len: u64,
        fds: u8,
        sealed: bool,
    },
    Pause(u16),
    HangUp,
    /// Tells the test, and does nothing else.
    Mark(String),
}

/// What follows the blows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Finale {
    Return,
    RunForEver,
    /// Returns, while a thread that was left behind goes on.
    Haunt,
    /// Strikes again and again, for ever.
    Repeat,
}

/// What a hostile job has found of its own link.
struct Link {
    socket: BorrowedFd<'static>,
    /// Start and length of every shared mapping.
    memory: Vec<(usize, usize)>,
}

// The layout of `src/process/ring`: blows that know it hit what matters more often.
const HEAD: usize = 3 * 64;
const SLOT: usize = 64 + 2048;
const SLOTS: usize = 256;

impl Link {
    fn find() -> Self {
        let listed = fs::read_dir("/proc/self/fd").expect("a list").flatten();
        let is_socket = |path: &std::path::Path| {
            fs::read_link(path).is_ok_and(|to| to.display().to_string().starts_with("socket:"))
        };
        let socket = listed.map(|fd| fd.path()).find(|path| is_socket(path)).expect("the link's socket");
        let number = socket.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a number");
        // SAFETY: the descriptor is the link's, open as long as the process lives.
        let socket = unsafe { BorrowedFd::borrow_raw(number) };
        let (arena, mut memory) = ((HEAD + SLOTS * SLOT).next_multiple_of(4096), shared_mappings());
        assert!(memory.iter().any(|&(_, len)| len == arena), "the arena is laid out otherwise: {memory:?}");
        // Before the segments.
        memory.sort_by_key(|&(_, len)| len != arena);
        Self { socket, memory }
    }

    fn strike(&self, blow: &Blow) {
        match blow {
            Blow::Scribble { offset, bytes } => bytes.iter().zip(0..).for_each(|(&byte, n)| {
                let all: usize = self.memory.iter().map(|(_, len)| len).sum();
                self.write(offset.wrapping_add(n) as usize % all.max(1), byte);
            }),
            Blow::Forge { slot, field, value } => {
                let at = HEAD + (*slot as usize % SLOTS) * SLOT + (*field as usize % 8) * 8;
                value.to_ne_bytes().into_iter().zip(at..).for_each(|(byte, at)| self.write(at, byte));
            }
            Blow::Ring(times) => (0..*times).for_each(|_| self.say(&message(1, 0, 0))),
            Blow::Say(bytes) => self.say(bytes),
            Blow::Offer { tag, id, len, fds, sealed } => self.offer(&message(*tag, *id, *len), *fds, *sealed),
            Blow::Pause(micros) => thread::sleep(Duration::from_micros(u64::from(*micros))),
            Blow::Mark(mark) => set_mark(mark, &std::process::id().to_string()),
            Blow::HangUp => {
                let _ = rustix::net::shutdown(self.socket, rustix::net::Shutdown::Both);
            }
        }
    }

    /// Writes a byte, counted over all mappings: the arena comes first.
    fn write(&self, mut at: usize, byte: u8) {
        for &(start, len) in &self.memory {
            if at < len {
                let place = std::ptr::with_exposed_provenance_mut::<u8>(start + at);
                // SAFETY: it lies in a writable mapping; the other side knows that anything may be written there, and what
                // becomes of this process does not matter.
                return unsafe { place.write_volatile(byte) };
            }
            at -= len;
        }
    }

    /// Waits for room, so that a flood does not end for want of it.
    fn say(&self, bytes: &[u8]) {
        while send(self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) == Err(Errno::AGAIN) {
            thread::yield_now();
        }
    }

    fn offer(&self, bytes: &[u8], count: u8, sealed: bool) {
        let memory = stray_memory(sealed);
        let fds = vec![memory.as_fd(); usize::from(count)];
        let mut space = [MaybeUninit::uninit(); 2048];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let _ = sendmsg(
            self.socket,
            &[std::io::IoSlice::new(bytes)],
            &mut control,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        );
    }
}

/// A message as a worker would send it.
fn message(tag: u8, id: u32, len: u64) -> Vec<u8> {
    [&[tag][..], &id.to_le_bytes(), &len.to_le_bytes()].concat()
}

fn stray_memory(sealed: bool) -> OwnedFd {
    let memory = memfd_create("stray", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("memory");
    ftruncate(&memory, 4096).expect("its size");
    if sealed {
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW).expect("its seals");
    }
    memory
}

/// The mappings of memfds that are shared and writable.
fn shared_mappings() -> Vec<(usize, usize)> {
    let maps = fs::read_to_string("/proc/self/maps").expect("a list");
    let ours = maps.lines().filter(|line| line.contains(" rw-s ") && line.contains("memfd:heavylift"));
    let range = |line: &str| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        Some((start, end - start))
    };
    ours.filter_map(range).collect()
}

/// The hostile job. Says who it is, then strikes.
fn attack((mark, blows, finale): (String, Vec<Blow>, Finale)) -> u64 {
    let link = Link::find();
    set_mark(&mark, &std::process::id().to_string());
    let strike_all = move |link: &Link| blows.iter().for_each(|blow| link.strike(blow));
    match finale {
        Finale::Return => strike_all(&link),
        Finale::RunForEver => {
            strike_all(&link);
            loop {
                thread::park();
            }
        }
        Finale::Haunt => drop(thread::spawn(move || {
            loop {
                strike_all(&link);
                thread::sleep(Duration::from_micros(50));
            }
        })),
        Finale::Repeat => loop {
            strike_all(&link);
        },
    }
    7
}

/// An honest job: says where it ran, and returns what can be checked.
fn honest((n, size): (u64, usize)) -> (u32, u64, Vec<u8>) {
    (std::process::id(), n, vec![n as u8; size])
}

/// Panics in any thread of this process, other than those that the tests' own assertions make.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// One test at a time: they count what the whole process does.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if thread::current().name().is_some_and(|name| name.starts_with("hostile-")) {
                PANICS.fetch_add(1, SeqCst);
            }
            before(info);
        }));
    });
    guard
}

fn hostile_pool() -> ProcessPool {
    // A worker that is out of step takes no more jobs, and is killed after this.
    builder(3).name("hostile").start_timeout(Duration::from_secs(1)).build().expect("a pool")
}

#[track_caller]
fn outcome<T>(mut task: Task<T>) -> Result<T, TaskError> {
    task.blocking_wait_timeout(LONG).expect("every task finishes, whatever one worker does")
}

/// A job on another worker, from before the attack until after it.
struct Neighbour {
    pid: u32,
    end: Mark,
    task: Task<u32>,
}

impl Neighbour {
    fn start(pool: &ProcessPool) -> Self {
        let (started, end) = (Mark::new(), Mark::new());
        let task = pool.run(wait_for, (started.arg(), end.arg()));
        Self { pid: started.pid(), end, task }
    }
}

/// How long any job may run; far longer than an honest one takes.
const LIMIT: Duration = Duration::from_secs(5);

/// Has one of three workers strike while the others work, and returns what became of its job and of it.
fn play(pool: &ProcessPool, blows: &[Blow], finale: Finale) -> (Result<u64, TaskError>, u32) {
    let neighbours = [(); 2].map(|()| Neighbour::start(pool));
    let mark = Mark::new();
    // A worker can say that it runs a job for as long as it likes, or until its time is over.
    let task = pool.job(attack, (mark.arg(), blows.to_vec(), finale)).run_timeout(LIMIT).run();
    let hostile = mark.pid();
    // On whatever worker they come to run.
    let others: Vec<Task<(u32, u64, Vec<u8>)>> = (0..30)
        .map(|n| pool.job(honest, (n, [3, 3000, 100_000][n as usize % 3])).run_timeout(LIMIT).run())
        .collect();
    for neighbour in &neighbours[1..] {
        neighbour.end.set();
    }
    for (n, other) in others.into_iter().enumerate() {
        match outcome(other) {
            Ok((pid, found, _)) if pid == hostile || found != n as u64 => {}
            Ok((_, _, bytes)) => assert!(bytes.iter().all(|&byte| byte == n as u8), "job {n}"),
            Err(error) => assert!(!error.is_unavailable() && !error.is_closed(), "job {n}: {error}"),
        }
    }
    let task = if finale == Finale::RunForEver { give_up(task) } else { outcome(task) };
    for Neighbour { pid, end, task } in neighbours {
        end.set();
        assert_eq!(outcome(task).expect("another worker's result"), pid);
    }
    (task, hostile)
}

/// Gives the parent the time to find out by itself, then cancels.
fn give_up(mut task: Task<u64>) -> Result<u64, TaskError> {
    task.blocking_wait_timeout(Duration::from_millis(20)).unwrap_or_else(|| {
        task.cancel();
        outcome(task)
    })
}

#[track_caller]
fn ends(pool: &ProcessPool) {
    pool.shutdown(Shutdown::Kill).timeout(LONG).blocking_wait();
    assert_eq!(PANICS.load(SeqCst), 0, "no thread of the pool panics");
}

#[track_caller]
fn is_convicted(blows: &[Blow], note: &str) {
    let pool = hostile_pool();
    let (outcome, hostile) = play(&pool, blows, Finale::Repeat);
    let error = outcome.expect_err("it ran for ever");
    assert!(error.is_worker_died(), "{blows:?}: {error}");
    assert_eq!(error.worker().map(heavylift::WorkerExit::pid), Some(hostile));
    assert!(error.to_string().contains(note), "{blows:?}: {error}");
    gone(hostile);
    assert_eq!(outcome_of_double(&pool), 42);
    ends(&pool);
}

fn outcome_of_double(pool: &ProcessPool) -> u64 {
    outcome(pool.run(double, 21)).expect("the pool works")
}

#[test]
fn a_worker_that_floods_its_socket_is_killed() {
    let _alone = alone();
    is_convicted(&[Blow::Ring(1)], "it sent messages that nothing called for");
    is_convicted(&[Blow::Ring(1), Blow::Pause(200)], "it sent messages that nothing called for");
    // Its memory is a page: the room, and what stands behind it.
    let (segment, forget) =
        (|id| Blow::Offer { tag: 2, id, len: 4096 - 64, fds: 1, sealed: true }, Blow::Say(message(3, 5, 0)));
    is_convicted(&[segment(5), forget], "it sent messages that nothing called for");
}

#[test]
fn a_worker_that_sends_what_no_worker_sends_is_killed() {
    let _alone = alone();
    let note = "it sent what no worker sends";
    is_convicted(&[Blow::Say(message(99, 0, 0))], note);
    is_convicted(&[Blow::Say(vec![1, 2])], note);
    is_convicted(&[Blow::Offer { tag: 1, id: 0, len: 0, fds: 1, sealed: true }], note);
    is_convicted(&[Blow::Offer { tag: 2, id: 9, len: 4096, fds: 1, sealed: false }], note);
    is_convicted(&[Blow::Offer { tag: 2, id: 9, len: 1 << 20, fds: 1, sealed: true }], note);
    is_convicted(&[Blow::Offer { tag: 2, id: 9, len: u64::MAX, fds: 1, sealed: true }], note);
    let note = "its message cannot be received";
    is_convicted(&[Blow::Offer { tag: 1, id: 0, len: 0, fds: 60, sealed: true }], note);
    is_convicted(&[Blow::Say(vec![1; 5000])], note);
    is_convicted(&[Blow::HangUp], "its job closed the worker's own descriptors");
}

#[test]
fn a_worker_that_lies_about_when_it_began_does_not_outlive_run_timeout() {
    let _alone = alone();
    for value in [0, 1, u64::MAX / 2, u64::MAX] {
        let pool = hostile_pool();
        let mark = Mark::new();
        let lies = (0..SLOTS as u64).map(|slot| Blow::Forge { slot, field: 1, value }).collect();
        let job = pool.job(attack, (mark.arg(), lies, Finale::Repeat));
        let error = outcome(job.run_timeout(Duration::from_millis(100)).run()).expect_err("it ran for ever");
        assert!(error.is_timed_out(), "{error}");
        gone(mark.pid());
        ends(&pool);
    }
}

#[test]
fn a_worker_that_spoils_its_running_slot_does_not_outlive_the_cancelling_of_its_job() {
    let _alone = alone();
    // One worker, so that nothing else makes its keeper look.
    let pool = builder(1).name("hostile").build().expect("a pool");
    let (begun, spoilt) = (Mark::new(), Mark::new());
    // Once the parent has seen that the job runs, the word of every slot: it can no longer tell what that is.
    let spoil = (0..SLOTS as u64).map(|slot| Blow::Forge { slot, field: 0, value: u64::MAX });
    let blows = [Blow::Pause(50_000)].into_iter().chain(spoil).chain([Blow::Mark(spoilt.arg())]);
    let task = pool.run(attack, (begun.arg(), blows.collect(), Finale::RunForEver));
    let hostile = spoilt.pid();
    task.cancel();
    let error = outcome(task).expect_err("it ran for ever");
    assert!(error.is_cancelled(), "{error}");
    gone(hostile);
    assert_eq!(outcome_of_double(&pool), 42);
    ends(&pool);
}

fn blow() -> impl Strategy<Value = Blow> {
    let number = prop_oneof![any::<u64>(), 0..1_000u64, (0..40u64, 0..8u64).prop_map(|(p, s)| p << 3 | s)];
    let bytes = || vec(any::<u8>(), 0..64);
    prop_oneof![
        3 => (any::<u64>(), bytes()).prop_map(|(offset, bytes)| Blow::Scribble { offset, bytes }),
        3 => (0..64u64, bytes()).prop_map(|(offset, bytes)| Blow::Scribble { offset, bytes }),
        8 => (0..40u64, 0..8u64, number).prop_map(|(slot, field, value)| Blow::Forge { slot, field, value }),
        1 => (0..400u16).prop_map(Blow::Ring),
        1 => bytes().prop_map(Blow::Say),
        1 => (0..8u8, 0..9u32, 0..20_000u64, 0..6u8, any::<bool>())
            .prop_map(|(tag, id, len, fds, sealed)| Blow::Offer { tag, id, len, fds, sealed }),
        4 => (0..2000u16).prop_map(Blow::Pause),
    ]
}

fn finale() -> impl Strategy<Value = Finale> {
    prop_oneof![Just(Finale::Return), Just(Finale::RunForEver), Just(Finale::Haunt)]
}

proptest! {
    #![proptest_config(Config { cases: cases(), failure_persistence: None, max_shrink_iters: 20, ..Config::default() })]

    #[test]
    fn whatever_one_worker_does_the_others_and_the_program_go_on(blows in vec(blow(), 1..40), finale in finale()) {
        let _alone = alone();
        let before = (open_descriptors(), mappings());
        let pool = hostile_pool();
        let (_, hostile) = play(&pool, &blows, finale);
        if finale == Finale::RunForEver {
            gone(hostile);
        }
        ends(&pool);
        drop(pool);
        gone(hostile);
        until("nothing is left of it", || open_descriptors() <= before.0 && mappings() == before.1);
    }
}

/// How many attacks are tried: more on demand, as for proptest itself.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40)
}

fn mappings() -> usize {
    shared_mappings().len()
}
