struct Plain;

fn main() {
    heavylift::run_in_process_pool(|_: Plain| (), Plain).detach();
    heavylift::run_in_process_pool(|text: &str| text.len(), "text").detach();
}
