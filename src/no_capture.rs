//! [`assert_no_capture`]: the compile error of a job that captures.

/// Refuses, when it is compiled, a function type that is not zero-sized.
///
/// To be written in the body of each public function: of the frames that led to it, the compiler shows only the innermost.
macro_rules! assert_no_capture {
    ($function:ty, $what:literal) => {
        const {
            assert!(
                size_of::<$function>() == 0,
                concat!(
                    $what,
                    " cannot capture variables or be a fn pointer: name a function, and put the values into the argument: ",
                    "run(|(n, x)| x + n, (n, x))"
                )
            )
        }
    };
}

pub(crate) use assert_no_capture;
