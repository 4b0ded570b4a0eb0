//! [`Lines`]: cuts what comes out of a pipe into lines of a bounded length. Pure.

/// The longest line, in bytes. What is longer comes in pieces.
const LONGEST: usize = 8 * 1024;

/// A line without its end, or a piece of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    /// The line goes on in the next piece.
    pub(super) cut: bool,
}

/// What has come of a line whose end has not.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes in what has come, and tells each line that it completes.
    pub(super) fn feed(&mut self, bytes: &[u8], mut tell: impl FnMut(Line<'_>)) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            match part.strip_suffix(b"\n") {
                None => self.add(part, &mut tell),
                Some(rest) => {
                    self.add(rest, &mut tell);
                    let text = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
                    tell(Line { text, cut: false });
                    self.begun.clear();
                }
            }
        }
    }

    /// Tells what has no end, as nothing more will come.
    pub(super) fn finish(&mut self, mut tell: impl FnMut(Line<'_>)) {
        if !self.begun.is_empty() {
            tell(Line { text: &self.begun, cut: false });
            self.begun.clear();
        }
    }

    fn add(&mut self, part: &[u8], tell: &mut impl FnMut(Line<'_>)) {
        self.begun.extend_from_slice(part);
        let mut told = 0;
        while self.begun.len() - told > LONGEST {
            let text = &self.begun[told..];
            let text = &text[..whole_characters(text, LONGEST)];
            tell(Line { text, cut: true });
            told += text.len();
        }
        self.begun.drain(..told);
    }
}

/// The largest number of bytes, at most `most`, after which no character is split; `most` where there are none.
fn whole_characters(text: &[u8], most: usize) -> usize {
    let is_inside = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    (most - 3..=most).rev().find(|&at| !is_inside(text[at])).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pieces: &[&[u8]]) -> Vec<(String, bool)> {
        let (mut lines, mut told) = (Lines::default(), Vec::new());
        let mut tell = |line: Line<'_>| told.push((String::from_utf8(line.text.to_vec()).unwrap(), line.cut));
        for piece in pieces {
            lines.feed(piece, &mut tell);
        }
        lines.finish(&mut tell);
        lines.finish(&mut tell);
        told
    }

    fn whole(lines: &[&str]) -> Vec<(String, bool)> {
        lines.iter().map(|&line| (line.to_owned(), false)).collect()
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        assert_eq!(told(&[]), []);
        assert_eq!(told(&[b"a\nb\n"]), whole(&["a", "b"]));
        assert_eq!(told(&[b"a", b"b\nc", b"\n"]), whole(&["ab", "c"]));
        assert_eq!(told(&[b"a\r", b"\nb\r\n"]), whole(&["a", "b"]));
        assert_eq!(told(&[b"\n\n"]), whole(&["", ""]));
        assert_eq!(told(&[b"a\nlast"]), whole(&["a", "last"]));
    }

    #[test]
    fn a_long_line_comes_in_pieces_that_say_so_and_lose_nothing() {
        for len in [LONGEST - 1, LONGEST, LONGEST + 1, 2 * LONGEST, 5 * LONGEST + 7] {
            let text = "x".repeat(len);
            let pieces = told(&[text.as_bytes(), b"\nnext\n"]);
            let (next, pieces) = pieces.split_last().unwrap();
            assert_eq!(next, &("next".to_owned(), false));
            assert_eq!(pieces.len(), len.div_ceil(LONGEST));
            assert_eq!(pieces.iter().map(|(text, _)| text.as_str()).collect::<String>(), text);
            assert!(pieces.iter().all(|(text, _)| text.len() <= LONGEST));
            let (last, cut) = pieces.split_last().unwrap();
            assert!(!last.1 && cut.iter().all(|piece| piece.1));
        }
    }

    #[test]
    fn a_cut_splits_no_character() {
        for before in 0..4 {
            let text = format!("{}{}", "x".repeat(before), "€".repeat(LONGEST));
            let pieces = told(&[text.as_bytes()]);
            assert_eq!(pieces.iter().map(|(text, _)| text.as_str()).collect::<String>(), text);
        }
        // What is no UTF-8 is cut all the same.
        let (mut lines, mut count) = (Lines::default(), 0);
        lines.feed(&[0x80; 3 * LONGEST], |line| count += line.text.len());
        assert_eq!(count, 2 * LONGEST);
    }
}
