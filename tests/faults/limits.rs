//! Memory that is capped, and what the machine lacks for it.
