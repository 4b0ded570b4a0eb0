//! The two pools of the program, and the sizes that follow the machine.

use std::{env, ffi::OsStr, sync::OnceLock, thread};

use super::{ThreadPool, ThreadPoolBuilder, builder::Role};
use crate::BuildError;

/// Overrides the default sizes.
const VARIABLE: &str = "HEAVYLIFT_THREADS";

pub(crate) static GLOBAL: OnceLock<ThreadPool> = OnceLock::new();
pub(crate) static CPU: OnceLock<ThreadPool> = OnceLock::new();

/// Returns the pool in `place`, with its defaults if nobody has installed another.
pub(crate) fn get(place: &'static OnceLock<ThreadPool>, role: Role) -> &'static ThreadPool {
    place.get_or_init(|| {
        let built = ThreadPoolBuilder::new().build_as(role);
        built.unwrap_or_else(|why| ThreadPoolBuilder::new().build_broken(role, &why))
    })
}

/// Puts a pool into `place`, unless there is one.
pub(crate) fn install(
    place: &OnceLock<ThreadPool>,
    by: &'static str,
    build: impl FnOnce() -> Result<ThreadPool, BuildError>,
) -> Result<(), BuildError> {
    let too_late = || BuildError::new(by, "the pool has started, by its first use or by another call");
    // Asked first, so that a call that comes too late starts no thread.
    if place.get().is_some() {
        return Err(too_late());
    }
    place.set(build()?).map_err(|_unused| too_late())
}

/// How many workers a pool has at most, unless it is told.
///
/// # Errors
///
/// The environment variable is set to something else than a number of workers.
pub(crate) fn default_size(role: Role) -> Result<usize, BuildError> {
    let asked = env::var_os(VARIABLE).map(|value| parse(&value)).transpose()?;
    let cpus = || thread::available_parallelism().map_or(1, usize::from);
    Ok(asked.unwrap_or_else(|| size(role, cpus())))
}

fn size(role: Role, cpus: usize) -> usize {
    match role {
        Role::Own | Role::Global => cpus.saturating_mul(4).max(32),
        Role::Cpu => cpus,
    }
}

fn parse(value: &OsStr) -> Result<usize, BuildError> {
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|&number| number > 0);
    number.ok_or_else(|| {
        BuildError::new(VARIABLE, format!("{value:?} is not a number of workers, from 1 upwards"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_number_of_processors() {
        let table = [(Role::Global, 2, 32), (Role::Global, 16, 64), (Role::Own, 9, 36), (Role::Cpu, 2, 2)];
        for (role, cpus, workers) in table {
            assert_eq!(size(role, cpus), workers);
        }
    }

    #[test]
    fn the_variable_holds_a_number_of_workers_and_nothing_else() {
        assert_eq!(parse(OsStr::new("3")), Ok(3));
        for bad in ["", "0", "-1", "many", " 3", "1.5"] {
            let error = parse(OsStr::new(bad)).unwrap_err();
            assert_eq!(error.field(), "HEAVYLIFT_THREADS");
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        }
    }
}
