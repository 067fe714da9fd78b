//! What asks for attention: dialogs and drawers, both native `dialog` elements, which trap the focus and give it back.

use wasm_bindgen::JsCast;

use super::IconButton;
use crate::prelude::*;

/// Asks something in the middle of the screen. `open` decides; `on_close` is called for Escape, the scrim and the close button.
#[component]
pub(crate) fn Dialog(
    #[prop(into)] title: Signal<String>,
    #[prop(into)] open: Signal<bool>,
    #[prop(into)] on_close: Callback<()>,
    /// Extra classes: `wide`.
    #[prop(optional, into)]
    class: String,
    children: ChildrenFn,
) -> impl IntoView {
    let element = modal(open);
    view! {
        <dialog
            node_ref=element
            class=format!("dlg {class}")
            aria-label=move || title.get()
            on:cancel=move |event: web_sys::Event| { event.prevent_default(); on_close.run(()) }
            on:mousedown=move |event| if on_scrim(&event, element) { on_close.run(()) }
        >
            <Show when=move || open.get()>
                <h2>{move || title.get()}</h2>
                {children()}
            </Show>
        </dialog>
    }
}

/// Edits something at the right edge; on phones over the whole screen.
#[component]
pub(crate) fn Drawer(
    #[prop(into)] title: Signal<String>,
    #[prop(into)] open: Signal<bool>,
    #[prop(into)] on_close: Callback<()>,
    children: ChildrenFn,
) -> impl IntoView {
    let element = modal(open);
    view! {
        <dialog
            node_ref=element
            class="drawer"
            aria-label=move || title.get()
            on:cancel=move |event: web_sys::Event| { event.prevent_default(); on_close.run(()) }
            on:mousedown=move |event| if on_scrim(&event, element) { on_close.run(()) }
        >
            <Show when=move || open.get()>
                <header>
                    <h2>{move || title.get()}</h2>
                    <IconButton icon="close" label="Close" on_press=move || on_close.run(())/>
                </header>
                {children()}
            </Show>
        </dialog>
    }
}

/// Opens and closes the element with the signal.
pub(crate) fn modal(open: Signal<bool>) -> NodeRef<html::Dialog> {
    let element = NodeRef::<html::Dialog>::new();
    Effect::new(move |_| {
        let Some(dialog) = element.get() else { return };
        if open.get() && !dialog.open() {
            // It can only refuse when it is not in the page, and then there is nothing to show.
            let _ = dialog.show_modal();
            request_animation_frame(move || focus_first(element));
        } else if !open.get() && dialog.open() {
            dialog.close();
        }
    });
    element
}

/// Gives the focus to the first field, so that typing can start; without one the browser's choice stands.
fn focus_first(element: NodeRef<html::Dialog>) {
    let Some(dialog) = element.get_untracked() else { return };
    let field = dialog.query_selector("input:not([type=checkbox]), textarea, select").ok().flatten();
    if let Some(field) = field.and_then(|field| field.dyn_into::<web_sys::HtmlElement>().ok()) {
        // A field that is gone again cannot be focused, and then the browser's choice stands as well.
        let _ = field.focus();
    }
}

/// Whether a press hit the scrim: the dialog element itself, outside its box.
fn on_scrim(event: &web_sys::MouseEvent, element: NodeRef<html::Dialog>) -> bool {
    let Some(dialog) = element.get_untracked() else { return false };
    let area = dialog.get_bounding_client_rect();
    let (x, y) = (f64::from(event.client_x()), f64::from(event.client_y()));
    let target: Option<web_sys::EventTarget> = event.target();
    target.as_ref() == Some(dialog.as_ref()) && (x < area.left() || x > area.right() || y < area.top() || y > area.bottom())
}
