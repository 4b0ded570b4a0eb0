struct Plain;

#[heavylift::job]
fn takes_plain(_: Plain) {}

#[heavylift::job]
fn returns_plain(_: ()) -> Plain {
    Plain
}

fn main() {}
