//! Form fields: label above, help below, the error tied to its control.

use crate::prelude::*;

use super::Icon;

/// Label, help and error around one control. The control takes `id`, and `aria-describedby="{id}-note"`.
#[component]
pub(crate) fn Field(
    /// Id of the control.
    #[prop(into)]
    id: String,
    #[prop(into)] label: String,
    #[prop(optional, into)] help: Signal<String>,
    /// What is wrong with the value; empty when nothing is.
    #[prop(optional, into)]
    error: Signal<String>,
    children: Children,
) -> impl IntoView {
    let note = format!("{id}-note");
    view! {
        <div class="fld">
            <label for=id>{label}</label>
            {children()}
            <div id=note>
                {move || {
                    let (error, help) = (error.get(), help.get());
                    if !error.is_empty() {
                        view! { <div class="err"><Icon name="warning" small=true/>{error}</div> }.into_any()
                    } else if !help.is_empty() {
                        view! { <div class="help">{help}</div> }.into_any()
                    } else {
                        ().into_any()
                    }
                }}
            </div>
        </div>
    }
}

/// One line of text with its field around it. The error shows when the person leaves the field, not while typing.
#[component]
pub(crate) fn TextInput(
    #[prop(into)] id: String,
    #[prop(into)] label: String,
    value: RwSignal<String>,
    #[prop(optional, into)] help: Signal<String>,
    #[prop(optional, into)] error: Signal<String>,
    #[prop(optional, into)] placeholder: String,
    /// Set in the fixed-width face: addresses, names, keys.
    #[prop(optional)]
    mono: bool,
    /// `number`, `password`, …
    #[prop(default = "text")]
    r#type: &'static str,
) -> impl IntoView {
    let left = RwSignal::new(false);
    let shown = Signal::derive(move || if left.get() { error.get() } else { String::new() });
    let note = format!("{id}-note");
    view! {
        <Field id=id.clone() label help error=shown>
            <div class=move || if shown.with(String::is_empty) { "field" } else { "field bad" }>
                <input
                    id=id
                    class=mono.then_some("mono")
                    type=r#type
                    placeholder=placeholder
                    autocomplete="off"
                    autocapitalize="off"
                    spellcheck="false"
                    aria-describedby=note
                    aria-invalid=move || (!shown.with(String::is_empty)).then_some("true")
                    prop:value=move || value.get()
                    on:input:target=move |event| value.set(event.target().value())
                    on:blur=move |_| left.set(true)
                />
            </div>
        </Field>
    }
}
