//! `#[concoord::data]`: derives what arguments, results and state need.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Result};

use crate::types;

pub(crate) fn expand(item: DeriveInput) -> Result<TokenStream> {
    match &item.data {
        Data::Struct(data) => check(&data.fields)?,
        Data::Enum(data) => data.variants.iter().try_for_each(|variant| check(&variant.fields))?,
        Data::Union(_) => return Err(Error::new_spanned(&item, "a union can't be sent: write an enum")),
    }
    Ok(quote! {
        #[derive(
            ::concoord::__private::serde::Serialize,
            ::concoord::__private::serde::Deserialize,
            ::concoord::__private::Schema,
        )]
        #[serde(crate = "::concoord::__private::serde")]
        #[postcard(crate = ::concoord::__private::postcard_schema)]
        #item
    })
}

fn check(fields: &Fields) -> Result<()> {
    fields.iter().try_for_each(|field| types::check(&field.ty))
}
