//! Shared memory that outlives whoever dies.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use heavylift::{
    Executor, Inline, JobError, Payload, ProcessPool, Shared, SharedBytes, Shutdown, Task, TaskError,
    ThreadPool, fallible,
};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::processes::*;

const MIB: usize = 1 << 20;

#[track_caller]
fn ends(pool: &ProcessPool) {
    assert!(pool.shutdown(Shutdown::Kill).timeout(LONG).blocking_wait().is_complete());
}

fn piece(byte: u8, len: usize) -> SharedBytes {
    SharedBytes::create(len, |bytes| bytes.fill(byte)).expect("memory")
}

/// The inodes of the shared memory that a process has mapped, with the addresses.
fn mapped(pid: u32) -> Vec<(std::ops::Range<usize>, u64)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let ours = maps.lines().filter(|line| line.contains("/memfd:heavylift-shared"));
    ours.map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (from, to) = fields.next().and_then(|range| range.split_once('-')).expect("addresses");
        let address = |text| usize::from_str_radix(text, 16).expect("an address");
        (address(from)..address(to), fields.nth(3).and_then(|inode| inode.parse().ok()).expect("an inode"))
    })
    .collect()
}

/// Which memory lies behind these bytes, in this process.
#[track_caller]
fn inode(bytes: &[u8]) -> u64 {
    let address = bytes.as_ptr() as usize;
    let all = mapped(std::process::id());
    all.into_iter().find(|(range, _)| range.contains(&address)).expect("shared memory").1
}

/// How often a process holds a piece of memory: its mappings and its descriptors.
fn held(pid: u32, inode: u64) -> usize {
    let mappings = mapped(pid).into_iter().filter(|(_, other)| *other == inode).count();
    let listed = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let is_it = |fd: &fs::DirEntry| {
        let name = fs::read_link(fd.path()).unwrap_or_default();
        name.to_string_lossy().starts_with("/memfd:heavylift-shared")
            && fs::metadata(fd.path()).is_ok_and(|metadata| metadata.ino() == inode)
    };
    mappings + listed.filter(is_it).count()
}

/// Waits until neither this process nor any of its workers holds a piece.
#[track_caller]
fn freed(inode: u64) {
    let holders = || descendants().into_iter().chain([std::process::id()]);
    until("the memory is freed", || holders().all(|pid| held(pid, inode) == 0));
}

/// Which process this is, and which memory it sees.
fn seen(bytes: SharedBytes) -> (u32, u64) {
    (std::process::id(), inode(&bytes))
}

fn first(bytes: SharedBytes) -> u8 {
    bytes[0]
}

/// Anonymous memory of this process, in bytes.
fn anonymous() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    pid: u32,
    inode: u64,
    sum: u64,
    grown_by: usize,
}

/// Reads all of it.
fn read_all(bytes: SharedBytes) -> Report {
    let before = anonymous();
    let sum = bytes.iter().map(|&byte| u64::from(byte)).sum();
    let grown_by = anonymous().saturating_sub(before);
    Report { pid: std::process::id(), inode: inode(&bytes), sum, grown_by }
}

#[test]
fn one_buffer_reaches_many_jobs_in_several_workers_without_a_copy() {
    let pool = pool(2);
    let bytes = piece(3, 32 * MIB);
    let inode = inode(&bytes);
    let mut readers = std::collections::BTreeSet::new();
    until("both workers have read it", || {
        let tasks: Vec<Task<Report>> = (0..4).map(|_| pool.run(read_all, bytes.clone())).collect();
        for report in tasks.into_iter().map(value) {
            assert_eq!((report.inode, report.sum), (inode, 3 * 32 * MIB as u64));
            assert!(report.grown_by < 4 * MIB, "{report:?}");
            readers.insert(report.pid);
        }
        readers.len() == 2
    });
    for pid in readers {
        assert_eq!(held(pid, inode), 1, "mapped once, and no descriptor");
    }
    drop(bytes);
    freed(inode);
    ends(&pool);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Nested {
    Named { name: String, bytes: SharedBytes },
    Numbers(Shared<[f64]>, Option<Box<Nested>>),
    Many(Vec<SharedBytes>, [SharedBytes; 2]),
}

#[test]
fn it_crosses_wherever_it_lies_in_an_argument_or_a_result() {
    let pool = pool(1);
    let (a, b) = (piece(1, 100), piece(2, 200_000));
    let numbers = Shared::copy_from_slice(&[1.5, 2.5]).expect("memory");
    let named = Nested::Named { name: "x".repeat(5000), bytes: b.clone() };
    let inner = Nested::Numbers(numbers, Some(Box::new(named)));
    let many = Nested::Many(vec![a.clone(), b.clone(), a.clone()], [b, a]);
    let values = || vec![Some(&inner), None, Some(&many)];
    fn shuffle(mut values: Vec<Option<Nested>>) -> Vec<Option<Nested>> {
        values.reverse();
        values
    }
    let encode = |value: &Nested| match value {
        Nested::Numbers(numbers, Some(named)) => {
            let Nested::Named { name, bytes } = &**named else { panic!("as above") };
            let named = Nested::Named { name: name.clone(), bytes: bytes.clone() };
            Nested::Numbers(numbers.clone(), Some(Box::new(named)))
        }
        Nested::Many(list, pair) => Nested::Many(list.clone(), pair.clone()),
        _ => panic!("as above"),
    };
    let sent: Vec<Option<Nested>> = values().into_iter().map(|value| value.map(encode)).collect();
    let back = value(pool.run(shuffle, sent));
    let expected: Vec<Option<&Nested>> = values().into_iter().rev().collect();
    assert_eq!(back.iter().map(Option::as_ref).collect::<Vec<_>>(), expected);
    ends(&pool);
}

#[test]
fn a_hundred_different_ones_cross_at_once_and_each_piece_is_mapped_once() {
    let pool = pool(1);
    let pieces: Vec<SharedBytes> = (0..100).map(|n| piece(n, 10)).collect();
    let twice: Vec<SharedBytes> = pieces.iter().chain(&pieces).cloned().collect();
    let (firsts, mappings) = value(pool.run(
        |pieces: Vec<SharedBytes>| {
            (pieces.iter().map(|piece| piece[0]).collect::<Vec<u8>>(), mapped(std::process::id()).len())
        },
        twice,
    ));
    assert!(firsts.into_iter().eq((0..100).chain(0..100)));
    assert_eq!(mappings, 100);
    let too_many: Vec<SharedBytes> = (0..257).map(|_| piece(0, 1)).collect();
    let error = error(pool.run(|pieces: Vec<SharedBytes>| pieces.len(), too_many));
    assert!(error.is_encode() && error.to_string().contains("more than 256"), "{error}");
    ends(&pool);
}

#[test]
fn a_write_kills_the_worker_and_nobody_sees_a_change() {
    #[expect(unsafe_code, reason = "does what must not be done, in a process that may die of it")]
    fn write(bytes: SharedBytes) {
        // SAFETY: none. The memory cannot be written to: the process ends here.
        unsafe { bytes.as_ptr().cast_mut().write_volatile(9) };
    }
    let pool = pool(1);
    let bytes = piece(7, 5000);
    assert_eq!(value(pool.run(first, bytes.clone())), 7);
    let error = error(pool.run(write, bytes.clone()));
    assert_eq!(error.worker().and_then(|exit| exit.signal()), Some(Signal::SEGV.as_raw()), "{error}");
    assert_eq!(value(pool.run(first, bytes.clone())), 7);
    assert!(bytes.iter().all(|&byte| byte == 7));
    ends(&pool);
}

/// Tells which memory it has, then runs for ever.
fn hold((bytes, mark): (SharedBytes, String)) {
    assert!(!bytes.is_empty());
    spin(mark);
}

#[test]
fn it_is_freed_when_tasks_are_dropped_and_workers_killed_while_they_use_it() {
    let pool = pool(2);
    let bytes = piece(1, MIB);
    let inode = inode(&bytes);
    let (a, b) = (Mark::new(), Mark::new());
    let dropped = pool.run(hold, (bytes.clone(), a.arg()));
    let killed = pool.run(hold, (bytes.clone(), b.arg()));
    let (a, b) = (a.pid(), b.pid());
    let waiting: Vec<Task<u8>> = (0..20).map(|_| pool.run(first, bytes.clone())).collect();
    assert_eq!((held(a, inode), held(b, inode)), (1, 1));
    drop(bytes);
    drop(dropped);
    signal(b, Signal::KILL);
    assert!(error(killed).is_worker_died());
    waiting.into_iter().for_each(|task| assert_eq!(value(task), 1));
    freed(inode);
    ends(&pool);
}

#[test]
fn an_idle_worker_lets_go_of_it_as_soon_as_the_program_does() {
    let pool = pool(1);
    let bytes = piece(1, MIB);
    let (pid, inode) = value(pool.run(seen, bytes.clone()));
    let address = |bytes: SharedBytes| bytes.as_ptr() as usize;
    let first = value(pool.run(address, bytes.clone()));
    for _ in 0..20 {
        assert_eq!(value(pool.run(address, bytes.clone())), first, "one mapping serves all jobs");
    }
    until("the worker idles", || pool.metrics().idle_workers == 1);
    assert_eq!(held(pid, inode), 1, "kept for the next job");
    drop(bytes);
    freed(inode);
    ends(&pool);
}

#[test]
fn a_worker_that_is_never_idle_lets_go_of_it_too() {
    let pool = pool(1);
    let bytes = piece(1, MIB);
    let (pid, inode) = value(pool.run(seen, bytes.clone()));
    // One job always waits behind the one that runs.
    let busy: Vec<Task<()>> =
        (0..300).map(|_| pool.run(|()| std::thread::sleep(Duration::from_millis(5)), ())).collect();
    drop(bytes);
    until("the busy worker lets go", || held(pid, inode) == 0);
    assert!(busy.iter().any(|task| !task.is_finished()), "while it is busy");
    ends(&pool);
}

#[test]
fn a_job_that_was_taken_back_or_lost_its_worker_finds_its_memory_elsewhere() {
    let pool = pool(1);
    run_short_jobs(&pool);
    for kill in [true, false] {
        let mark = Mark::new();
        let running = pool.run(spin, mark.arg());
        let pid = mark.pid();
        let old = piece(100, 10);
        let behind: Vec<Task<u8>> =
            (0..50).map(|n| pool.run(first, if n % 2 == 0 { piece(n, 10) } else { old.clone() })).collect();
        if kill {
            signal(pid, Signal::KILL);
        } else {
            pool.resize(2).expect("two workers");
        }
        for (n, task) in (0..).zip(behind) {
            assert_eq!(value(task), if n % 2 == 0 { n } else { 100 });
        }
        drop(running);
    }
    ends(&pool);
}

/// Has the pool see that its jobs are short, so that it sends many ahead.
fn run_short_jobs(pool: &ProcessPool) {
    let tasks: Vec<Task<u64>> = (0..500).map(|n| pool.run(double, n)).collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(value(task), 2 * n);
    }
}

/// A result of `len` bytes made in place, and its memory.
fn make(len: usize) -> (u32, u64, SharedBytes) {
    let bytes = piece(5, len);
    (std::process::id(), inode(&bytes), bytes)
}

#[test]
fn a_result_comes_back_as_bytes_over_the_very_memory() {
    let pool = pool(1);
    for len in [0, 1, 100_000, 64 * MIB] {
        let (pid, there, bytes) =
            if len == 0 { (0, 0, value(pool.run(|()| piece(5, 0), ()))) } else { value(pool.run(make, len)) };
        let address = bytes.as_ptr();
        if len > 0 {
            assert_eq!(inode(&bytes), there);
            until("the worker is done with it", || held(pid, there) == 0);
        }
        let bytes = Bytes::from(bytes);
        assert_eq!((bytes.as_ptr(), bytes.len()), (address, len));
        assert!(bytes.iter().all(|&byte| byte == 5));
        drop(bytes);
        if len > 0 {
            freed(there);
        }
    }
    ends(&pool);
}

#[test]
fn what_a_job_was_given_comes_back_as_the_same_handle() {
    let pool = pool(1);
    let bytes = piece(8, MIB);
    let there_and_back = |bytes: &SharedBytes| value(pool.run(|bytes: SharedBytes| bytes, bytes.clone()));
    for _ in 0..3 {
        let back = there_and_back(&bytes);
        assert_eq!(back.as_ptr(), bytes.as_ptr());
    }
    assert_eq!(held(std::process::id(), inode(&bytes)), 2, "one mapping, one descriptor");
    // What a worker has made is the program's, and goes to other workers.
    let (pid, there, made) = value(pool.run(make, MIB));
    pool.resize(2).expect("two workers");
    let mark = Mark::new();
    let _busy = pool.run(spin, mark.arg());
    mark.pid();
    assert_eq!(value(pool.run(seen, made.clone())).1, there);
    signal(pid, Signal::KILL);
    assert_eq!(value(pool.run(seen, made)).1, there);
    ends(&pool);
}

#[test]
fn shared_slices_hold_any_plain_old_data() {
    let pool = pool(1);
    let table = Shared::create(1000, |rows: &mut [[u32; 3]]| {
        (0..).zip(rows).for_each(|(n, row)| *row = [n, n * n, 7]);
    });
    let table = table.expect("memory");
    let row = value(pool.run(|(table, at): (Shared<[[u32; 3]]>, usize)| table[at], (table, 30)));
    assert_eq!(row, [30, 900, 7]);
    let squares = value(pool.run(
        |n: usize| {
            Shared::create(n, |all: &mut [f64]| all.iter_mut().for_each(|x| *x = 2.0)).expect("memory")
        },
        1000,
    ));
    assert_eq!(squares.iter().sum::<f64>(), 2000.0);
    ends(&pool);
}

#[test]
fn thousands_one_after_the_other_leave_nothing_behind() {
    let pool = pool(2);
    let mut pids = Vec::new();
    let mut inodes = Vec::new();
    for n in 0..4000u32 {
        let bytes = SharedBytes::copy_from_slice(&n.to_le_bytes()).expect("memory");
        let job = |bytes: SharedBytes| (std::process::id(), bytes[..].to_vec());
        let task = pool.run(job, bytes.clone());
        if n % 400 == 0 {
            inodes.push(inode(&bytes));
        }
        drop(bytes);
        let (pid, back) = value(task);
        assert_eq!(back, n.to_le_bytes());
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    inodes.into_iter().for_each(freed);
    assert!(pids.len() <= 2, "no worker was replaced: {pids:?}");
    until("the workers have nothing mapped", || pids.iter().all(|&pid| mapped(pid).is_empty()));
    assert_eq!(pool.metrics().worker_deaths, 0);
    ends(&pool);
}

#[test]
fn a_worker_keeps_no_more_than_some_and_gets_the_others_again() {
    let pool = pool(1);
    let pieces: Vec<SharedBytes> = (0..200).map(|n| piece(n, 10)).collect();
    for _ in 0..3 {
        for (n, piece) in (0..).zip(&pieces) {
            let (byte, mappings) = value(
                pool.run(|bytes: SharedBytes| (bytes[0], mapped(std::process::id()).len()), piece.clone()),
            );
            assert_eq!(byte, n);
            assert!(mappings <= 66, "{mappings}");
        }
    }
    // All at once, more than are kept.
    let total =
        value(pool.run(|all: Vec<SharedBytes>| all.iter().map(|p| u64::from(p[0])).sum::<u64>(), pieces));
    assert_eq!(total, (0..200).sum::<u64>());
    ends(&pool);
}

#[test]
fn a_busy_worker_that_cannot_be_told_more_is_left_in_peace() {
    let pool = pool(1);
    run_short_jobs(&pool);
    let (started, end) = (Mark::new(), Mark::new());
    let running = pool.run(wait_for, (started.arg(), end.arg()));
    let pid = started.pid();
    // Each is sent ahead with new memory, and some are taken back again: far more messages than there is room for.
    let crowd = || -> Vec<Task<Vec<u8>>> {
        let firsts = |pieces: Vec<SharedBytes>| pieces.iter().map(|piece| piece[0]).collect::<Vec<u8>>();
        (0..2).map(|n| pool.run(firsts, (0..200).map(|m| piece(n + m, 10)).collect())).collect()
    };
    for _ in 0..3 {
        drop(crowd());
    }
    let last = crowd();
    let large: Task<usize> = pool.run(|bytes: Vec<u8>| bytes.len(), vec![1; 100_000]);
    end.set();
    assert_eq!(value(running), pid, "it was not harmed");
    for (n, task) in (0..).zip(last) {
        assert!(value(task).into_iter().eq(n..n + 200));
    }
    assert_eq!(value(large), 100_000);
    assert_eq!(value(pool.run(pid_of_worker, ())), pid);
    until("the worker has let go of everything", || mapped(pid).is_empty());
    ends(&pool);
}

fn pid_of_worker(_: ()) -> u32 {
    std::process::id()
}

#[test]
fn many_results_with_new_memory_come_in_while_nobody_awaits_them() {
    let pool = pool(2);
    let tasks: Vec<Task<Vec<SharedBytes>>> = (0..100)
        .map(|n: u8| pool.run(|n: u8| (0..n % 7).map(|m| piece(n + m, 5000)).collect::<Vec<_>>(), n))
        .collect();
    for (n, task) in (0..).zip(tasks) {
        let pieces = value(task);
        assert!(pieces.iter().map(|piece| piece[4999]).eq(n..n + n % 7));
    }
    let most = value(pool.run(|()| (0..=255).map(|n| piece(n, 1)).collect::<Vec<_>>(), ()));
    assert!(most.iter().map(|piece| piece[0]).eq(0..=255));
    assert_eq!(pool.metrics().worker_deaths, 0);
    ends(&pool);
}

/// What a job keeps for a later one.
static KEPT: Mutex<Vec<SharedBytes>> = Mutex::new(Vec::new());

fn kept() -> std::sync::MutexGuard<'static, Vec<SharedBytes>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn what_a_job_keeps_stays_readable_and_can_be_returned_later_only_if_it_is_its_own() {
    let pool = pool(1);
    let bytes = piece(4, 100);
    value(pool.run(|bytes: SharedBytes| kept().extend([bytes, piece(6, 100)]), bytes));
    assert_eq!(value(pool.run(|()| kept().iter().map(|bytes| bytes[99]).collect::<Vec<u8>>(), ())), [4, 6]);
    let own = value(pool.run(|()| kept()[1].clone(), ()));
    assert_eq!(own[0], 6);
    let error = error(pool.run(|()| kept()[0].clone(), ()));
    assert!(error.is_encode() && error.to_string().contains("copy it"), "{error}");
    value(pool.run(|()| kept().clear(), ()));
    ends(&pool);
}

fn pass_on(bytes: SharedBytes) -> Result<u8, JobError> {
    let inner = pool(1);
    let passed = inner.run(first, bytes).blocking_wait();
    inner.shutdown(Shutdown::Kill).blocking_wait();
    Ok(passed?)
}

#[test]
fn a_job_passes_on_to_its_own_pool_what_it_has_made_and_not_what_it_was_given() {
    let pool = pool(1);
    let given = value(pool.run(pass_on, piece(1, 10))).expect_err("it is not the job's own");
    assert!(given.to_string().contains("cannot be passed on: copy it"), "{given}");
    assert_eq!(value(pool.run(|()| pass_on(piece(2, 10)), ())).expect("it is"), 2);
    ends(&pool);
}

#[test]
fn a_worker_out_of_descriptors_says_so_and_gets_the_memory_again_later() {
    static HOARD: Mutex<Vec<fs::File>> = Mutex::new(Vec::new());
    let pool = pool(1);
    let pid = value(pool.run(pid, ()));
    let hoard = |()| {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(100), ..limit }).expect("a lower limit");
        let files = std::iter::from_fn(|| fs::File::open("/dev/null").ok());
        HOARD.lock().expect("no panic").extend(files);
    };
    value(pool.run(hoard, ()));
    let bytes = piece(3, 10);
    let missing = error(pool.run(first, bytes.clone()));
    assert!(missing.is_decode() && missing.to_string().contains("RLIMIT_NOFILE"), "{missing}");
    let made = error(pool.run(|()| piece(1, 1), ()));
    assert!(made.is_panicked() && made.to_string().contains("RLIMIT_NOFILE"), "{made}");
    value(pool.run(|()| HOARD.lock().expect("no panic").clear(), ()));
    assert_eq!(value(pool.run(first, bytes)), 3);
    assert_eq!(value(pool.run(pid_of_worker, ())), pid, "the same worker");
    ends(&pool);
}

/// In a process of its own, since it takes all descriptors there are.
const ALONE: &str = "SHARED_MEMORY_ALONE";

#[test]
fn a_program_out_of_descriptors_says_so_and_goes_on() {
    let program = std::env::current_exe().expect("a path");
    let mut alone = std::process::Command::new(program);
    alone.args(["--exact", "shared::out_of_descriptors", "--nocapture"]).env(ALONE, "1");
    assert!(alone.status().expect("its end").success());
}

#[test]
fn out_of_descriptors() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    let pool = pool(1);
    let pid = value(pool.run(pid, ()));
    let before = piece(9, 10);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(100), ..limit }).expect("a lower limit");
    let hoard: Vec<fs::File> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    let missing = SharedBytes::copy_from_slice(b"x").expect_err("no descriptor");
    assert!(missing.to_string().contains("RLIMIT_NOFILE"), "{missing}");
    let lost = error(pool.run(make, 10));
    assert!(lost.is_decode() && lost.to_string().contains("RLIMIT_NOFILE"), "{lost}");
    let back = value(pool.run(|bytes: SharedBytes| bytes, before.clone()));
    assert_eq!(back.as_ptr(), before.as_ptr(), "what needs no descriptor works");
    drop(hoard);
    assert_eq!(value(pool.run(make, 10)).0, pid, "the same worker");
    assert_eq!(pool.metrics().worker_deaths, 0);
    ends(&pool);
}

#[test]
fn it_does_not_count_as_memory_of_the_worker() {
    let pool = builder(1).max_memory_per_worker(32 << 20).build().expect("a pool");
    let bytes = piece(1, 128 * MIB);
    let touch = |bytes: SharedBytes| bytes.iter().step_by(4096).map(|&byte| u64::from(byte)).sum::<u64>();
    for _ in 0..3 {
        assert_eq!(value(pool.run(touch, bytes.clone())), 128 * MIB as u64 / 4096);
    }
    assert_eq!(pool.metrics().recycled, 0);
    ends(&pool);
}

#[test]
fn it_is_no_argument_of_preload_or_initializer() {
    let preload = builder(1).preload(|_: SharedBytes| (), piece(1, 1)).build();
    let initializer = builder(1).initializer(|_: SharedBytes| (), piece(1, 1)).build();
    for (field, built) in [("preload", preload), ("initializer", initializer)] {
        let error = built.expect_err("it crosses with jobs only");
        assert_eq!(error.field(), field);
        assert!(error.to_string().contains("shared memory"), "{error}");
    }
}

#[test]
fn it_works_alike_on_every_executor() {
    fn sum(executor: &impl Executor, bytes: &SharedBytes) -> u64 {
        fn job(bytes: SharedBytes) -> u64 {
            bytes.iter().map(|&byte| u64::from(byte)).sum()
        }
        value(executor.execute(job, bytes.clone()))
    }
    let bytes = piece(2, 1000);
    let pool = pool(1);
    assert_eq!(sum(&pool, &bytes), 2000);
    assert_eq!(sum(ThreadPool::cpu(), &bytes), 2000);
    let inline = Inline;
    assert_eq!(sum(&inline, &bytes), 2000);
    ends(&pool);
}

#[test]
fn errors_and_panics_between_leave_nothing_behind() {
    /// Fails on its way out or in, after the memory.
    #[derive(Debug)]
    struct Fails<const IN: bool>(SharedBytes);
    impl<const IN: bool> Serialize for Fails<IN> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if IN {
                return self.0.serialize(serializer);
            }
            self.0.serialize(serializer)?;
            panic!("in Serialize")
        }
    }
    impl<'de, const IN: bool> Deserialize<'de> for Fails<IN> {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let _bytes = SharedBytes::deserialize(deserializer)?;
            Err(serde::de::Error::custom("in Deserialize"))
        }
    }
    fn fails<T: Payload + std::fmt::Debug>(pool: &ProcessPool, make: fn(SharedBytes) -> T) -> [TaskError; 2] {
        let bytes = piece(1, MIB);
        let inode = inode(&bytes);
        let argument = error(pool.run(|_: T| (), make(bytes)));
        freed(inode);
        let result = error(pool.run(conjured::<T>, ()));
        let worker = value(pool.run(pid, ()));
        until("the worker has nothing mapped", || mapped(worker).is_empty());
        [argument, result]
    }
    fn conjured<T: Payload>(_: ()) -> T {
        let make: Box<dyn std::any::Any> = Box::new(Some(Fails::<true>(piece(1, MIB))));
        let mut other: Box<dyn std::any::Any> = Box::new(Some(Fails::<false>(piece(1, MIB))));
        let mut make = make;
        let made = make.downcast_mut::<Option<T>>().and_then(Option::take);
        made.or_else(|| other.downcast_mut::<Option<T>>()?.take()).expect("one of the two")
    }
    let pool = pool(1);
    let [argument, result] = fails(&pool, Fails::<false>);
    assert!(argument.is_encode() && result.is_encode(), "{argument} {result}");
    let [argument, result] = fails(&pool, Fails::<true>);
    assert!(argument.is_decode() && result.is_decode(), "{argument} {result}");
    assert_eq!(pool.metrics().worker_deaths, 0);
    ends(&pool);
}

#[test]
fn an_error_of_the_job_is_no_reason_to_keep_it() {
    let pool = pool(1);
    let bytes = piece(1, MIB);
    let inode = inode(&bytes);
    let fails = |bytes: SharedBytes| -> () { panic!("{} bytes", bytes.len()) };
    assert!(error(pool.run(fails, bytes.clone())).is_panicked());
    let endless = pool.job(
        |bytes: SharedBytes| {
            loop {
                std::hint::black_box(&bytes);
            }
        },
        bytes.clone(),
    );
    let endless: Task<()> = endless.run_timeout(Duration::from_millis(50)).run();
    assert!(error(endless).is_timed_out());
    let fails = |bytes: SharedBytes| Err::<(), _>(std::io::Error::other(format!("{} bytes", bytes.len())));
    assert!(value(pool.run(fallible(fails), bytes)).is_err());
    freed(inode);
    ends(&pool);
}
