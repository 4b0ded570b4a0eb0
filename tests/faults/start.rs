//! Starts that fail, hang or die, and those that succeed afterwards.
