struct Account {
    cents: u64,
}

impl Account {
    #[heavylift::job]
    fn close(self) -> u64 {
        self.cents
    }
}

#[heavylift::job]
async fn fetch(url: String) -> String {
    url
}

#[heavylift::job]
fn first<T>(items: Vec<T>) -> Option<T> {
    items.into_iter().next()
}

#[heavylift::job]
fn length<'a>(text: &'a str) -> usize {
    text.len()
}

#[heavylift::job]
fn words(text: &str) -> usize {
    text.split(' ').count()
}

#[heavylift::job]
fn print(value: impl std::fmt::Display) -> String {
    value.to_string()
}

#[heavylift::job]
fn now() -> u64 {
    0
}

#[heavylift::job]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[heavylift::job]
unsafe fn peek(address: usize) -> u8 {
    address as u8
}

#[heavylift::job]
extern "C" fn callback(n: u32) -> u32 {
    n
}

#[heavylift::job]
struct Plain;

#[heavylift::job(name = "")]
fn without_a_name(_: ()) {}

#[heavylift::job(name = "two words")]
fn with_a_space(_: ()) {}

#[heavylift::job(name = "all.>")]
fn with_a_wildcard(_: ()) {}

#[heavylift::job(name = "größe")]
fn with_an_umlaut(_: ()) {}

#[heavylift::job(name = 7)]
fn with_a_number(_: ()) {}

#[heavylift::job("name")]
fn without_a_key(_: ()) {}

#[heavylift::job(queue = "gpu")]
fn with_something_else(_: ()) {}

fn main() {}
