fn main() {
    let job: fn(u64) -> u64 = |n| n * 2;
    heavylift::run_in_process_pool(job, 2).detach();
}
