//! Each time limit ends what it is for, in time, and nothing else.
