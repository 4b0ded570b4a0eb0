//! Every step of a job, and every way in which it can fail.
