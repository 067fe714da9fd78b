//! `<For>` and `<Show>`: what is there only for as long as something else is.

use super::{Draw, Drawn, IntoView, View};
use crate::reactive::Memo;

/// One of the things of a list, and how to draw it when it is new.
pub(crate) struct Item {
    pub(super) key: String,
    pub(super) draw: Box<dyn Draw>,
}

/// What gives the things of a list, again and again.
pub(crate) trait Items {
    /// The things as they are now.
    fn items(&mut self) -> Vec<Item>;
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
    View::Keyed(Box::new(Keyed { each, key, draw }))
}

struct Keyed<E, K, D> {
    each: E,
    key: K,
    draw: D,
}

impl<T, I, K, V, E, G, D> Items for Keyed<E, G, D>
where
    T: 'static,
    I: IntoIterator<Item = T>,
    K: Key,
    V: IntoView,
    E: Fn() -> I,
    G: Fn(&T) -> K,
    D: Fn(T) -> V + Clone + 'static,
{
    fn items(&mut self) -> Vec<Item> {
        let item = |thing: T| {
            let (key, draw) = ((self.key)(&thing).text(), self.draw.clone());
            let mut thing = Some(thing);
            // A row is drawn once.
            Item { key, draw: Box::new(Drawn(move || thing.take().map(|thing| draw(thing).into_view()))) }
        };
        (self.each)().into_iter().map(item).collect()
    }
}

/// The children while `when` is true.
pub(crate) fn show(when: impl Fn() -> bool + 'static, children: impl Fn() -> View + 'static) -> View {
    either(Memo::new(move |_| when()), Box::new(Drawn(children)), None)
}

/// The children while `when` is true, else the other thing.
pub(crate) fn show_or<V: IntoView>(
    when: impl Fn() -> bool + 'static,
    children: impl Fn() -> View + 'static,
    fallback: impl Fn() -> V + 'static,
) -> View {
    either(Memo::new(move |_| when()), Box::new(Drawn(children)), Some(Box::new(Drawn(fallback))))
}

// What it is about may change often; the view is built anew only when the answer does.
fn either(when: Memo<bool>, mut children: Box<dyn Draw>, mut fallback: Option<Box<dyn Draw>>) -> View {
    View::Dynamic(Box::new(Drawn(move || match (when.get(), &mut fallback) {
        (true, _) => children.draw(),
        (false, Some(fallback)) => fallback.draw(),
        (false, None) => View::Nothing,
    })))
}
