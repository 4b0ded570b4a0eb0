//! Every example, run as its reader would run it: its exit status and the lines that matter.
//!
//! `cargo test` has built them. Each run is bounded, and killed when it takes too long.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::PermissionsExt, process::CommandExt, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Once, mpsc},
    thread,
    time::{Duration, Instant},
};

#[cfg(feature = "dashboard")]
use std::{io::Write as _, net::TcpStream};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, geteuid, kill_process, pidfd_open},
};
use tempfile::TempDir;

#[cfg(feature = "nats")]
#[path = "cluster/examples.rs"]
mod cluster;

// The pieces of `digest` that have tests of their own, which `cargo test` does not run in an example.
#[path = "../examples/digest/args.rs"]
#[allow(dead_code, reason = "only the tests in it are wanted")]
mod args;
#[path = "../examples/digest/name.rs"]
#[allow(dead_code, reason = "only the tests in it are wanted")]
mod name;
#[cfg(feature = "nats")]
#[path = "cluster/server.rs"]
mod server;
#[path = "../examples/digest/walk.rs"]
#[allow(dead_code, reason = "only the tests in it are wanted")]
mod walk;

/// A run that takes longer is killed, and its test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the program of an example, which lies beside this test in the target directory.
fn example(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let program = profile.join("examples").join(name);
    if !program.exists() {
        build_examples(profile);
    }
    program
}

/// `cargo test --test examples` alone builds no example.
fn build_examples(profile: &Path) {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let name = match profile.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "--examples", "--profile", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
        let features = [
            ("dashboard", cfg!(feature = "dashboard")),
            ("metrics", cfg!(feature = "metrics")),
            ("nats", cfg!(feature = "nats")),
            ("tracing", cfg!(feature = "tracing")),
        ];
        let on: Vec<&str> = features.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect();
        command.args(["--features", &on.join(",")]);
        let target = profile.parent().unwrap();
        assert!(command.env("CARGO_TARGET_DIR", target).status().unwrap().success());
    });
}

/// Waits for the end of a process, and kills it when that takes too long.
fn output_of(child: Child) -> Output {
    let pid = pid_of(&child);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(PATIENCE) else {
        kill_process(pid, Signal::KILL).unwrap();
        let output = receiver.recv().unwrap().unwrap();
        panic!("still running after {PATIENCE:?}: {output:?}");
    };
    output.unwrap()
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn run(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    output_of(command.spawn().unwrap())
}

/// Waits for the first line that a process prints, and kills it when that takes too long. Its stdout is closed then.
fn first_line(child: &mut Child) -> String {
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        sender.send(stdout.read_line(&mut line).map(|_| line))
    });
    receiver
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| {
            child.kill().unwrap();
            panic!("no line within {PATIENCE:?}");
        })
        .unwrap()
}

/// Does something that may wait, for so long and no longer.
#[cfg(feature = "nats")]
fn in_time<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(f()));
    receiver.recv_timeout(PATIENCE).expect("it comes in time")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs an example that must succeed, and returns the lines that it prints.
fn lines_of(name: &str) -> Vec<String> {
    let output = run(&mut Command::new(example(name)));
    assert!(output.status.success(), "{name}: {:?}\n{}", output.status, text(&output.stderr));
    text(&output.stdout).lines().map(String::from).collect()
}

/// Returns the number behind `label` in `line`.
fn number_after(label: &str, line: &str) -> u32 {
    let (_, rest) = line.split_once(label).unwrap_or_else(|| panic!("no {label:?} in {line:?}"));
    let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap_or_else(|_| panic!("no number after {label:?} in {line:?}"))
}

#[test]
fn squares_come_in_order_from_other_processes() {
    let mut lines = lines_of("squares");
    let last = lines.pop().unwrap();
    let ours = number_after("this is process", &last);
    assert_eq!(lines.len(), 10);
    for (n, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!("{} from", n * n)), "{line}");
        assert_ne!(number_after("process", line), ours);
    }
}

#[test]
fn shared_table_is_read_by_all_and_its_picture_comes_back() {
    let expected =
        ["2097151 of 8388608 numbers are above 0.75", "8388608 bytes came back, the middle one is 127"];
    assert_eq!(lines_of("shared_table"), expected);
}

#[test]
fn completion_order_is_the_reverse_of_submission() {
    let expected = [4, 3, 2, 1, 0].map(|n| format!("job {n} is done after {} ms", 500 - 100 * n));
    assert_eq!(lines_of("completion_order"), expected);
}

#[test]
fn error_handling_shows_one_failure_and_its_neighbours() {
    let lines = lines_of("error_handling");
    let expected = [
        "10 / 2 = 5",
        "20 / 4 = 5",
        "30 / 0 fails: attempt to divide by zero",
        "40 / 8 = 5",
        "not all of them:",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert!(lines[4].contains("divide") && lines[4].contains("error_handling.rs:"), "{}", lines[4]);
}

#[test]
fn records_keeps_each_failure_with_its_record() {
    let lines = lines_of("records");
    let bad = [5, 10, 15].map(|n| format!("  \"{n},?!\": invalid float literal"));
    assert_eq!(lines[0], "12 records are good, their sum is 906.00");
    assert_eq!(lines[1], "3 records are bad:");
    assert_eq!(lines[2..], bad);
}

#[test]
fn callbacks_run_for_values_and_for_panics() {
    let lines = lines_of("callbacks");
    assert_eq!((&*lines[0], &*lines[2], lines.len()), ("123: 6", "999: 27", 3));
    assert!(lines[1].starts_with("4x5: only digits"), "{}", lines[1]);
}

#[test]
fn cpu_and_io_prints_a_row_per_executor() {
    let lines = lines_of("cpu_and_io");
    let names: Vec<_> = lines.iter().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["inline", "threads", "processes"]);
    let waiting = lines[2].split_whitespace().nth_back(1).unwrap();
    assert!(waiting.parse::<f64>().unwrap() > 2.0, "32 waits on threads gain only {waiting}");
}

#[test]
fn load_urls_yields_pages_as_they_come_and_names_the_refused_one() {
    let lines = lines_of("load_urls");
    let expected = ["/ fails: ", "/100: 16 bytes: ", "/200: 16 bytes: ", "/300: 16 bytes: "];
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{lines:?}");
    }
    assert!(lines[0].contains("refused"), "{}", lines[0]);
}

#[test]
fn api_burst_answers_everything_within_its_limit() {
    let lines = lines_of("api_burst");
    assert!(lines[0].starts_with("500 of 500 requests"), "{lines:?}");
    assert!(lines[1].starts_with("2500 jobs"), "{lines:?}");
    let peak = number_after("at most", &lines[1]);
    assert!((2..=50).contains(&peak), "{lines:?}");
}

#[cfg(feature = "metrics")]
#[test]
fn prometheus_serves_the_figures_of_all_pools() {
    let mut command = Command::new(example("prometheus"));
    let mut child = command.arg("127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let line = first_line(&mut child);
    let address =
        line.trim().strip_prefix("listening on http://").and_then(|url| url.strip_suffix("/metrics"));
    let page = || {
        use std::io::Write;

        let mut stream = std::net::TcpStream::connect(address.unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    };
    // Jobs are started a hundredth of a second apart, so some have run soon.
    let deadline = Instant::now() + PATIENCE;
    let has_run = |page: &str| {
        let pools = ["heavylift", "heavy-cpu"];
        pools.iter().all(|pool| {
            let series =
                format!("\nheavylift_job_run_time_seconds_count{{pool=\"{pool}\",kind=\"thread\"}} ");
            page.split_once(&series).is_some_and(|(_, count)| !count.starts_with('0'))
        })
    };
    let mut last = page();
    while !has_run(&last) {
        assert!(Instant::now() < deadline, "{last}");
        last = page();
    }
    assert!(last.starts_with("HTTP/1.0 200 OK") && last.contains("_bucket{"), "{last}");
    child.kill().unwrap();
    assert_eq!(text(&output_of(child).stderr), "");
}

#[cfg(feature = "nats")]
#[test]
fn cluster_node_serves_until_it_is_asked_to_end() {
    server::for_each_server("cluster_node_serves_until_it_is_asked_to_end", |server| {
        let mut command = Command::new(example("cluster_node"));
        command.args(["--server", &server.url(), "--slots", "1", "--queue", "q", "--name", "n"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It serves or gives up, so these lines come.
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = String::new();
        stdout.read_line(&mut lines).unwrap();
        assert_eq!(lines, format!("serving on {} as n\n", server.url()));
        kill_process(pid_of(&child), Signal::TERM).unwrap();
        let output = output_of(child);
        assert!(output.status.success(), "{output:?}");
        stdout.read_to_string(&mut lines).unwrap();
        assert!(
            lines.ends_with("\nn has ended: 0 answered, 0 given back, 0 refused, 0 dead letters, 0 left\n"),
            "{lines}"
        );
    });
    let output = run(Command::new(example("cluster_node")).arg("--frob"));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--frob"), "{output:?}");
}

#[test]
fn timeout_kills_the_process_and_the_pool_goes_on() {
    let lines = lines_of("timeout_kills");
    let pid = number_after("process", &lines[0]);
    assert_eq!(lines[2], format!("process {pid} is gone"));
    assert_ne!(number_after("goes on with process", &lines[3]), pid);
}

#[test]
fn a_crash_costs_only_its_own_job() {
    let lines = lines_of("crash");
    for n in [0, 1, 2, 4, 5] {
        assert_eq!(lines[n], format!("job {n}: {}", 2 * n));
    }
    assert!(lines[3].contains("lost its worker") && lines[3].contains("SIGSEGV"), "{}", lines[3]);
    assert_eq!(lines[6], "and the pool goes on: 42");
}

#[cfg(feature = "tracing")]
#[test]
fn tracing_prints_a_request_as_a_tree() {
    let lines = lines_of("tracing");
    assert_eq!(lines[0], "request path=\"/thumbnail\"", "{lines:?}");
    let at = |start: &str| {
        let at = lines.iter().position(|line| line.starts_with(start));
        at.unwrap_or_else(|| panic!("no {start:?} in {lines:#?}"))
    };
    let ends = |at: usize, end: &str| assert!(lines[at].ends_with(end), "{lines:#?}");
    ends(at("  heavylift.job pool=\"disk\" kind=\"thread\" name=\"read\""), " outcome=\"succeeded\"");
    let scale = at("  heavylift.job pool=\"images\" kind=\"process\" name=\"scale\"");
    ends(scale, " outcome=\"succeeded\"");
    let mut below = [&*lines[scale + 1], &*lines[scale + 2]];
    below.sort_unstable();
    assert!(
        below[0].starts_with("    INFO plain output comes, too") && below[1].starts_with("    INFO scaling"),
        "{lines:#?}"
    );
    let store =
        at("  heavylift.job pool=\"disk\" kind=\"thread\" name=\"store\" outcome=\"panicked\" error=");
    assert!(lines[store].contains("the disk is full"), "{lines:#?}");
    assert_eq!(lines.len(), 6, "{lines:#?}");
}

#[test]
fn timeline_shows_each_way_to_end_and_draws_what_is_kept_in_docs() {
    let directory = TempDir::new().unwrap();
    let output = run(Command::new(example("timeline")).arg(directory.path()));
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stdout);
    assert!(said.starts_with("33 jobs ran, 30 of them to a value"), "{said}");
    for end in ["panicked after", "worker died after", "timed out after", "timeline.svg", "trace.json"] {
        assert!(said.contains(end), "{end}: {said}");
    }
    let picture = fs::read_to_string(directory.path().join("timeline.svg")).unwrap();
    let kept = include_str!("../docs/timeline.svg");
    for part in
        ["value 30", "timed out 1", "panicked 1", "worker died 1", "recycled", "died 1", "corrupt", "bomb"]
    {
        assert!(picture.contains(part) && kept.contains(part), "{part}");
    }
    let style = |svg: &str| {
        svg.split_once("</style>").map(|(style, _)| style[style.find("<style>").unwrap()..].to_owned())
    };
    assert_eq!(style(&picture), style(kept), "docs/timeline.svg is drawn as it is today: draw it anew");
    let trace: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.path().join("trace.json")).unwrap()).unwrap();
    assert!(trace["traceEvents"].as_array().unwrap().len() > 60);
}

fn guide(args: &[&str]) -> Output {
    run(Command::new(example("guide")).args(args))
}

#[test]
fn guide_prints_and_draws_the_decisions_of_this_machine() {
    let directory = tempfile::tempdir().unwrap();
    let chart = directory.path().join("charts/guide.svg");
    let output = guide(&["--svg", chart.to_str().unwrap()]);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    let line =
        |head: &str| table.lines().find(|line| line.starts_with(head)).unwrap_or_else(|| panic!("{table}"));
    assert_eq!(line("must be killable").matches("processes").count(), 7, "{table}");
    assert!(
        line("computes, one call").contains("inline") && line("computes, one call").contains("cpu"),
        "{table}"
    );
    assert!(line("waits").contains("threads"), "{table}");
    assert!(table.contains("  processes, if a call takes") && table.contains("  gain from processes up to"));
    let chart = fs::read_to_string(chart).unwrap();
    assert!(chart.contains(">processes, 16 MiB</text>") && chart.ends_with("</svg>\n"), "{chart}");
}

#[test]
fn guide_says_what_was_advised_and_what_was_fastest() {
    let known = ["inline", "threads", "cpu", "processes", "rayon"];
    for job in ["sha256", "sleep", "read", "sqlite", "http"] {
        let output = guide(&["--quick", "--job", job]);
        let printed = text(&output.stdout);
        assert!(output.status.success(), "{job}: {printed}{}", text(&output.stderr));
        let lines: Vec<&str> = printed.lines().collect();
        let [.., advised, fastest] = &lines[..] else { panic!("{job}: {printed}") };
        let advised = advised.strip_prefix("advised: ").unwrap_or_else(|| panic!("{job}: {printed}"));
        let fastest = fastest.strip_prefix("fastest: ").unwrap_or_else(|| panic!("{job}: {printed}"));
        let (fastest, ahead) = fastest.split_once(' ').unwrap();
        assert!(known.contains(&advised) && known.contains(&fastest), "{job}: {printed}");
        assert!(ahead.starts_with('(') && ahead.ends_with(" % ahead of the advice)"), "{job}: {printed}");
        for executor in ["inline", "threads", "cpu", "processes"] {
            let rows = lines.iter().filter(|line| line.starts_with(executor) && line.contains('×')).count();
            assert_eq!(rows, 1, "{job}: {executor}: {printed}");
        }
    }
}

#[test]
fn guide_lists_its_jobs_and_knows_no_others() {
    let list = text(&guide(&["--list"]).stdout);
    let names: Vec<&str> = list.lines().flat_map(|line| line.split_whitespace().skip(1)).collect();
    assert!(names.len() >= 30, "{list}");
    for name in ["sha256", "gzip", "json", "sleep", "read", "matrix"] {
        assert!(names.contains(&name), "{list}");
    }
    let output = guide(&["--job", "no-such-job"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(
        output.stdout.is_empty() && stderr.contains("no-such-job") && stderr.ends_with(&list),
        "{stderr}"
    );
    for args in [&["--frob"][..], &["--job"], &["--svg"]] {
        let output = guide(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(args[0]) && output.stdout.is_empty(), "{args:?}");
    }
}

const EXECUTORS: [&str; 3] = ["processes", "threads", "inline"];

fn digest(directory: &Path) -> Command {
    let mut command = Command::new(example("digest"));
    command.current_dir(directory);
    command
}

/// Returns what `find … | sort | xargs sha256sum` prints.
fn expected(directory: &Path, find: &str) -> Vec<u8> {
    let pipeline = format!("find {find} -type f | LC_ALL=C sort | xargs -d '\\n' sha256sum");
    let output = run(Command::new("sh").args(["-c", &pipeline]).current_dir(directory));
    assert!(output.status.success() && !output.stdout.is_empty(), "{}", text(&output.stderr));
    output.stdout
}

fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

/// A tree with everything that is awkward in a name, or where it lies, or how large it is.
fn odd_tree() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let plain =
        ["a", "a.txt", "a-b/x", "b/x", "b.txt", "b0", "b/y/z", "with space/and  two", "é/ß", "--help", "-x"];
    let odd = ["tab\there", "back\\slash", "quote'\"s", "*?[x]", "$HOME", "sub/target/kept", "sub/.git/kept"];
    for name in plain.into_iter().chain(odd) {
        write(root.path().join(name), name.repeat(1000));
    }
    write(root.path().join(OsStr::from_bytes(b"not \xff UTF-8/\xc3(")), "x");
    write(root.path().join("empty"), "");
    // More than is read whole, more than is read at once, and a page more than nothing.
    for (name, size) in
        [("large", (1 << 20) + 1), ("whole", 1 << 20), ("middling", (128 << 10) + 1), ("page", 4096)]
    {
        let contents: Vec<u8> = (0..size).map(|n: u32| (n % 251) as u8).collect();
        write(root.path().join(name), contents);
    }
    fs::create_dir_all(root.path().join("nothing/at/all")).unwrap();
    std::os::unix::fs::symlink("b", root.path().join("link-to-directory")).unwrap();
    std::os::unix::fs::symlink("a", root.path().join("link-to-file")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.path().join("link-to-nowhere")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.path().join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    root
}

#[test]
fn digest_prints_what_the_pipeline_prints() {
    let root = odd_tree();
    for find in
        [".", "./", "b a-b", "b b/y b.txt link-to-directory ./b", "b// ./a link-to-directory/", "\"$PWD\""]
    {
        let expected = text(&expected(root.path(), find));
        for executor in EXECUTORS {
            let program = example("digest");
            let command = format!("exec {} --executor {executor} --workers 2 {find}", program.display());
            let output = run(Command::new("sh").args(["-c", &command]).current_dir(root.path()));
            assert_eq!(text(&output.stdout), expected, "{executor}: {find}");
            assert!(output.status.success(), "{executor}: {find}: {}", text(&output.stderr));
        }
    }
}

#[test]
fn digest_without_a_path_leaves_out_target_and_git() {
    let root = odd_tree();
    let expected = expected(root.path(), ".");
    write(root.path().join("target/debug/x"), "x");
    write(root.path().join(".git"), "gitdir: elsewhere");
    let output = run(&mut digest(root.path()));
    assert_eq!(text(&output.stdout), text(&expected));
}

#[test]
fn digest_escapes_a_newline_as_sha256sum_does() {
    let root = tempfile::tempdir().unwrap();
    let name = "new\nline and back\\slash";
    write(root.path().join(name), "x");
    let expected = run(Command::new("sha256sum").arg(name).current_dir(root.path()));
    let output = run(digest(root.path()).arg(name));
    assert_eq!(text(&output.stdout), text(&expected.stdout));
}

#[test]
fn digest_sums_up_on_stderr() {
    let root = odd_tree();
    let output = run(digest(root.path()).args(["--workers", "2", "b", "middling"]));
    let summary = text(&output.stderr);
    assert!(summary.starts_with("digest: 3 files, 0.1 MB in "), "{summary}");
    assert!(summary.contains(" MB/s, ") && summary.ends_with(" workers, 0 failures\n"), "{summary}");
}

#[test]
fn digest_names_what_it_cannot_read_and_prints_the_rest() {
    let root = odd_tree();
    let expected = expected(root.path(), ".");
    for executor in EXECUTORS {
        // Even root cannot read the start of its own memory.
        let paths = [".", "/proc/self/mem", "no/such/path"];
        let output = run(digest(root.path()).args(["--executor", executor]).args(paths));
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(stdout, text(&expected), "{executor}");
        assert_eq!(output.status.code(), Some(1), "{executor}");
        assert!(stderr.contains("digest: /proc/self/mem: Input/output error"), "{executor}: {stderr}");
        assert!(stderr.contains("digest: no/such/path: No such file or directory"), "{executor}: {stderr}");
        assert!(stderr.ends_with(" 2 failures\n"), "{executor}: {stderr}");
    }
}

#[test]
fn digest_names_what_it_may_not_read() {
    let root = odd_tree();
    let expected = expected(root.path(), "b");
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(root.path(), everybody).unwrap();
    for closed in ["b/closed", "b/secret/x"] {
        write(root.path().join(closed), "x");
    }
    for closed in ["b/closed", "b/secret"] {
        fs::set_permissions(root.path().join(closed), fs::Permissions::from_mode(0o000)).unwrap();
    }

    // Root may read everything, so the program is run as nobody, from where nobody can reach it.
    let program = root.path().join("program");
    fs::copy(example("digest"), &program).unwrap();
    let mut command = Command::new(program);
    if geteuid().is_root() {
        command.uid(65534);
    }
    let output = run(command.current_dir(root.path()).arg("b"));
    fs::set_permissions(root.path().join("b/secret"), fs::Permissions::from_mode(0o755)).unwrap();

    let stderr = text(&output.stderr);
    assert_eq!(text(&output.stdout), text(&expected), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
    for closed in ["b/closed", "b/secret"] {
        assert!(stderr.contains(&format!("digest: {closed}: Permission denied")), "{stderr}");
    }
}

#[test]
fn digest_refuses_a_wrong_argument_with_status_2() {
    let root = tempfile::tempdir().unwrap();
    for (args, named) in [
        (&["--frob"][..], "--frob"),
        (&["--executor", "gpu"], "gpu"),
        (&["--executor"], "--executor"),
        (&["--workers", "0"], "--workers"),
        (&["--workers", "x", "."], "--workers"),
    ] {
        let output = run(digest(root.path()).args(args));
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(named) && output.stdout.is_empty(), "{args:?}: {stderr}");
    }
    let help = run(digest(root.path()).arg("--help"));
    assert!(help.status.success() && text(&help.stdout).contains("usage: digest"));
}

#[test]
fn digest_ends_quietly_when_nobody_reads_on() {
    let root = tempfile::tempdir().unwrap();
    for n in 0..3000 {
        write(root.path().join(format!("{n:0100}")), "x");
    }
    let mut child =
        digest(root.path()).arg(".").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 64];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap(); // and it is closed again
    let output = output_of(child);
    assert_eq!((output.status.code(), &*text(&output.stderr)), (Some(0), ""));
}

#[test]
fn digest_streams_and_an_interrupt_leaves_no_process() {
    let root = tempfile::tempdir().unwrap();
    write(root.path().join("first"), "x");
    // Large enough to be in work for hours, small on the disk.
    File::create(root.path().join("second")).unwrap().set_len(1 << 40).unwrap();
    for executor in EXECUTORS {
        let mut command = digest(root.path());
        command.args(["--executor", executor]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();

        let line = first_line(&mut child);
        assert!(line.ends_with("first\n"), "{executor}: {line}");
        let children = descendants(pid_of(&child));
        assert_eq!(!children.is_empty(), executor == "processes", "{executor}: {children:?}");

        kill_process(pid_of(&child), Signal::INT).unwrap();
        assert_eq!(output_of(child).status.signal(), Some(Signal::INT.as_raw()), "{executor}");
        assert_all_end_within(Duration::from_secs(2), &children);
    }
}

#[cfg(feature = "dashboard")]
#[test]
fn dashboard_shows_its_pools_and_leaves_no_process() {
    let mut command = Command::new(example("dashboard"));
    let mut child = command.arg("127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let line = first_line(&mut child);
    let address = line.trim().strip_prefix("listening on http://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection.write_all(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let events = BufReader::new(connection).lines().map_while(Result::ok);
    let mut events = events.filter(|line| line.starts_with("data: ")).take(60);
    assert!(
        events
            .any(|event| ["fetch a page", "picture-", "\"digest\""].iter().all(|name| event.contains(name)))
    );
    let children = descendants(pid_of(&child));
    assert!(!children.is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_all_end_within(Duration::from_secs(2), &children);
}

/// Returns handles to the children of a process, and to theirs.
fn descendants(parent: Pid) -> Vec<OwnedFd> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) =
            process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)
        else {
            continue;
        };
        if parent_of(pid) == Some(parent) {
            found.extend(descendants(pid));
            found.extend(pidfd_open(pid, PidfdFlags::empty()));
        }
    }
    found
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?; // the program's name before it may hold anything
    Pid::from_raw(rest.split(' ').nth(1)?.parse().ok()?)
}

fn assert_all_end_within(limit: Duration, processes: &[OwnedFd]) {
    let deadline = Instant::now() + limit;
    for process in processes {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap();
        let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left)).unwrap();
        assert_eq!(ended, 1, "a process is left after {limit:?}");
    }
}
