//! The attribute `#[heavylift::job]`.
//!
//! It leaves the function as it is, and writes beside it an entry of the list of all functions that have a name, which the linker makes.
//! Documented where users find it: `heavylift::job`.

mod entry;
mod name;

use proc_macro::TokenStream;

#[proc_macro_attribute]
#[expect(missing_docs, reason = "heavylift documents it where it exports it")]
pub fn job(attribute: TokenStream, item: TokenStream) -> TokenStream {
    entry::beside(attribute.into(), item.into()).into()
}
