//! Ctrl-C, and every other end of the program.
