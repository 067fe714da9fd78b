//! Subtrees without a single expression, as the HTML they are: one string in place of a call for each part.

use rstml::node::{KeyedAttribute, KeyedAttributeValue, Node, NodeAttribute, NodeElement};
use syn::{Expr, Lit};

use super::element::name;

/// Elements that exist only inside a drawing: the browser reads them right only below an `<svg>`.
pub(crate) const DRAWN: [&str; 11] = ["path", "rect", "g", "use", "circle", "line", "polyline", "polygon", "symbol", "defs", "ellipse"];
const VOID: [&str; 6] = ["br", "hr", "img", "input", "link", "meta"];

/// The element as HTML, if nothing in it is computed and the browser can read it by itself.
pub(crate) fn html(element: &NodeElement<rstml::Infallible>) -> Option<String> {
    let mut out = String::new();
    (!DRAWN.contains(&name(element.name()).as_str()) && write(element, &mut out)).then_some(out)
}

/// The value of an attribute that is written out: `class="x"`, or nothing for a bare name.
pub(crate) fn literal(attribute: &KeyedAttribute) -> Option<String> {
    match &attribute.possible_value {
        KeyedAttributeValue::None => Some(String::new()),
        _ => match attribute.value()? {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
    }
}

fn write(element: &NodeElement<rstml::Infallible>, out: &mut String) -> bool {
    let tag = name(element.name());
    if tag.contains("::") || tag.starts_with(|first: char| first.is_ascii_uppercase()) {
        return false;
    }
    out.push('<');
    out.push_str(&tag);
    for attribute in element.attributes() {
        let NodeAttribute::Attribute(attribute) = attribute else { return false };
        let key = name(&attribute.key);
        if key.contains(':') || key == "node_ref" {
            return false;
        }
        let Some(value) = literal(attribute) else { return false };
        out.push(' ');
        out.push_str(&key);
        if !value.is_empty() {
            out.push_str("=\"");
            escape(&value, out);
            out.push('"');
        }
    }
    out.push('>');
    for child in element.children() {
        match child {
            Node::Text(text) => escape(&text.value_string(), out),
            Node::Element(child) => {
                if !write(child, out) {
                    return false;
                }
            }
            _ => return false,
        }
    }
    if !VOID.contains(&tag.as_str()) {
        out.push_str("</");
        out.push_str(&tag);
        out.push('>');
    }
    true
}

fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
}
