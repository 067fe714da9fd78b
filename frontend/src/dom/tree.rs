//! The tree on the screen: building it from views, changing it to newer views, taking it away.

use std::collections::VecDeque;

use leptos::prelude::{Owner, RenderEffect};
use wasm_bindgen::JsCast;
use web_sys::{HtmlTemplateElement, Node};

use super::{
    Element, View,
    attribute::{Kept, Part},
    list::Item,
};

const SVG: &str = "http://www.w3.org/2000/svg";

/// What a view has become. Dropping it stops its effects; the nodes stay until they are removed.
enum Mounted {
    /// A text; an empty one holds the place of nothing.
    Text(web_sys::Text, String),
    Html(Node, &'static str),
    Element(Box<Built>),
    /// The last node is an empty text that marks the end.
    List(Vec<Mounted>, Node),
    Dynamic(RenderEffect<Mounted>),
    Rows(Vec<Row>, Node),
}

struct Built {
    element: web_sys::Element,
    tag: &'static str,
    parts: Vec<Kept>,
    children: Vec<Mounted>,
}

struct Row {
    key: String,
    shown: Mounted,
    // What the row made lives as long as the row.
    _owner: Owner,
}

/// Puts a view into an element, for as long as the page is open.
pub(crate) fn mount(root: &Node, view: impl FnOnce() -> View) {
    // Refused only when there is one already.
    let _ = any_spawner::Executor::init_wasm_bindgen();
    let owner = Owner::new();
    let mounted = owner.with(|| build(view()));
    mounted.insert(root, None);
    std::mem::forget((owner, mounted));
}

fn document() -> web_sys::Document {
    leptos::prelude::document()
}

fn empty() -> web_sys::Text {
    document().create_text_node("")
}

fn build(view: View) -> Mounted {
    match view {
        View::Nothing => Mounted::Text(empty(), String::new()),
        View::Text(text) => Mounted::Text(document().create_text_node(&text), text.into_owned()),
        View::Html(html) => Mounted::Html(parse(html), html),
        View::Element(element) => Mounted::Element(Box::new(build_element(*element))),
        View::List(views) => Mounted::List(views.into_iter().map(build).collect(), empty().into()),
        View::Dynamic(mut find) => Mounted::Dynamic(RenderEffect::new(move |shown: Option<Mounted>| update(shown, find.draw()))),
        View::Keyed(mut find) => {
            // Rows outlive the run of the effect that made them.
            let owner = Owner::new();
            Mounted::Dynamic(RenderEffect::new(move |shown: Option<Mounted>| {
                let (mut rows, end) = match shown {
                    Some(Mounted::Rows(rows, end)) => (rows, end),
                    _ => (Vec::new(), empty().into()),
                };
                arrange(&mut rows, find.items(), &end, &owner);
                Mounted::Rows(rows, end)
            }))
        }
    }
}

fn parse(html: &str) -> Node {
    let template: HtmlTemplateElement = create("template", false).unchecked_into();
    template.set_inner_html(html);
    template.content().first_child().expect("static markup is one element")
}

fn create(tag: &str, drawn: bool) -> web_sys::Element {
    let made = if drawn { document().create_element_ns(Some(SVG), tag) } else { document().create_element(tag) };
    made.expect("a tag of the markup is a name")
}

fn build_element(view: Element) -> Built {
    let element = create(view.tag, view.drawn);
    let children: Vec<Mounted> = view.children.into_iter().map(build).collect();
    children.iter().for_each(|child| child.insert(&element, None));
    // Behind the children: a select can take a value only when it has the option.
    let parts = view.parts.into_iter().map(|part| part.build(&element)).collect();
    Built { element, tag: view.tag, parts, children }
}

fn update(shown: Option<Mounted>, view: View) -> Mounted {
    match shown {
        None => build(view),
        Some(mut shown) => {
            change(&mut shown, view);
            shown
        }
    }
}

/// Changes what is shown to the view: in place where it has the same shape, else by another in its place.
fn change(shown: &mut Mounted, view: View) {
    match (&mut *shown, view) {
        (Mounted::Text(node, old), View::Text(new)) => {
            if *old != new {
                node.set_data(&new);
                *old = new.into_owned();
            }
        }
        (Mounted::Text(_, old), View::Nothing) if old.is_empty() => {}
        (Mounted::Html(_, old), View::Html(new)) if *old == new => {}
        (Mounted::Element(built), View::Element(element)) if built.fits(&element) => built.change(*element),
        (Mounted::List(items, end), View::List(views)) => change_list(items, views, end),
        (_, view) => {
            let new = build(view);
            let first = shown.first();
            if let Some(parent) = first.parent_node() {
                new.insert(&parent, Some(&first));
            }
            shown.remove();
            *shown = new;
        }
    }
}

fn change_list(items: &mut Vec<Mounted>, views: Vec<View>, end: &Node) {
    items.drain(views.len().min(items.len())..).for_each(|gone| gone.remove());
    for (at, view) in views.into_iter().enumerate() {
        match items.get_mut(at) {
            Some(item) => change(item, view),
            None => {
                let new = build(view);
                if let Some(parent) = end.parent_node() {
                    new.insert(&parent, Some(end));
                }
                items.push(new);
            }
        }
    }
}

/// Keeps the rows whose keys are still there, draws the new ones, and brings all into order with few moves.
fn arrange(rows: &mut Vec<Row>, items: Vec<Item>, end: &Node, parent: &Owner) {
    // Most stay in place, so that the one looked for is the first of the old ones.
    let mut old = VecDeque::from(std::mem::take(rows));
    for mut item in items {
        let kept = old.iter().position(|row| row.key == item.key).and_then(|at| old.remove(at));
        let row = kept.unwrap_or_else(|| {
            let owner = parent.with(Owner::new);
            let shown = owner.with(|| build(item.draw.draw()));
            Row { key: item.key, shown, _owner: owner }
        });
        rows.push(row);
    }
    old.into_iter().for_each(|gone| gone.shown.remove());
    // Without a parent they are put there with the end.
    let Some(parent) = end.parent_node() else { return };
    let mut next = end.clone();
    for row in rows.iter().rev() {
        if row.shown.last().next_sibling().as_ref() != Some(&next) {
            row.shown.insert(&parent, Some(&next));
        }
        next = row.shown.first();
    }
}

impl Built {
    fn fits(&self, view: &Element) -> bool {
        self.tag == view.tag
            && self.parts.len() == view.parts.len()
            && self.children.len() == view.children.len()
            && view.parts.iter().zip(&self.parts).all(|(part, kept)| part.fits(kept))
    }

    fn change(&mut self, view: Element) {
        for (child, view) in self.children.iter_mut().zip(view.children) {
            change(child, view);
        }
        for (kept, part) in self.parts.iter_mut().zip(view.parts) {
            Part::rebuild(part, &self.element, kept);
        }
    }
}

impl Mounted {
    /// Calls back for every outermost node, in order.
    fn nodes(&self, call: &mut dyn FnMut(&Node)) {
        match self {
            Self::Text(text, _) => call(text),
            Self::Html(node, _) => call(node),
            Self::Element(built) => call(&built.element),
            Self::List(items, end) => {
                items.iter().for_each(|item| item.nodes(call));
                call(end);
            }
            Self::Dynamic(effect) => drop(effect.with_value_mut(|shown| shown.nodes(call))),
            Self::Rows(rows, end) => {
                rows.iter().for_each(|row| row.shown.nodes(call));
                call(end);
            }
        }
    }

    fn first(&self) -> Node {
        let mut first = None;
        self.nodes(&mut |node| {
            if first.is_none() {
                first = Some(node.clone());
            }
        });
        first.expect("a view has a node")
    }

    fn last(&self) -> Node {
        let mut last = None;
        self.nodes(&mut |node| last = Some(node.clone()));
        last.expect("a view has a node")
    }

    fn insert(&self, parent: &Node, before: Option<&Node>) {
        // The browser refuses only to put a node into itself.
        self.nodes(&mut |node| drop(parent.insert_before(node, before)));
    }

    fn remove(&self) {
        self.nodes(&mut |node| {
            if let Some(parent) = node.parent_node() {
                // It is there: it was just asked for its parent.
                let _ = parent.remove_child(node);
            }
        });
    }
}
