//! Markup to tokens: elements, their attributes and children, and calls of components.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use rstml::node::{KeyedAttribute, Node, NodeAttribute, NodeBlock, NodeElement, NodeName, NodeNameFragment};
use syn::{Error, Expr, Result, Stmt};

use super::markup::{self, DRAWN};

type Tree = Node<rstml::Infallible>;
type Element = NodeElement<rstml::Infallible>;

/// A name as it is written, without the `r#` of a Rust keyword.
pub(crate) fn name(name: &NodeName) -> String {
    name.to_string().replace("r#", "")
}

/// Some nodes as one view.
pub(crate) fn views(nodes: &[Tree]) -> Result<TokenStream> {
    match nodes {
        [] => Ok(quote! { crate::dom::View::Nothing }),
        [one] => view(one),
        many => {
            let many = many.iter().map(view).collect::<Result<Vec<_>>>()?;
            Ok(quote! { crate::dom::View::List(::std::vec![#(#many),*]) })
        }
    }
}

fn view(node: &Tree) -> Result<TokenStream> {
    match node {
        Node::Text(text) => {
            let text = &text.value;
            Ok(quote! { crate::dom::View::from(#text) })
        }
        Node::Block(block) => {
            let expression = expression(block);
            Ok(quote! { crate::dom::IntoView::into_view(#expression) })
        }
        Node::Fragment(fragment) => views(&fragment.children),
        Node::Element(found) => match name(found.name()).as_str() {
            "Show" => show(found),
            "For" => list(found),
            tag if tag.contains("::") || tag.starts_with(|first: char| first.is_ascii_uppercase()) => component(found),
            tag => match markup::html(found) {
                Some(html) => Ok(quote! { crate::dom::View::Html(#html) }),
                None => element(found, tag),
            },
        },
        other => Err(Error::new_spanned(other, "the dashboard's markup has no comments, doctypes or unquoted texts")),
    }
}

/// A block's only expression without its braces, which would be a lint.
fn expression(block: &NodeBlock) -> TokenStream {
    match block.try_block().map(|block| block.stmts.as_slice()) {
        Some([Stmt::Expr(expression, None)]) => expression.to_token_stream(),
        _ => block.to_token_stream(),
    }
}

fn element(element: &Element, tag: &str) -> Result<TokenStream> {
    let make = if tag == "svg" || DRAWN.contains(&tag) { quote!(drawn) } else { quote!(new) };
    let mut out = quote! { crate::dom::Element::#make(#tag) };
    for attribute in element.attributes() {
        let NodeAttribute::Attribute(keyed) = attribute else {
            return Err(Error::new_spanned(attribute, "an attribute has a name"));
        };
        out.extend(part(keyed, tag)?);
    }
    for child in element.children() {
        let child = view(child)?;
        out.extend(quote! { .child(#child) });
    }
    Ok(quote! { crate::dom::View::from(#out) })
}

/// One attribute as a call on the element.
fn part(attribute: &KeyedAttribute, tag: &str) -> Result<TokenStream> {
    let key = name(&attribute.key);
    if let (Some(text), false) = (markup::literal(attribute), key.contains(':')) {
        return Ok(quote! { .text(#key, #text) });
    }
    let value = value(attribute)?;
    Ok(match key.split_once(':') {
        None if key == "node_ref" => quote! { .node_ref(#value) },
        None => quote! { .attribute(#key, #value) },
        Some(("on", event)) => {
            let (event, target) = event.split_once(':').map_or((event, None), |(event, of)| (event, Some(of)));
            let kind = event_type(event);
            match target {
                None => quote! { .on(#event, crate::dom::handler::<::web_sys::#kind>(#value)) },
                Some("target") => {
                    let target = target_type(tag);
                    quote! { .on(#event, crate::dom::targeted::<::web_sys::#kind, ::web_sys::#target>(#value)) }
                }
                Some(_) => return Err(Error::new_spanned(&attribute.key, "`target` is the only modifier of an event")),
            }
        }
        Some(("prop", property)) => quote! { .property(#property, #value) },
        Some(("class", class)) => quote! { .class(#class, #value) },
        Some(("style", property)) => quote! { .style(#property, #value) },
        Some(_) => return Err(Error::new_spanned(&attribute.key, "`on:`, `prop:`, `class:` and `style:` are known")),
    })
}

fn value(attribute: &KeyedAttribute) -> Result<TokenStream> {
    match attribute.value() {
        // `{expression}` without its braces.
        Some(Expr::Block(block)) => match block.block.stmts.as_slice() {
            [Stmt::Expr(expression, None)] => Ok(expression.to_token_stream()),
            _ => Ok(block.to_token_stream()),
        },
        Some(expression) => Ok(expression.to_token_stream()),
        None => Err(Error::new_spanned(attribute, "this needs a value")),
    }
}

/// The browser's type of an event.
fn event_type(event: &str) -> Ident {
    let kind = match event {
        "click" | "mousedown" | "mouseenter" | "mouseleave" | "mousemove" | "mouseup" => "MouseEvent",
        "pointerdown" | "pointerenter" | "pointerleave" | "pointermove" | "pointerup" => "PointerEvent",
        "keydown" | "keyup" => "KeyboardEvent",
        "blur" | "focus" | "focusin" | "focusout" => "FocusEvent",
        "submit" => "SubmitEvent",
        _ => "Event",
    };
    format_ident!("{kind}")
}

/// The browser's type of an element that has a value.
fn target_type(tag: &str) -> Ident {
    let kind = match tag {
        "input" => "HtmlInputElement",
        "select" => "HtmlSelectElement",
        "textarea" => "HtmlTextAreaElement",
        _ => "HtmlElement",
    };
    format_ident!("{kind}")
}

/// The keyed attributes of a component, and the variable of `let:`.
fn arguments(element: &Element) -> Result<(Vec<&KeyedAttribute>, Option<Ident>)> {
    let (mut keyed, mut bound) = (Vec::new(), None);
    for attribute in element.attributes() {
        let NodeAttribute::Attribute(attribute) = attribute else {
            return Err(Error::new_spanned(attribute, "a prop has a name"));
        };
        match variable(&attribute.key) {
            Some(variable) => bound = Some(variable),
            None => keyed.push(attribute),
        }
    }
    Ok((keyed, bound))
}

/// The variable of `let:variable`, as it was written.
fn variable(name: &NodeName) -> Option<Ident> {
    let NodeName::Punctuated(parts) = name else { return None };
    match (parts.first()?, parts.last()?) {
        (NodeNameFragment::Ident(first), NodeNameFragment::Ident(last)) if first == "let" => Some(last.clone()),
        _ => None,
    }
}

fn prop(keyed: &[&KeyedAttribute], wanted: &str) -> Result<Option<TokenStream>> {
    keyed.iter().find(|attribute| name(&attribute.key) == wanted).map(|attribute| value(attribute)).transpose()
}

fn needed(element: &Element, keyed: &[&KeyedAttribute], wanted: &str) -> Result<TokenStream> {
    prop(keyed, wanted)?.ok_or_else(|| Error::new_spanned(element.name(), format!("`{wanted}` is missing")))
}

/// `<Show when=… fallback=…>`: the children while something is true.
fn show(element: &Element) -> Result<TokenStream> {
    let (keyed, _) = arguments(element)?;
    let when = needed(element, &keyed, "when")?;
    let children = views(element.children())?;
    Ok(match prop(&keyed, "fallback")? {
        None => quote! { crate::dom::show(#when, move || #children) },
        Some(fallback) => quote! { crate::dom::show_or(#when, move || #children, #fallback) },
    })
}

/// `<For each=… key=… let:x>`: one view a thing, kept for as long as its key is there.
fn list(element: &Element) -> Result<TokenStream> {
    let (keyed, bound) = arguments(element)?;
    let (each, key) = (needed(element, &keyed, "each")?, needed(element, &keyed, "key")?);
    let children = match bound {
        Some(bound) => {
            let children = views(element.children())?;
            quote! { move |#bound| #children }
        }
        None => needed(element, &keyed, "children")?,
    };
    Ok(quote! { crate::dom::keyed(#each, #key, #children) })
}

fn component(element: &Element) -> Result<TokenStream> {
    let path = element.name();
    let (keyed, bound) = arguments(element)?;
    let mut props = TokenStream::new();
    for attribute in keyed {
        let NodeName::Path(setter) = &attribute.key else {
            return Err(Error::new_spanned(&attribute.key, "a prop is a plain name"));
        };
        // `<Bulk list/>` is `<Bulk list=list/>`.
        let value = attribute.value().map_or_else(|| setter.to_token_stream(), |_| value(attribute).unwrap_or_default());
        props.extend(quote! { .#setter(#value) });
    }
    if !element.children().is_empty() {
        let children = views(element.children())?;
        props.extend(match bound {
            Some(bound) => quote! { .children(move |#bound| #children) },
            None => quote! { .children(crate::dom::ToChildren::to_children(move || #children)) },
        });
    }
    Ok(quote! {
        ::leptos::component::component_view(&#path, ::leptos::component::component_props_builder(&#path) #props .build())
    })
}
