fn main() {
    let base = 40;
    heavylift::run_in_process_pool(move |n: u64| n + base, 2).detach();
}
