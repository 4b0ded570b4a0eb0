//! [`Delivery`]: what a cluster promises of a job.

/// What a cluster promises of a job that is under way when a node, a server or a connection is lost.
///
/// Set by [`ClusterPoolBuilder::delivery`](super::ClusterPoolBuilder::delivery).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delivery {
    /// A job waits in a queue that the servers keep on disk, and its result in another, until they are taken out. **Nothing is lost,
    /// and a job may run twice**: when a node dies, or is cut off for longer than the lease, another one runs what it had. So let jobs be
    /// idempotent, or let what they change check the job's id, which is the same in each run.
    #[default]
    AtLeastOnce,
    /// A job goes straight to a node, and its result straight back. **What is under way is lost** with a node, a server or a
    /// connection: then the task fails, and whether its job has run nobody knows. No job runs twice.
    ///
    /// Nothing is kept anywhere. A job goes to any one of the nodes, whatever these do: one without a free slot fails it as
    /// [`Overloaded`](crate::TaskErrorKind::Overloaded), and without a node a task is
    /// [`Unavailable`](crate::TaskErrorKind::Unavailable) at once. No job is run again. And of a node that dies nothing is heard any
    /// more, so set a [`deadline`](super::ClusterPoolBuilder::deadline). For short questions whose answer can be asked for again: it
    /// takes half the time of the other, and a fraction of what the servers have to do.
    AtMostOnce,
}
