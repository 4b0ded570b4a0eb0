//! How several items travel as the argument and the result of one job.
//!
//! Each item is a head, the length and a kind in one number of as few bytes as it needs, and its bytes. As an argument they are all
//! there is; as a result they lie in a [`Sheaf`], and each is what a reply of its own would be.

use serde::{Deserialize, Serialize};

use crate::{shared_memory::SharedBytes, wire::from_word};

/// How many bits of the head are the kind.
const KIND_BITS: u32 = 3;

/// The results of the first items of a job: of all, unless their place was full or one names shared memory, which is then the last.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sheaf {
    pub(super) results: Vec<u8>,
    /// How many these are.
    pub(super) count: u32,
    /// What the last result names.
    pub(super) shared: Vec<SharedBytes>,
}

/// Adds an item.
pub(super) fn put(items: &mut Vec<u8>, kind: u8, item: &[u8]) {
    let at = begin(items);
    items.extend_from_slice(item);
    end(items, kind, at);
}

/// A whole item of no more than eight bytes, its head included, the first one lowest.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShortItem {
    pub(super) word: u64,
    pub(super) len: usize,
}

impl ShortItem {
    /// The item of these bytes, seven at most.
    #[inline]
    pub(super) fn new(kind: u8, (word, len): (u64, usize)) -> Self {
        Self { word: word << 8 | (len as u64) << KIND_BITS | u64::from(kind), len: len + 1 }
    }

    /// Adds the item to others.
    #[inline]
    pub(super) fn put(self, items: &mut Vec<u8>) {
        let end = items.len() + self.len;
        // Of a length that is known, so that it is one store.
        items.extend_from_slice(&self.word.to_le_bytes());
        items.truncate(end);
    }

    /// The first item, if it is a short one and there are eight bytes. Takes nothing off.
    #[inline]
    pub(super) fn first(items: &[u8]) -> Option<Self> {
        let word = u64::from_le_bytes(*items.first_chunk()?);
        let len = (word as u8 >> KIND_BITS) as usize;
        (len < 8).then(|| Self { word: word & (u64::MAX >> (56 - 8 * len)), len: len + 1 })
    }

    #[inline]
    pub(super) fn kind(self) -> u8 {
        self.word as u8 & ((1 << KIND_BITS) - 1)
    }

    /// The bytes behind the head, and how many they are.
    #[inline]
    pub(super) fn item(self) -> (u64, usize) {
        (self.word >> 8, self.len - 1)
    }
}

/// Takes the first item off if it is a number in a short one of that kind, and eight bytes are there; else it is to be looked at anew.
#[inline]
pub(super) fn take_number<T: 'static>(items: &mut &[u8], kind: u8) -> Option<T> {
    let short = ShortItem::first(items).filter(|short| short.kind() == kind)?;
    let (word, len) = short.item();
    let number = from_word(word, len)?;
    *items = &items[short.len..];
    Some(number)
}

/// Begins an item, whose bytes are then appended. Returns where it begins.
#[inline]
pub(super) fn begin(items: &mut Vec<u8>) -> usize {
    items.push(0);
    items.len() - 1
}

/// How many bytes the item that begins there has by now.
#[inline]
pub(super) fn len(items: &[u8], at: usize) -> usize {
    items.len() - at - 1
}

/// Ends the item that begins there.
#[inline]
pub(super) fn end(items: &mut Vec<u8>, kind: u8, at: usize) {
    debug_assert!(u32::from(kind) < 1 << KIND_BITS);
    let head = (len(items, at) as u64) << KIND_BITS | u64::from(kind);
    if head < 0x80 {
        items[at] = head as u8;
        return;
    }
    end_large(items, head, at);
}

#[cold]
fn end_large(items: &mut Vec<u8>, mut head: u64, at: usize) {
    let (mut bytes, mut count) = ([0; 10], 0);
    while head >= 0x80 {
        bytes[count] = head as u8 | 0x80;
        count += 1;
        head >>= 7;
    }
    bytes[count] = head as u8;
    items.splice(at..=at, bytes[..=count].iter().copied());
}

/// Takes the first item off; `None` if there is none, or if the bytes, which are not trusted, are none of ours.
#[inline]
pub(super) fn take<'a>(items: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let head = match items.split_first()? {
        (&byte, rest) if byte < 0x80 => {
            *items = rest;
            u64::from(byte)
        }
        _ => take_long_head(items)?,
    };
    let kind = (head & ((1 << KIND_BITS) - 1)) as u8;
    let (item, rest) = items.split_at_checked(usize::try_from(head >> KIND_BITS).ok()?)?;
    *items = rest;
    Some((kind, item))
}

fn take_long_head(items: &mut &[u8]) -> Option<u64> {
    let mut head = 0;
    let mut shift = 0;
    loop {
        let (&byte, rest) = items.split_first()?;
        *items = rest;
        head |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(head);
        }
        shift += 7;
    }
}

/// What is behind the first `count` items, which are ours.
pub(super) fn skip(mut items: &[u8], count: u32) -> &[u8] {
    for _ in 0..count {
        take(&mut items);
    }
    items
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn items_come_out_as_they_went_in(all in prop::collection::vec((0u8..8, prop::collection::vec(any::<u8>(), 0..300)), 0..9)) {
            let mut bytes = Vec::new();
            all.iter().for_each(|(kind, item)| put(&mut bytes, *kind, item));
            let mut rest = &bytes[..];
            for (kind, item) in &all {
                prop_assert_eq!(take(&mut rest), Some((*kind, &item[..])));
            }
            prop_assert_eq!(take(&mut rest), None);
        }

        #[test]
        fn a_short_item_is_the_same_as_through_its_bytes(kind in 0u8..8, item in prop::collection::vec(any::<u8>(), 0..8)) {
            let word = item.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
            let (mut whole, mut short) = (vec![7], vec![7]);
            put(&mut whole, kind, &item);
            ShortItem::new(kind, (word, item.len())).put(&mut short);
            prop_assert_eq!(&short, &whole);
            short.extend([0xff; 8]);
            let first = ShortItem::first(&short[1..]).unwrap();
            prop_assert_eq!((first.kind(), first.item(), first.len), (kind, (word, item.len()), whole.len() - 1));
            prop_assert!(ShortItem::first(&short[short.len() - 7..]).is_none());
        }

        #[test]
        fn whatever_the_bytes_are_it_ends(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut rest = &bytes[..];
            while take(&mut rest).is_some() {}
        }
    }
}
