//! Jobs begin in the order of submission, and urgent ones before others.
