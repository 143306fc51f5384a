//! `#[concoord::data]`: derives what arguments, results and state need.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Field, Result};

use crate::types;

pub(crate) fn check(item: &DeriveInput) -> Result<()> {
    let fields: Vec<&Field> = match &item.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data.variants.iter().flat_map(|variant| &variant.fields).collect(),
        Data::Union(_) => vec![],
    };
    types::all(fields.into_iter().map(|field| types::check(&field.ty)))
}

pub(crate) fn expand(item: &DeriveInput) -> TokenStream {
    quote! {
        #[derive(
            ::concoord::__private::serde::Serialize,
            ::concoord::__private::serde::Deserialize,
            ::concoord::__private::Schema,
        )]
        #[serde(crate = "::concoord::__private::serde")]
        #[postcard(crate = ::concoord::__private::postcard_schema)]
        #item
    }
}
