//! An icon of the sprite. Decorative; whatever it means is said in words beside it.

use std::cell::RefCell;

use crate::{prelude::*, router::told};

thread_local! {
    static SPRITE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// `<Icon name="run"/>`: a file of `assets/icons`.
#[component]
pub(crate) fn Icon(
    /// Which.
    #[prop(into)]
    name: Signal<&'static str>,
    /// 14 px instead of 16.
    #[prop(optional)]
    small: bool,
) -> impl IntoView {
    view! {
        <svg class=if small { "ico ico-s" } else { "ico" } viewBox="0 0 16 16" aria-hidden="true">
            <use href=move || format!("{}#{}", sprite(), name.get())></use>
        </svg>
    }
}

/// The sprite's address, which index.html carries because only the build knows its name.
fn sprite() -> String {
    SPRITE.with_borrow_mut(|held| {
        if held.is_empty() {
            *held = told("sprite");
        }
        held.clone()
    })
}
