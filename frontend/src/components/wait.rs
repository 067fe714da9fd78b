//! The states of a page around its data: waiting, denied, failed, stale, empty.

use crate::prelude::*;

use super::{Button, Icon, Kind};
use crate::{
    api::{Error, Query, use_live},
    format,
    state::token::use_token,
};

/// Shows `children` once the query has data, and whatever is true before and after that.
///
/// `children` is built once and reads the data from the query by itself, so that a refresh changes cells, not the page.
#[component]
pub(crate) fn Loaded<T: Send + Sync + 'static>(
    query: Query<T>,
    /// What is being read: "The services could not be read."
    #[prop(into)]
    what: String,
    /// Drawn while nothing has come after 120 ms, in the shape of what will.
    #[prop(default = 6)]
    lines: usize,
    children: ChildrenFn,
) -> impl IntoView {
    let has_data = Memo::new(move |_| query.data.with(Option::is_some));
    let what = StoredValue::new(what);
    let stale =
        Stale { error: query.error, at_ms: query.at_ms, retry_in_s: query.retry_in_s, retry: Callback::new(move |()| query.refetch()) };
    move || {
        if has_data.get() { view! { {stale_banner(stale)} {children()} }.into_any() } else { waiting(stale, query.slow, what, lines) }
    }
}

/// It was not read, why, and what helps: another token, or another try.
pub(crate) fn failed(error: Error, what: &str, retry: impl Fn() -> AnyView + 'static) -> AnyView {
    if error.is_denied() {
        return view! { <Denied error/> }.into_any();
    }
    let title = format!("{what} could not be read");
    view! { <Empty title text=error.to_string()>{retry()}</Empty> }.into_any()
}

#[derive(Clone, Copy)]
struct Stale {
    error: RwSignal<Option<Error>>,
    at_ms: RwSignal<u64>,
    retry_in_s: RwSignal<u32>,
    retry: Callback<()>,
}

/// There is data, but the latest try for newer failed.
fn stale_banner(stale: Stale) -> AnyView {
    let text = move || {
        let error = stale.error.get()?;
        let at = format::clock(stale.at_ms.get(), format::zone_min(), true);
        Some(format!("{} Showing data from {at}.", format::sentence(&error.to_string())))
    };
    let text = Memo::new(move |_| text());
    view! {
        <Show when=move || text.with(Option::is_some)>
            <Banner text=Signal::derive(move || text.get().unwrap_or_default())>
                <RetryButton stale/>
            </Banner>
        </Show>
    }
    .into_any()
}

#[component]
fn RetryButton(stale: Stale) -> impl IntoView {
    let label = Signal::derive(move || match stale.retry_in_s.get() {
        0 => "Retry".to_owned(),
        seconds => format!("Retry ({seconds})"),
    });
    view! { <Button label small=true on_press=stale.retry/> }
}

/// There is no data yet.
fn waiting(stale: Stale, slow: RwSignal<bool>, what: StoredValue<String>, lines: usize) -> AnyView {
    let face = move || match stale.error.get() {
        Some(error) => failed(error, &what.get_value(), move || view! { <RetryButton stale/> }.into_any()),
        None if slow.get() => view! { <Skeleton lines/> }.into_any(),
        None => ().into_any(),
    };
    face.into_any()
}

/// Lines where text will be.
#[component]
pub(crate) fn Skeleton(lines: usize) -> impl IntoView {
    let widths = [92, 68, 80, 56, 74, 62];
    view! {
        <div class="sks" role="status" aria-label="Loading">
            {(0..lines).map(|at| view! { <span class="sk" style:width=format!("{}%", widths[at % widths.len()])></span> }).collect_view()}
        </div>
    }
}

/// The token may not see this: what the agent said, and a place for another token.
#[component]
fn Denied(error: Error) -> impl IntoView {
    let (token, live) = (use_token(), use_live());
    let (value, keep) = (RwSignal::new(String::new()), RwSignal::new(false));
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        token.set(value.get_untracked().trim(), keep.get_untracked());
        live.renew();
    };
    let why = if token.value.with_untracked(String::is_empty) {
        "You are not signed in, and anonymous requests may not read this."
    } else {
        "Your token may not read this."
    };
    view! {
        <div class="empty denied">
            <Icon name="lock"/>
            <h2>{why}</h2>
            <p class="mono">{error.to_string()}</p>
            <form class="form" on:submit=submit>
                <super::TextInput id="token" label="Token" value r#type="password" mono=true/>
                <label class="check">
                    <input type="checkbox" class="cb" prop:checked=move || keep.get() on:change:target=move |event| keep.set(event.target().checked())/>
                    "Keep it until this tab is closed"
                </label>
                <Button label="Use this token" kind=Kind::Primary r#type="submit"/>
            </form>
        </div>
    }
}

/// There is nothing, why, and the one next step.
#[component]
pub(crate) fn Empty(
    #[prop(into)] title: String,
    #[prop(into)] text: String,
    #[prop(optional)] children: Option<Children>,
) -> impl IntoView {
    view! {
        <div class="empty">
            <h2>{title}</h2>
            <p>{text}</p>
            {children.map(|children| children())}
        </div>
    }
}

/// Something about this page that the person should know.
#[component]
pub(crate) fn Banner(#[prop(into)] text: Signal<String>, #[prop(optional)] children: Option<Children>) -> impl IntoView {
    view! {
        <div class="banner warn" role="status">
            <Icon name="warning"/>
            <span>{move || text.get()}</span>
            {children.map(|children| children())}
        </div>
    }
}
