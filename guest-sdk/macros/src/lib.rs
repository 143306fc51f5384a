//! The attributes of the Concoord SDK. Use them through the `concoord` crate, whose documentation describes them.

mod data;
mod expand;
mod method;
mod object;
#[cfg(test)]
mod tests;
mod types;

use proc_macro::TokenStream;

/// Marks the struct that is replicated. It must be `Serialize` and `Deserialize`, and `Default` if it has no
/// constructor.
#[proc_macro_attribute]
pub fn object(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(no_arguments("object", arguments).and_then(|()| object::expand(syn::parse(item)?)))
}

/// Makes every `pub fn` of an object's impl block a method that clients call.
#[proc_macro_attribute]
pub fn methods(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(no_arguments("methods", arguments).and_then(|()| expand::expand(syn::parse(item)?)))
}

/// Makes a struct or enum fit for arguments, results and state: derives `Serialize`, `Deserialize` and `Schema`.
#[proc_macro_attribute]
pub fn data(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(no_arguments("data", arguments).and_then(|()| data::expand(syn::parse(item)?)))
}

fn no_arguments(attribute: &str, arguments: TokenStream) -> syn::Result<()> {
    match arguments.into_iter().next() {
        None => Ok(()),
        Some(first) => {
            Err(syn::Error::new(first.span().into(), format!("`#[concoord::{attribute}]` takes no arguments")))
        }
    }
}

fn finish(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}
