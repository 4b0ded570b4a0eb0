#![deny(unsafe_code, missing_docs, unreachable_pub)]
//! What can have a name.

use std::collections::BTreeMap;

#[heavylift::job]
fn double(n: u64) -> u64 {
    n * 2
}

/// In a module, with a name of its own, and known outside.
pub mod inner {
    /// More than one argument.
    #[heavylift::job(name = "inner.add::2/x-y_z")]
    pub fn add((a, b): (u32, u32)) -> u32 {
        a + b
    }
}

#[heavylift::job]
#[cfg(any())]
fn is_not_there(_: Missing) {}

#[heavylift::job]
const fn nothing(_: ()) {}

#[heavylift::job]
fn r#match(mut words: BTreeMap<String, Result<Vec<u8>, String>>) -> Option<usize> {
    words.clear();
    words.len().checked_sub(1)
}

fn main() {
    #[heavylift::job]
    fn local(text: String) -> usize {
        text.len()
    }
    assert_eq!(double(2), 4);
    assert_eq!(heavylift::run_in_process_pool(inner::add, (1, 2)).blocking_wait().unwrap(), 3);
    assert_eq!(heavylift::run_in_thread_pool(|| local("abc".to_owned())).blocking_wait().unwrap(), 3);
    nothing(());
    assert_eq!(r#match(BTreeMap::new()), None);
}
