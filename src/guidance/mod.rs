//! What the crate knows about where work belongs, and what it notices when work is in the wrong place.

mod watch;

pub use watch::{Activity, Hold, Scope, Verdict, Watch, WatchReport, watch};
