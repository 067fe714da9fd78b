//! The dashboard's `view!` and `#[component]`: Leptos's syntax, compiled to values of the one type `crate::dom::View`.
//!
//! Leptos's own `view!` gives every element, attribute and closure a type of its own, and the compiler a copy of the
//! renderer for each: that was most of the dashboard's bytes. Here an element is a few calls of functions that exist
//! once. Expands to paths below `crate::dom` and is of use to no other crate. Never decides what a page does: an
//! attribute it does not know is set as it is.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{ItemFn, ReturnType, parse_quote};

mod element;
mod markup;

/// Markup as a `crate::dom::View`: elements, `{expressions}`, `on:`, `prop:`, `class:`, `style:`, `node_ref`, components,
/// and the built-in `<Show when fallback>` and `<For each key let:x>`.
#[proc_macro]
pub fn view(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let parsed = rstml::parse2(input.into()).and_then(|nodes| element::views(&nodes));
    parsed.unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Leptos's `#[component]` around a body that gives a `crate::dom::View` and is read untracked.
#[proc_macro_attribute]
pub fn component(_: proc_macro::TokenStream, input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let expanded = syn::parse::<ItemFn>(input).map(|function| wrapped(function).into_token_stream());
    expanded.unwrap_or_else(|error| error.to_compile_error()).into()
}

fn wrapped(mut function: ItemFn) -> TokenStream {
    let body = &function.block;
    function.block = parse_quote!({
        ::leptos::prelude::untrack(move || -> crate::dom::View { crate::dom::IntoView::into_view(#body) })
    });
    function.sig.output = ReturnType::Default;
    function.sig.output = parse_quote!(-> crate::dom::View);
    quote! { #[::leptos::component(transparent)] #function }
}
