//! [`JobError`]: a job's own failure as text, so that it can cross into another process; [`fallible`] makes one.

use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};

use crate::{Cancelled, TaskError};

/// A job's failure: its message and the messages of its sources, as strings.
///
/// Most error types are not serializable, so they cannot be the result of a job in a process. [`fallible`] turns any of
/// them into this one. The chain stays: [`Error::source`] walks it.
///
/// # Examples
///
/// ```
/// use heavylift::JobError;
///
/// let error = JobError::from(std::io::Error::other("disk on fire"));
/// assert_eq!(error.to_string(), "disk on fire");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    message: String,
    source: Option<Box<JobError>>,
}

impl JobError {
    /// Makes one from any error, or from a message.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        match error.into().downcast::<JobError>() {
            Ok(already) => *already,
            Err(other) => Self::from_dyn(&*other),
        }
    }

    fn from_dyn(error: &(dyn Error + 'static)) -> Self {
        let source = error.source().map(|source| Box::new(Self::from_dyn(source)));
        Self { message: error.to_string(), source }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut next = self.source.as_deref();
        while let Some(error) = next {
            write!(f, ": {}", error.message)?;
            next = error.source.as_deref();
        }
        Ok(())
    }
}

impl Error for JobError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

macro_rules! from_errors {
    ($($error:ty),*) => {$(
        impl From<$error> for JobError {
            fn from(error: $error) -> Self {
                Self::new(error)
            }
        }
    )*};
}

from_errors!(
    TaskError,
    Cancelled,
    std::io::Error,
    std::fmt::Error,
    std::num::ParseIntError,
    std::num::ParseFloatError,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    Box<dyn Error + Send + Sync>,
    &str,
    String
);

/// What [`fallible`] accepts as a job's error: every `E: Into<Box<dyn Error + Send + Sync>>` (each error type that is
/// `Send + Sync`, `anyhow::Error`, `&str`, `String`), and `Box<dyn Error>`.
///
/// `Via` only tells the two implementations apart and is always inferred.
pub trait IntoJobError<Via> {
    /// Turns the error into text.
    fn into_job_error(self) -> JobError;
}

/// Marks the way through `Box<dyn Error + Send + Sync>` in [`IntoJobError`].
#[derive(Debug)]
pub enum ViaShared {}

/// Marks the way through `Box<dyn Error>` in [`IntoJobError`].
#[derive(Debug)]
pub enum ViaLocal {}

impl<E: Into<Box<dyn Error + Send + Sync>>> IntoJobError<ViaShared> for E {
    fn into_job_error(self) -> JobError {
        JobError::new(self)
    }
}

impl IntoJobError<ViaLocal> for Box<dyn Error> {
    fn into_job_error(self) -> JobError {
        match self.downcast::<JobError>() {
            Ok(already) => *already,
            Err(other) => JobError::from_dyn(&*other),
        }
    }
}

/// Returns `job` with its error turned into a [`JobError`], so that it can run in a process.
///
/// The returned job is as large as `job`: a named function stays zero-sized, as process pools require.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::TaskError> {
/// use heavylift::{fallible, run_in_process_pool};
///
/// fn parse(text: String) -> anyhow::Result<u64> {
///     Ok(text.trim().parse()?)
/// }
///
/// let good = run_in_process_pool(fallible(parse), "42".to_string()).await?;
/// assert_eq!(good, Ok(42));
/// let bad = run_in_process_pool(fallible(parse), "4x2".to_string()).await?;
/// assert_eq!(bad.map_err(|e| e.to_string()), Err("invalid digit found in string".to_string()));
/// # Ok(())
/// # }
/// ```
pub fn fallible<F, A, T, E, Via>(job: F) -> impl Fn(A) -> Result<T, JobError> + Copy + Send + 'static
where
    F: Fn(A) -> Result<T, E> + Copy + Send + 'static,
    E: IntoJobError<Via>,
{
    move |arg| job(arg).map_err(IntoJobError::into_job_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_chain_survives_as_text() {
        let error = anyhow::anyhow!("disk full").context("cannot write").context("cannot save");
        let job_error = JobError::new(error);
        assert_eq!(job_error.to_string(), "cannot save");
        assert_eq!(format!("{job_error:?}"), "cannot save: cannot write: disk full");
        assert_eq!(job_error.source().map(ToString::to_string), Some("cannot write".to_string()));
    }

    #[test]
    fn every_usual_error_type_is_accepted_and_the_job_stays_zero_sized() {
        fn io((): ()) -> std::io::Result<()> {
            Err(std::io::Error::other("io"))
        }
        fn text((): ()) -> Result<(), &'static str> {
            Err("text")
        }
        fn local((): ()) -> Result<(), Box<dyn Error>> {
            Err("local".into())
        }
        fn shared((): ()) -> Result<(), Box<dyn Error + Send + Sync>> {
            Err("shared".into())
        }
        fn message<F: Fn(()) -> Result<(), JobError>>(job: F) -> String {
            assert_eq!(size_of::<F>(), 0);
            job(()).unwrap_err().to_string()
        }
        assert_eq!(message(fallible(io)), "io");
        assert_eq!(message(fallible(text)), "text");
        assert_eq!(message(fallible(local)), "local");
        assert_eq!(message(fallible(shared)), "shared");
        let once = |()| fallible(io)(());
        assert_eq!(message(fallible(once)), "io");
    }
}
