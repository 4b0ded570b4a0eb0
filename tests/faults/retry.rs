//! Jobs that are run again when their worker has died.
