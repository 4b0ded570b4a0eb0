//! The same functions on other machines, through [NATS](https://nats.io) with JetStream. Needs the feature `nats`.
//!
//! When one machine is not enough, the call site stays and the pool changes: a [`ClusterPool`] is used as a
//! [`ProcessPool`](crate::ProcessPool) is, and what it is given runs on [`Node`]s, which are programs that have the same functions, on any number of
//! machines. Between them are servers that exist already and are run by many: heavylift has no scheduler, no store and no
//! membership of its own.
//!
//! # Quick start
//!
//! A server, of version 2.14 or newer, in one command:
//!
//! ```sh
//! nats-server -js
//! ```
//!
//! The functions, a node and a pool. They may be one program, which is told what it is to be, or two with the functions in a library of both:
//!
//! ```no_run
//! use heavylift::{
//!     ClusterPool, Node,
//!     cluster::{Topology, ensure_topology},
//!     gather,
//! };
//!
//! const SERVERS: [&str; 1] = ["nats://127.0.0.1:4222"];
//!
//! #[heavylift::job]
//! fn count_primes(limit: u64) -> usize {
//!     (2..limit).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count()
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     match std::env::args().nth(1).as_deref() {
//!         // Once, when the servers are set up: makes queues and streams.
//!         Some("set-up") => println!("{}", ensure_topology(&Topology::new(SERVERS)).await?),
//!         // On as many machines as there are: runs jobs until SIGTERM.
//!         Some("node") => println!("{}", Node::builder().servers(SERVERS).serve().await?),
//!         _ => {
//!             let pool = ClusterPool::builder().servers(SERVERS).connect().await?;
//!             let counts = gather((1..=400).map(|n| pool.run(count_primes, n * 1_000))).await?;
//!             println!("{counts:?}");
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Whole programs are `examples/cluster_node.rs` and `examples/cluster_digest.rs`. How servers are run that must not lose anything, with users,
//! permissions, TLS, replicas, systemd and Kubernetes, is in `docs/cluster/README.md`.
//!
//! # The guarantee
//!
//! **A job that was taken is run at least once, and its task finishes once**; so jobs are idempotent, or use
//! [`job::current().id()`](crate::job::current), which is the same in each run, as a fencing key. A job runs twice when its
//! node is killed, stopped or cut off from the servers for longer than the [lease](Topology::lease), 30 s by default: nobody can know whether it
//! has run there.
//!
//! ```
//! use heavylift::job;
//!
//! #[heavylift::job]
//! fn send_invoice(number: u64) -> Result<(), String> {
//!     // Whoever sends it does nothing when it has seen that key before.
//!     let key = job::current().id().to_owned();
//!     println!("send invoice {number}, once for the key {key}");
//!     Ok(())
//! }
//! # assert_eq!(send_invoice(1), Ok(()));
//! ```
//!
//! That holds as long as the disks of the servers do: **when the power of the only server fails, or that of most replicas at once, jobs and results of the
//! last two minutes may be lost**, for servers write to their disks later than they say so. Three replicas on different power prevent
//! that ([`Topology::replicas`]), and so does `sync_interval: always` in the server's configuration, which costs throughput: see `docs/cluster/README.md`.
//! A task whose job was lost ends by its deadline.
//!
//! # What happens to the work
//!
//! | | waiting in this program | in the queue of the servers | running on a node |
//! |---|---|---|---|
//! | drop the [`Task`](crate::Task), `cancel()` | never leaves | taken out of the queue | stopped as the node's pool stops tasks: a worker process is killed, a thread is asked. The task is finished at once, here as everywhere |
//! | `queue_timeout` | never starts; timed out | the same | – |
//! | `run_timeout`, from the job's start | – | – | kept by the node: its pool stops the job; timed out |
//! | [`deadline`](ClusterPoolBuilder::deadline), from the submission | timed out | timed out; taken out of the queue | timed out; stopped |
//! | panic | – | – | panicked, with message, location and backtrace; the worker lives on |
//! | crash, kill, out of memory | – | – | in a process: run again, up to `retries` times (4); then [worker died](crate::TaskError::is_worker_died), and a dead letter. In a thread: the node dies |
//! | node told to end (SIGTERM) | – | – | finishes within [`drain_timeout`](NodeBuilder::drain_timeout), or is given back and run elsewhere at once |
//! | node killed, its machine lost, cut off | – | – | run elsewhere once the lease is over; perhaps twice |
//! | server or connection lost | waits | is kept on the disk of the servers | goes on; answered when the connection is back |
//! | no node at all | – | waits until its `queue_timeout` or deadline | – |
//! | no node has the function, or all have other types | – | [unavailable](crate::TaskErrorKind::Unavailable) after [`refusal_timeout`](ClusterPoolBuilder::refusal_timeout) (10 s), with what they have | – |
//! | the queue of the servers is full | [overloaded](crate::TaskErrorKind::Overloaded) | – | – |
//! | argument or result not encodable, not decodable, larger than `max_payload` | that task alone | – | that task alone |
//! | last handle of the pool dropped | runs, if a task or a detached job wants it | the same | the same |
//! | this program ends, in whatever way | lost | runs, and nobody hears of it | the same |
//!
//! # What is bounded
//!
//! | what | default | where |
//! |---|---|---|
//! | jobs that are published and not answered, of a pool | 1024 | [`ClusterPoolBuilder::in_flight`] |
//! | jobs that wait in this program besides | no limit | [`ClusterPoolBuilder::queue_limit`] |
//! | jobs in the queues of the servers, of all programs | 100 000, 1 GiB | [`Topology::queue_limit`], [`Topology::queue_bytes`] |
//! | jobs at a time, of a node | the workers of its pool | [`NodeBuilder::slots`] |
//! | an argument, a result | 1 GiB; from 512 KiB on through the servers' object store | `max_payload` of both builders |
//! | the time of a job, waiting and all runs included | 24 h | [`ClusterPoolBuilder::deadline`] |
//! | the time of a run | none but the deadline | [`ClusterPoolBuilder::run_timeout`] |
//! | for how long results are kept for a pool that is away | 15 min | [`Topology::results_max_age`] |
//!
//! A node asks for as many jobs as it has free slots, so large machines and small ones share a queue in proportion. Machines that can do more
//! have a queue of their own: `.queues(["default", "gpu"])` there, `.queue("gpu")` on a pool whose jobs need it.
//!
//! # Versions, and upgrades one by one
//!
//! A job goes by the name of its function and a fingerprint of its types, which changes with whatever would have other bytes
//! decoded as something else: the names, kinds and order of fields and variants, but not with the module that a type is in. A node that has
//! no such function, or one with another fingerprint, refuses the job and leaves it to others. So nodes are upgraded one at a time:
//!
//! - *A function is added*: nodes first, then the programs that call it.
//! - *Its types change*: give the new function another name (`#[heavylift::job(name = "scale.v2")]`) and keep the old one until nobody calls it;
//!   or have nodes of both versions until all programs are upgraded.
//! - *Its body changes*: jobs run the one or the other meanwhile.
//!
//! Nothing but names, types and bytes travels: a node runs no code but its own.
//!
//! # Without a queue
//!
//! [`Delivery::AtMostOnce`] sends a job straight to a node and keeps nothing anywhere: half the time, a fraction of the work for the servers, and **lost
//! with whatever fails**. For short questions whose answer can be asked for again.
//!
//! # Errors
//!
//! What is wrong with the cluster when a pool connects, a node starts or a topology is made is a [`ClusterError`]: its
//! [kind](ClusterErrorKind) is for programs, its text names the setting with its limit, the server, the subject that is not permitted, or the stream
//! that is missing. Later, what becomes of a job is the [`TaskError`](crate::TaskError) of its task, with the kinds of all pools; a lost
//! connection is none, it is made again. What a node suffers is in [`NodeMetrics::trouble`].
//!
//! # Seen from outside
//!
//! [`ClusterPool::metrics`] and [`ClusterPool::record`] are as on the other pools, and so are exporters, spans and the dashboard; a job's trace goes
//! on at its node. [`Node::metrics`] counts deliveries, and the metrics of its local pool what became of jobs there. What is in the queues is told by
//! the servers: `docs/cluster/README.md` has the commands.
//!
//! # When not to use this
//!
//! When one machine is enough; for jobs of less than some milliseconds; for payloads that take longer to travel than to
//! work on: see [`ClusterPool`].

mod access;
mod builder;
mod client;
mod content;
mod delivery;
mod engine;
mod error;
mod failure;
mod map;
mod message;
mod names;
mod node;
mod perform;
mod pool;
#[cfg(test)]
#[path = "../../tests/cluster/proxy.rs"]
mod proxy;
mod registry;
mod schema;
mod seat;
#[cfg(test)]
#[path = "../../tests/cluster/server.rs"]
mod server;
mod shared;
mod thread;
mod topology;

pub use access::{Credentials, Tls};
pub use builder::ClusterPoolBuilder;
pub use delivery::Delivery;
pub use error::{ClusterError, ClusterErrorKind};
pub use node::{Node, NodeBuilder, NodeMetrics, NodeReport};
pub use pool::ClusterPool;
pub use topology::{Topology, TopologyReport, ensure_topology};

/// What `#[heavylift::job]` writes names these.
#[doc(hidden)]
pub mod __private {
    pub use linkme;

    pub use super::registry::{JOBS, Registered};
}
