//! Warns of floating-point functions that each platform computes in its own way.
//!
//! Replicas run one module, which brings these functions along, so they agree. But native tests and proxies on other
//! platforms may see other last digits. What IEEE 754 fixes (the four operations, `sqrt`, comparisons, rounding) is the
//! same everywhere.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::{ImplItem, ItemImpl, parse_quote};

/// Names that only floats have among std's types.
const FUNCTIONS: [&str; 24] = [
    "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sin_cos", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "exp", "exp2", "exp_m1", "ln", "ln_1p", "log2", "log10", "powf", "powi", "cbrt",
];

/// Puts a warning into each function of the block for each use. The compiler offers attributes no other warning than
/// that of something deprecated, so `#[allow(deprecated)]` on the function silences it.
pub(crate) fn warn(block: &mut ItemImpl) {
    for item in &mut block.items {
        let ImplItem::Fn(function) = item else { continue };
        let mut uses = vec![];
        collect(function.block.to_token_stream(), &mut uses);
        for name in uses {
            let note = format!("`{name}` gives other last digits natively than in the module: use integers, or sqrt");
            let used = quote_spanned!(name.span() => differs_between_platforms);
            let warning = parse_quote! {
                const _: () = {
                    #[deprecated(note = #note)]
                    const fn differs_between_platforms() {}
                    #used()
                };
            };
            function.block.stmts.insert(0, warning);
        }
    }
}

/// Every `.name(` and `::name(`.
fn collect(tokens: TokenStream, uses: &mut Vec<Ident>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for window in tokens.windows(3) {
        if let [TokenTree::Punct(before), TokenTree::Ident(name), TokenTree::Group(_)] = window
            && matches!(before.as_char(), '.' | ':')
            && FUNCTIONS.iter().any(|function| name == function)
        {
            uses.push(name.clone());
        }
    }
    for token in tokens {
        if let TokenTree::Group(group) = token {
            collect(group.stream(), uses);
        }
    }
}
