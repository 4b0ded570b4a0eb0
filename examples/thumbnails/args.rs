//! The command line: what was asked for, or what is wrong with it.

use std::{ffi::OsString, num::NonZeroUsize, path::PathBuf, time::Duration};

pub(crate) const HELP: &str = "\
usage: thumbnails [--listen ADDR] [--data DIR] [--workers N] [--run-timeout SECONDS]
                  [--spawn-blocking]

  --listen ADDR          where to listen (default: 127.0.0.1:8080); port 0 is a free one
  --data DIR             where to keep pictures (default: a temporary directory, removed at the end)
  --workers N            how many pictures are decoded at a time (default: two per CPU)
  --run-timeout SECONDS  how long one may take, up to 30 (default: 3)
  --spawn-blocking       decode in this process, on tokio's blocking threads: to see what that suffers
  -h, --help             print this
";

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Serve(Args),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) listen: String,
    pub(crate) data: Option<PathBuf>,
    pub(crate) workers: Option<NonZeroUsize>,
    pub(crate) run_timeout: Duration,
    pub(crate) place: Place,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            data: None,
            workers: None,
            // The largest picture that is allowed takes a fraction of a second.
            run_timeout: Duration::from_secs(3),
            place: Place::Processes,
        }
    }
}

/// Where pictures are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Processes,
    SpawnBlocking,
}

/// Reads the arguments, without the program's name. The error is a message for the user.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut args = args.into_iter();
    let mut parsed = Args::default();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        let (option, attached) = match text.split_once('=') {
            Some((option, value)) => (option, Some(OsString::from(value))),
            None => (&*text, None),
        };
        let mut value = || {
            let value = attached.clone().or_else(|| args.next());
            value.filter(|value| !value.is_empty()).ok_or_else(|| format!("{option} needs a value"))
        };
        match option {
            "-h" | "--help" => return Ok(Command::Help),
            "--listen" => parsed.listen = value()?.to_string_lossy().into_owned(),
            "--data" => parsed.data = Some(value()?.into()),
            "--workers" => parsed.workers = Some(workers(&value()?.to_string_lossy())?),
            "--run-timeout" => parsed.run_timeout = run_timeout(&value()?.to_string_lossy())?,
            "--spawn-blocking" if attached.is_none() => parsed.place = Place::SpawnBlocking,
            _ => return Err(format!("unknown argument {text:?}")),
        }
    }
    Ok(Command::Serve(parsed))
}

fn workers(value: &str) -> Result<NonZeroUsize, String> {
    value.parse().map_err(|why| format!("--workers {value:?}: {why}; expected a number from 1"))
}

fn run_timeout(value: &str) -> Result<Duration, String> {
    match value.parse() {
        Ok(seconds @ 1..=30) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("--run-timeout {value:?}: expected a number from 1 to 30")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Command, String> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn each_option_is_understood_in_both_forms() {
        assert_eq!(parsed(&[]), Ok(Command::Serve(Args::default())));
        let all = Args {
            listen: "[::1]:0".to_owned(),
            data: Some("a b".into()),
            workers: NonZeroUsize::new(3),
            run_timeout: Duration::from_secs(7),
            place: Place::SpawnBlocking,
        };
        let given =
            ["--listen", "[::1]:0", "--data=a b", "--workers=3", "--run-timeout", "7", "--spawn-blocking"];
        assert_eq!(parsed(&given), Ok(Command::Serve(all)));
        assert_eq!(parsed(&["--data", "x", "-h"]), Ok(Command::Help));
    }

    #[test]
    fn a_wrong_argument_is_named() {
        for (args, named) in [
            (&["--frob"][..], "--frob"),
            (&["picture.png"], "picture.png"),
            (&["--listen"], "--listen"),
            (&["--data="], "--data"),
            (&["--workers", "0"], "--workers \"0\""),
            (&["--workers=many"], "many"),
            (&["--run-timeout", "31"], "--run-timeout \"31\""),
            (&["--spawn-blocking=yes"], "--spawn-blocking=yes"),
        ] {
            let message = parsed(args).unwrap_err();
            assert!(message.contains(named), "{args:?}: {message}");
        }
    }
}
