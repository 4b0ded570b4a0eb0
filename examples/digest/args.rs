//! The command line: what was asked for, or what is wrong with it.

use std::{ffi::OsString, num::NonZeroUsize};

pub(crate) const HELP: &str = "\
Prints the SHA-256 of every regular file below each PATH, as sha256sum does, in the byte order of the names.

usage: digest [--executor threads|processes|inline] [--workers N] [--] [PATH…]

  --executor E  where to compute: processes (default), threads, inline (on the main thread)
  --workers N   how many workers compute (default: one per CPU; inline has none)
  -h, --help    print this

Without a PATH: the current directory without its own `target` and `.git`.
Exit status: 0, or 1 if anything could not be read, or 2 if the arguments are wrong.
";

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Digest(Args),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) executor: Kind,
    pub(crate) workers: Option<NonZeroUsize>,
    pub(crate) paths: Vec<OsString>,
}

/// Where digests are computed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Threads,
    #[default]
    Processes,
    Inline,
}

/// Reads the arguments, without the program's name. The error is a message for the user.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut args = args.into_iter();
    let mut parsed = Args::default();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        let (option, attached) = match text.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, Some(value.to_owned())),
            _ => (&*text, None),
        };
        let mut value =
            || attached.clone().or_else(|| args.next().map(|arg| arg.to_string_lossy().into_owned()));
        match option {
            "-h" | "--help" => return Ok(Command::Help),
            "--executor" => parsed.executor = executor(value())?,
            "--workers" => parsed.workers = Some(workers(value())?),
            "--" if attached.is_none() => parsed.paths.extend(args.by_ref()),
            _ if option.starts_with('-') && option != "-" => return Err(format!("unknown option {text:?}")),
            _ => parsed.paths.push(arg),
        }
    }
    Ok(Command::Digest(parsed))
}

fn executor(value: Option<String>) -> Result<Kind, String> {
    match value.as_deref() {
        Some("threads") => Ok(Kind::Threads),
        Some("processes") => Ok(Kind::Processes),
        Some("inline") => Ok(Kind::Inline),
        Some(other) => Err(format!("unknown executor {other:?}: expected threads, processes or inline")),
        None => Err("--executor needs a value: threads, processes or inline".to_owned()),
    }
}

fn workers(value: Option<String>) -> Result<NonZeroUsize, String> {
    let value = value.ok_or("--workers needs a value: a number from 1")?;
    value.parse().map_err(|why| format!("--workers {value:?}: {why}; expected a number from 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Command, String> {
        parse(args.iter().map(OsString::from))
    }

    fn digest(executor: Kind, workers: Option<usize>, paths: &[&str]) -> Result<Command, String> {
        let workers = workers.and_then(NonZeroUsize::new);
        Ok(Command::Digest(Args { executor, workers, paths: paths.iter().map(OsString::from).collect() }))
    }

    #[test]
    fn options_and_paths_mix_and_two_dashes_end_the_options() {
        assert_eq!(parsed(&[]), digest(Kind::Processes, None, &[]));
        assert_eq!(parsed(&["a", "--executor", "threads", "-"]), digest(Kind::Threads, None, &["a", "-"]));
        assert_eq!(parsed(&["--workers=3", "--executor=inline"]), digest(Kind::Inline, Some(3), &[]));
        assert_eq!(parsed(&["--", "--help", "-x"]), digest(Kind::Processes, None, &["--help", "-x"]));
        assert_eq!(parsed(&["a=b", ""]), digest(Kind::Processes, None, &["a=b", ""]));
        assert_eq!(parsed(&["a", "--help"]), Ok(Command::Help));
    }

    #[test]
    fn a_wrong_argument_is_named() {
        for (args, named) in [
            (&["--frob"][..], "--frob"),
            (&["-j4"], "-j4"),
            (&["--=x"], "--=x"),
            (&["--executor", "gpu"], "gpu"),
            (&["--executor"], "--executor"),
            (&["--workers", "0"], "0"),
            (&["--workers", "many"], "many"),
            (&["--workers=-1"], "-1"),
            (&["--workers="], "--workers"),
            (&["--workers"], "--workers"),
        ] {
            let message = parsed(args).unwrap_err();
            assert!(message.contains(named), "{args:?}: {message}");
        }
    }
}
