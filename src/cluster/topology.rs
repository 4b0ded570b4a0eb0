//! [`ensure_topology`]: streams, consumers and the bucket, made or brought up to date by an administrator.
