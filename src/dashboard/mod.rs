//! A page that shows all pools of the program live. Needs the feature `dashboard`.
//!
//! [`router`] is an axum [`Router`] for a service that has one; [`serve`] is a server for a program that has none. Both show, for every
//! pool: its workers as lanes that fill while they work, the queue, jobs per second, how long jobs wait and run, how they ended, the
//! latest failures with their errors, deaths of workers, and the pool's [advice](crate::guidance::PoolAdvice).
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> std::io::Result<()> {
//! use axum::{Router, routing::get};
//! use heavylift::dashboard;
//!
//! let service: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .nest_service("/dashboard", dashboard::router());
//! # drop(service);
//! # Ok(())
//! # }
//! ```
//!
//! # Who may see it
//!
//! The page shows names and errors of jobs, in which there may be names of files and words of users. It knows no passwords. So [`serve`]
//! listens on loopback only, unless [`allow_remote`](Serve::allow_remote) says otherwise; and whoever nests [`router`] into a service that
//! others reach puts their own authentication before it, as a layer.
//!
//! There is nothing to press: all routes are `GET`, and none changes anything. The page loads nothing from elsewhere, and its content
//! security policy forbids that it could.
//!
//! # What it costs
//!
//! Nothing while nobody looks. As long as a page is open, one thread looks at the pools twice a second, for all pages together. At most 64
//! pages may be open at a time; the next one is told to come back (503). A page that does not read what it is sent misses
//! it, and after ten seconds has lost its place: nothing is kept for it. A page in a tab that nobody sees lets go after half a minute.
//!
//! # Routes
//!
//! All are relative to where the router is nested.
//!
//! | route | answer |
//! |---|---|
//! | `/` | the page |
//! | `/api/pools` | all pools, as JSON: while a page is open what it was sent last, else as they are at this moment |
//! | `/api/stream` | the same twice a second, to an open page, as [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html) |
//!
//! # The JSON
//!
//! Fields may be added; what is there keeps its meaning as long as `version` is 1. Times end in their unit. All counts are since the pool was
//! built. What only one who goes on looking can know is `null` while no page is open: `recent`, `busy`, `latest_job`, `failures`, `events`.
//!
//! | field | what |
//! |---|---|
//! | `version` | 1 |
//! | `instance` | text that is another one whenever the program was started anew: ids and counts begin again |
//! | `at_ms` | time since the router was made, by which two answers are compared |
//! | `program`, `pid`, `cores` | name and process id of the program, processors that it may use |
//! | `viewers` | pages that are open |
//! | `pools` | the pools that live, oldest first, at most 100 |
//! | `more_pools` | how many there are beyond these |
//!
//! and for each pool:
//!
//! | field | what |
//! |---|---|
//! | `id` | a number that no other pool of this `instance` has or had |
//! | `name`, `kind` | as its builder named it; `thread`, `process`, `rayon` or `cluster` |
//! | `age_ms` | how long ago it was built |
//! | `workers`, `idle_workers`, `max_workers` | workers that are there, those of them without a job, how many there may be |
//! | `queued`, `running` | jobs that wait, jobs that run |
//! | `counts` | `submitted`, `succeeded`, `failed`, `panicked`, `cancelled`, `timed_out`, `refused`, `worker_deaths`, `recycled`, `abandoned`: as in [`Metrics`](crate::Metrics) |
//! | `queue_wait`, `run_time` | `count`, `p50_us`, `p90_us`, `p99_us`, `max_us`; and `recent`, the same of the last ten seconds |
//! | `lanes` | what each worker does, for at most 64 |
//! | `more_lanes` | how many workers there are beyond these |
//! | `failures` | the latest tasks that failed, latest first, at most 20, since the first of the open pages was opened: `at_ms`, `task`, `name`, `outcome`, `error` |
//! | `events` | what happened to workers, likewise: `at_ms`, `worker`, `serial`, `pid`, `what` (`started`, `retired`, `recycled`, `killed`, `died`), `reason` |
//! | `advice` | `is_enough`, and `findings` with `rule`, `evidence` and `change`; `null` for a pool that gives none |
//!
//! and for each lane:
//!
//! | field | what |
//! |---|---|
//! | `worker` | the number of its place in the pool, which it leaves to its successor: the same as in spans and timelines |
//! | `serial` | a number that no other worker of this pool has or had, but for threads, where it is the same as `worker` |
//! | `pid` | its process, or `null` for a thread |
//! | `state` | `starting`, `standing_by`, `idle`, `busy` or `leaving` |
//! | `busy` | in which share of ten looks during the last half second it had a job: from 0 to 1 |
//! | `job` | what it runs: `task`, `name`, `running_ms`; or `null` |
//! | `latest_job` | the name of the last job that was seen there during that time, or `null` |
//!
//! A `task` is told by its id, its `name` is as given or the type name of its function, and its `outcome` is the
//! [kind](crate::TaskErrorKind) of the error as in spans: `timed_out`, `panicked`, `worker_died`, `encode`, `decode`, `too_large`,
//! `unavailable`. A task that was cancelled or refused is counted, and is no failure. Names are cut after 120 bytes, errors after 500.
//!
//! # Examples
//!
//! A program without a server, with its dashboard on `http://127.0.0.1:8787`:
//!
//! ```no_run
//! # #[tokio::main]
//! # async fn main() {
//! use heavylift::dashboard;
//!
//! tokio::spawn(async {
//!     if let Err(error) = dashboard::serve("127.0.0.1:8787").await {
//!         eprintln!("no dashboard: {error}");
//!     }
//! });
//! // … what the program is for
//! # }
//! ```

mod audience;
mod onlooker;
mod pools;
mod routes;
mod serve;
mod snapshot;

use std::sync::Arc;

use axum::Router;

pub use self::serve::{Listening, Serve, serve};
use self::{audience::Audience, pools::Pools};

/// Returns the dashboard, to be nested into a service under any path.
///
/// Use `nest_service`: then the page is found with and without a slash at the end of the path. It starts nothing. Who may see the
/// page is up to the service: see [the module](self#who-may-see-it).
///
/// A service that shuts down gracefully uses [`router_until`]: open pages read for ever, and it would wait for them as long.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// use axum::Router;
/// use heavylift::dashboard;
///
/// let service = Router::new().nest_service("/admin/jobs", dashboard::router());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// println!("http://{}/admin/jobs", listener.local_addr()?);
/// tokio::spawn(async { axum::serve(listener, service).await });
/// # Ok(())
/// # }
/// ```
pub fn router() -> Router {
    routes::router(Arc::new(Audience::new(Pools::new())))
}

/// Returns the dashboard as [`router`] does, which lets its open pages go when `end` is there.
///
/// `end` is polled on a task of the runtime that answers the first page, from then on. A page that was let go says that it is disconnected,
/// and tries to come back; until the program ends it is answered with 503.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// use axum::Router;
/// use heavylift::dashboard;
/// use tokio::sync::watch;
///
/// let (end, ended) = watch::channel(false);
/// let until = |mut ended: watch::Receiver<bool>| async move { drop(ended.wait_for(|is| *is).await) };
/// let service = Router::new().nest_service("/dashboard", dashboard::router_until(until(ended.clone())));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let serving = axum::serve(listener, service).with_graceful_shutdown(until(ended)).into_future();
/// let serving = tokio::spawn(serving);
/// end.send_replace(true); // on SIGTERM, for instance
/// serving.await??;
/// # Ok(())
/// # }
/// ```
pub fn router_until(end: impl Future<Output = ()> + Send + 'static) -> Router {
    let audience = Arc::new(Audience::new(Pools::new()));
    audience.close_after(end);
    routes::router(audience)
}
