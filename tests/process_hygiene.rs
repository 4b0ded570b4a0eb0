//! What a process pool leaves behind and costs: nothing.
//!
//! Each scenario runs in a process of its own, so that no other test disturbs its counts: this binary starts itself again
//! with `SCENARIO` set, and the one test that is named then plays the scenario.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "scenarios report to the test that started them"
)]

mod processes;

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use heavylift::{ProcessPool, Shutdown, Task};
use processes::*;
use rustix::process::{Pid, Signal, kill_process_group};

const SCENARIO: &str = "SCENARIO";

/// A scenario in a process and a process group of its own.
struct Program {
    child: Child,
    /// Its temporary files, which outlive it: not every scenario comes to an orderly end.
    _temporary: tempfile::TempDir,
}

impl Program {
    fn start(scenario: &str) -> Self {
        let temporary = tempfile::tempdir().expect("a directory");
        let child = Command::new(env::current_exe().expect("a path"))
            .args(["--exact", "scenario", "--nocapture", "--test-threads=1"])
            .env(SCENARIO, scenario)
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("the program starts again");
        Self { child, _temporary: temporary }
    }

    /// What it says on a line that begins with `topic`.
    #[track_caller]
    fn says(&mut self, topic: &str) -> String {
        let output = BufReader::new(self.child.stdout.take().expect("a pipe"));
        let line = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix(topic)?.strip_prefix(": ").map(str::to_owned));
        line.expect("a line")
    }

    fn kill(&self) {
        signal(self.child.id(), Signal::KILL);
    }

    fn wait(&mut self) {
        self.child.wait().expect("its end");
    }
}

#[track_caller]
fn plays(scenario: &str) {
    let Program { child, _temporary } = Program::start(scenario);
    let status = child.wait_with_output().expect("its end").status;
    assert!(status.success(), "{scenario}: {status}");
}

#[test]
fn scenario() {
    match env::var(SCENARIO).as_deref() {
        Ok("a thousand kills") => a_thousand_kills(),
        Ok("idle") => idle(),
        Ok("unused") => unused(),
        Ok("a worker's surroundings") => surroundings(),
        Ok("grandchildren") => grandchildren(),
        Ok("few descriptors") => few_descriptors(),
        Ok("spin") => spinning(),
        Ok("preload") => preloading(),
        Ok("last words") => last_words(),
        _ => {}
    }
}

#[test]
fn a_thousand_killed_workers_leave_no_descriptor_thread_or_zombie() {
    plays("a thousand kills");
}

fn a_thousand_kills() {
    let pool = pool(2);
    let round = |n: usize| {
        let tasks: Vec<Task<()>> = (0..n).map(|_| pool.run(kill_self, 9)).collect();
        for task in tasks {
            assert!(task.blocking_wait().expect_err("its worker died").is_worker_died());
        }
    };
    let settled = || {
        until("both workers are back", || pool.metrics().workers == 2 && descendants().len() == 3);
        let quiet = || (descriptors(), threads());
        let mut last = quiet();
        until("it is quiet", || {
            thread::sleep(Duration::from_millis(50));
            std::mem::replace(&mut last, quiet()) == last
        });
        last
    };
    round(20);
    let before = settled();
    round(1000);
    assert_eq!(settled(), before);
    assert_eq!(pool.metrics().worker_deaths, 1020);
    assert!(descendants().into_iter().all(|pid| state(pid) != 'Z'));
    pool.shutdown(Shutdown::Drain).blocking_wait();
    until("no process is left", || descendants().is_empty());
}

/// What this process has open, by kind and how many of it.
fn descriptors() -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for link in fs::read_dir("/proc/self/fd").expect("a list").flatten() {
        let Ok(target) = fs::read_link(link.path()) else { continue };
        let target = target.display().to_string();
        // `socket:[4711]` and `/memfd:arena (deleted)`: the number says nothing.
        let kind = target.split('[').next().unwrap_or_default().to_owned();
        *found.entry(kind).or_default() += 1;
    }
    found
}

fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('?')
}

#[test]
fn an_idle_pool_takes_no_cpu_time() {
    plays("idle");
}

fn idle() {
    let pool = pool(2);
    let tasks: Vec<Task<u64>> = (0..100).map(|n| pool.run(double, n)).collect();
    tasks.into_iter().for_each(|task| assert!(task.blocking_wait().is_ok()));
    until("it is idle", || pool.metrics().idle_workers == pool.metrics().workers);
    let processes: Vec<u32> = descendants().into_iter().chain([std::process::id()]).collect();
    let switches = |pid: &u32| -> u64 {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads").flatten();
        let status = tasks.map(|task| fs::read_to_string(task.path().join("status")).unwrap_or_default());
        status.map(|text| voluntary_switches(&text)).sum()
    };
    let ticks = || -> u64 { processes.iter().map(|&pid| cpu_ticks(pid)).sum() };
    let others = || -> u64 { processes.iter().filter(|&&pid| pid != std::process::id()).map(switches).sum() };
    // A worker that has answered its last job looks a few more times before it sleeps.
    until("the children sleep", || {
        let before = others();
        thread::sleep(Duration::from_millis(100));
        others() == before
    });
    // In this order, so that the reading itself lies outside of what is measured.
    let others_before = others();
    let ticks_before = ticks();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(ticks(), ticks_before, "ticks of CPU");
    assert_eq!(others(), others_before, "wakes of the children");
}

/// Whether a process runs. An orphan that is dead and not reaped yet does not.
fn lives(pid: u32) -> bool {
    exists(pid) && state(pid) != 'Z'
}

fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let fields: Vec<u64> =
        fields.split_ascii_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
    fields[11] + fields[12]
}

fn voluntary_switches(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

#[test]
fn a_program_that_uses_no_pool_starts_no_process_and_no_thread() {
    plays("unused");
}

fn unused() {
    // The test's own thread and the main one.
    assert_eq!(threads(), 2);
    let pool = ProcessPool::builder().max_workers(4).build().expect("a pool");
    assert_eq!((threads(), descendants().len()), (2, 0), "a pool that is not used");
    drop(pool);
    assert_eq!((threads(), descendants().len()), (2, 0));
}

#[test]
fn a_worker_has_few_descriptors_no_blocked_signal_and_default_handlers() {
    plays("a worker's surroundings");
}

fn surroundings() {
    let _mine: Vec<fs::File> = (0..20).map(|_| fs::File::open("/dev/null").expect("a file")).collect();
    let pool = pool(1);
    let open = pool.run(
        |()| {
            let listed = fs::read_dir("/proc/self/fd").expect("a list").flatten();
            listed
                .filter_map(|fd| fs::read_link(fd.path()).ok())
                .map(|to| to.display().to_string())
                .collect::<Vec<_>>()
        },
        (),
    );
    let open = open.blocking_wait().expect("a list");
    // Input, output, error, the socket, and the listing itself.
    assert_eq!(open.len(), 5, "{open:?}");
    assert_eq!(open[0], "/dev/null");
    let status = pool.run(|()| fs::read_to_string("/proc/self/status").expect("a status"), ());
    let status = status.blocking_wait().expect("a status");
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the line");
        u64::from_str_radix(line.trim(), 16).expect("a mask")
    };
    assert_eq!(mask("SigBlk:"), 0);
    // The two signals of the C library's own, which nobody can set, are as the program was started with.
    let own = 0b11 << 31;
    assert_eq!(mask("SigIgn:") & !own, 1 << 12, "SIGPIPE");
    assert_eq!(mask("SigCgt:"), 1 << 14, "SIGTERM, the polite request");
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

#[test]
fn the_children_of_a_killed_worker_go_with_it() {
    plays("grandchildren");
}

fn grandchildren() {
    let pool = pool(1);
    for _ in 0..5 {
        let mark = Mark::new();
        let task = pool.run(with_children, mark.arg());
        let pids: Vec<u32> = mark.text().split(' ').map(|pid| pid.parse().expect("a pid")).collect();
        assert!(pids.iter().all(|&pid| exists(pid)));
        task.cancel();
        pids.into_iter().for_each(gone);
        assert_eq!(pool.run(double, 1).blocking_wait().expect("the pool works"), 2);
    }
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

#[test]
fn with_few_descriptors_a_pool_works_or_says_what_is_missing() {
    plays("few descriptors");
}

fn few_descriptors() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).expect("a lower limit");
    let works = pool(2);
    let tasks: Vec<Task<Vec<u8>>> = (0..200).map(|n| works.run(|n: u8| vec![n; 100_000], n)).collect();
    tasks.into_iter().for_each(|task| assert_eq!(task.blocking_wait().expect("a value").len(), 100_000));
    works.shutdown(Shutdown::Drain).blocking_wait();
    for left in 0..14 {
        let starved = pool(1);
        let hoard: Vec<fs::File> =
            std::iter::from_fn(|| fs::File::open("/dev/null").ok()).skip(left).collect();
        let mut task = starved.run(double, 1);
        match task.blocking_wait_timeout(LONG).expect("an answer") {
            Ok(value) => assert_eq!(value, 2),
            Err(error) => {
                assert!(error.is_unavailable(), "{left}: {error}");
                assert!(error.to_string().contains("RLIMIT_NOFILE"), "{left}: {error}");
            }
        }
        drop(hoard);
        assert_eq!(starved.run(double, 2).blocking_wait().expect("it works again"), 4);
        starved.shutdown(Shutdown::Drain).blocking_wait();
    }
}

#[test]
fn no_process_survives_the_kill_of_its_program() {
    let mut program = Program::start("spin");
    let processes = spun_up(&mut program);
    program.kill();
    let all_gone = holds_within(Duration::from_secs(2), || processes.iter().all(|&pid| !lives(pid)));
    let left: Vec<&u32> = processes.iter().filter(|&&pid| lives(pid)).collect();
    assert!(all_gone, "{left:?}");
    program.wait();
}

#[test]
fn no_process_survives_an_interrupt_of_the_foreground_group() {
    let mut program = Program::start("spin");
    let processes = spun_up(&mut program);
    kill_process_group(Pid::from_child(&program.child), Signal::INT).expect("a group");
    program.wait();
    assert!(holds_within(Duration::from_secs(2), || processes.iter().all(|&pid| !lives(pid))));
}

#[test]
fn no_process_survives_its_program_although_the_zygote_is_stopped() {
    let mut program = Program::start("spin");
    let processes = spun_up(&mut program);
    signal(processes[0], Signal::STOP);
    program.kill();
    program.wait();
    assert!(holds_within(Duration::from_secs(2), || processes.iter().all(|&pid| !lives(pid))));
}

#[test]
fn no_zygote_survives_its_program_in_an_endless_preload_or_stopped_in_it() {
    for stopped in [false, true] {
        let mut program = Program::start("preload");
        let zygote = program.says("zygote").parse().unwrap();
        if stopped {
            signal(zygote, Signal::STOP);
        }
        program.kill();
        program.wait();
        assert!(holds_within(Duration::from_secs(2), || !lives(zygote)), "stopped: {stopped}");
    }
}

fn preloading() {
    let mark = Mark::new();
    let pool = builder(1)
        .preload(|mark: String| -> () { spin(mark) }, mark.arg())
        .start_timeout(LONG)
        .build()
        .expect("a pool");
    let _task = pool.run(double, 1);
    println!("\nzygote: {}", mark.pid());
    thread::sleep(LONG);
}

fn spinning() {
    let pool = pool(2);
    let marks = [Mark::new(), Mark::new(), Mark::new()];
    let _spin = [0, 1].map(|n: usize| pool.run(spin, marks[n].arg()));
    marks[..2].iter().for_each(|mark| {
        mark.pid();
    });
    let pids: Vec<String> = descendants().iter().map(ToString::to_string).collect();
    println!("\nprocesses: {}", pids.join(" "));
    thread::sleep(LONG);
}

/// The zygote and the workers of a spinning program, the zygote first.
#[track_caller]
fn spun_up(program: &mut Program) -> Vec<u32> {
    let said = program.says("processes");
    let processes: Vec<u32> = said.split(' ').map(|pid| pid.parse().expect("a pid")).collect();
    assert_eq!(processes.len(), 3);
    processes
}

#[test]
fn what_workers_wrote_to_standard_error_is_passed_on_before_the_pool_has_ended() {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "scenario", "--nocapture", "--test-threads=1"])
        .env(SCENARIO, "last words")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("word ")).collect();
    assert_eq!(lines.len(), 10_000);
    assert!(output.status.success());
}

fn last_words() {
    let pool = pool(1);
    let job = |()| (0..10_000).for_each(|n| eprintln!("word {n:0100}"));
    pool.run(job, ()).blocking_wait().expect("it prints");
    pool.shutdown(Shutdown::Drain).blocking_wait();
    // Nothing is given the time to follow.
    std::process::exit(0);
}
