//! Small things in a line of text: copy buttons, tags, keys.

use std::time::Duration;

use crate::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;

use super::Icon;

/// How long the button says that it copied.
const SAID: Duration = Duration::from_millis(1600);

/// Copies `text`; `what` names it: "Copy address".
#[component]
pub(crate) fn Copy(#[prop(into)] text: Signal<String>, #[prop(into)] what: String) -> impl IntoView {
    let said = RwSignal::new(String::new());
    let label = format!("Copy {what}");
    let copy = move |event: web_sys::MouseEvent| {
        event.stop_propagation();
        let text = text.get_untracked();
        spawn_local(async move {
            let done = write(&text).await;
            said.try_set(if done { format!("Copied {text}") } else { "Not copied: the browser forbids it here".to_owned() });
            set_timeout(move || drop(said.try_set(String::new())), SAID);
        });
    };
    view! {
        <button class="ib copy" type="button" aria-label=label.clone() data-tip=label on:click=copy>
            <Icon name=Signal::derive(move || if said.with(String::is_empty) { "copy" } else { "check" })/>
            <span class="copied" role="status">{move || said.get()}</span>
        </button>
    }
}

/// Puts a text on the clipboard; over plain http by the old way, for the new one is forbidden there.
pub(crate) async fn write(text: &str) -> bool {
    if window().is_secure_context() {
        return JsFuture::from(window().navigator().clipboard().write_text(text)).await.is_ok();
    }
    let Ok(area) = document().create_element("textarea") else { return false };
    let (Ok(area), Some(body)) = (area.dyn_into::<web_sys::HtmlTextAreaElement>(), document().body()) else { return false };
    area.set_value(text);
    area.set_class_name("sr");
    if body.append_child(&area).is_err() {
        return false;
    }
    area.select();
    let done = document().dyn_into::<web_sys::HtmlDocument>().is_ok_and(|page| page.exec_command("copy").unwrap_or(false));
    area.remove();
    done
}

/// A tag of a service.
#[component]
pub(crate) fn Tag(#[prop(into)] text: String) -> impl IntoView {
    view! { <span class="tag">{text}</span> }
}

/// A key of the keyboard.
#[component]
pub(crate) fn Key(#[prop(into)] name: String) -> impl IntoView {
    view! { <kbd>{name}</kbd> }
}
