//! The attribute `#[heavylift::job]`.
