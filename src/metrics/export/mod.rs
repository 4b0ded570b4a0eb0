//! What all pools' [`Metrics`] tell, through the `metrics` facade: [`report`] and [`report_every`].
//!
//! 1. Pools are read when somebody asks, and push nothing: a job costs what it costs without the feature.
//! 2. What has been told of a name is kept in [`books`], with the figures of pools that have ended: so no counter goes back, and no
//!    duration is recorded twice, whoever else reports at the same time.
//! 3. The recorder is foreign code: no lock of ours is held while it runs, and its panic goes no further.

mod books;
mod publish;
mod reporter;
mod series;

pub(crate) use books::enter;
pub use reporter::{Reporter, report_every};

use crate::panic::shield;

/// Bounds of the buckets, in seconds, for the two histograms: to be given to the exporter. Needs the feature `metrics`.
///
/// From a microsecond to ten minutes, two or three for each factor of ten. See [`report`].
pub const BUCKETS: [f64; 24] = [
    1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0,
];

/// Tells the recorder of the [`metrics`](https://docs.rs/metrics) facade the figures of all pools of the program, so that any exporter
/// has them. Needs the feature `metrics`.
///
/// Pools push nothing: they are read when this is called, and jobs cost what they cost without it. So call it when the figures are
/// wanted: where an exporter renders them for who asks, right before that; for one that pushes them there is [`report_every`]. It
/// takes some 10 µs for each pool, and up to a millisecond more where very many jobs have run since the last time: an `async`
/// handler need not leave its thread for it. It holds up no job.
///
/// # What is told
///
/// Each with the labels `pool`, its name, and `kind`: `thread`, `process`, `rayon` or `cluster`.
///
/// | name | what |
/// |---|---|
/// | `heavylift_jobs_submitted_total` | jobs taken |
/// | `heavylift_jobs_finished_total` | tasks that have finished, by `outcome`: `succeeded`, `panicked`, `cancelled`, `timed_out`, `failed` (a worker process died, an argument or a result could not cross, …) |
/// | `heavylift_jobs_refused_total` | jobs not taken: the queue was full or the pool closed |
/// | `heavylift_hand_overs_total` | how often jobs were handed over: items of a `map` that travel together count once |
/// | `heavylift_jobs_queued`, `heavylift_jobs_running` | jobs that wait, and that workers run |
/// | `heavylift_jobs_abandoned` | jobs that still run in a thread although their task has finished |
/// | `heavylift_job_queue_wait_seconds`, `heavylift_job_run_time_seconds` | histograms of how long jobs waited and ran |
/// | `heavylift_pools` | pools of this name that live |
/// | `heavylift_workers`, `heavylift_workers_idle`, `heavylift_workers_max` | workers, those that have no job, how many there may be |
/// | `heavylift_workers_min`, `heavylift_workers_most`, `heavylift_workers_unused` | how many workers stay without jobs, the most that there were at a time, those that have not had a job yet; not of `rayon` and `cluster` |
/// | `heavylift_worker_seconds` | how long all workers have been there, together: its rate is how many there were on average; not of `rayon` and `cluster` |
/// | `heavylift_worker_deaths_total`, `heavylift_workers_recycled_total` | worker processes that died unasked, and that were replaced on schedule |
/// | `heavylift_measured_jobs_total`, `heavylift_measured_run_seconds`, `heavylift_measured_cpu_seconds` | jobs whose processor time was measured, their run time, and how much of it they were on a processor, by `nature`: `waiting`, `computing`, `mixed` (see [`ProcessorUse`](crate::ProcessorUse)) |
/// | `heavylift_payload_bytes_total`, `heavylift_payload_seconds` | payloads of more than 2 KiB to processes, by `direction`: `argument`, `result`; and the time that they took this program |
///
/// What ends in `_total` is a counter. A counter of the facade holds whole numbers only, so times that add up are gauges that
/// only grow; `rate()` takes them as it takes a counter.
///
/// Two pools of one name and kind are told as one. A pool that has ended is told with its last figures, and one built under its name
/// later goes on from there. After 64 names further ones are told as the pool `other`, one for each kind: names that are made up at
/// run time do not flood who collects. In names, backslashes and control characters are told as `_`, and what is longer than 64
/// characters is cut off, for exporters do not agree on how to escape them.
///
/// # Quantiles
///
/// Buckets of several programs can be added up, quantiles cannot. So durations go to the facade's histograms: what has come
/// since the last report, each as the middle of its bucket in the pool's own histogram, at most a sixteenth off. Give the exporter
/// [`BUCKETS`], or bounds of your own; `histogram_quantile` has the quantiles of any number of programs then. Without bounds many
/// exporters tell quantiles of this program alone.
///
/// Exporters take each duration by itself, so no more than 20 000 of a pool are told in one report: of more, one in two, one in
/// three, … of each bucket. Quantiles and means are right then, too, but the histogram's `_count` is too small. How many jobs there
/// were is in `heavylift_jobs_finished_total`.
///
/// # Recorders
///
/// Install the recorder first: durations that were reported without one are lost. There is one recorder in a program; with a
/// local one, as of `metrics::with_local_recorder`, histograms have what was not told to another before. Reports from several
/// threads at once tell nothing twice. A recorder that panics is none of the caller's business: the panic hook has told of it.
///
/// # Examples
///
/// With `metrics-exporter-prometheus` and axum:
///
/// ```
/// use axum::{Router, routing::get};
/// use heavylift::metrics::{BUCKETS, report};
/// use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ours = Matcher::Prefix("heavylift_".to_owned());
/// let exporter = PrometheusBuilder::new().set_buckets_for_metric(ours, &BUCKETS)?.install_recorder()?;
/// let render = move || {
///     report();
///     exporter.render()
/// };
/// let service = Router::new().route("/metrics", get(async move || render()));
/// # let render_once = get_once(service);
/// # heavylift::run_in_thread_pool(|| ()).await?;
/// # assert!(render_once.await.contains("\nheavylift_jobs_finished_total{pool=\"heavylift\",kind=\"thread\",outcome=\"succeeded\"} 1\n"));
/// # Ok(())
/// # }
/// # async fn get_once(service: Router) -> String {
/// #     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
/// #     let address = listener.local_addr().unwrap();
/// #     tokio::spawn(async move { axum::serve(listener, service).await });
/// #     use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// #     let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
/// #     stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
/// #     let mut page = String::new();
/// #     stream.read_to_string(&mut page).await.unwrap();
/// #     page
/// # }
/// ```
///
/// [`Metrics`]: crate::Metrics
pub fn report() {
    let statements = books::read();
    shield(|| publish::publish(&statements));
}
