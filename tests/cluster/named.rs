//! Functions that have a name: ordinary functions, on every pool. That the list has them all, and what the names are good for, is tested where the
//! list is, and by what the nodes of the other tests do.

use futures::TryStreamExt;
use heavylift::{AnyExecutor, Executor, Inline, ProcessPool, ThreadPool, gather, job};

#[heavylift::job]
fn double(n: u64) -> u64 {
    n * 2
}

#[heavylift::job(name = "tests.key")]
fn key(_: ()) -> (String, u32) {
    let current = job::current();
    (current.id().to_owned(), current.attempt())
}

fn pools() -> [AnyExecutor; 3] {
    [Inline.into(), ThreadPool::cpu().clone().into(), ProcessPool::global().clone().into()]
}

#[tokio::test]
async fn a_function_with_a_name_runs_on_every_pool() {
    for pool in pools() {
        assert_eq!(pool.execute(double, 4).await.unwrap(), 8, "{pool:?}");
        assert_eq!(pool.job(double, 5).name("named").run().await.unwrap(), 10, "{pool:?}");
        let doubled: Vec<u64> = pool.map(double, 0..4).try_collect().await.unwrap();
        assert_eq!(doubled, [0, 2, 4, 6], "{pool:?}");
    }
    assert_eq!(double(3), 6);
}

#[tokio::test]
async fn where_nothing_runs_twice_each_run_has_an_id_of_its_own() {
    for pool in pools() {
        let mut keys = gather((0..8).map(|_| pool.execute(key, ()))).await.unwrap();
        assert!(keys.iter().all(|(id, attempt)| !id.is_empty() && *attempt == 1), "{keys:?}");
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 8, "{pool:?}");
    }
}
