//! `#[concoord::methods]`: `Object`, the proxy's methods and the Wasm exports.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Ident, ItemImpl, LitStr, Result, Type};

use crate::method::{self, Constructor, Hook, Method, Methods, Parameter};
use crate::object::{self, proxy_name};

/// What stands beside the impl block.
pub(crate) fn expand(block: &ItemImpl) -> Result<TokenStream> {
    let object = object_name(block)?;
    let methods = method::read(block)?;
    let limits = limits(&object, &methods.methods);
    let implementation = object_impl(&object, &methods);
    let proxy = proxy_impl(&object, &methods);
    Ok(quote! {
        #limits
        #implementation
        #proxy

        #[cfg(target_arch = "wasm32")]
        ::concoord::__export_object!(#object);
    })
}

fn object_name(block: &ItemImpl) -> Result<Ident> {
    if let Some((_, of, _)) = &block.trait_ {
        return Err(Error::new_spanned(of, "an object's methods stand in an impl of its own, not of a trait"));
    }
    if !block.generics.params.is_empty() {
        return Err(Error::new_spanned(&block.generics, object::ONE_TYPE));
    }
    match &*block.self_ty {
        Type::Path(path) => path.path.get_ident().cloned(),
        _ => None,
    }
    .ok_or_else(|| Error::new_spanned(&block.self_ty, "name the object's struct, in the module where it is"))
}

/// Holds the block to the limits of an interface, which stand in `wire`.
fn limits(object: &Ident, methods: &[Method]) -> TokenStream {
    let count = methods.len();
    let many = format!("{count} methods are too many for one object: see `concoord::wire::limits`");
    let many = quote_spanned!(object.span() => ::core::assert!(#count <= INTERFACE_METHODS_MAX, #many));
    let names = methods.iter().map(|Method { name, .. }| {
        let bytes = name_text(name).value().len();
        let long = format!("a name of {bytes} bytes is too long for a method: see `concoord::wire::limits`");
        quote_spanned!(name.span() => ::core::assert!(#bytes <= NAME_BYTES_MAX, #long))
    });
    quote! {
        const _: () = {
            use ::concoord::wire::limits::{INTERFACE_METHODS_MAX, NAME_BYTES_MAX};
            #many;
            #(#names;)*
        };
    }
}

fn object_impl(object: &Ident, methods: &Methods) -> TokenStream {
    let described = methods.methods.iter().map(description);
    let init = methods.constructor.iter().flat_map(|constructor| &constructor.arguments).map(argument);
    let create = create(object, methods.constructor.as_ref());
    let arms = methods.methods.iter().map(|method| arm(object, method));
    let hooks = methods.hooks.iter().map(|hook| self::hook(object, hook));
    quote! {
        impl ::concoord::Object for #object {
            fn interface() -> ::concoord::wire::interface::Interface {
                ::concoord::__private::describe::<Self>(&[#(#init),*], &[#(#described),*])
            }

            fn create(arguments: &[u8]) -> ::core::result::Result<Self, ::concoord::wire::abi::Rejection> {
                #create
            }

            fn run(
                &mut self,
                cx: &mut ::concoord::Context,
                method: &str,
                arguments: &[u8],
            ) -> ::concoord::wire::abi::Reply {
                use ::concoord::wire::abi::{Answer, Rejection, Reply};

                fn reply(
                    object: &mut #object,
                    cx: &mut ::concoord::Context,
                    method: &str,
                    arguments: &[u8],
                ) -> ::core::result::Result<Reply, Rejection> {
                    ::core::result::Result::Ok(match method {
                        #(#arms)*
                        _ => return ::core::result::Result::Err(Rejection::UnknownMethod),
                    })
                }
                reply(self, cx, method, arguments).unwrap_or_else(|why| Reply::Now(Answer::Rejected(why)))
            }

            #(#hooks)*
        }
    }
}

fn description(method: &Method) -> TokenStream {
    let Method { name, doc, .. } = method;
    let name = name_text(name);
    let kind = kind(method);
    let arguments = method.arguments();
    let arguments = arguments.iter().map(argument);
    let result = sent(method.result());
    let error = match &method.returns.error {
        Some(error) => {
            let error = sent(error);
            quote!(::core::option::Option::Some(#error::SCHEMA))
        }
        None => quote!(::core::option::Option::None),
    };
    quote! {
        ::concoord::__private::MethodDescription {
            name: #name,
            doc: #doc,
            kind: #kind,
            arguments: &[#(#arguments),*],
            result: #result::SCHEMA,
            error: #error,
        }
    }
}

fn argument((name, ty): &(Ident, Type)) -> TokenStream {
    let (name, sent) = (name_text(name), sent(ty));
    quote!((#name, #sent::SCHEMA))
}

/// How a type that is sent is named wherever something is done with it: where it can't be sent, the compiler says the
/// same of each place, and so only once.
fn sent(ty: &Type) -> TokenStream {
    quote_spanned!(ty.span() => <#ty as ::concoord::__private::Sent>)
}

fn kind(method: &Method) -> TokenStream {
    if method.waits_for().is_some() {
        quote!(::concoord::wire::interface::MethodKind::Waiting)
    } else if method.update {
        quote!(::concoord::wire::interface::MethodKind::Update)
    } else {
        quote!(::concoord::wire::interface::MethodKind::Query)
    }
}

/// The name as callers write it: without `r#`.
fn name_text(name: &Ident) -> LitStr {
    use syn::ext::IdentExt;
    LitStr::new(&name.unraw().to_string(), name.span())
}

/// Statements that read the arguments into variables `argument_0` and so on.
fn read_arguments(arguments: &[(Ident, Type)]) -> (TokenStream, Vec<Ident>) {
    let variables: Vec<Ident> = (0..arguments.len())
        .map(|index| Ident::new(&format!("argument_{index}"), proc_macro2::Span::call_site()))
        .collect();
    let reads = arguments.iter().zip(&variables).map(|((name, ty), variable)| {
        let (name, sent) = (name_text(name), sent(ty));
        quote!(let #variable = #sent::take(&mut arguments, #name)?;)
    });
    let mutable = (!arguments.is_empty()).then(|| quote!(mut));
    let read = quote! {
        let #mutable arguments = ::concoord::__private::Arguments::new(arguments);
        #(#reads)*
        arguments.finish()?;
    };
    (read, variables)
}

fn create(object: &Ident, constructor: Option<&Constructor>) -> TokenStream {
    let (read, variables) = read_arguments(constructor.map_or(&[], |constructor| &constructor.arguments));
    let created = match constructor {
        None => {
            quote_spanned!(object.span() => ::core::result::Result::Ok(<#object as ::concoord::__private::Initial>::initial()))
        }
        Some(Constructor { error: None, .. }) => quote!(::core::result::Result::Ok(#object::new(#(#variables),*))),
        Some(Constructor { error: Some(error), .. }) => {
            let text = quote_spanned!(error.span() => <#error as ::std::string::ToString>::to_string(&error));
            quote! {
                #object::new(#(#variables),*).map_err(|error| ::concoord::wire::abi::Rejection::Arguments(#text))
            }
        }
    };
    quote!(#read #created)
}

fn arm(object: &Ident, method: &Method) -> TokenStream {
    let (name, text) = (&method.name, name_text(&method.name));
    let (read, variables) = read_arguments(&method.arguments());
    let receiver = if method.update { quote!(object) } else { quote!(&*object) };
    let mut variables = variables.into_iter();
    let parameters = method.parameters.iter().map(|parameter| match parameter {
        Parameter::Context => quote!(cx),
        Parameter::Waiter(_) => quote!(waiter),
        Parameter::Sent(..) => {
            let variable = variables.next();
            quote!(#variable)
        }
    });
    let call = quote!(#object::#name(#receiver, #(#parameters),*));
    if let Some(answer) = method.waits_for() {
        let refused = match &method.returns.error {
            Some(error) => {
                let error = sent(error);
                quote! {
                    if let ::core::result::Result::Err(error) = #call {
                        return ::core::result::Result::Ok(Reply::Now(Answer::Failed(#error::encode(&error))));
                    }
                }
            }
            None => quote!(#call;),
        };
        return quote! {
            #text => {
                #read
                let waiter = ::concoord::Waiter::<#answer>::of(cx);
                #refused
                Reply::Parked
            }
        };
    }
    let result = sent(&method.returns.result);
    let answer = match &method.returns.error {
        Some(error) => {
            let error = sent(error);
            quote! {
                match #call {
                    ::core::result::Result::Ok(result) => Answer::Returned(#result::encode_result(&result)),
                    ::core::result::Result::Err(error) => Answer::Failed(#error::encode(&error)),
                }
            }
        }
        None => quote!(Answer::Returned(#result::encode_result(&#call))),
    };
    quote! {
        #text => {
            #read
            Reply::Now(#answer)
        }
    }
}

/// Runs a function of the object's when something has happened.
fn hook(object: &Ident, hook: &Hook) -> TokenStream {
    let name = &hook.name;
    let (on, what) = match name.to_string().as_str() {
        "session_closed" => (quote!(on_session_closed), quote!(::concoord::wire::SessionId)),
        "cancelled" => (quote!(on_cancelled), quote!(::concoord::wire::CallId)),
        _ => (quote!(on_timer), quote!(::core::primitive::u64)),
    };
    quote_spanned! {name.span()=>
        fn #on(&mut self, cx: &mut ::concoord::Context, what: #what) {
            #object::#name(self, cx, what);
        }
    }
}

fn proxy_impl(object: &Ident, methods: &Methods) -> TokenStream {
    let proxy = proxy_name(object);
    let calls = methods.methods.iter().map(proxy_method);
    let reinitialize = proxy_reinitialize(methods);
    quote! {
        #[cfg(not(target_arch = "wasm32"))]
        #[allow(non_snake_case, reason = "the author answers for the names")]
        impl<C: ::concoord::Caller> #proxy<C> {
            /// For the cluster's first object.
            pub fn new(caller: C) -> Self {
                Self { caller, object: ::core::option::Option::None }
            }

            /// For the object of this name.
            pub fn named(caller: C, object: impl ::core::convert::Into<::std::string::String>) -> Self {
                Self { caller, object: ::core::option::Option::Some(object.into()) }
            }

            #(#calls)*

            #reinitialize
        }
    }
}

/// The constructor as a call, unless the object has a method of this name.
fn proxy_reinitialize(methods: &Methods) -> Option<TokenStream> {
    if methods.methods.iter().any(|method| method.name == "reinitialize") {
        return None;
    }
    let arguments = methods.constructor.as_ref().map_or(&[][..], |constructor| &constructor.arguments);
    let parameters = arguments.iter().map(|(name, ty)| quote!(#name: #ty));
    let count = arguments.len();
    let encoded = arguments.iter().map(|(name, ty)| {
        let sent = sent(ty);
        quote!(#sent::encode(&#name))
    });
    Some(quote! {
        /// Starts the object anew, as if it were loaded now. Fencing tokens and revisions go on growing.
        ///
        /// # Errors
        /// When the call got no answer, or the constructor refuses.
        pub async fn reinitialize(
            &self,
            #(#parameters),*
        ) -> ::core::result::Result<(), ::concoord::ProxyError<C::Error>> {
            use ::concoord::wire::interface::{MethodKind, REINITIALIZE};
            let arguments: [::std::vec::Vec<u8>; #count] = [#(#encoded),*];
            let object = self.object.as_deref();
            let answer = self.caller.invoke(object, REINITIALIZE, MethodKind::Update, arguments.concat()).await;
            ::concoord::wire::caller::returned(answer, <() as ::concoord::__private::Sent>::decode)
        }
    })
}

fn proxy_method(method: &Method) -> TokenStream {
    let Method { name, doc_attributes, .. } = method;
    let arguments = method.arguments();
    let (text, kind) = (name_text(name), kind(method));
    let undocumented = doc_attributes.is_empty().then(|| {
        let doc = format!("Calls `{name}`.");
        quote!(#[doc = #doc])
    });
    let parameters = arguments.iter().map(|(name, ty)| quote!(#name: #ty));
    let count = arguments.len();
    let encoded = arguments.iter().map(|(name, ty)| {
        let sent = sent(ty);
        quote!(#sent::encode(&#name))
    });
    let (result, decode) = (method.result(), sent(method.result()));
    let (error, returned) = match &method.returns.error {
        Some(error) => {
            let decode_error = sent(error);
            (quote!(, #error), quote!(returned_result(answer, #decode::decode, #decode_error::decode)))
        }
        None => (quote!(), quote!(returned(answer, #decode::decode))),
    };
    quote! {
        #(#doc_attributes)*
        #undocumented
        ///
        /// # Errors
        /// When the call got no answer, or one that is not of this method.
        pub async fn #name(
            &self,
            #(#parameters),*
        ) -> ::core::result::Result<#result, ::concoord::ProxyError<C::Error #error>> {
            let arguments: [::std::vec::Vec<u8>; #count] = [#(#encoded),*];
            let object = self.object.as_deref();
            let answer = self.caller.invoke(object, #text, #kind, arguments.concat()).await;
            ::concoord::wire::caller::#returned
        }
    }
}
