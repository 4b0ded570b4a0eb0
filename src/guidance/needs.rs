//! [`Needs`]: what a job asks for besides time.

/// What a job asks for besides time. Each is `false` unless it is said.
///
/// [`Profile`](super::Profile) has a setter for each, by the same name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Needs {
    /// There is an async library for it: `reqwest`, `sqlx`, `tokio::net`.
    pub async_library: bool,
    /// A time limit or a cancelled request must really stop it.
    pub killable: bool,
    /// Its memory must be limited.
    pub memory_cap: bool,
    /// It may end its process: a segmentation fault, `abort`, a stack overflow, `exit`.
    pub may_crash: bool,
    /// It reads what a stranger sent, with code that may be exploited: decoders, parsers, plug-ins.
    pub untrusted_input: bool,
    /// It must not run twice at once in one process: global state, a C library that says so, the GIL.
    pub not_thread_safe: bool,
    /// It loses memory or descriptors, and must be replaced now and then.
    pub leaks: bool,
    /// It is parallel inside: polars, BLAS, a video encoder.
    pub already_parallel: bool,
    /// It works on data of the program, behind an `Arc` or in a static.
    pub shared_state: bool,
    /// It ends with the program.
    pub runs_forever: bool,
    /// One job can be split over its own data, with rayon's iterators or `join`.
    pub data_parallel: bool,
}

impl Needs {
    /// Whether an async library does all that is asked for: a future that is dropped has ended, but it is not kept apart.
    pub(super) fn is_awaited(self) -> bool {
        self.async_library && self.isolation().iter().all(|need| *need == "killable")
    }

    /// What only a process of its own gives: the names of those that are asked for.
    pub(super) fn isolation(self) -> Vec<&'static str> {
        let all = [
            (self.killable, "killable"),
            (self.memory_cap, "memory_cap"),
            (self.may_crash, "may_crash"),
            (self.untrusted_input, "untrusted_input"),
            (self.not_thread_safe, "not_thread_safe"),
            (self.leaks, "leaks"),
        ];
        all.into_iter().filter(|(asked, _)| *asked).map(|(_, name)| name).collect()
    }
}
