//! `#[derive(Decode)]`: the table and the match that `shared::decode` reads a struct or an enum of plain names with.
//!
//! Field names come from the same `#[serde(…)]` attributes that serde's derive reads, so there is one truth. An attribute
//! that is not known here is an error of the build, never ignored.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Fields, LitStr, Result};

/// Implements `crate::decode::Decode` for a struct with named fields or an enum without fields.
#[proc_macro_derive(Decode)]
pub fn decode(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let expanded = syn::parse::<DeriveInput>(input).and_then(|input| expand(&input));
    expanded.unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let rule = attributes(&input.attrs)?.rename_all;
    let (generics, types, bounds) = input.generics.split_for_impl();
    let body = match &input.data {
        Data::Struct(data) => of_struct(&data.fields, rule.as_deref())?,
        Data::Enum(data) => {
            let mut names = Vec::new();
            let mut arms = Vec::new();
            for (at, variant) in data.variants.iter().enumerate() {
                let Fields::Unit = variant.fields else { return Err(Error::new_spanned(variant, "Decode knows no variant with fields")) };
                let ident = &variant.ident;
                let found = attributes(&variant.attrs)?;
                names.push(found.rename.map_or_else(|| renamed(&ident.to_string(), rule.as_deref(), ident), Ok)?);
                arms.push(quote! { #at => Self::#ident });
            }
            quote! {
                *self = match from.word(&[#(#names),*])? { #(#arms,)* _ => return Err(from.fault("a known word")) };
                Ok(())
            }
        }
        Data::Union(_) => return Err(Error::new_spanned(name, "Decode knows structs and enums")),
    };
    let bounds = bounds.map_or_else(|| quote! { where }, |bounds| quote! { #bounds, });
    let parameters = input.generics.type_params().map(|parameter| &parameter.ident);
    Ok(quote! {
        impl #generics crate::decode::Decode for #name #types #bounds Self: Default, #(#parameters: crate::decode::Decode + Default,)* {
            fn fill(&mut self, from: &mut crate::decode::Reader<'_>) -> ::core::result::Result<(), crate::decode::Fault> {
                #body
            }
        }
    })
}

fn of_struct(fields: &Fields, rule: Option<&str>) -> Result<TokenStream> {
    let Fields::Named(fields) = fields else { return Err(Error::new_spanned(fields, "Decode knows named fields")) };
    let (mut names, mut arms) = (Vec::new(), Vec::new());
    for field in &fields.named {
        let Some(ident) = &field.ident else { continue };
        let found = attributes(&field.attrs)?;
        let first = names.len();
        names.push(found.rename.map_or_else(|| renamed(&ident.to_string(), rule, ident), Ok)?);
        names.extend(found.aliases);
        let last = names.len() - 1;
        let fill = match found.with.as_deref() {
            // Lists and maps read `null` as nothing in any case.
            None | Some("crate::go::null_map" | "crate::go::null_list" | "crate::go::null_list::deserialize") => {
                quote! { crate::decode::Decode::fill(&mut self.#ident, from) }
            }
            Some("crate::go::bytes") => quote! { from.base64(&mut self.#ident) },
            Some(_) => return Err(Error::new_spanned(field, "Decode does not know this `with`")),
        };
        arms.push(quote! { #first..=#last => #fill });
    }
    Ok(quote! {
        from.object(&[#(#names),*], &mut |at, from| match at { #(#arms,)* _ => from.skip() })
    })
}

#[derive(Default)]
struct Found {
    rename_all: Option<String>,
    rename: Option<String>,
    aliases: Vec<String>,
    with: Option<String>,
}

fn attributes(all: &[Attribute]) -> Result<Found> {
    let mut found = Found::default();
    for attribute in all.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        attribute.parse_nested_meta(|meta| {
            let key = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            let text = || -> Result<String> { Ok(meta.value()?.parse::<LitStr>()?.value()) };
            match key.as_str() {
                "rename_all" => found.rename_all = Some(text()?),
                "rename" => found.rename = Some(text()?),
                "alias" => found.aliases.push(text()?),
                "with" | "deserialize_with" => found.with = Some(text()?),
                "skip_serializing_if" => drop(text()?),
                // Every field may be missing.
                "default" => {}
                _ => return Err(meta.error("Decode does not know this attribute")),
            }
            Ok(())
        })?;
    }
    Ok(found)
}

fn renamed(ident: &str, rule: Option<&str>, at: &syn::Ident) -> Result<String> {
    let ident = ident.trim_start_matches("r#");
    match rule {
        None => Ok(ident.to_owned()),
        Some("lowercase") => Ok(ident.to_ascii_lowercase()),
        Some("PascalCase") => Ok(ident.split('_').map(capitalised).collect()),
        Some(_) => Err(Error::new_spanned(at, "Decode knows the rules lowercase and PascalCase")),
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
