//! `#[concoord::object]`: the struct, what is known of it, and its proxy's struct.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Error, Ident, ItemStruct, Member, Result, Token, Type, parse_quote};

use crate::types;

/// Of the struct, and of the impl block.
pub(crate) const ONE_TYPE: &str = "an object has one concrete type: remove the generics";

pub(crate) fn check(object: &ItemStruct) -> Result<()> {
    let generics = match object.generics.params.is_empty() {
        true => Ok(()),
        false => Err(Error::new_spanned(&object.generics, ONE_TYPE)),
    };
    types::all([generics].into_iter().chain(object.fields.iter().map(|field| types::check(&field.ty))))
}

/// What the attribute says that the object emits.
pub(crate) fn event(arguments: TokenStream) -> Result<Option<Type>> {
    const ADVICE: &str = "`#[concoord::object]` takes nothing but the type of the events, as in `event = Change`";
    let Some(first) = arguments.clone().into_iter().next() else { return Ok(None) };
    let parse = |input: ParseStream<'_>| {
        let name: Ident = input.parse()?;
        input.parse::<Token![=]>()?;
        if name == "event" { input.parse::<Type>() } else { Err(Error::new_spanned(name, ADVICE)) }
    };
    parse.parse2(arguments).map(Some).map_err(|_| Error::new(first.span(), ADVICE))
}

pub(crate) fn expand(mut object: ItemStruct, event: Option<&Type>) -> TokenStream {
    if point_serde_here(&mut object.attrs) {
        // Else serde would say of a refused field once more, and at length, that it does not know it.
        for field in object.fields.iter_mut().filter(|field| types::check(&field.ty).is_err()) {
            field.attrs.push(parse_quote!(#[serde(skip, default = "::concoord::__private::refused")]));
        }
    }

    let fields: Vec<Member> = object.fields.members().collect();
    let (name, visibility) = (&object.ident, &object.vis);
    let (name_text, doc) = (name.to_string(), doc(&object.attrs));
    let proxy = proxy_name(name);
    let proxy_doc = format!("Calls a replicated [`{name}`] through a [`Caller`](::concoord::Caller).");
    let (generics, arguments, bounds) = object.generics.split_for_impl();
    let is_event = event.map(|event| quote!(impl ::concoord::Event for #event {}));
    let event = match event {
        Some(event) => quote!(::core::option::Option::Some(<#event as ::concoord::__private::Sent>::SCHEMA)),
        None => quote!(::core::option::Option::None),
    };
    quote! {
        #object
        #is_event

        impl #generics ::concoord::__private::Described for #name #arguments #bounds {
            const NAME: &'static str = #name_text;
            const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
            const DOC: &'static str = #doc;
            const EVENT: ::core::option::Option<&'static ::concoord::__private::postcard_schema::schema::NamedType> = #event;

            fn drop_ended(&mut self, ended: ::concoord::Ended) {
                #[allow(unused_imports, reason = "which of the two it is follows from the fields")]
                use ::concoord::__private::{HoldsNone, HoldsWaiters};
                #((&mut ::concoord::__private::Field(&mut self.#fields)).drop_ended(ended);)*
                let _ = ended;
            }
        }

        #[doc = #proxy_doc]
        #[cfg(not(target_arch = "wasm32"))]
        #[derive(Clone, Debug)]
        #visibility struct #proxy<C> {
            caller: C,
            object: ::core::option::Option<::std::string::String>,
        }
    }
}

pub(crate) fn proxy_name(object: &syn::Ident) -> syn::Ident {
    format_ident!("{object}Proxy")
}

/// The text of doc comments, one line each.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).filter_map(|attribute| {
        let value = match &attribute.meta {
            syn::Meta::NameValue(pair) => &pair.value,
            _ => return None,
        };
        match value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        }
    });
    let lines: Vec<String> = lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n").trim().to_owned()
}

/// Lets serde's derives find serde in the SDK, so that an author needs no dependency of their own. Tells whether there
/// are such derives.
fn point_serde_here(attributes: &mut Vec<Attribute>) -> bool {
    let derived = derives(attributes, &["Serialize", "Deserialize"]);
    if derived && !names_crate(attributes, "serde") {
        attributes.push(parse_quote!(#[serde(crate = "::concoord::__private::serde")]));
    }
    derived
}

fn derives(attributes: &[Attribute], traits: &[&str]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("derive")).any(|attribute| {
        let mut found = false;
        // A derive that does not parse is rustc's to complain about.
        let _ = attribute.parse_nested_meta(|meta| {
            found |= meta.path.segments.last().is_some_and(|last| traits.iter().any(|name| last.ident == name));
            Ok(())
        });
        found
    })
}

fn names_crate(attributes: &[Attribute], helper: &str) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident(helper)).any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        list.tokens.clone().into_iter().next().is_some_and(|first| first.to_string() == "crate")
    })
}
