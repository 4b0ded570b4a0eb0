//! Names of shared memory: what stands behind the bytes of a payload that has some in it.
//!
//! One name for each piece, in the order in which the payload counts them, then their number:
//!
//! ```text
//! payload │ kind, number │ kind, number │ … │ how many
//!         │   1      8   │              │   │    4      bytes, little endian
//! ```
//!
//! That there are names says a flag of the job, or the kind of the reply.

/// What a piece of shared memory is called between a program and one of its workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// A piece that whoever sends the payload has sent under this number ([`Signal::Shared`](super::message::Signal::Shared)).
    Sent(u64),
    /// In a result: a piece of the argument, by its place there.
    Given(u64),
}

const SENT: u8 = 1;
const GIVEN: u8 = 2;

/// The length of a name.
const NAME: usize = 9;
/// The length of their number.
const COUNT: usize = 4;

/// Puts names behind a payload.
pub(super) fn append(payload: &mut Vec<u8>, names: &[Name]) {
    for name in names {
        let (kind, number) = match *name {
            Name::Sent(number) => (SENT, number),
            Name::Given(number) => (GIVEN, number),
        };
        payload.push(kind);
        payload.extend_from_slice(&number.to_le_bytes());
    }
    payload.extend_from_slice(&(names.len() as u32).to_le_bytes());
}

/// Takes the names off a payload, which is not trusted; `None` if they are none.
pub(super) fn take_off(payload: &mut Vec<u8>) -> Option<Vec<Name>> {
    let (rest, count) = payload.split_last_chunk::<COUNT>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let start = rest.len().checked_sub(count.checked_mul(NAME)?)?;
    let names = rest[start..].as_chunks::<NAME>().0.iter().map(read).collect::<Option<Vec<Name>>>()?;
    payload.truncate(start);
    Some(names)
}

fn read(&[kind, ref number @ ..]: &[u8; NAME]) -> Option<Name> {
    let number = u64::from_le_bytes(*number);
    match kind {
        SENT => Some(Name::Sent(number)),
        GIVEN => Some(Name::Given(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_are_no_names_is_refused_and_left_alone() {
        let no_kind = [&[0; NAME][..], &[1, 0, 0, 0]].concat();
        for bytes in [vec![], vec![1, 2, 3], vec![1, 0, 0, 0], vec![255; 100], no_kind] {
            let mut payload = bytes.clone();
            assert_eq!(take_off(&mut payload), None);
            assert_eq!(payload, bytes);
        }
    }

    fn name() -> impl Strategy<Value = Name> {
        any::<(bool, u64)>().prop_map(|(sent, n)| if sent { Name::Sent(n) } else { Name::Given(n) })
    }

    proptest! {
        #[test]
        fn names_come_off_as_they_were_put_on(
            payload in any::<Vec<u8>>(),
            names in proptest::collection::vec(name(), 0..300),
        ) {
            let mut bytes = payload.clone();
            append(&mut bytes, &names);
            prop_assert_eq!(take_off(&mut bytes), Some(names));
            prop_assert_eq!(bytes, payload);
        }

        #[test]
        fn any_bytes_are_names_or_refused(mut bytes in any::<Vec<u8>>()) {
            let before = bytes.len();
            if let Some(names) = take_off(&mut bytes) {
                prop_assert_eq!(bytes.len() + names.len() * NAME + COUNT, before);
            }
        }
    }
}
