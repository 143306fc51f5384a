//! The attributes of the Concoord SDK. Use them through the `concoord` crate, whose documentation describes them.

mod data;
mod expand;
mod floats;
mod method;
mod object;
#[cfg(test)]
mod tests;
mod types;

use proc_macro::TokenStream;
use proc_macro2::{TokenStream as TokenStream2, TokenTree};
use quote::{ToTokens, quote};
use syn::{Error, Item, Result};

/// Marks the struct that is replicated. It must be `Serialize` and `Deserialize`, and `Default` if it has no
/// constructor. It stands above the derives. `#[concoord::object(event = Change)]` says that it emits a `Change`, which is a
/// struct or enum of the same crate.
#[proc_macro_attribute]
pub fn object(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(object::event(arguments.into()).and_then(|event| match syn::parse(item)? {
        Item::Struct(object) => Ok(beside(object::check(&object), object::expand(object, event.as_ref()))),
        other => misplaced(&other, "`#[concoord::object]` stands above a struct: put other data into a field of it"),
    }))
}

/// Makes every `pub fn` of an object's impl block a method that clients call.
#[proc_macro_attribute]
pub fn methods(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(read("methods", arguments, item).and_then(|item| match item {
        Item::Impl(mut block) => {
            floats::warn(&mut block);
            let offered = expand::expand(&block).unwrap_or_else(Error::into_compile_error);
            Ok(quote!(#block #offered))
        }
        other => misplaced(&other, "`#[concoord::methods]` stands above the `impl` block of an object's struct"),
    }))
}

/// Makes a struct or enum fit for arguments, results and state: derives `Serialize`, `Deserialize` and `Schema`.
#[proc_macro_attribute]
pub fn data(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(read("data", arguments, item).and_then(|item| match item {
        Item::Struct(_) | Item::Enum(_) => {
            let item = syn::parse_quote!(#item);
            Ok(beside(data::check(&item), data::expand(&item)))
        }
        other => misplaced(&other, "`#[concoord::data]` stands above a struct or an enum"),
    }))
}

fn read(attribute: &str, arguments: TokenStream, item: TokenStream) -> Result<Item> {
    match arguments.into_iter().next() {
        None => syn::parse(item),
        Some(first) => Err(Error::new(first.span().into(), format!("`#[concoord::{attribute}]` takes no arguments"))),
    }
}

fn misplaced<T>(item: &Item, advice: &str) -> Result<T> {
    // Attributes and comments come first.
    let word = item.to_token_stream().into_iter().find(|token| matches!(token, TokenTree::Ident(_)));
    Err(Error::new_spanned(word, advice))
}

/// What is written all the same, so that one error does not bring others with it.
fn beside(checked: Result<()>, expanded: TokenStream2) -> TokenStream2 {
    let error = checked.err().map(Error::into_compile_error);
    quote!(#expanded #error)
}

fn finish(expanded: Result<TokenStream2>) -> TokenStream {
    expanded.unwrap_or_else(Error::into_compile_error).into()
}
