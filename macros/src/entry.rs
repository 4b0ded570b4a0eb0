//! The entry of a function in the list, or why it cannot be in it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Error, FnArg, GenericParam, ItemFn, Result, Signature, Type, spanned::Spanned};

use crate::name::Name;

/// Returns the function with its entry beside it. Where there can be none it stands alone, with the error, so that its callers
/// are not told that it is missing.
pub(crate) fn beside(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let entry = entry(attribute, item.clone()).unwrap_or_else(Error::into_compile_error);
    quote! { #item #entry }
}

fn entry(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let whole = item.clone();
    let function: ItemFn = syn::parse2(item)
        .map_err(|_| Error::new_spanned(whole, "`#[heavylift::job]` stands on a function with a body"))?;
    check(&function.sig)?;
    let Name(name) = syn::parse2(attribute)?;
    let ident = &function.sig.ident;
    let cfgs = function.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    let name = match name {
        Some(name) => quote! { #name },
        None => {
            let plain = ident.to_string();
            let plain = plain.trim_start_matches("r#");
            quote! { ::core::concat!(::core::module_path!(), "::", #plain) }
        }
    };
    // At the function's name, so that the error about an argument that cannot cross is shown there.
    let registered = quote_spanned! {ident.span()=>
        ::heavylift::cluster::__private::Registered::new(#name, #ident, AT)
    };
    Ok(quote! {
        #(#cfgs)*
        #[allow(unsafe_code, reason = "the linker is told into which list the entry belongs")]
        const _: () = {
            const AT: &str = ::core::concat!(::core::file!(), ":", ::core::line!());

            #[::heavylift::cluster::__private::linkme::distributed_slice(::heavylift::cluster::__private::JOBS)]
            #[linkme(crate = ::heavylift::cluster::__private::linkme)]
            static JOB: ::heavylift::cluster::__private::Registered = #registered;
        };
    })
}

/// Refuses what is no plain function with one argument.
fn check(signature: &Signature) -> Result<()> {
    if let Some(receiver) = signature.receiver() {
        return Err(Error::new_spanned(
            receiver,
            "a method cannot be a job: write a function beside the `impl`, with the value as its argument",
        ));
    }
    if let Some(asyncness) = &signature.asyncness {
        return Err(Error::new_spanned(
            asyncness,
            "a job cannot be async: it blocks a worker, not a runtime; use `Handle::current().block_on(…)` inside",
        ));
    }
    if let Some(unsafety) = &signature.unsafety {
        return Err(Error::new_spanned(
            unsafety,
            "a job cannot be unsafe: nodes call it with whatever argument was sent",
        ));
    }
    if let Some(abi) = &signature.abi {
        return Err(Error::new_spanned(abi, "a job cannot be `extern`"));
    }
    check_generics(signature)?;
    check_argument(signature)
}

fn check_generics(signature: &Signature) -> Result<()> {
    match signature.generics.params.first() {
        None => Ok(()),
        Some(GenericParam::Lifetime(lifetime)) => Err(Error::new_spanned(
            lifetime,
            "a job cannot borrow: its argument and its result are owned data",
        )),
        Some(parameter) => Err(Error::new_spanned(
            parameter,
            "a job cannot be generic: a name stands for one function. Write one for each type that calls this one",
        )),
    }
}

fn check_argument(signature: &Signature) -> Result<()> {
    let mut arguments = signature.inputs.iter();
    let (argument, more) = (arguments.next(), arguments.next());
    let Some(FnArg::Typed(argument)) = argument else {
        return Err(Error::new(
            signature.paren_token.span.join(),
            "a job has one argument, and this function has none: write `_: ()`",
        ));
    };
    if more.is_some() || signature.variadic.is_some() {
        return Err(Error::new_spanned(
            &signature.inputs,
            "a job has one argument: use a tuple, as in `fn add((a, b): (u32, u32))`",
        ));
    }
    match &*argument.ty {
        Type::Reference(reference) => Err(Error::new(
            reference.span(),
            "a job cannot borrow its argument: take `String` for `&str`, `Vec<T>` for `&[T]`, `T` for `&T`",
        )),
        Type::ImplTrait(generic) => {
            Err(Error::new_spanned(generic, "a job cannot be generic: name the type of its argument"))
        }
        _ => Ok(()),
    }
}
