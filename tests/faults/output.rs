//! What jobs print.
