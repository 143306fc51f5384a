//! Which types may cross into and out of an object, as far as their spelling tells.

use syn::{Error, GenericArgument, PathArguments, Result, ReturnType, Type};

/// Refuses types that differ between machines or replicas, or that can't be decoded on the other side.
pub(crate) fn check(ty: &Type) -> Result<()> {
    match ty {
        Type::Path(path) if path.qself.is_none() => {
            for segment in &path.path.segments {
                check_name(&segment.ident)?;
                check_generics(&segment.arguments)?;
            }
            Ok(())
        }
        Type::Tuple(tuple) => tuple.elems.iter().try_for_each(check),
        Type::Array(array) => check(&array.elem),
        Type::Group(group) => check(&group.elem),
        Type::Paren(paren) => check(&paren.elem),
        Type::Reference(reference) => Err(Error::new_spanned(ty, references(&reference.elem))),
        Type::ImplTrait(_) | Type::TraitObject(_) => {
            Err(Error::new_spanned(ty, "an object's types must be known to its callers: name the concrete type"))
        }
        Type::BareFn(_) | Type::Ptr(_) | Type::Never(_) => {
            Err(Error::new_spanned(ty, "this type can't be sent: take and return plain data"))
        }
        _ => Ok(()),
    }
}

/// A parameter that no caller sends.
pub(crate) enum Special {
    /// `&mut Context`
    Context,
    /// `Waiter<T>`, with the `T`.
    Waiter(Box<Type>),
}

/// Knows such a parameter by its spelling.
pub(crate) fn special(ty: &Type) -> Option<Special> {
    let named = |ty: &Type, name: &str| match ty {
        Type::Path(path) => path.path.segments.last().filter(|last| last.ident == name).cloned(),
        _ => None,
    };
    if let Type::Reference(reference) = ty {
        return named(&reference.elem, "Context").map(|_| Special::Context);
    }
    let PathArguments::AngleBracketed(arguments) = named(ty, "Waiter")?.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(ty) => Some(Special::Waiter(Box::new(ty.clone()))),
        _ => None,
    }
}

/// Of whatever has a lifetime.
pub(crate) const BORROWED: &str = "what crosses the network is owned: take and return types without a lifetime";

/// Every error of these, not only the first.
pub(crate) fn all(checks: impl Iterator<Item = Result<()>>) -> Result<()> {
    let errors = checks.filter_map(Result::err).reduce(|mut errors, error| {
        errors.combine(error);
        errors
    });
    errors.map_or(Ok(()), Err)
}

fn references(to: &Type) -> String {
    let owned = match to {
        Type::Path(path) if path.path.is_ident("str") => "`String` instead of `&str`",
        Type::Slice(_) => "a `Vec` instead of a slice",
        _ => "the value instead of a reference",
    };
    format!("what crosses the network is owned: write {owned}")
}

fn check_name(name: &syn::Ident) -> Result<()> {
    let advice = match name.to_string().as_str() {
        "usize" => "`usize` differs between machines and Wasm: write `u32` or `u64`",
        "isize" => "`isize` differs between machines and Wasm: write `i32` or `i64`",
        "HashMap" => "the order of a `HashMap` differs between replicas: write `BTreeMap`",
        "HashSet" => "the order of a `HashSet` differs between replicas: write `BTreeSet`",
        "Instant" | "SystemTime" => "replicas don't share a clock: write microseconds as `u64`",
        "Self" => "callers don't know `Self`: write the type's name",
        _ => return Ok(()),
    };
    Err(Error::new(name.span(), advice))
}

fn check_generics(arguments: &PathArguments) -> Result<()> {
    let PathArguments::AngleBracketed(arguments) = arguments else { return Ok(()) };
    arguments.args.iter().try_for_each(|argument| match argument {
        GenericArgument::Type(ty) => check(ty),
        GenericArgument::Lifetime(lifetime) => Err(Error::new_spanned(lifetime, BORROWED)),
        _ => Ok(()),
    })
}

/// What a method gives: the type, and the error's if it is written `Result<T, E>`.
#[derive(Clone)]
pub(crate) struct Returns {
    pub(crate) result: Type,
    pub(crate) error: Option<Type>,
}

/// Reads a return type by its spelling.
pub(crate) fn returns(output: &ReturnType) -> Result<Returns> {
    let ty = match output {
        ReturnType::Default => return Ok(Returns { result: syn::parse_quote!(()), error: None }),
        ReturnType::Type(_, ty) => ty,
    };
    let Some(arguments) = result_arguments(ty) else {
        return Ok(Returns { result: (**ty).clone(), error: None });
    };
    match arguments.as_slice() {
        [result, error] => Ok(Returns { result: (*result).clone(), error: Some((*error).clone()) }),
        _ => Err(Error::new_spanned(ty, "callers must know the error's type: write `Result<T, E>` with both types")),
    }
}

/// The arguments of a path that ends in `Result`.
fn result_arguments(ty: &Type) -> Option<Vec<&Type>> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    if last.ident != "Result" {
        return None;
    }
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Some(vec![]) };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    Some(types.collect())
}
