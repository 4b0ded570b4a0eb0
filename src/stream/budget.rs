//! tokio's cooperative budget, by which a loop over futures lets other tasks have their turn.
//!
//! Outside a tokio task the budget is unlimited, and all of this does nothing.

use std::task::{Context, Poll, ready};

use tokio::task::coop;

/// Whether this turn has budget left.
#[inline]
pub(super) fn is_left() -> bool {
    coop::has_budget_remaining()
}

/// Is ready if this turn has budget left; otherwise asks for another turn. Spends nothing.
#[inline]
pub(super) fn poll_left(cx: &mut Context<'_>) -> Poll<()> {
    // Dropping the unit gives it back.
    coop::poll_proceed(cx).map(drop)
}

/// Spends one unit; otherwise asks for another turn.
#[inline]
pub(super) fn poll_spend(cx: &mut Context<'_>) -> Poll<()> {
    ready!(coop::poll_proceed(cx)).made_progress();
    Poll::Ready(())
}

/// Spends one unit for work that is already done, if there is one.
#[inline]
pub(super) fn spend(cx: &mut Context<'_>) {
    // Asked first, because a failed `poll_spend` wakes the task, which nobody needs here.
    if is_left() {
        let _ = poll_spend(cx);
    }
}
