//! What a type looks like to serde, as a number: so that a node built from another version refuses instead of decoding nonsense.
