//! [`Rule`]: why an executor is advised, by name. docs/choosing.md explains each.

use std::fmt;

/// A rule behind an [`Advice`](super::Advice). `docs/choosing.md` explains each by its [id](Self::id).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Rule {
    /// What has an async library is awaited.
    AsyncLibrary,
    /// What must be killed, limited or kept apart goes to a process.
    Isolate,
    /// What runs for ever gets a thread of its own.
    RunsForever,
    /// What is parallel inside is called once.
    AlreadyParallel,
    /// One job over its own data goes to rayon.
    DataParallel,
    /// What works on data of the program stays in it.
    SharedState,
    /// What is smaller than its hand-off runs where it is.
    Tiny,
    /// What waits goes to threads, more than there are cores.
    Waits,
    /// What waits and computes goes to threads, some more than there are cores.
    Mixed,
    /// What computes goes to as many threads as there are cores.
    Computes,
    /// What takes long does not run on a thread of the runtime.
    HoldsRuntime,
    /// Small items travel together.
    Chunks,
    /// What crosses into a process is encoded and copied.
    Payload,
    /// What takes longer here than is allowed goes to other machines, if its payload is small enough.
    Elsewhere,
    /// Calls that hinder one another gain little from more cores.
    Scaling,
    /// What was measured or assumed, where it weakens the advice.
    Evidence,
}

impl Rule {
    /// All rules, in the order in which they are asked.
    pub const ALL: [Self; 16] = [
        Self::AsyncLibrary,
        Self::Isolate,
        Self::RunsForever,
        Self::AlreadyParallel,
        Self::DataParallel,
        Self::SharedState,
        Self::Tiny,
        Self::Waits,
        Self::Mixed,
        Self::Computes,
        Self::HoldsRuntime,
        Self::Chunks,
        Self::Payload,
        Self::Elsewhere,
        Self::Scaling,
        Self::Evidence,
    ];

    /// The id by which the documentation explains it.
    pub fn id(self) -> &'static str {
        match self {
            Self::AsyncLibrary => "async-library",
            Self::Isolate => "isolate",
            Self::RunsForever => "runs-forever",
            Self::AlreadyParallel => "already-parallel",
            Self::DataParallel => "data-parallel",
            Self::SharedState => "shared-state",
            Self::Tiny => "tiny",
            Self::Waits => "waits",
            Self::Mixed => "mixed",
            Self::Computes => "computes",
            Self::HoldsRuntime => "holds-runtime",
            Self::Chunks => "chunks",
            Self::Payload => "payload",
            Self::Elsewhere => "elsewhere",
            Self::Scaling => "scaling",
            Self::Evidence => "evidence",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

/// A reason of an [`Advice`](super::Advice): its rule, what it says here, and the numbers that it says it with.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Reason {
    /// The rule.
    pub rule: Rule,
    /// What it says of this job, in a sentence without a full stop.
    pub text: String,
    /// The numbers behind it, by name; times in seconds, sizes in bytes.
    pub numbers: Vec<(String, f64)>,
}

impl Reason {
    pub(super) fn new<const N: usize>(
        rule: Rule,
        text: impl Into<String>,
        numbers: [(&str, f64); N],
    ) -> Self {
        let numbers = numbers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { rule, text: text.into(), numbers }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.text, self.rule)
    }
}
