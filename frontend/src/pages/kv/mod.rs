//! Key/value: folders, keys and their values.

mod delete;
mod edit;
mod folder;
mod model;
mod read;
mod view;

use crate::prelude::*;
use shared::kv;

use self::model::Model;
use super::title;
use crate::{
    api::query,
    components::{Copy, Icon, tree::Tree},
    format,
    router::{KeyAction, Place, Step},
};

/// Hits of a search that are drawn.
const HITS_MAX: usize = 200;

/// The page. Stays mounted while folders and keys change; which one is shown comes from the router's place.
#[component]
pub(crate) fn Keys() -> impl IntoView {
    let model = Model::new();
    title(move || {
        let key = model.key.get();
        if key.is_empty() { "Key/value".to_owned() } else { key }
    });
    let pane = move || {
        let (key, action) = (model.key.get(), model.action.get());
        match action {
            KeyAction::Create => view! { <edit::Create model folder=key/> }.into_any(),
            _ if key.is_empty() || key.ends_with('/') => view! { <folder::Folder model folder=key/> }.into_any(),
            KeyAction::Edit => view! { <edit::Edit model key/> }.into_any(),
            KeyAction::View => view! { <read::Value model key/> }.into_any(),
        }
    };
    view! {
        <div class="kvg">
            <Side model/>
            <section class="ed" aria-label="Key and value">{pane}</section>
        </div>
        <delete::DeleteFolder model/>
    }
    .into_any()
}

/// The tree and the search.
#[component]
fn Side(model: Model) -> impl IntoView {
    let search = model.router.param("filter");
    let dc = model.dc;
    // All keys are read only for a search.
    let all = query(
        move || (!search.with(String::is_empty)).then(|| kv::Keys { read: model::at(dc), ..kv::Keys::default() }),
        |change| change.topic == shared::changes::Topic::Kv,
    );
    let rows = Memo::new(move |_| model.listed.with(|listed| model.open.with(|open| view::rows(listed, open))));
    let hits = Memo::new(move |_| all.data.with(|keys| view::found(keys.as_deref().unwrap_or_default(), &search.get(), HITS_MAX)));
    let hit = move |key: String| {
        let href = model.href(&key);
        let chosen = key == model.key.get();
        view! { <li><a class="ti" href=href aria-current=chosen.then_some("true")><Icon name="file"/><span class="tl-t">{key}</span></a></li> }
    };
    let found = move || {
        let (keys, total) = hits.get();
        let told = if total > keys.len() {
            format!("{} of {} keys", keys.len(), format::count(total as u64))
        } else {
            format::plural(total as u32, "key", "keys")
        };
        view! { <p class="note" role="status">{told}</p><ul class="hits">{keys.into_iter().map(hit).collect_view()}</ul> }
    };
    view! {
        <section class="tree" aria-label="Keys">
            <div class="ptop">
                <h2>"Keys"</h2>
                <div class="r"><a class="ib" href=move || model.create_href() aria-label="New key" data-tip="New key"><Icon name="plus"/></a></div>
            </div>
            <div class="kf"><div class="field">
                <Icon name="search" small=true/>
                <input
                    id="filter"
                    type="search"
                    aria-label="Find keys"
                    placeholder="Find keys"
                    prop:value=move || search.get()
                    on:input:target=move |e| model.router.set(&[("filter", e.target().value().trim_start())], Step::Replace)
                />
            </div></div>
            {move || if search.with(String::is_empty) {
                view! {
                    <Tree label="Keys" rows selected=model.key href=move |key: &str| model.href(key) on_open=move |(key, open): (String, bool)| model.set_open(&key, open)/>
                }.into_any()
            } else {
                found.into_any()
            }}
        </section>
    }
    .into_any()
}

/// The key as a heading, its folders as links.
#[component]
fn Heading(model: Model, key: String) -> impl IntoView {
    let folders = view::ancestors(&key).into_iter().map(|folder| {
        let href = model.href(&folder);
        view! { <a href=href>{view::label(&folder).to_owned()}</a> }
    });
    let root = Place::new(&model.dc.get_untracked(), crate::router::Page::keys("")).href();
    let label = view::label(&key).to_owned();
    let copy = (!key.is_empty()).then(|| view! { <Copy text=key.clone() what="the key"/> });
    view! {
        <h1><span class="only-m"><a href=root>"keys/"</a></span><span>{folders.collect_view()}</span>{if label.is_empty() { "All keys".to_owned() } else { label }}{copy}</h1>
    }
    .into_any()
}
