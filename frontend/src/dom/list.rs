//! `<For>` and `<Show>`: what is there only for as long as something else is.

use super::{IntoView, View};
use crate::reactive::Memo;

/// One of the things of a list, and how to draw it when it is new.
pub(crate) struct Item {
    pub(super) key: String,
    pub(super) draw: Box<dyn FnOnce() -> View>,
}

/// What a thing is known by: what makes two things different must make the text different.
pub(crate) trait Key {
    /// As text.
    fn text(self) -> String;
}

impl Key for String {
    fn text(self) -> String {
        self
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Key for $number {
            fn text(self) -> String {
                self.to_string()
            }
        }
    )*};
}
numbers!(bool, u32, u64, usize);

impl<T: Key> Key for Option<T> {
    fn text(self) -> String {
        self.map_or_else(String::new, |some| ["\u{1}", &some.text()].concat())
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn text(self) -> String {
        [self.0.text(), self.1.text()].join("\0")
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn text(self) -> String {
        [self.0.text(), self.1.text(), self.2.text()].join("\0")
    }
}

/// One view for each thing, drawn once and kept for as long as its key is among them.
pub(crate) fn keyed<T, I, K, V>(
    each: impl Fn() -> I + 'static,
    key: impl Fn(&T) -> K + 'static,
    draw: impl Fn(T) -> V + Clone + 'static,
) -> View
where
    T: 'static,
    I: IntoIterator<Item = T>,
    K: Key + 'static,
    V: IntoView,
{
    View::Keyed(Box::new(move || {
        let item = |thing: T| {
            let draw = draw.clone();
            Item { key: key(&thing).text(), draw: Box::new(move || draw(thing).into_view()) }
        };
        each().into_iter().map(item).collect()
    }))
}

/// The children while `when` is true.
pub(crate) fn show(when: impl Fn() -> bool + 'static, children: impl Fn() -> View + 'static) -> View {
    either(Box::new(when), Box::new(children), None)
}

/// The children while `when` is true, else the other thing.
pub(crate) fn show_or<V: IntoView>(
    when: impl Fn() -> bool + 'static,
    children: impl Fn() -> View + 'static,
    fallback: impl Fn() -> V + 'static,
) -> View {
    either(Box::new(when), Box::new(children), Some(Box::new(move || fallback().into_view())))
}

type Build = Box<dyn Fn() -> View>;

fn either(when: Box<dyn Fn() -> bool>, children: Build, fallback: Option<Build>) -> View {
    // What it is about may change often; the view is built anew only when the answer does.
    let when = Memo::new(move |_| when());
    View::Dynamic(Box::new(move || match (when.get(), &fallback) {
        (true, _) => children(),
        (false, Some(fallback)) => fallback(),
        (false, None) => View::Nothing,
    }))
}
