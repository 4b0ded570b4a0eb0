//! [`Said`]: an event of `tracing` on its way from a worker to the program.
//!
//! ```text
//! MARK │ length of the rest, 2 bytes │ level │ whether it was cut │ target │ message │ fields │ spans
//!                                    │       │                    │  each: length, 2 bytes, then text
//! ```
//!
//! 1. One event is one `send` of less than [`LONGEST`] bytes, which a stream socket takes whole: so threads of a worker need no lock, and
//!    none that dies leaves half an event.
//! 2. What arrives is the worker's word: lengths are checked, and text that is no UTF-8 is replaced.

use std::borrow::Cow;

use crate::text::beginning;

/// What each event begins with.
const MARK: u8 = 0xE7;
/// The longest texts, in bytes: what is longer is cut.
const LONGEST_TARGET: usize = 256;
const LONGEST_MESSAGE: usize = 4096;
const LONGEST_FIELDS: usize = 2048;
pub(super) const LONGEST_SPANS: usize = 1024;
/// The longest event.
const LONGEST: usize = 3 + 2 + 4 * 2 + LONGEST_TARGET + LONGEST_MESSAGE + LONGEST_FIELDS + LONGEST_SPANS;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said<'a> {
    /// From 1 for errors to 5 for traces.
    pub(super) level: u8,
    /// Whether a text is longer than it is here.
    pub(super) cut: bool,
    pub(super) target: Cow<'a, str>,
    pub(super) message: Cow<'a, str>,
    /// Names and values of the other fields.
    pub(super) fields: Cow<'a, str>,
    /// The spans of the worker that it was said inside, with their fields.
    pub(super) spans: Cow<'a, str>,
}

/// What is found at the beginning of bytes that have come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// An event, and how many bytes it takes.
    Event(Said<'a>, usize),
    /// Not yet the whole of one.
    Part,
    /// None, and none will come of it.
    Garbage,
}

impl Said<'_> {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let limits = [LONGEST_TARGET, LONGEST_MESSAGE, LONGEST_FIELDS, LONGEST_SPANS];
        let texts = [&self.target, &self.message, &self.fields, &self.spans];
        let is_cut = texts.iter().zip(limits).any(|(text, limit)| text.len() > limit);
        let mut bytes = vec![MARK, 0, 0, self.level, u8::from(self.cut || is_cut)];
        for (text, limit) in texts.into_iter().zip(limits) {
            let text = beginning(text, limit);
            bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        let rest = (bytes.len() - 3) as u16;
        bytes[1..3].copy_from_slice(&rest.to_le_bytes());
        bytes
    }
}

/// Looks at what has come.
pub(super) fn find(bytes: &[u8]) -> Found<'_> {
    let [MARK, low, high, rest @ ..] = bytes else {
        let may_come = bytes.is_empty() || bytes[0] == MARK;
        return if may_come { Found::Part } else { Found::Garbage };
    };
    let len = usize::from(u16::from_le_bytes([*low, *high]));
    if len + 3 > LONGEST {
        return Found::Garbage;
    }
    match rest.get(..len) {
        None => Found::Part,
        Some(event) => read(event).map_or(Found::Garbage, |said| Found::Event(said, len + 3)),
    }
}

fn read(event: &[u8]) -> Option<Said<'_>> {
    let (&[level, cut], mut rest) = event.split_first_chunk::<2>()?;
    let said = Said {
        level: Some(level).filter(|level| (1..=5).contains(level))?,
        cut: cut != 0,
        target: take_text(&mut rest)?,
        message: take_text(&mut rest)?,
        fields: take_text(&mut rest)?,
        spans: take_text(&mut rest)?,
    };
    rest.is_empty().then_some(said)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<Cow<'a, str>> {
    let (len, behind) = rest.split_first_chunk::<2>()?;
    let (text, behind) = behind.split_at_checked(u16::from_le_bytes(*len).into())?;
    *rest = behind;
    Some(String::from_utf8_lossy(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said<'a>(target: &'a str, message: &'a str, fields: &'a str) -> Said<'a> {
        let (target, message, fields) = (target.into(), message.into(), fields.into());
        Said { level: 3, cut: false, target, message, fields, spans: "s".into() }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_says_so() {
        let long = "€".repeat(LONGEST_MESSAGE);
        let bytes = said(&long, &long, &long).to_bytes();
        assert!(bytes.len() <= LONGEST);
        let Found::Event(found, len) = find(&bytes) else { panic!("no event") };
        assert_eq!((found.cut, len), (true, bytes.len()));
        assert_eq!(found.message.len(), LONGEST_MESSAGE / 3 * 3);
        assert!(long.starts_with(&*found.message) && long.starts_with(&*found.fields));
    }

    #[test]
    fn what_is_no_event_is_garbage_as_soon_as_that_is_known() {
        let good = said("t", "m", "f").to_bytes();
        for at in 0..good.len() {
            assert_eq!(find(&good[..at]), Found::Part, "{at}");
        }
        let mut strange = Vec::new();
        for (at, byte) in [(0, 1), (2, 255), (3, 0), (3, 6), (5, 200), (1, good[1] - 1)] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            strange.push(bytes);
        }
        strange.push(vec![0]);
        for bytes in strange {
            assert_eq!(find(&bytes), Found::Garbage, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn events_arrive_as_they_were_sent(
            level in 1_u8..=5, cut: bool, target in ".{0,60}", message in ".{0,900}", fields in ".{0,400}",
            spans in ".{0,200}",
            behind in any::<Vec<u8>>(),
        ) {
            let said =
                Said { level, cut, target: target.into(), message: message.into(), fields: fields.into(), spans: spans.into() };
            let mut bytes = said.to_bytes();
            let len = bytes.len();
            bytes.extend(behind);
            prop_assert_eq!(find(&bytes), Found::Event(said, len));
        }

        #[test]
        fn any_bytes_are_an_event_a_part_or_garbage(mut bytes in any::<Vec<u8>>(), marked: bool) {
            if marked && let Some(first) = bytes.first_mut() {
                *first = MARK;
            }
            if let Found::Event(_, len) = find(&bytes) {
                prop_assert!(len <= bytes.len());
            }
        }
    }
}
