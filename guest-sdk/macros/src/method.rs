//! Reads the functions of an impl block into methods, refusing with advice what can't be one.

use syn::spanned::Spanned;
use syn::{Attribute, Error, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, Pat, Receiver, Result, Type, Visibility};

use crate::object::doc;
use crate::types::{self, Returns};

/// Names that the proxy has itself.
const PROXY_NAMES: [&str; 2] = ["new", "named"];

/// What an impl block offers.
pub(crate) struct Methods {
    pub(crate) constructor: Option<Constructor>,
    pub(crate) methods: Vec<Method>,
}

/// `pub fn new(..) -> Self` or `-> Result<Self, E>`.
pub(crate) struct Constructor {
    pub(crate) arguments: Vec<(Ident, Type)>,
    pub(crate) fallible: bool,
}

/// A `pub fn` with `&self` or `&mut self`.
pub(crate) struct Method {
    pub(crate) name: Ident,
    pub(crate) doc: String,
    pub(crate) doc_attributes: Vec<Attribute>,
    pub(crate) update: bool,
    pub(crate) arguments: Vec<(Ident, Type)>,
    pub(crate) returns: Returns,
}

/// Reads all of an impl block, and reports everything that is wrong with it at once.
pub(crate) fn read(block: &ItemImpl) -> Result<Methods> {
    let mut read = Methods { constructor: None, methods: vec![] };
    let mut errors: Option<Error> = None;
    let public = block.items.iter().filter_map(|item| match item {
        ImplItem::Fn(function) if matches!(function.vis, Visibility::Public(_)) => Some(function),
        _ => None,
    });
    for function in public {
        if let Err(error) = read.add(function) {
            match &mut errors {
                Some(errors) => errors.combine(error),
                None => errors = Some(error),
            }
        }
    }
    errors.map_or(Ok(read), Err)
}

impl Methods {
    fn add(&mut self, function: &ImplItemFn) -> Result<()> {
        check_signature(function)?;
        match function.sig.receiver() {
            Some(receiver) => self.methods.push(method(function, receiver)?),
            None if function.sig.ident == "new" => self.constructor = Some(constructor(function)?),
            None => {
                return Err(Error::new(
                    function.sig.ident.span(),
                    "a method takes `&self` (a query) or `&mut self` (an update); the constructor is `pub fn new`; \
                     what callers don't need stays without `pub`",
                ));
            }
        }
        Ok(())
    }
}

fn check_signature(function: &ImplItemFn) -> Result<()> {
    let signature = &function.sig;
    let refuse = |span, why| Err(Error::new(span, why));
    if let Some(keyword) = &signature.asyncness {
        return refuse(keyword.span(), "a method runs to its end on every replica: remove `async`");
    }
    if let Some(keyword) = &signature.unsafety {
        return refuse(keyword.span(), "callers can't promise anything to an unsafe method: remove `unsafe`");
    }
    if !signature.generics.params.is_empty() {
        return refuse(signature.generics.span(), "callers must know the types: remove the generics");
    }
    if let Some(cfg) = function.attrs.iter().find(|attribute| attribute.path().is_ident("cfg")) {
        return refuse(cfg.span(), "an object has the same methods in every build: remove `#[cfg]`");
    }
    Ok(())
}

fn method(function: &ImplItemFn, receiver: &Receiver) -> Result<Method> {
    if receiver.reference.is_none() {
        return Err(Error::new(
            receiver.span(),
            "a call can't consume the object: take `&self` (a query) or `&mut self` (an update)",
        ));
    }
    let name = function.sig.ident.clone();
    if PROXY_NAMES.iter().any(|taken| name == taken) {
        return Err(Error::new(name.span(), format!("`{name}` is a function of the proxy: choose another name")));
    }
    let returns = types::returns(&function.sig.output)?;
    types::check(&returns.result)?;
    returns.error.iter().try_for_each(types::check)?;
    Ok(Method {
        doc: doc(&function.attrs),
        doc_attributes: function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).cloned().collect(),
        update: receiver.mutability.is_some(),
        arguments: arguments(function)?,
        returns,
        name,
    })
}

fn constructor(function: &ImplItemFn) -> Result<Constructor> {
    let returns = types::returns(&function.sig.output)?;
    let Type::Path(result) = &returns.result else {
        return Err(Error::new(function.sig.ident.span(), "the constructor returns `Self` or `Result<Self, E>`"));
    };
    if !result.path.is_ident("Self") {
        return Err(Error::new(result.span(), "the constructor returns `Self` or `Result<Self, E>`"));
    }
    Ok(Constructor { arguments: arguments(function)?, fallible: returns.error.is_some() })
}

fn arguments(function: &ImplItemFn) -> Result<Vec<(Ident, Type)>> {
    let typed = function.sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    });
    typed
        .map(|argument| {
            types::check(&argument.ty)?;
            match &*argument.pat {
                Pat::Ident(named) if named.subpat.is_none() && named.by_ref.is_none() => {
                    Ok((named.ident.clone(), (*argument.ty).clone()))
                }
                pattern => Err(Error::new(pattern.span(), "callers see the argument's name: write `name: Type`")),
            }
        })
        .collect()
}
