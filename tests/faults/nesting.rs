//! Jobs that use pools themselves.
