//! What the screen is made of: one type of view, built and changed by functions that are compiled once.
//!
//! Pages are written in Leptos's syntax (`view!` and `#[component]` of `frontend-macro`) on Leptos's signals, owners and
//! contexts; only its renderer is replaced. That one has a type for every element, attribute and closure, and a copy of
//! itself for each: more than half of the dashboard's bytes.
//!
//! How a page stays small:
//! - A closure in markup costs its own body and nothing else, so prefer many small ones to a page that is drawn anew.
//! - A signal costs about 2 KB for each *type* it holds: reuse `String`, `bool`, `u64`, `u32`, `usize`, `Health`.
//! - A reply costs about 1 KB a struct for its decoding.
//! - A generic function costs its body for every type: keep the generic part a thin wrapper around one over `dyn`.
//!
//! Never guesses: a view that changes its shape is taken out and built anew, one that keeps it is changed in place, so
//! that focus, selection and scroll positions stay.

mod attribute;
mod event;
mod list;
mod node;
mod tree;

use std::borrow::Cow;

pub(crate) use attribute::{Attribute, Setting, Value};
pub(crate) use event::{handler, on_capture, on_window, targeted};
pub(crate) use list::{keyed, show, show_or};
pub(crate) use node::{NodeRef, html};
pub(crate) use tree::mount;

use attribute::{Kind, Part};

/// Anything that can be on the screen.
#[derive(Default)]
pub(crate) enum View {
    /// Nothing, in a place where there may be something later.
    #[default]
    Nothing,
    /// Text.
    Text(Cow<'static, str>),
    /// One element and all in it, which never changes.
    Html(&'static str),
    /// An element.
    Element(Box<Element>),
    /// One after another.
    List(Vec<View>),
    /// What the closure gives, again whenever a signal that it reads changes.
    Dynamic(Box<dyn Draw>),
    /// Things with keys, again whenever a signal that the closure reads changes.
    Keyed(Box<dyn list::Items>),
}

/// What gives a view, again and again. A trait of its own, as are those for settings and events: behind a `dyn FnMut` every
/// closure would be compiled once more, for `FnOnce`.
pub(crate) trait Draw {
    /// The view as it is now.
    fn draw(&mut self) -> View;
}

struct Drawn<F>(F);

impl<F: FnMut() -> V, V: IntoView> Draw for Drawn<F> {
    fn draw(&mut self) -> View {
        (self.0)().into_view()
    }
}

/// An element that is being described.
pub(crate) struct Element {
    tag: &'static str,
    drawn: bool,
    parts: Vec<Part>,
    children: Vec<View>,
}

impl Element {
    /// An element of HTML.
    pub(crate) fn new(tag: &'static str) -> Box<Self> {
        Box::new(Self { tag, drawn: false, parts: Vec::new(), children: Vec::new() })
    }

    /// An element of SVG.
    pub(crate) fn drawn(tag: &'static str) -> Box<Self> {
        let mut element = Self::new(tag);
        element.drawn = true;
        element
    }

    fn part(mut self: Box<Self>, kind: Kind, name: &'static str, value: Value) -> Box<Self> {
        self.parts.push(Part { kind, name, value });
        self
    }

    /// An attribute that never changes.
    pub(crate) fn text(self: Box<Self>, name: &'static str, value: &'static str) -> Box<Self> {
        self.part(Kind::Attribute, name, Value::Fixed(Setting::Text(Cow::Borrowed(value))))
    }

    /// An attribute.
    pub(crate) fn attribute(self: Box<Self>, name: &'static str, value: impl Attribute) -> Box<Self> {
        self.part(Kind::Attribute, name, value.into_value())
    }

    /// A property of the DOM object: `value`, `checked`.
    pub(crate) fn property(self: Box<Self>, name: &'static str, value: impl Attribute) -> Box<Self> {
        self.part(Kind::Property, name, value.into_value())
    }

    /// A class that is there while something is true.
    pub(crate) fn class(self: Box<Self>, name: &'static str, value: impl Attribute) -> Box<Self> {
        self.part(Kind::Class, name, value.into_value())
    }

    /// A property of the style.
    pub(crate) fn style(self: Box<Self>, name: &'static str, value: impl Attribute) -> Box<Self> {
        self.part(Kind::Style, name, value.into_value())
    }

    /// Calls back on an event.
    pub(crate) fn on(self: Box<Self>, event: &'static str, handler: event::Handler) -> Box<Self> {
        self.part(Kind::Event, event, Value::Handler(handler))
    }

    /// Tells the reference which element this is, once it exists.
    pub(crate) fn node_ref<T>(self: Box<Self>, node: NodeRef<T>) -> Box<Self> {
        self.part(Kind::Node, "", Value::Node(node.cell()))
    }

    /// One more child.
    pub(crate) fn child(mut self: Box<Self>, child: View) -> Box<Self> {
        self.children.push(child);
        self
    }
}

impl From<Box<Element>> for View {
    fn from(element: Box<Element>) -> Self {
        Self::Element(element)
    }
}

impl From<&'static str> for View {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

/// What can stand between braces in markup.
pub(crate) trait IntoView: Sized {
    /// As a view.
    fn into_view(self) -> View;

    /// The same, where Leptos's users expect that name.
    fn into_any(self) -> View {
        self.into_view()
    }
}

impl IntoView for View {
    fn into_view(self) -> View {
        self
    }
}

impl IntoView for () {
    fn into_view(self) -> View {
        View::Nothing
    }
}

impl IntoView for &'static str {
    fn into_view(self) -> View {
        View::from(self)
    }
}

impl IntoView for String {
    fn into_view(self) -> View {
        View::Text(Cow::Owned(self))
    }
}

impl<T: IntoView> IntoView for Option<T> {
    fn into_view(self) -> View {
        self.map_or(View::Nothing, IntoView::into_view)
    }
}

impl<T: IntoView> IntoView for Vec<T> {
    fn into_view(self) -> View {
        View::List(self.into_iter().map(IntoView::into_view).collect())
    }
}

impl<F: FnMut() -> V + 'static, V: IntoView> IntoView for F {
    fn into_view(self) -> View {
        View::Dynamic(Box::new(Drawn(self)))
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl IntoView for $number {
            fn into_view(self) -> View {
                View::Text(Cow::Owned(self.to_string()))
            }
        }
    )*};
}
numbers!(i32, u32, u64, usize);

/// Many things as one view.
pub(crate) trait CollectView {
    /// One after another.
    fn collect_view(self) -> View;
}

impl<I: IntoIterator<Item: IntoView>> CollectView for I {
    fn collect_view(self) -> View {
        View::List(self.into_iter().map(IntoView::into_view).collect())
    }
}

/// What stands between the tags of a component, used once.
pub(crate) type Children = Box<dyn FnOnce() -> View>;
/// What stands between the tags of a component, built as often as it likes.
pub(crate) type ChildrenFn = std::rc::Rc<dyn Fn() -> View>;

/// Turns what stands between tags into what the component asks for.
pub(crate) trait ToChildren<F> {
    /// As children.
    fn to_children(children: F) -> Self;
}

impl<F: FnOnce() -> View + 'static> ToChildren<F> for Children {
    fn to_children(children: F) -> Self {
        Box::new(children)
    }
}

impl<F: Fn() -> View + 'static> ToChildren<F> for ChildrenFn {
    fn to_children(children: F) -> Self {
        std::rc::Rc::new(children)
    }
}
