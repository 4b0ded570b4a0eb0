//! The name of a function: as `name = "…"` says.

use syn::{Ident, LitStr, Result, Token, parse::Parse, parse::ParseStream};

/// The longest name, in bytes.
const MOST: usize = 200;

/// The argument of the attribute.
pub(crate) struct Name(pub(crate) Option<LitStr>);

impl Parse for Name {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self(None));
        }
        let expected = "expected nothing, or `name = \"…\"`";
        let span = input.span();
        let key: Ident = input.parse().map_err(|_| syn::Error::new(span, expected))?;
        if key != "name" {
            return Err(syn::Error::new(key.span(), expected));
        }
        input.parse::<Token![=]>().map_err(|error| syn::Error::new(error.span(), expected))?;
        let name: LitStr = input.parse().map_err(|error| {
            syn::Error::new(error.span(), "the name of a job is a string literal: `name = \"…\"`")
        })?;
        input.parse::<Option<Token![,]>>()?;
        if !input.is_empty() {
            return Err(input.error(expected));
        }
        check(&name.value()).map_err(|why| syn::Error::new(name.span(), why))?;
        Ok(Self(Some(name)))
    }
}

/// A name is a part of what is looked for at the servers.
fn check(name: &str) -> std::result::Result<(), String> {
    if name.is_empty() {
        return Err("the name of a job is empty".to_owned());
    }
    if name.len() > MOST {
        return Err(format!("the name of a job has {} bytes, and {MOST} at most are allowed", name.len()));
    }
    match name.chars().find(|&c| !c.is_ascii_graphic() || matches!(c, '*' | '>')) {
        None => Ok(()),
        Some(c) => Err(format!(
            "the name of a job has {c:?} in it: letters, digits and punctuation of ASCII are allowed, without spaces, `*` and `>`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_ascii_and_not_too_long() {
        for name in ["a", "crate::path", "images.scale-2/x_y", &"n".repeat(MOST)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["", " ", "a b", "a\tb", "a\0", "*", "a.>", "größe", &"n".repeat(MOST + 1)] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
