//! Attributes, properties, classes and styles: what they are set to, and how it reaches the browser.

use std::{borrow::Cow, cell::RefCell, rc::Rc};

use leptos::prelude::RenderEffect;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{Element, HtmlElement};

use super::{event::Handler, node::Cell};
use crate::reactive::{Memo, RwSignal, Signal};

/// What an attribute is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// Not there; as a property: false.
    Off,
    /// There, without a value; as a property: true.
    On,
    /// There.
    Text(Cow<'static, str>),
}

/// A setting, or how to find it.
pub(crate) enum Value {
    /// It never changes.
    Fixed(Setting),
    /// Found again whenever a signal that the closure reads changes.
    Dynamic(Box<dyn Find>),
    /// Not a setting: what to call on an event.
    Handler(Handler),
    /// Not a setting: who wants to know the element.
    Node(Cell),
}

/// What of an element is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Attribute,
    Property,
    Class,
    Style,
    Event,
    Node,
}

/// One of the things said in an element's tag.
pub(super) struct Part {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    pub(super) value: Value,
}

/// What is kept of a part while its element is on the screen.
pub(super) struct Kept {
    kind: Kind,
    name: &'static str,
    held: Held,
}

enum Held {
    Fixed(Setting),
    // Held only so that it goes on.
    Dynamic { _effect: RenderEffect<Setting> },
    Handler { handler: Rc<RefCell<Handler>>, _closure: Closure<dyn Fn(web_sys::Event)> },
    Node,
}

impl Part {
    /// Sets it on an element that has nothing yet.
    pub(super) fn build(self, element: &Element) -> Kept {
        let Self { kind, name, value } = self;
        let held = match value {
            Value::Fixed(setting) => {
                if setting != Setting::Off {
                    set(element, kind, name, &setting);
                }
                Held::Fixed(setting)
            }
            Value::Dynamic(find) => Held::Dynamic { _effect: follow(element, kind, name, find) },
            Value::Handler(handler) => listen(element, name, handler),
            Value::Node(cell) => {
                cell.fill(element);
                Held::Node
            }
        };
        Kept { kind, name, held }
    }

    /// Sets it on an element that has an older one.
    pub(super) fn rebuild(self, element: &Element, kept: &mut Kept) {
        match (self.value, &mut kept.held) {
            (Value::Fixed(new), Held::Fixed(old)) => {
                if new != *old {
                    set(element, kept.kind, kept.name, &new);
                    *old = new;
                }
            }
            (Value::Handler(new), Held::Handler { handler, .. }) => *handler.borrow_mut() = new,
            (Value::Fixed(new), held) => {
                set(element, kept.kind, kept.name, &new);
                *held = Held::Fixed(new);
            }
            (value, _) => *kept = Self { value, kind: kept.kind, name: kept.name }.build(element),
        }
    }

    /// Whether it can take the place of the kept one.
    pub(super) fn fits(&self, kept: &Kept) -> bool {
        self.kind == kept.kind && self.name == kept.name
    }
}

fn follow(element: &Element, kind: Kind, name: &'static str, mut find: Box<dyn Find>) -> RenderEffect<Setting> {
    let element = element.clone();
    RenderEffect::new(move |old: Option<Setting>| {
        let new = find.find();
        if old.as_ref() != Some(&new) {
            set(&element, kind, name, &new);
        }
        new
    })
}

fn listen(element: &Element, name: &str, handler: Handler) -> Held {
    let handler = Rc::new(RefCell::new(handler));
    let current = Rc::clone(&handler);
    let closure = Closure::<dyn Fn(web_sys::Event)>::new(move |event| {
        // Not borrowed while it runs: what it does may fire another event here.
        let handler = Rc::clone(&current.borrow());
        handler.handle(event);
    });
    // Only an object that is no event target refuses.
    let _ = element.add_event_listener_with_callback(name, closure.as_ref().unchecked_ref());
    Held::Handler { handler, _closure: closure }
}

/// What the browser refuses is a fault of the markup, and leaves the element as it is.
fn set(element: &Element, kind: Kind, name: &str, setting: &Setting) {
    let text = match setting {
        Setting::Text(text) => Some(&**text),
        Setting::On => Some(""),
        Setting::Off => None,
    };
    let _ = match (kind, text) {
        (Kind::Attribute, Some(text)) => element.set_attribute(name, text),
        (Kind::Attribute, None) => element.remove_attribute(name),
        (Kind::Class, Some(_)) => element.class_list().add_1(name),
        (Kind::Class, None) => element.class_list().remove_1(name),
        (Kind::Style, text) => element.unchecked_ref::<HtmlElement>().style().set_property(name, text.unwrap_or_default()),
        _ => {
            let value = match setting {
                Setting::Text(text) => JsValue::from_str(text),
                other => JsValue::from_bool(*other == Setting::On),
            };
            js_sys::Reflect::set(element, &JsValue::from_str(name), &value).map(|_| ())
        }
    };
}

/// What a setting can be made of.
pub(crate) trait IntoSetting {
    /// As a setting.
    fn into_setting(self) -> Setting;
}

impl IntoSetting for Setting {
    fn into_setting(self) -> Setting {
        self
    }
}

impl IntoSetting for &'static str {
    fn into_setting(self) -> Setting {
        Setting::Text(Cow::Borrowed(self))
    }
}

impl IntoSetting for String {
    fn into_setting(self) -> Setting {
        Setting::Text(Cow::Owned(self))
    }
}

impl IntoSetting for bool {
    fn into_setting(self) -> Setting {
        if self { Setting::On } else { Setting::Off }
    }
}

impl<T: IntoSetting> IntoSetting for Option<T> {
    fn into_setting(self) -> Setting {
        self.map_or(Setting::Off, IntoSetting::into_setting)
    }
}

/// What can stand behind the `=` of an attribute in markup: a setting or a closure that gives one.
pub(crate) trait Attribute {
    /// As a value.
    fn into_value(self) -> Value;
}

macro_rules! fixed {
    ($($kind:ty),*) => {$(
        impl Attribute for $kind {
            fn into_value(self) -> Value {
                Value::Fixed(self.into_setting())
            }
        }
    )*};
}
fixed!(Setting, &'static str, String, bool, Option<String>, Option<&'static str>);

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl IntoSetting for $number {
            fn into_setting(self) -> Setting {
                Setting::Text(Cow::Owned(self.to_string()))
            }
        }
        fixed!($number);
    )*};
}
numbers!(i32, u32, u64, usize);

/// What gives a setting, again and again.
pub(crate) trait Find {
    /// The setting as it is now.
    fn find(&mut self) -> Setting;
}

struct Found<F>(F);

impl<F: FnMut() -> T, T: IntoSetting> Find for Found<F> {
    fn find(&mut self) -> Setting {
        (self.0)().into_setting()
    }
}

impl<F: FnMut() -> T + 'static, T: IntoSetting> Attribute for F {
    fn into_value(self) -> Value {
        Value::Dynamic(Box::new(Found(self)))
    }
}

macro_rules! signals {
    ($($signal:ident),*) => {$(
        impl<T: IntoSetting + Clone + 'static> Attribute for $signal<T> {
            fn into_value(self) -> Value {
                (move || self.get()).into_value()
            }
        }
    )*};
}
signals!(Signal, Memo, RwSignal);
