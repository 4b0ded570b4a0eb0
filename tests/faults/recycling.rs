//! Workers that are replaced on schedule.
