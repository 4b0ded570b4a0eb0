//! Every way of ending a pool, at every moment.
