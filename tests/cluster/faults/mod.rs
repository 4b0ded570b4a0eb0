//! What can go wrong with a cluster, and what then happens: one module a subject, one test a line of docs/faults.md.

mod admin;
mod jobs;
mod scene;

mod access;
mod cancel;
mod idle;
mod limits;
mod nodes;
mod poison;
mod servers;
mod versions;
