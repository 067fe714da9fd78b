//! References to elements on the screen.

use std::marker::PhantomData;

use wasm_bindgen::JsCast;
use web_sys::Element;

use crate::reactive::RwSignal;

/// The browser's types of elements, under the names Leptos has for them.
pub(crate) mod html {
    pub(crate) type Dialog = web_sys::HtmlDialogElement;
    pub(crate) type Div = web_sys::HtmlElement;
    pub(crate) type Input = web_sys::HtmlInputElement;
    pub(crate) type Pre = web_sys::HtmlElement;
    pub(crate) type Tbody = web_sys::HtmlElement;
    pub(crate) type Textarea = web_sys::HtmlTextAreaElement;
}

/// Where the element is put once it exists.
#[derive(Clone, Copy)]
pub(crate) struct Cell(RwSignal<Option<Element>>);

impl Cell {
    pub(super) fn fill(self, element: &Element) {
        self.0.set(Some(element.clone()));
    }
}

/// A reference to an element of one kind, empty until it is on the screen. Copy it freely.
pub(crate) struct NodeRef<T> {
    cell: Cell,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for NodeRef<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for NodeRef<T> {}

impl<T> NodeRef<T> {
    pub(super) fn cell(self) -> Cell {
        self.cell
    }
}

impl<T: JsCast> NodeRef<T> {
    pub(crate) fn new() -> Self {
        Self { cell: Cell(RwSignal::new(None)), kind: PhantomData }
    }

    /// The element; what reads it runs again when it is there.
    pub(crate) fn get(self) -> Option<T> {
        self.cell.0.get().map(JsCast::unchecked_into)
    }

    /// The element.
    pub(crate) fn get_untracked(self) -> Option<T> {
        self.cell.0.get_untracked().map(JsCast::unchecked_into)
    }
}
