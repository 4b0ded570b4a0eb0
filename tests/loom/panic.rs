//! What the protocols need of `src/panic.rs`. In a model every panic is a failure, so nothing is caught.

pub(crate) fn shield(f: impl FnOnce()) {
    f();
}

pub(crate) fn drop_shielded<T>(value: T) {
    drop(value);
}
