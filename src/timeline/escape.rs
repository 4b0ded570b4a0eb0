//! Foreign text in JSON and in XML.

use std::fmt::{self, Write};

/// A text between the quotes of a JSON string.
pub(super) struct Json<'a>(pub(super) &'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                // Also those that end a line of JavaScript, and what closes a script in a page.
                '\0'..='\x1f' | '\x7f' | '\u{2028}' | '\u{2029}' | '<' => write!(f, "\\u{:04x}", c as u32)?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A text in an element or an attribute of XML. Characters that XML cannot have are replaced.
pub(super) struct Xml<'a>(pub(super) &'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\t' | '\n' => f.write_char(c)?,
                '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_json_or_xml_loses_it() {
        let nasty = "\"</script>\\ & '\u{1}\n\u{7f}\u{ffff}ä\u{2028}";
        let json = format!("\"{}\"", Json(nasty));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), nasty);
        assert!(!json.contains('<'));
        let xml = Xml(nasty).to_string();
        assert_eq!(xml, "&quot;&lt;/script&gt;\\ &amp; &#39;\u{fffd}\n\u{fffd}\u{fffd}ä\u{2028}");
    }
}
