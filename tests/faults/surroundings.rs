//! What a worker finds around it, and pools in strange surroundings.
