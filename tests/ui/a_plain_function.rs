fn double(n: u64) -> u64 {
    n * 2
}

fn main() {
    assert_eq!(heavylift::run_in_process_pool(double, 2).blocking_wait().unwrap(), 4);
    assert_eq!(heavylift::run_in_process_pool(|n: u64| double(n), 2).blocking_wait().unwrap(), 4);
}
