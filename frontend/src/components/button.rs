//! Buttons.

use crate::prelude::*;

use super::Icon;
use crate::state::cluster::use_cluster;

/// How much a button weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Plain,
    /// The one next step of a page or dialog.
    Primary,
    /// No frame: beside a heading.
    Ghost,
    /// Takes something away, beside a heading.
    GhostDanger,
    /// Takes something away, and is the dialog's answer.
    DangerPrimary,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Self::Plain => "btn",
            Self::Primary => "btn pri",
            Self::Ghost => "btn ghost",
            Self::GhostDanger => "btn ghost danger",
            Self::DangerPrimary => "btn danger pri",
        }
    }
}

/// A button with a word on it.
#[component]
pub(crate) fn Button(
    #[prop(into)] label: Signal<String>,
    /// A fuller label for screen readers, where many buttons say the same.
    #[prop(optional, into)]
    hint: Option<String>,
    #[prop(optional)] icon: Option<&'static str>,
    #[prop(optional)] kind: Kind,
    #[prop(optional)] small: bool,
    /// Its action is under way: it keeps the focus and does nothing.
    #[prop(optional, into)]
    busy: Signal<bool>,
    /// Why it cannot be pressed; empty when it can. It stays focusable, so that the reason can be read.
    #[prop(optional, into)]
    denied: Signal<String>,
    /// It writes to the cluster, which cannot be done while nobody leads.
    #[prop(optional)]
    writes: bool,
    /// `submit` inside a form.
    #[prop(default = "button")]
    r#type: &'static str,
    #[prop(optional, into)] on_press: Option<Callback<()>>,
) -> impl IntoView {
    let class = format!("{}{}", kind.class(), if small { " sm" } else { "" });
    let denied = if writes { or_leaderless(denied) } else { denied };
    let blocked = move || busy.get() || !denied.with(String::is_empty);
    view! {
        <button
            class=class
            type=r#type
            aria-label=hint
            aria-busy=move || busy.get().then_some("true")
            aria-disabled=move || blocked().then_some("true")
            title=move || denied.with(|reason| (!reason.is_empty()).then(|| reason.clone()))
            on:click=move |event| {
                if blocked() {
                    event.prevent_default();
                } else if let Some(on_press) = on_press {
                    event.stop_propagation();
                    on_press.run(());
                }
            }
        >
            {icon.map(|name| view! { <Icon name small=small/> })}
            {move || label.get()}
        </button>
    }
}

/// The reason, or that there is no leader.
fn or_leaderless(denied: Signal<String>) -> Signal<String> {
    let unwritable = use_cluster().unwritable;
    Signal::derive(move || if denied.with(String::is_empty) { unwritable.get() } else { denied.get() })
}

/// A button with only an icon on it; `label` is its name and its tooltip.
#[component]
pub(crate) fn IconButton(
    icon: &'static str,
    #[prop(into)] label: Signal<String>,
    #[prop(optional, into)] class: String,
    on_press: impl Fn() + 'static,
) -> impl IntoView {
    view! {
        <button
            class=format!("ib {class}")
            type="button"
            aria-label=move || label.get()
            data-tip=move || label.get()
            on:click=move |event| {
                event.stop_propagation();
                on_press();
            }
        >
            <Icon name=icon/>
        </button>
    }
}
