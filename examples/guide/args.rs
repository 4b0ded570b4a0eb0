//! The command line: what was asked for, or what is wrong with it.

use std::{ffi::OsString, path::PathBuf};

pub(crate) const HELP: &str = "\
Says which executor suits which work on this machine, and shows whether that is true.

usage: guide [--svg PATH]    calibrates, prints this machine's table of decisions, draws a chart
       guide --job NAME      measures a real job, prints the advice, then what each executor takes for it
       guide --list          prints the names of the jobs

  --svg PATH   where the chart goes (default: target/guide.svg)
  --quick      few calls, so that the figures are no figures: does everything work?
  -h, --help   print this

Exit status: 0, or 1 if something could not be done, or 2 if the arguments are wrong.
";

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    List,
    Table { svg: PathBuf },
    Job { name: String, effort: Effort },
}

/// How much is done for a figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Effort {
    Quick,
    #[default]
    Full,
}

/// Reads the arguments, without the program's name. The error is a message for the user.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut args = args.into_iter().map(|arg| arg.to_string_lossy().into_owned());
    let (mut effort, mut job, mut svg) = (Effort::Full, None, None);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match &*arg {
            "-h" | "--help" => return Ok(Command::Help),
            "--list" => return Ok(Command::List),
            "--quick" => effort = Effort::Quick,
            "--job" => job = Some(value()?),
            "--svg" => svg = Some(value()?),
            _ => return Err(format!("unknown argument {arg:?}")),
        }
    }
    Ok(match job {
        Some(name) => Command::Job { name, effort },
        None => Command::Table { svg: svg.unwrap_or_else(|| "target/guide.svg".to_owned()).into() },
    })
}
