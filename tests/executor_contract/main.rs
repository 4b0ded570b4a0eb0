//! What every executor promises, as one suite of behaviours that runs for each of them.
//!
//! A behaviour is a function over a [`subject::Subject`]; the lists below say which behaviours hold where. `everywhere` is
//! also for executors that run a job during the call; `on_pools` needs workers and a queue of their own.
//!
//! Jobs cannot capture, so that they can run in a process: test and job meet in the file system, see [`yard`].
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod backpressure;
mod cancel;
mod closed;
mod drive;
mod jobs;
mod limits;
mod maps;
mod metrics;
mod on_done;
mod panics;
mod results;
#[cfg(feature = "nats")]
#[path = "../cluster/server.rs"]
mod server;
mod shutdown;
mod subject;
mod waiting;
mod yard;

use std::sync::Arc;

#[cfg(feature = "nats")]
use heavylift::ClusterPool;
#[cfg(feature = "rayon")]
use heavylift::RayonPool;
use heavylift::{AnyExecutor, Inline, ProcessPool, ThreadPool};
use subject::Via;

/// One `#[test]` for each behaviour, over the type `Subject` of the module that this stands in.
macro_rules! behaviours {
    ($($topic:ident: $($behaviour:ident)*;)*) => {$($(
        #[test]
        fn $behaviour() {
            if <Subject as crate::subject::Subject>::is_here() {
                crate::$topic::$behaviour::<Subject>();
            }
        }
    )*)*};
}

macro_rules! everywhere {
    () => {
        behaviours! {
            results:
                a_job_returns_its_value
                values_of_every_shape_come_back
                an_error_that_a_job_returns_is_a_value
                a_job_starts_without_being_awaited
                many_jobs_at_once_each_return_their_own_value
                jobs_begin_in_the_order_of_submission_on_one_worker
                ids_grow_in_the_order_of_submission
                a_task_knows_its_name_and_the_line_that_started_it
                a_finished_task_says_so
                a_detached_job_runs_to_its_end;
            panics:
                a_panic_has_its_message_and_its_place
                a_panic_costs_only_its_own_task
                a_payload_that_is_no_text_has_a_stand_in
                a_detached_panic_costs_nothing;
            cancel:
                a_finished_task_cannot_be_cancelled
                the_handle_of_a_finished_task_does_nothing;
            on_done:
                a_callback_on_a_finished_task_runs_at_once
                a_panic_in_a_callback_hurts_nobody
                blocking_in_a_callback_panics
                a_callback_sees_the_error
                a_callback_may_start_another_job;
            maps:
                map_yields_in_the_order_of_its_inputs
                map_pulls_nothing_before_its_first_poll
                map_pulls_no_more_than_in_flight_ahead_of_a_slow_consumer
                an_endless_input_is_fine
                an_item_that_fails_does_not_end_the_map
                unordered_yields_each_index_once
                one_map_feeds_the_next
                an_empty_map_is_at_its_end
                a_timeout_ends_a_map_that_is_never_out_of_results
                a_chunked_map_yields_the_same
                an_error_of_a_map_names_its_line_and_its_name;
            limits:
                options_that_are_not_needed_change_nothing;
            metrics:
                counts_add_up_and_gauges_return_to_zero;
            closed:
                after_a_shutdown_every_start_is_refused_as_closed
                a_map_on_a_closed_executor_yields_an_error_per_input
                a_shutdown_of_an_idle_executor_ends_at_once
                a_shutdown_can_be_asked_for_again
                a_finished_task_survives_the_shutdown;
            waiting:
                a_thread_without_a_runtime_waits_by_blocking
                blocking_on_a_thread_that_drives_async_tasks_panics
                a_task_is_awaited_on_another_runtime
                a_task_is_awaited_without_tokio
                join_awaits_several
                gather_collects_in_input_order
                gather_ends_at_the_first_error
                settled_collects_errors_too
                as_completed_yields_every_index_once
                wait_returns_all_when_told_to;
        }
    };
}

macro_rules! on_pools {
    () => {
        behaviours! {
            results:
                a_task_is_queued_then_running_then_finished
                the_last_handle_may_go_while_a_task_is_wanted;
            cancel:
                a_queued_job_that_is_cancelled_never_starts
                a_queued_job_whose_task_is_dropped_never_starts
                a_running_job_that_is_cancelled_is_finished_at_once
                a_running_job_whose_task_is_dropped_learns_of_it_or_dies
                a_cancelled_job_costs_its_neighbours_nothing
                a_handle_cancels_from_elsewhere
                a_handle_outlives_its_task
                cancelling_twice_counts_once;
            on_done:
                a_callback_runs_once_before_the_awaiter_is_woken
                callbacks_run_in_the_order_of_registration
                a_callback_of_a_cancelled_task_runs_on_the_thread_that_cancels
                a_callback_of_a_dropped_task_is_told;
            backpressure:
                a_full_pool_refuses_run_as_overloaded
                a_full_pool_hands_the_job_of_try_run_back
                submit_waits_for_room
                submits_enter_first_come_first_served
                a_dropped_submit_gives_up_its_place_in_the_line
                a_submit_that_waits_is_refused_when_the_pool_closes
                room_is_back_when_the_task_has_finished
                room_is_back_when_a_queued_task_was_cancelled
                map_waits_for_room
                a_chain_of_maps_on_one_bounded_pool_does_not_deadlock
                a_chain_of_unordered_maps_on_one_bounded_pool_does_not_deadlock
                maps_that_nobody_polls_hold_up_nobody
                gather_over_run_on_a_full_pool_fails_fast
                map_stream_over_a_pending_input_starts_what_is_there;
            limits:
                run_timeout_ends_a_job_that_runs_too_long
                queue_timeout_ends_a_job_that_waits_too_long
                queue_timeout_does_not_end_a_job_that_runs
                limits_that_are_not_reached_change_nothing
                map_run_timeout_ends_the_one_item
                limits_of_the_pool_apply_where_the_job_has_none
                waiting_jobs_begin_by_priority_and_among_equals_by_submission
                a_map_has_the_priority_it_is_given;
            metrics:
                gauges_follow_a_job_through_the_pool;
            shutdown:
                drain_finishes_what_is_queued
                cancel_queued_finishes_only_what_runs
                kill_ends_everything
                a_stricter_shutdown_replaces_one_under_way
                two_tasks_await_the_same_shutdown
                a_shutdown_closes_without_being_polled
                a_shutdown_with_a_limit_abandons_what_is_left
                a_shutdown_is_awaited_by_blocking
                the_last_handle_gone_what_is_queued_still_runs;
            maps:
                a_dropped_map_cancels_what_it_started
                map_timeout_cancels_what_runs
                unordered_yields_what_is_finished_first;
            waiting:
                blocking_wait_timeout_gives_up_and_loses_nothing
                tokio_timeout_ends_the_job
                a_borrowed_task_in_timeout_goes_on
                a_borrowed_task_in_select_goes_on
                as_completed_yields_what_is_finished_first
                wait_returns_the_first;
        }
    };
}

macro_rules! subject {
    ($name:ident: $subject:ty => $($list:ident)*) => {
        mod $name {
            use super::*;
            type Subject = $subject;
            $($list!();)*
        }
    };
}

// By the pools' own methods.
subject!(threads: ThreadPool => everywhere on_pools);
subject!(processes: ProcessPool => everywhere on_pools);
#[cfg(feature = "rayon")]
subject!(rayon_pool: RayonPool => everywhere on_pools);
#[cfg(feature = "nats")]
subject!(cluster: ClusterPool => everywhere on_pools);
// By the trait.
subject!(inline: Via<Inline, Inline> => everywhere);
subject!(any_threads: Via<ThreadPool, AnyExecutor> => everywhere on_pools);
subject!(any_processes: Via<ProcessPool, AnyExecutor> => everywhere on_pools);
#[cfg(feature = "rayon")]
subject!(any_rayon: Via<RayonPool, AnyExecutor> => everywhere on_pools);
#[cfg(feature = "nats")]
subject!(any_cluster: Via<ClusterPool, AnyExecutor> => everywhere on_pools);
subject!(any_inline: Via<Inline, AnyExecutor> => everywhere);
subject!(reference: Via<ThreadPool, &'static ThreadPool> => everywhere);
subject!(arc: Via<ProcessPool, Arc<ProcessPool>> => everywhere on_pools);
subject!(boxed: Via<Inline, Box<Inline>> => everywhere);
