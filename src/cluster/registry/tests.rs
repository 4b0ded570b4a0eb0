use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde::{Deserialize, Deserializer, Serialize};

use super::*;
use crate::{
    cluster::perform::{Perform, perform},
    panic::catch,
};

#[heavylift::job]
fn double(n: u64) -> u64 {
    n * 2
}

/// Says which job it is, or panics.
#[heavylift::job(name = "who.am-i")]
fn who_am_i(fail: bool) -> (String, u32) {
    let current = crate::job::current();
    assert!(!fail, "{} fails", current.id());
    (current.id().to_owned(), current.attempt())
}

/// Wants what no program can read from these bytes, and returns what none can write.
#[heavylift::job]
fn fails_to_return(_: ()) -> std::time::SystemTime {
    std::time::UNIX_EPOCH - std::time::Duration::from_secs(1)
}

#[test]
fn a_function_is_found_by_its_type_and_by_its_name() {
    fn name<F: 'static>(_: F) -> Option<&'static str> {
        of::<F>().map(Registered::name)
    }
    assert_eq!(name(double), Some("heavylift::cluster::registry::tests::double"));
    assert_eq!(name(who_am_i), Some("who.am-i"));
    assert_eq!(name(|n: u64| double(n)), None);
    let found = named("who.am-i").unwrap();
    assert!(found.at.contains("registry/tests.rs:"), "{}", found.at);
    assert!(named("who").is_none());
    assert_eq!(double(4), 8, "it is still a function");
}

/// Counts how often it is read.
#[derive(Debug, Serialize)]
struct Counted;

static READ: AtomicU32 = AtomicU32::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        READ.fetch_add(1, Relaxed);
        <()>::deserialize(deserializer).map(|()| Self)
    }
}

#[heavylift::job]
fn look(_: Counted) -> u8 {
    0
}

#[test]
fn types_are_looked_at_once() {
    let function = named("heavylift::cluster::registry::tests::look").unwrap();
    let fingerprint = function.fingerprint();
    assert_eq!(function.fingerprint(), fingerprint);
    assert_eq!(READ.load(Relaxed), 1);
    assert_eq!(fingerprint, schema::fingerprint::<(), u8>(), "it reads as `()` does");
}

#[test]
fn all_are_listed_in_the_order_of_their_names() {
    let names: Vec<_> = all().iter().map(|job| job.name()).collect();
    assert!(names.is_sorted() && names.contains(&"who.am-i"), "{names:?}");
    assert_eq!(check(), Ok(()));
}

#[test]
fn two_functions_with_one_name_are_named_with_their_places() {
    let one = Registered::new("same", double, "src/a.rs:1");
    let other = Registered::new("same", who_am_i, "src/b.rs:2");
    let between = Registered::new("before", double, "src/c.rs:3");
    assert_eq!(unique(&[&between, &one]), Ok(()));
    assert_eq!(
        unique(&[&between, &one, &other]).unwrap_err(),
        "two functions have the name `same`, one at src/a.rs:1 and one at src/b.rs:2: rename one, or give it \
         another name by `#[heavylift::job(name = \"…\")]`"
    );
}

fn performed(job: &str, argument: Bytes) -> Performed {
    perform(Perform { job: job.to_owned(), id: "c-7".to_owned(), attempt: 3, argument })
}

#[test]
fn a_function_is_performed_by_its_name_and_knows_which_job_it_is() {
    let Performed::Value(result, ran) = performed("who.am-i", content::pack(false).unwrap()) else {
        panic!("no value")
    };
    assert_eq!(content::unpack(result), Ok(("c-7".to_owned(), 3u32)));
    assert!(ran.as_secs() < 60);
    assert_ne!(crate::job::current().id(), "c-7", "afterwards none is current");
}

#[test]
fn what_cannot_be_performed_is_said() {
    assert_eq!(performed("nobody", Bytes::new()), Performed::Unknown);
    let unreadable = performed("who.am-i", Bytes::from_static(&[7, 0, 0, 0, 0]));
    assert!(matches!(unreadable, Performed::ArgumentNotDecodable(why) if why.contains("bool")));
    let name = "heavylift::cluster::registry::tests::fails_to_return";
    let unwritable = performed(name, content::pack(()).unwrap());
    assert!(matches!(unwritable, Performed::ResultNotEncodable(why) if why.contains("SystemTime")));
}

#[test]
fn a_panic_of_the_function_goes_through() {
    let report = catch(|| performed("who.am-i", content::pack(true).unwrap())).unwrap_err();
    assert_eq!(report.message, "c-7 fails");
    assert_ne!(crate::job::current().id(), "c-7");
}
