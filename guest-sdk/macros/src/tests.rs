//! What the attributes refuse, and what they say then.

use quote::quote;
use syn::parse_quote;

use crate::{data, expand, object};

fn messages<T>(expanded: syn::Result<T>) -> Vec<String> {
    match expanded {
        Ok(_) => vec![],
        Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
    }
}

/// What `#[concoord::methods]` says of an impl block with this function.
fn of_method(function: proc_macro2::TokenStream) -> String {
    messages(expand::expand(&parse_quote!(impl Counter { pub fn look(&self) {} #function }))).join(" | ")
}

#[test]
fn functions_that_can_not_be_methods_are_refused_with_advice() {
    let receiver = "a method takes `&self` (a query) or `&mut self` (an update); the constructor is `pub fn new`; \
                    what callers don't need stays without `pub`";
    let owned = "a call can't consume the object: take `&self` (a query) or `&mut self` (an update)";
    let constructor = "the constructor returns `Self` or `Result<Self, E>`";
    let cases = [
        (
            quote!(
                pub fn helper(value: u8) {}
            ),
            receiver,
        ),
        (
            quote!(
                pub fn take(self) {}
            ),
            owned,
        ),
        (
            quote!(
                pub fn take(mut self) {}
            ),
            owned,
        ),
        (
            quote!(
                pub async fn wait(&self) {}
            ),
            "a method runs to its end on every replica: remove `async`",
        ),
        (
            quote!(
                pub fn take(&self, waiter: Waiter<u64>) {}
            ),
            "a query can't wait, since it leaves no trace: take `&mut self`",
        ),
        (
            quote!(
                pub fn take(&mut self, waiter: Waiter<u64>, other: Waiter<u64>) {}
            ),
            "a call has one caller: take one `Waiter`",
        ),
        (
            quote!(
                pub fn take(&mut self, waiter: Waiter<u64>) -> u64 {}
            ),
            "the caller gets what `Waiter::answer` is given: return nothing, or `Result<(), E>` for what is refused at \
             once",
        ),
        (
            quote!(
                pub unsafe fn poke(&self) {}
            ),
            "callers can't promise anything to an unsafe method: remove `unsafe`",
        ),
        (
            quote!(
                pub fn put<T>(&mut self, value: T) {}
            ),
            "callers must know the types: remove the generics",
        ),
        (
            quote!(
                #[cfg(unix)]
                pub fn put(&mut self) {}
            ),
            "an object has the same methods in every build: remove `#[cfg]`",
        ),
        (
            quote!(
                pub fn put(&mut self, (a, b): (u8, u8)) {}
            ),
            "callers see the argument's name: write `name: Type`",
        ),
        (
            quote!(
                pub fn named(&self) {}
            ),
            "`named` is a function of the proxy: choose another name",
        ),
        (
            quote!(
                pub fn new() -> u8 {
                    0
                }
            ),
            constructor,
        ),
        (
            quote!(
                pub fn new() {}
            ),
            constructor,
        ),
    ];
    for (function, expected) in cases {
        assert_eq!(of_method(function.clone()), expected, "{function}");
    }
}

#[test]
fn types_that_differ_between_machines_or_borrow_are_refused_with_advice() {
    let cases = [
        (quote!(&str), "what crosses the network is owned: write `String` instead of `&str`"),
        (quote!(&[u8]), "what crosses the network is owned: write a `Vec` instead of a slice"),
        (quote!(&Job), "what crosses the network is owned: write the value instead of a reference"),
        (quote!(usize), "`usize` differs between machines and Wasm: write `u32` or `u64`"),
        (quote!(Vec<Option<isize>>), "`isize` differs between machines and Wasm: write `i32` or `i64`"),
        (
            quote!((u8, std::collections::HashMap<u8, u8>)),
            "the order of a `HashMap` differs between replicas: write `BTreeMap`",
        ),
        (quote!([HashSet<u8>; 2]), "the order of a `HashSet` differs between replicas: write `BTreeSet`"),
        (quote!(std::time::SystemTime), "replicas don't share a clock: write microseconds as `u64`"),
        (quote!(impl Display), "an object's types must be known to its callers: name the concrete type"),
        (quote!(Box<dyn Display>), "an object's types must be known to its callers: name the concrete type"),
        (quote!(fn(u8)), "this type can't be sent: take and return plain data"),
        (quote!(Option<Self>), "callers don't know `Self`: write the type's name"),
    ];
    for (ty, expected) in cases {
        assert_eq!(of_method(quote!(pub fn put(&mut self, value: #ty) {})), expected, "argument {ty}");
        assert_eq!(of_method(quote!(pub fn find(&self) -> #ty {})), expected, "result {ty}");
        assert_eq!(of_method(quote!(pub fn find(&self) -> Result<u8, #ty> {})), expected, "error {ty}");
    }
}

#[test]
fn a_result_names_both_its_types() {
    let expected = "callers must know the error's type: write `Result<T, E>` with both types";
    assert_eq!(
        of_method(quote!(
            pub fn find(&self) -> io::Result<u8> {}
        )),
        expected
    );
}

#[test]
fn everything_wrong_with_a_block_is_reported_at_once() {
    let block = parse_quote! {
        impl Counter {
            pub fn first(self) {}
            pub fn second(&self, n: usize) {}
        }
    };
    assert_eq!(messages(expand::expand(&block)).len(), 2);
}

#[test]
fn functions_without_pub_are_the_authors_own() {
    assert_eq!(
        of_method(quote!(
            fn helper<'a>(n: usize, text: &'a str) -> &'a str {
                text
            }
        )),
        ""
    );
    assert_eq!(
        of_method(quote!(
            pub(crate) fn helper(self) {}
        )),
        ""
    );
}

#[test]
fn an_object_is_one_concrete_struct() {
    let generics = "an object has one concrete type: remove the generics";
    assert_eq!(
        messages(object::check(&parse_quote!(
            pub struct Counter<T> {
                value: T,
            }
        ))),
        [generics]
    );
    assert_eq!(
        messages(expand::expand(&parse_quote!(
            impl<T> Counter<T> {}
        ))),
        [generics]
    );
    let of_trait = "an object's methods stand in an impl of its own, not of a trait";
    assert_eq!(messages(expand::expand(&parse_quote!(impl Default for Counter {}))), [of_trait]);
    let elsewhere = "name the object's struct, in the module where it is";
    assert_eq!(messages(expand::expand(&parse_quote!(impl crate::Counter {}))), [elsewhere]);
}

#[test]
fn state_and_data_hold_what_is_alike_everywhere() {
    let set = "the order of a `HashSet` differs between replicas: write `BTreeSet`";
    assert_eq!(
        messages(object::check(&parse_quote!(
            pub struct Members {
                all: HashSet<u8>,
            }
        ))),
        [set]
    );
    assert_eq!(
        messages(data::check(&parse_quote!(
            enum Members {
                All(HashSet<u8>),
            }
        ))),
        [set]
    );
}

#[test]
fn doc_comments_lose_their_frame() {
    let object: syn::ItemStruct = parse_quote! {
        /// One line,
        ///
        ///   an indented one.
        #[other]
        struct Counter;
    };
    assert_eq!(object::doc(&object.attrs), "One line,\n\n  an indented one.");
}
