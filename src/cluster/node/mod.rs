//! [`Node`]: runs the jobs of cluster pools on a local pool.
//!
//! - `builder`: settings, and what they must be.
//! - `serve`: the node's thread, from the connection to the report.
//! - `slots`, `share`, `rest`: how many jobs to ask of which queue, and when of none; `pull` asks.
//! - `decide`: what to do with a delivery and with an outcome, pure; `run` does it, `answer` publishes.
//! - `calls`: the fast mode; `janitor`: what no node can do any more.

mod answer;
mod builder;
mod calls;
mod counts;
mod decide;
mod janitor;
mod pull;
mod rest;
mod run;
mod serve;
mod share;
#[cfg(unix)]
mod signals;
mod slots;

use std::{future::Future, sync::Arc};

use tokio::sync::watch;

pub use builder::NodeBuilder;
pub use counts::{NodeMetrics, NodeReport};

use self::counts::Counts;
use crate::Shutdown;

/// A worker node: takes jobs of cluster pools from their queues, runs them on a local pool, and answers.
///
/// Any binary that has the functions, by [`#[heavylift::job]`](macro@crate::job), is a node with one call:
///
/// ```no_run
/// #[heavylift::job]
/// fn count(text: String) -> usize {
///     text.split_whitespace().count()
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), heavylift::cluster::ClusterError> {
///     let report = heavylift::Node::builder().servers(["nats://127.0.0.1:4222"]).serve().await?;
///     println!("{report}");
///     Ok(())
/// }
/// ```
///
/// [`serve`](NodeBuilder::serve) serves until SIGTERM or SIGINT. [`start`](NodeBuilder::start) returns this handle instead, for programs that
/// decide themselves when a node ends. Its work is on a thread of its own: it needs no runtime, and computing elsewhere cannot
/// starve its heartbeats.
///
/// # What happens to jobs
///
/// - **It asks for as many jobs as it has free slots**, so nodes of different sizes share a queue in proportion, and nothing waits in a node.
/// - **A job that panics, crashes its worker or reaches its `run_timeout`** costs itself alone, on a process pool. After a crash it runs again, here
///   or elsewhere, as often as its `retries` say; then it is kept as a dead letter and its task ends as worker died.
/// - **A cancelled job** is stopped as the local pool stops tasks: in a process it is killed.
/// - **A job whose name or types this program does not have** goes back, and to a node that has them.
/// - **A node whose pool cannot run anything**, as its workers do not start, gives jobs back and asks for none, for a second at first and a minute
///   at most.
/// - **The connection is lost**: jobs go on, and are answered when it is there again.
/// - **The node is told to end** (SIGTERM, [`shutdown`](Self::shutdown), the last handle dropped): it takes no more, what runs may run for
///   `drain_timeout`, the rest goes back to be run by others at once.
/// - **The node is killed**, or its machine dies: its jobs run again elsewhere, once their lease, 30 s by default, is over.
///
/// # When not to use this
///
/// When one machine is enough: a [`ProcessPool`](crate::ProcessPool) needs no server.
///
/// # Examples
///
/// ```no_run
/// # #[tokio::main]
/// # async fn main() -> Result<(), heavylift::cluster::ClusterError> {
/// use heavylift::{Node, Shutdown};
///
/// let node = Node::builder().servers(["nats://127.0.0.1:4222"]).queues(["default", "bigmem"]).slots(4).start().await?;
/// // … until this program knows better
/// let report = node.shutdown(Shutdown::Drain).await;
/// println!("{}: {report}", report.name);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Node {
    name: String,
    counts: Arc<Counts>,
    stop: Arc<watch::Sender<Stop>>,
    ended: watch::Receiver<Option<NodeReport>>,
}

/// How far a node's end has come. It only grows.
///
/// ```text
/// Serving ──asked to end──▶ Draining ──drain_timeout, or asked again──▶ GivingBack
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    #[default]
    Serving,
    /// Nothing more is taken; what runs goes on.
    Draining,
    /// What runs is stopped and given back.
    GivingBack,
}

impl Stop {
    fn raise(this: &watch::Sender<Self>, to: Self) {
        this.send_if_modified(|stop| {
            let before = std::mem::replace(stop, to.max(*stop));
            before != *stop
        });
    }
}

impl Node {
    /// Returns a builder.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::new()
    }

    /// The node's name, as clients and the servers see it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the node is doing and has done.
    pub fn metrics(&self) -> NodeMetrics {
        self.counts.metrics()
    }

    /// Has the node end, and returns a future of what it has done. Takes effect at the call, polled or not.
    ///
    /// [`Drain`](Shutdown::Drain) and [`CancelQueued`](Shutdown::CancelQueued) are the same here, as nothing waits in a node: it takes no more jobs, those
    /// that run may go on for `drain_timeout`, then they are stopped and given back. [`Kill`](Shutdown::Kill) stops and gives back at once. Results are
    /// published before the node ends; it waits up to 2 s for jobs that may be on their way to it, to give them back.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future takes nothing back, and another call waits again.
    pub fn shutdown(&self, mode: Shutdown) -> impl Future<Output = NodeReport> + Send + 'static + use<> {
        let stop = if mode == Shutdown::Kill { Stop::GivingBack } else { Stop::Draining };
        Stop::raise(&self.stop, stop);
        self.ended()
    }

    /// Returns a future that resolves when the node has ended: after [`shutdown`](Self::shutdown), or because its local pool was shut down.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn ended(&self) -> impl Future<Output = NodeReport> + Send + 'static + use<> {
        let (mut ended, counts, name) = (self.ended.clone(), self.counts.clone(), self.name.clone());
        async move {
            let report = ended.wait_for(Option::is_some).await.ok().and_then(|report| report.clone());
            // A thread that ended otherwise has told nothing.
            report.unwrap_or_else(|| NodeReport { name, metrics: counts.metrics(), ..Default::default() })
        }
    }
}

impl Drop for Node {
    /// Has the node end, as [`shutdown`](Node::shutdown) with [`Drain`](Shutdown::Drain); does not wait for that.
    fn drop(&mut self) {
        Stop::raise(&self.stop, Stop::Draining);
    }
}

#[cfg(test)]
mod tests;
