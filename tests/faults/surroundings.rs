//! What a worker finds around it, and pools in strange surroundings.
//!
//! What this machine does not permit (namespaces, another user) is skipped, and a line says so.

#![expect(clippy::print_stdout, reason = "scenarios report to the test that started them")]

use std::{
    env, fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    thread::available_parallelism,
};

use heavylift::{ProcessPool, Shutdown, Task};
use rustix::process::Signal;

use crate::{
    processes::*,
    program::{Script, asked_for},
};

/// A user without any rights, on every system that we know of.
const NOBODY: u32 = 65534;
/// Where a scenario finds its mark.
const MARK: &str = "SCENARIO_MARK";

#[test]
fn scenario() {
    let Some(scenario) = asked_for() else { return };
    match &*scenario {
        "works" => works(),
        "descriptors" => descriptors(),
        "signals" => signals(),
        "environment" => environment(),
        "thread counts" => thread_counts(),
        "without proc" => without_proc(),
        "small shm" => small_shm(),
        "few descriptors" => few_descriptors(),
        "dropped rights" => dropped_rights(),
        "renewed" => renewed(),
        other => panic!("no such scenario: {other}"),
    }
}

fn script(scenario: &'static str) -> Script {
    Script::new("surroundings::scenario", scenario)
}

/// Runs `script` in a mount namespace of its own, after `commands`. Where that is not permitted nothing is shown.
fn in_namespace(commands: &str, script: Script) {
    let prepare = format!("{commands} && exec \"$@\"");
    let wrapper = ["unshare", "--mount", "--propagation=private", "sh", "-c", &prepare, "sh"];
    let probe = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    match probe {
        Ok(output) if output.status.success() => drop(script.under(&wrapper).play()),
        Ok(output) => skipped(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => skipped(&error.to_string()),
    }
}

fn skipped(why: &str) {
    // Not by `eprintln!`, which is heard only when a test fails.
    let _ = writeln!(io::stderr(), "SKIPPED: this machine does not permit it: {}", why.trim());
}

/// Everything that a pool does, and that nothing is left of it.
fn works() {
    let pool = pool(2);
    does_everything(&pool);
    pool.shutdown(Shutdown::Drain).blocking_wait();
    until("no process is left", || descendants().is_empty());
}

#[track_caller]
fn does_everything(pool: &ProcessPool) {
    let tasks: Vec<Task<u64>> = (0..100).map(|n| pool.run(double, n)).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(outcome(task).expect("a value"), 2 * n as u64);
    }
    let large = vec![7; 3 << 20];
    assert_eq!(outcome(pool.run(|bytes: Vec<u8>| bytes, large.clone())).expect("a large value"), large);
    let died = outcome(pool.run(kill_self, Signal::SEGV.as_raw())).expect_err("its worker died");
    assert_eq!(died.worker().and_then(heavylift::WorkerExit::signal), Some(11), "{died}");
    assert_eq!(outcome(pool.run(double, 4)).expect("a value"), 8);
}

#[test]
fn a_pool_works_in_a_session_of_its_own_and_without_a_terminal() {
    script("works").under(&["setsid", "--wait"]).play();
    script("works").under(&["nohup"]).play();
}

#[test]
fn a_pool_works_under_a_read_only_root() {
    // All of it, /tmp and /dev/shm too, though this binary may lie in /tmp.
    let all = "mount --bind /tmp /tmp && mount -o remount,ro,bind /tmp && mount -o remount,ro,bind / \
               && mount -t tmpfs -o ro none /dev/shm && ! touch /nothing 2>/dev/null && ! touch /tmp/nothing 2>/dev/null";
    in_namespace(all, script("works"));
}

#[test]
fn a_pool_works_as_the_first_process_of_a_container() {
    let wrapper = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"];
    match Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output() {
        Ok(output) if output.status.success() => drop(script("works").under(&wrapper).play()),
        _ => skipped("pid namespaces"),
    }
}

#[test]
fn payloads_do_not_need_dev_shm() {
    in_namespace("mount -t tmpfs -o size=64m none /dev/shm", script("small shm"));
}

fn small_shm() {
    let pool = pool(1);
    let large =
        outcome(pool.run(|bytes: Vec<u8>| bytes, vec![1; 100 << 20])).expect("more than /dev/shm holds");
    assert_eq!(large.len(), 100 << 20);
    assert_eq!(fs::read_dir("/dev/shm").map_or(0, Iterator::count), 0);
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

#[test]
fn without_proc_a_pool_says_what_is_missing() {
    in_namespace("mount -t tmpfs none /proc", script("without proc"));
}

fn without_proc() {
    let pool = pool(1);
    let error = outcome(pool.run(double, 1)).expect_err("there is no way to start this program again");
    assert!(error.is_unavailable(), "{error}");
    assert!(error.to_string().contains("/proc is not mounted"), "{error}");
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

#[test]
fn a_pool_works_with_64_descriptors() {
    script("few descriptors").under(&["sh", "-c", "ulimit -n 64 && exec \"$@\"", "sh"]).play();
}

fn few_descriptors() {
    let pool = pool(4);
    does_everything(&pool);
    // A burst of large payloads, for each of which a descriptor is sent.
    let tasks: Vec<Task<Vec<u8>>> = (0..100).map(|n| pool.run(|n: u8| vec![n; 300_000], n)).collect();
    tasks.into_iter().for_each(|task| assert_eq!(outcome(task).expect("a value").len(), 300_000));
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

/// A copy of this binary that anybody may run, in a directory of its own.
fn copy_for_anybody() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("program");
    fs::copy(env::current_exe().expect("a path"), &copy).expect("a copy");
    for path in [directory.path(), &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    (directory, copy)
}

#[test]
fn a_pool_works_as_another_user_than_root() {
    if !rustix::process::geteuid().is_root() {
        return skipped("changing the user; all other tests have run as one that is not root");
    }
    let (_directory, copy) = copy_for_anybody();
    let nobody = NOBODY.to_string();
    let wrapper = ["setpriv", "--reuid", &nobody, "--regid", &nobody, "--clear-groups"];
    script("works").of(copy).under(&wrapper).play();
}

#[test]
fn workers_whose_initializer_gave_up_its_rights_still_go_with_their_zygote() {
    if !rustix::process::geteuid().is_root() {
        return skipped("changing the user");
    }
    script("dropped rights").play();
}

fn dropped_rights() {
    let become_nobody = |()| {
        let nobody = rustix::process::Uid::from_raw(NOBODY);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("root may do that");
    };
    let pool = builder(1).initializer(become_nobody, ()).build().expect("a pool");
    let who = |()| (std::process::id(), rustix::process::getuid().as_raw());
    let (worker, user) = outcome(pool.run(who, ())).expect("a pid");
    assert_eq!(user, NOBODY);
    signal(descendants()[0], Signal::KILL);
    gone(worker);
    does_everything(&pool);
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

#[test]
fn a_worker_has_nothing_open_that_the_program_had() {
    // One descriptor that every program inherits, on top of those that the scenario opens.
    script("descriptors").under(&["sh", "-c", "exec 9</dev/zero && exec \"$@\"", "sh"]).play();
}

fn descriptors() {
    assert_eq!(fs::read_link("/proc/self/fd/9").expect("an inherited descriptor"), Path::new("/dev/zero"));
    let _mine: Vec<fs::File> =
        (0..20).map(|_| fs::File::open("/proc/self/status").expect("a file")).collect();
    let inherited = rustix::io::fcntl_getfd(&_mine[0]).map(|flags| flags.is_empty());
    assert_eq!(inherited, Ok(false), "what Rust opens is closed by exec; number 9 is not");
    let pool = pool(2);
    let tasks: Vec<Task<Vec<String>>> = (0..4).map(|_| pool.run(open_files, ())).collect();
    for task in tasks {
        let open = outcome(task).expect("a list");
        // Input, output, error and the socket; one more is the listing itself.
        assert_eq!(open.len(), 5, "{open:?}");
        assert_eq!(open[0], "/dev/null");
        assert!(!open.iter().any(|file| file == "/dev/zero" || file.ends_with("/status")), "{open:?}");
        assert_eq!(open.iter().filter(|file| file.starts_with("socket:")).count(), 1, "{open:?}");
    }
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

fn open_files(_: ()) -> Vec<String> {
    let listed = fs::read_dir("/proc/self/fd").expect("a list").flatten();
    listed.filter_map(|fd| Some(fs::read_link(fd.path()).ok()?.display().to_string())).collect()
}

#[test]
fn a_worker_blocks_and_ignores_no_signal_although_the_program_does() {
    script("signals").under(&["env", "--block-signal=USR1,INT,CHLD", "--ignore-signal=HUP,QUIT,CHLD"]).play();
}

fn signals() {
    let own = fs::read_to_string("/proc/self/status").expect("a status");
    assert!(
        mask(&own, "SigBlk:") != 0 && mask(&own, "SigIgn:") & 0b101 == 0b101,
        "the program's own:\n{own}"
    );
    let pool = pool(1);
    let status = pool.run(|()| fs::read_to_string("/proc/self/status").expect("a status"), ());
    let status = outcome(status).expect("a status");
    assert_eq!(mask(&status, "SigBlk:"), 0);
    // The two signals of the C library's own, which nobody can set, are as the program was started with.
    let library = 0b11 << 31;
    assert_eq!(mask(&status, "SigIgn:") & !library, 1 << (Signal::PIPE.as_raw() - 1));
    does_everything(&pool);
    pool.shutdown(Shutdown::Drain).blocking_wait();
}

fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the line");
    u64::from_str_radix(line.trim(), 16).expect("a mask")
}

#[test]
fn a_worker_has_the_environment_that_was_asked_for() {
    script("environment").with("FROM_OUTSIDE", "1").play();
}

fn environment() {
    let all = |()| env::vars().map(|(name, value)| format!("{name}={value}")).collect::<Vec<String>>();
    let has = |vars: &[String], what: &str| vars.iter().any(|var| var == what);
    let kept = builder(1).env("ASKED_FOR", "yes").env("FROM_OUTSIDE", "2").build().expect("a pool");
    let vars = outcome(kept.run(all, ())).expect("a list");
    assert!(has(&vars, "ASKED_FOR=yes") && has(&vars, "FROM_OUTSIDE=2"), "{vars:?}");
    assert!(vars.iter().any(|var| var.starts_with("PATH=")), "{vars:?}");
    assert!(!vars.iter().any(|var| var.starts_with("HEAVYLIFT_CHILD")), "{vars:?}");
    let cleared = builder(1).env_clear().env("ASKED_FOR", "yes").build().expect("a pool");
    let vars = outcome(cleared.run(all, ())).expect("a list");
    let others: Vec<&String> = vars.iter().filter(|var| !var.contains("_THREADS=")).collect();
    assert_eq!(others, ["ASKED_FOR=yes"]);
    for pool in [kept, cleared] {
        pool.shutdown(Shutdown::Drain).blocking_wait();
    }
}

/// The variables that tell libraries how many threads to start.
const THREAD_COUNTS: [&str; 5] =
    ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"];

#[test]
fn libraries_in_a_worker_start_their_share_of_threads_unless_the_user_says_otherwise() {
    let clean = THREAD_COUNTS.map(|name| format!("--unset={name}"));
    let wrapper: Vec<&str> =
        ["env"].into_iter().chain(clean.iter().map(String::as_str)).chain(["OMP_NUM_THREADS=13"]).collect();
    script("thread counts").under(&wrapper).play();
}

fn thread_counts() {
    let counts = |()| THREAD_COUNTS.map(|name| env::var(name).unwrap_or_default());
    let cpus = available_parallelism().map_or(1, usize::from);
    for workers in [1, 2, 1000] {
        let pool = builder(workers).env("MKL_NUM_THREADS", "17").build().expect("a pool");
        let share = (cpus / workers).max(1).to_string();
        let found = outcome(pool.run(counts, ())).expect("counts");
        // Set in the program's environment, and by the builder.
        assert_eq!(found, [&share, "13", &share, "17", &share], "{workers} workers on {cpus} CPUs");
        pool.shutdown(Shutdown::Drain).blocking_wait();
    }
}

#[test]
fn a_program_whose_file_is_deleted_or_replaced_goes_on_as_it_was() {
    for replaced in [false, true] {
        let (directory, copy) = copy_for_anybody();
        let mark = Mark::new();
        let mut program = script("renewed").of(copy.clone()).with(MARK, &mark.arg()).start();
        program.says("ready");
        if replaced {
            let other = directory.path().join("other");
            fs::write(&other, "#!/bin/sh\necho another program\n").expect("another program");
            fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).expect("its mode");
            fs::rename(&other, &copy).expect("one takes the place of the other");
        } else {
            fs::remove_file(&copy).expect("it is deleted");
        }
        mark.set();
        assert!(program.ends_well(), "replaced: {replaced}");
    }
}

/// Starts more workers, and another zygote, after its file has been changed.
fn renewed() {
    let pool = pool(1);
    does_everything(&pool);
    println!("\nready: now");
    let mark = env::var(MARK).expect("a mark");
    until("the file is changed", || Path::new(&mark).exists());
    pool.resize(2).expect("more workers");
    does_everything(&pool);
    let zygote = descendants()[0];
    signal(zygote, Signal::KILL);
    gone(zygote);
    until("its workers are gone", || pool.metrics().worker_deaths > 2);
    does_everything(&pool);
    pool.shutdown(Shutdown::Drain).blocking_wait();
}
