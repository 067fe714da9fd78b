//! One of a few: segments and tabs.

use wasm_bindgen::JsCast;
use web_sys::KeyboardEvent;

use super::Icon;
use crate::prelude::*;

/// One of the choices.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choice {
    /// What it stands for, as in the address.
    pub(crate) value: String,
    pub(crate) label: String,
    /// An icon and its colour class.
    pub(crate) icon: Option<(&'static str, &'static str)>,
    /// A number behind the label.
    pub(crate) count: Option<String>,
}

impl Choice {
    pub(crate) fn new(value: &str, label: &str) -> Self {
        Self { value: value.to_owned(), label: label.to_owned(), ..Self::default() }
    }

    pub(crate) fn count(mut self, count: String) -> Self {
        self.count = Some(count);
        self
    }

    pub(crate) fn icon(mut self, icon: &'static str, class: &'static str) -> Self {
        self.icon = Some((icon, class));
        self
    }
}

/// A row of joined buttons, one of them pressed.
#[component]
pub(crate) fn Segmented(
    /// What is chosen here.
    #[prop(into)]
    label: String,
    #[prop(into)] options: Signal<Vec<Choice>>,
    #[prop(into)] value: Signal<String>,
    #[prop(into)] on_pick: Callback<String>,
) -> impl IntoView {
    view! {
        <div class="seg" role="group" aria-label=label>
            {move || options.get().into_iter().map(|option| {
                let (mine, picked) = (option.value.clone(), option.value);
                let face = match option.icon {
                    Some((icon, class)) => view! { <span class=format!("st {class}")><Icon name=icon/>{option.label}</span> }.into_any(),
                    None => view! { <span>{option.label}</span> }.into_any(),
                };
                view! {
                    <button
                        type="button"
                        aria-pressed=move || if value.with(|value| *value == mine) { "true" } else { "false" }
                        on:click=move |_| on_pick.run(picked.clone())
                    >
                        {face}
                        {option.count.map(|count| view! { <span class="n">{count}</span> })}
                    </button>
                }
            }).collect_view()}
        </div>
    }
}

/// Tabs: arrows move, the chosen one is in the address. The panel below carries `role="tabpanel"` and `id`.
#[component]
pub(crate) fn Tabs(
    #[prop(into)] label: String,
    #[prop(into)] options: Signal<Vec<Choice>>,
    #[prop(into)] value: Signal<String>,
    /// Id of the panel the tabs switch.
    panel: &'static str,
    #[prop(into)] on_pick: Callback<String>,
) -> impl IntoView {
    let on_key = move |event: KeyboardEvent| {
        let options = options.get_untracked();
        let Some(at) = value.with_untracked(|value| options.iter().position(|option| option.value == *value)) else { return };
        let Some(next) = arrow(&event.key(), at, options.len()) else { return };
        event.prevent_default();
        event.stop_propagation();
        on_pick.run(options[next].value.clone());
        let list = event.current_target().and_then(|list| list.dyn_into::<web_sys::Element>().ok());
        let tab = list.and_then(|list| list.children().item(next as u32)).and_then(|tab| tab.dyn_into::<web_sys::HtmlElement>().ok());
        if let Some(tab) = tab {
            // A tab that is gone cannot be focused, and then there is nothing to do.
            let _ = tab.focus();
        }
    };
    view! {
        <div class="tabs" role="tablist" aria-label=label on:keydown=on_key>
            <For each=move || options.get() key=|option| (option.value.clone(), option.label.clone(), option.count.clone()) let:option>
                {
                    let mine = option.value.clone();
                    let chosen = Memo::new(move |_| value.with(|value| *value == mine));
                    view! {
                        <button
                            type="button"
                            role="tab"
                            aria-controls=panel
                            aria-selected=move || if chosen.get() { "true" } else { "false" }
                            tabindex=move || if chosen.get() { "0" } else { "-1" }
                            on:click=move |_| on_pick.run(option.value.clone())
                        >
                            {option.label.clone()}
                            {option.count.clone().map(|count| view! { <span class="n">{count}</span> })}
                        </button>
                    }
                }
            </For>
        </div>
    }
}

/// Where an arrow key leads among `len` choices in a row.
fn arrow(key: &str, at: usize, len: usize) -> Option<usize> {
    match key {
        "ArrowRight" => Some((at + 1) % len),
        "ArrowLeft" => Some((at + len - 1) % len),
        "Home" => Some(0),
        "End" => Some(len - 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_go_round() {
        for (key, at, to) in
            [("ArrowRight", 2, Some(0)), ("ArrowLeft", 0, Some(2)), ("Home", 1, Some(0)), ("End", 0, Some(2)), ("x", 0, None)]
        {
            assert_eq!(arrow(key, at, 3), to, "{key}");
        }
    }
}
