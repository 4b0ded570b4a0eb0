//! The process pool: jobs that run in worker processes.
mod ring;
