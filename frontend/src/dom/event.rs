//! Events of elements and of the window.

use std::{marker::PhantomData, ops::Deref, rc::Rc};

use leptos::prelude::{on_cleanup, window};
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{Event, EventTarget};

use crate::reactive::StoredValue;

/// What is called on an event.
pub(crate) type Handler = Rc<dyn Handle>;

/// What can be called with an event.
pub(crate) trait Handle {
    /// Takes the event.
    fn handle(&self, event: Event);
}

struct Plain<F, E>(F, PhantomData<fn(E)>);

impl<F: Fn(E), E: JsCast> Handle for Plain<F, E> {
    fn handle(&self, event: Event) {
        (self.0)(event.unchecked_into());
    }
}

struct WithTarget<F, E, T>(F, PhantomData<fn(E, T)>);

impl<F: Fn(Targeted<E, T>), E: JsCast, T: JsCast> Handle for WithTarget<F, E, T> {
    fn handle(&self, event: Event) {
        (self.0)(Targeted { event, kinds: PhantomData });
    }
}

/// A handler of an event of the kind that the browser sends under that name.
pub(crate) fn handler<E: JsCast + 'static>(handler: impl Fn(E) + 'static) -> Handler {
    Rc::new(Plain(handler, PhantomData))
}

/// A handler that wants to know the element it stands at: `on:input:target`.
pub(crate) fn targeted<E: JsCast + 'static, T: JsCast + 'static>(handler: impl Fn(Targeted<E, T>) + 'static) -> Handler {
    Rc::new(WithTarget(handler, PhantomData))
}

/// An event and the element its handler stands at.
pub(crate) struct Targeted<E, T> {
    event: Event,
    kinds: PhantomData<(E, T)>,
}

impl<E, T: JsCast> Targeted<E, T> {
    /// The element whose handler this is.
    pub(crate) fn target(&self) -> T {
        let target = self.event.current_target().or_else(|| self.event.target());
        target.expect("an event in its handler has a target").unchecked_into()
    }
}

impl<E: JsCast, T> Deref for Targeted<E, T> {
    type Target = E;

    fn deref(&self) -> &E {
        self.event.unchecked_ref()
    }
}

/// Calls back on an event of the window for as long as the current owner lives.
pub(crate) fn on_window<E: JsCast + 'static>(event: &'static str, wanted: impl Fn(E) + 'static) {
    listen(window().into(), event, handler(wanted), false);
}

/// Calls back on an event anywhere in the document on its way down, before any element's own handler.
pub(crate) fn on_capture(event: &'static str, wanted: impl Fn(Event) + 'static) {
    listen(leptos::prelude::document().into(), event, handler(wanted), true);
}

fn listen(target: EventTarget, event: &'static str, handler: Handler, capture: bool) {
    let closure = Closure::<dyn Fn(Event)>::new(move |event| handler.handle(event));
    // Windows and documents refuse no listener.
    let _ = target.add_event_listener_with_callback_and_bool(event, closure.as_ref().unchecked_ref(), capture);
    let held = StoredValue::new((target, closure));
    on_cleanup(move || {
        held.try_with_value(|(target, closure)| {
            let _ = target.remove_event_listener_with_callback_and_bool(event, closure.as_ref().unchecked_ref(), capture);
        });
    });
}
