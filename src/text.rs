//! [`beginning`]: what of a text fits.

/// The largest part of a text from its beginning on, of at most so many bytes, that splits no character.
pub(crate) fn beginning(text: &str, most: usize) -> &str {
    // `str::floor_char_boundary` is newer than the oldest compiler that we support.
    let end = (0..=most.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_split() {
        for (most, whole) in [(0, ""), (1, "a"), (2, "a"), (3, "a"), (4, "a€"), (5, "a€b"), (9, "a€b")]
        {
            assert_eq!(beginning("a€b", most), whole, "{most}");
        }
        assert_eq!(beginning("🦀", 3), "");
    }
}
