//! [`Fallible`]: what an output must be for `gather(…).await` to fail fast.

/// The outputs over which [`gather(…).await`](crate::gather) can fail fast: every `Result`.
///
/// Sealed. For futures with other outputs there is [`Gather::settled`](crate::Gather::settled).
#[diagnostic::on_unimplemented(
    message = "`gather(…).await` fails fast, so its futures must return a `Result`, not `{Self}`",
    label = "the output `{Self}` is no `Result`",
    note = "to wait for all of them, whatever they return, use `gather(…).settled().await`"
)]
pub trait Fallible: sealed::Sealed {
    /// What a success holds.
    type Value;
    /// What a failure holds.
    type Error;

    #[doc(hidden)]
    fn is_failure(&self) -> bool;

    #[doc(hidden)]
    fn into_result(self) -> Result<Self::Value, Self::Error>;
}

impl<T, E> Fallible for Result<T, E> {
    type Value = T;
    type Error = E;

    fn is_failure(&self) -> bool {
        self.is_err()
    }

    fn into_result(self) -> Self {
        self
    }
}

mod sealed {
    pub trait Sealed {}

    impl<T, E> Sealed for Result<T, E> {}
}
