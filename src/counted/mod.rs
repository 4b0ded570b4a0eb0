//! [`Counted`] and [`Weak`]: shared ownership, as by `Arc`, for tasks: each is made on one thread, finished on another and dropped
//! on the first, a few million times a second.
//!
//! What an `Arc` does not offer:
//!
//! 1. Both counts are one word. Who is the only owner, and nobody holds it weakly, sees that by a look and lets go without an atomic
//!    change, where an `Arc` needs two. Most tasks end so.
//! 2. Many share one piece of the heap: see [`block`].

mod block;
mod owner;
#[cfg(test)]
mod tests;

pub(crate) use owner::{Counted, Inner, Weak, unsize};
