//! The only contact of the process pool with the operating system.
//!
//! Each file wraps one facility of Linux in a safe interface that knows nothing of pools. What `rustix` offers is used
//! as it is; `libc` fills the gaps.

mod bell;
mod c_stdout;
mod cgroup;
mod clock;
mod copies;
mod descriptors;
mod facilities;
mod fork;
mod heap;
mod image;
mod memory;
mod memory_use;
mod poll;
mod segment;
mod signals;
mod socket;
mod status;
mod title;

pub(super) use bell::Bell;
pub(super) use c_stdout::flush_c_stdout;
pub(super) use cgroup::{Leaf, Leaves, check_cgroup, enter_cgroup};
pub(super) use clock::{Clock, Moment, monotonic_ns};
pub(crate) use copies::watch_forks;
pub(super) use copies::{ClosedInCopies, generation};
pub(super) use descriptors::{close_all_but, fill_standard_descriptors, keep_high, null_to_stdin};
pub(super) use facilities::{has_private_memory, kernel_release, look_around, missing_facility};
pub(super) use fork::{Forked, die_with, fork, kill_group, limit_address_space, reap, set_up_worker_process};
pub(super) use heap::{Heap, join_freed};
pub(super) use image::{entry_is_in_program, is_privileged};
pub(super) use memory::{Mapped, Memory};
pub(super) use memory_use::MemoryGauge;
pub(super) use poll::{Interest, wait, wait_any};
pub(super) use segment::{InSegment, Segment};
pub(super) use signals::{ChildSignal, reset_signals, signal_on_event};
pub(super) use socket::{Received, Socket, adopt_stdin};
#[cfg(feature = "tracing")]
pub(super) use socket::{send_on_stream, stream_pair};
pub(super) use status::exit_of_zombie;
pub(super) use title::Title;
