//! The tabs with tags and metadata, and with the definition as JSON and as commands.

use std::collections::BTreeMap;

use crate::prelude::*;
use shared::health::ServiceNode;

use super::model::{Model, Ref, definitions};
use crate::{
    components::{Copy, editor::Highlighted, syntax::Language},
    pages::register::view as register,
};

/// Distinct tags and metadata entries.
pub(crate) fn count(rows: &[ServiceNode]) -> usize {
    tags(rows).len() + meta(rows).len()
}

/// Every tag with the instances that carry it.
fn tags(rows: &[ServiceNode]) -> Vec<(String, Vec<String>)> {
    let mut out = BTreeMap::<String, Vec<String>>::new();
    for row in rows {
        row.service.tags.iter().for_each(|tag| out.entry(tag.clone()).or_default().push(row.service.id.clone()));
    }
    out.into_iter().collect()
}

/// Every metadata entry with the instances that carry it.
fn meta(rows: &[ServiceNode]) -> Vec<((String, String), Vec<String>)> {
    let mut out = BTreeMap::<(String, String), Vec<String>>::new();
    for row in rows {
        row.service.meta.iter().for_each(|(k, v)| out.entry((k.clone(), v.clone())).or_default().push(row.service.id.clone()));
    }
    out.into_iter().collect()
}

/// Who carries something: all, or the names while they are few.
fn carriers(ids: &[String], total: usize) -> String {
    match ids.len() {
        n if n == total && total > 1 => format!("all {total} instances"),
        1..=4 => ids.join(", "),
        n => format!("{n} of {total} instances"),
    }
}

/// Tags and metadata of all instances.
#[component]
pub(crate) fn TagsTab(model: Model) -> impl IntoView {
    let rows = model.shown;
    let total = move || rows.with(Vec::len);
    let tag_rows = move || {
        let row = |(tag, ids): (String, Vec<String>)| view! { <tr><th scope="row"><span class="tag">{tag}</span></th><td>{carriers(&ids, total())}</td></tr> };
        rows.with(|r| tags(r)).into_iter().map(row).collect_view()
    };
    let meta_rows = move || {
        let row = |((key, value), ids): ((String, String), Vec<String>)| {
            view! { <tr><th scope="row" class="mono">{key}</th><td class="mono">{value}</td><td>{carriers(&ids, total())}</td></tr> }
        };
        rows.with(|r| meta(r)).into_iter().map(row).collect_view()
    };
    let empty = |text: &'static str| view! { <p class="note">{text}</p> };
    view! {
        <div class="stack">
            <section class="panel" aria-labelledby="h-tags">
                <header><h2 id="h-tags">"Tags"</h2></header>
                {move || rows.with(|r| tags(r).is_empty()).then(|| empty("No instance carries a tag."))}
                <table class="facts-t"><tbody>{tag_rows}</tbody></table>
            </section>
            <section class="panel" aria-labelledby="h-meta">
                <header><h2 id="h-meta">"Metadata"</h2></header>
                {move || rows.with(|r| meta(r).is_empty()).then(|| empty("No instance carries metadata."))}
                <table class="facts-t"><tbody>{meta_rows}</tbody></table>
            </section>
        </div>
    }
    .into_any()
}

/// The chosen instance as the JSON that registers it, and the commands that do.
#[component]
pub(crate) fn DefinitionTab(model: Model) -> impl IntoView {
    let picked = RwSignal::new(model.selected.get_untracked());
    let text = RwSignal::new(String::new());
    let key = Memo::new(move |_| {
        let at = picked.get();
        model.shown.with(|rows| rows.iter().find(|r| at.as_ref().is_some_and(|at| r.node.name == at.0 && r.service.id == at.1)).cloned())
    });
    Effect::new(move |_| {
        let Some(row) = key.get() else { return };
        spawn_local(async move {
            let checks = definitions(&row.checks).await;
            text.try_set(register::json(&register::of_instance(&row.service, &checks)));
        });
    });
    let curl =
        move || format!("curl -X PUT --data @service.json {}/v1/agent/service/register", window().location().origin().unwrap_or_default());
    let option = move |r: &ServiceNode| {
        let at: Ref = (r.node.name.clone(), r.service.id.clone());
        let chosen = picked.with_untracked(|p| p.as_ref() == Some(&at));
        view! { <option value=format!("{}\n{}", at.0, at.1) selected=chosen>{format!("{} on {}", at.1, at.0)}</option> }
    };
    view! {
        <section class="panel" aria-labelledby="h-def">
            <header>
                <h2 id="h-def">"service.json"</h2>
                <Copy text what="the JSON"/>
                <div class="r">
                    <label class="pick"><span class="sr">"Instance"</span>
                        <select on:change:target=move |e| picked.set(e.target().value().split_once('\n').map(|(n, i)| (n.to_owned(), i.to_owned())))>
                            {move || model.shown.with(|rows| rows.iter().map(option).collect_view())}
                        </select>
                    </label>
                </div>
            </header>
            <div class="code pre" role="region" aria-label="Definition" tabindex="0"><Highlighted text language=Language::Json/></div>
            <dl class="cmds">
                <dt>"Register it with curl"</dt>
                <dd><code>{curl}</code><Copy text=Signal::derive(curl) what="the curl command"/></dd>
                <dt>"or with the command line"</dt>
                <dd><code>"muster services register service.json"</code><Copy text="muster services register service.json".to_owned() what="the command"/></dd>
            </dl>
        </section>
    }
    .into_any()
}
