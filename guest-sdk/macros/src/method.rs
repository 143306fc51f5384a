//! Reads the functions of an impl block into methods, refusing with advice what can't be one.

use syn::{
    Attribute, Error, FnArg, GenericParam, Ident, ImplItem, ImplItemFn, ItemImpl, Pat, PatType, Receiver, Result, Type,
    Visibility,
};

use crate::object::doc;
use crate::types::{self, Returns, Special};

/// Names that the proxy has itself.
const PROXY_NAMES: [&str; 2] = ["new", "named"];
const RECEIVERS: &str = "`&self` (a query) or `&mut self` (an update)";

/// What an impl block offers.
pub(crate) struct Methods {
    pub(crate) constructor: Option<Constructor>,
    pub(crate) methods: Vec<Method>,
    pub(crate) hooks: Vec<Hook>,
}

/// `pub fn new(..) -> Self` or `-> Result<Self, E>`.
pub(crate) struct Constructor {
    pub(crate) arguments: Vec<(Ident, Type)>,
    pub(crate) error: Option<Type>,
}

/// A `pub fn` with `&self` or `&mut self`.
pub(crate) struct Method {
    pub(crate) name: Ident,
    pub(crate) doc: String,
    pub(crate) doc_attributes: Vec<Attribute>,
    pub(crate) update: bool,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) returns: Returns,
}

/// What a method takes.
pub(crate) enum Parameter {
    /// `cx: &mut Context`
    Context,
    /// `waiter: Waiter<T>`, with the `T`.
    Waiter(Type),
    /// Something that callers send.
    Sent(Ident, Type),
}

impl Method {
    /// What callers send.
    pub(crate) fn arguments(&self) -> Vec<(Ident, Type)> {
        let sent = self.parameters.iter().filter_map(|parameter| match parameter {
            Parameter::Sent(name, ty) => Some((name.clone(), ty.clone())),
            Parameter::Context | Parameter::Waiter(_) => None,
        });
        sent.collect()
    }

    /// What callers wait for, if it is a method that may let them wait.
    pub(crate) fn waits_for(&self) -> Option<&Type> {
        self.parameters.iter().find_map(|parameter| match parameter {
            Parameter::Waiter(ty) => Some(ty),
            Parameter::Context | Parameter::Sent(..) => None,
        })
    }

    /// What callers get.
    pub(crate) fn result(&self) -> &Type {
        self.waits_for().unwrap_or(&self.returns.result)
    }
}

/// A function that the object has for something that happens: [`HOOKS`].
pub(crate) struct Hook {
    pub(crate) name: Ident,
}

/// Names of the functions without `pub` that run when something has happened.
const HOOKS: [&str; 3] = ["session_closed", "cancelled", "timer"];

/// Reads all of an impl block, and reports everything that is wrong with it at once.
pub(crate) fn read(block: &ItemImpl) -> Result<Methods> {
    let own = block.items.iter().filter_map(|item| match item {
        ImplItem::Fn(function) if matches!(function.vis, Visibility::Inherited) => Some(function.sig.ident.clone()),
        _ => None,
    });
    let hooks = own.filter(|name| HOOKS.iter().any(|hook| name == hook)).map(|name| Hook { name }).collect();
    let mut read = Methods { constructor: None, methods: vec![], hooks };
    let public = block.items.iter().filter_map(|item| match item {
        ImplItem::Fn(function) if matches!(function.vis, Visibility::Public(_)) => Some(function),
        _ => None,
    });
    types::all(public.map(|function| read.add(function)))?;
    if read.methods.is_empty() {
        let advice = format!("an object without methods: write `pub fn` with {RECEIVERS} for what clients call");
        return Err(Error::new_spanned(&block.self_ty, advice));
    }
    Ok(read)
}

impl Methods {
    fn add(&mut self, function: &ImplItemFn) -> Result<()> {
        check_signature(function)?;
        let name = &function.sig.ident;
        let twice = |what: &str| Error::new_spanned(name, format!("{what}: callers would not know which one they get"));
        match function.sig.receiver() {
            Some(receiver) => {
                if self.methods.iter().any(|method| method.name == *name) {
                    return Err(twice(&format!("a second method `{name}`")));
                }
                self.methods.push(method(function, receiver)?);
            }
            None if name == "new" => {
                if self.constructor.is_some() {
                    return Err(twice("a second constructor"));
                }
                self.constructor = Some(constructor(function)?);
            }
            None => {
                let advice = format!(
                    "a method takes {RECEIVERS}; the constructor is `pub fn new`; what callers don't need stays \
                     without `pub`"
                );
                return Err(Error::new_spanned(name, advice));
            }
        }
        Ok(())
    }
}

fn check_signature(function: &ImplItemFn) -> Result<()> {
    let signature = &function.sig;
    if let Some(keyword) = &signature.asyncness {
        return Err(Error::new_spanned(keyword, "a method runs to its end on every replica: remove `async`"));
    }
    if let Some(keyword) = &signature.unsafety {
        return Err(Error::new_spanned(keyword, "callers can't promise anything to an unsafe method: remove `unsafe`"));
    }
    if let Some(parameter) = signature.generics.params.first() {
        let advice = match parameter {
            GenericParam::Lifetime(_) => types::BORROWED,
            _ => "callers must know the types: remove the generics",
        };
        return Err(Error::new_spanned(&signature.generics, advice));
    }
    if let Some(cfg) = function.attrs.iter().find(|attribute| attribute.path().is_ident("cfg")) {
        return Err(Error::new_spanned(cfg, "an object has the same methods in every build: remove `#[cfg]`"));
    }
    Ok(())
}

fn method(function: &ImplItemFn, receiver: &Receiver) -> Result<Method> {
    if receiver.colon_token.is_some() {
        return Err(Error::new_spanned(receiver, format!("a receiver without a type is enough: take {RECEIVERS}")));
    }
    if receiver.reference.is_none() {
        return Err(Error::new_spanned(receiver, format!("a call can't consume the object: take {RECEIVERS}")));
    }
    let name = function.sig.ident.clone();
    if PROXY_NAMES.iter().any(|taken| name == taken) {
        return Err(Error::new_spanned(&name, format!("`{name}` is a function of the proxy: choose another name")));
    }
    let returns = types::returns(&function.sig.output)?;
    types::check(&returns.result)?;
    returns.error.iter().try_for_each(types::check)?;
    let method = Method {
        doc: doc(&function.attrs),
        doc_attributes: function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).cloned().collect(),
        update: receiver.mutability.is_some(),
        parameters: parameters(function)?,
        returns,
        name,
    };
    check_waiting(function, &method)?;
    Ok(method)
}

fn check_waiting(function: &ImplItemFn, method: &Method) -> Result<()> {
    let waiters = method.parameters.iter().filter(|parameter| matches!(parameter, Parameter::Waiter(_))).count();
    let name = &method.name;
    if waiters > 1 {
        return Err(Error::new_spanned(name, "a call has one caller: take one `Waiter`"));
    }
    if waiters == 1 && !method.update {
        return Err(Error::new_spanned(name, "a query can't wait, since it leaves no trace: take `&mut self`"));
    }
    let returns_nothing = matches!(&method.returns.result, Type::Tuple(tuple) if tuple.elems.is_empty());
    if waiters == 1 && !returns_nothing {
        let advice = "the caller gets what `Waiter::answer` is given: return nothing, or `Result<(), E>` for what is \
                      refused at once";
        return Err(Error::new_spanned(&function.sig.output, advice));
    }
    Ok(())
}

fn constructor(function: &ImplItemFn) -> Result<Constructor> {
    let returns = types::returns(&function.sig.output)?;
    match &returns.result {
        Type::Path(result) if result.path.is_ident("Self") => {
            Ok(Constructor { arguments: arguments(function)?, error: returns.error })
        }
        result => Err(Error::new_spanned(result, "the constructor returns `Self` or `Result<Self, E>`")),
    }
}

/// What a method takes, in order.
fn parameters(function: &ImplItemFn) -> Result<Vec<Parameter>> {
    let parameter = |argument: &PatType| match types::special(&argument.ty) {
        Some(Special::Context) => Ok(Parameter::Context),
        Some(Special::Waiter(ty)) => types::check(&ty).map(|()| Parameter::Waiter(*ty)),
        None => sent(argument).map(|(name, ty)| Parameter::Sent(name, ty)),
    };
    typed(function).map(parameter).collect()
}

fn arguments(function: &ImplItemFn) -> Result<Vec<(Ident, Type)>> {
    typed(function).map(sent).collect()
}

fn typed(function: &ImplItemFn) -> impl Iterator<Item = &PatType> {
    function.sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    })
}

fn sent(argument: &PatType) -> Result<(Ident, Type)> {
    types::check(&argument.ty)?;
    match &*argument.pat {
        Pat::Ident(named) if named.subpat.is_none() && named.by_ref.is_none() => {
            Ok((named.ident.clone(), (*argument.ty).clone()))
        }
        pattern => Err(Error::new_spanned(pattern, "callers see the argument's name: write `name: Type`")),
    }
}
