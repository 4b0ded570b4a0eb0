//! File names as text: the lines of `sha256sum`, and names in messages. A name is bytes, and need not be UTF-8.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

/// Appends the line that `sha256sum` prints.
///
/// A name with a newline, a carriage return or a backslash is escaped, and its line begins with a backslash.
pub(crate) fn push_line(line: &mut Vec<u8>, digest: &[u8; 32], name: &OsStr) {
    let name = name.as_bytes();
    if name.iter().any(|&byte| escape(byte).is_some()) {
        line.push(b'\\');
    }
    for byte in digest {
        line.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
    }
    line.extend(b"  ");
    for &byte in name {
        match escape(byte) {
            Some(escaped) => line.extend(escaped),
            None => line.push(byte),
        }
    }
    line.push(b'\n');
}

fn escape(byte: u8) -> Option<&'static [u8; 2]> {
    match byte {
        b'\\' => Some(br"\\"),
        b'\n' => Some(br"\n"),
        b'\r' => Some(br"\r"),
        _ => None,
    }
}

/// Returns a name for a message: as it is, or quoted where it would garble the terminal.
pub(crate) fn shown(name: &OsStr) -> String {
    match name.to_str() {
        Some(text) if !text.is_empty() && !text.contains(char::is_control) => text.to_owned(),
        _ => format!("{name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_names_are_escaped_as_sha256sum_does() {
        for (name, prefix, escaped) in [
            (&b"plain \xff\t"[..], "", &b"plain \xff\t"[..]),
            (b"new\nline", "\\", br"new\nline"),
            (b"back\\slash\r", "\\", br"back\\slash\r"),
        ] {
            let mut line = Vec::new();
            push_line(&mut line, &[0xa7; 32], OsStr::from_bytes(name));
            let expected = [prefix.as_bytes(), "a7".repeat(32).as_bytes(), b"  ", escaped, b"\n"].concat();
            assert_eq!(line, expected, "{}", String::from_utf8_lossy(&line));
        }
    }

    #[test]
    fn a_message_never_holds_a_control_character() {
        assert_eq!(shown(OsStr::new("é t\\é")), "é t\\é");
        assert_eq!(shown(OsStr::new("")), "\"\"");
        assert_eq!(shown(OsStr::new("a\n\u{1b}[1m")), r#""a\n\u{1b}[1m""#);
        assert_eq!(shown(OsStr::from_bytes(b"a\xff")), r#""a\xFF""#);
    }
}
