//! A saved file: dropped or chosen, looked into, restored once the datacenter's name has been typed.

use js_sys::Reflect;
use shared::snapshot::{Inspect, Inspection, Restore};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::Blob;

use super::{Download, Model, ago, view};
use crate::{
    api::fetch,
    components::{Button, Dialog, Icon, Kind, TextInput},
    prelude::*,
};

/// A file of the person's machine; it is read by the browser as it is sent.
#[derive(Clone)]
struct Chosen {
    name: String,
    blob: Blob,
}

/// The first file of a list of files, which is how inputs and drops tell them.
fn first(list: &JsValue) -> Option<Chosen> {
    let file = Reflect::get(list, &JsValue::from_str("0")).ok().filter(JsValue::is_object)?;
    let name = Reflect::get(&file, &JsValue::from_str("name")).ok().and_then(|name| name.as_string()).unwrap_or_default();
    Some(Chosen { name, blob: file.unchecked_into() })
}

fn files(of: &JsValue) -> JsValue {
    Reflect::get(of, &JsValue::from_str("files")).unwrap_or(JsValue::UNDEFINED)
}

/// The panel.
#[component]
pub(super) fn SavedFile(model: Model) -> impl IntoView {
    let chosen = StoredValue::new(None::<Chosen>);
    let name = RwSignal::new(String::new());
    let found = RwSignal::new(None::<Inspection>);
    let (why, over, asking) = (RwSignal::new(String::new()), RwSignal::new(false), RwSignal::new(false));
    let look = move |file: Option<Chosen>| {
        let Some(file) = file else { return };
        name.set(file.name.clone());
        found.set(None);
        why.set(String::new());
        chosen.set_value(Some(file.clone()));
        spawn_local(async move {
            match fetch::send_file(&Inspect::default(), &file.blob).await {
                Ok(inspection) => drop(found.try_set(Some(inspection))),
                Err(error) => drop(why.try_set(error.to_string())),
            }
        });
    };
    let on_drop = move |event: web_sys::Event| {
        event.prevent_default();
        over.set(false);
        let transfer = Reflect::get(&event, &JsValue::from_str("dataTransfer")).unwrap_or(JsValue::UNDEFINED);
        look(first(&files(&transfer)));
    };
    view! {
        <section class="panel" aria-labelledby="h-file">
            <header><h2 id="h-file">"A saved file"</h2></header>
            <label
                class="drop"
                class:over=move || over.get()
                on:dragover=move |event: web_sys::Event| { event.prevent_default(); over.set(true) }
                on:dragleave=move |_: web_sys::Event| over.set(false)
                on:drop=on_drop
            >
                <Icon name="file"/>
                <span>{move || if name.with(String::is_empty) { "Drop a snapshot here, or choose one to see what it holds".to_owned() } else { name.get() }}</span>
                <input type="file" aria-label="Choose a snapshot file" on:change:target=move |event| look(first(&files(&event.target())))/>
            </label>
            <div role="status">
                {move || (!why.with(String::is_empty)).then(|| view! {
                    <p class="bad"><span class="st crit"><Icon name="critical"/></span><span>{why.get()}</span></p>
                })}
            </div>
            {move || found.get().map(|found| view! { <Contents found asking/> })}
        </section>
        <RestoreDialog model found chosen open=asking/>
    }
    .into_any()
}

#[component]
fn Contents(found: Inspection, asking: RwSignal<bool>) -> impl IntoView {
    let about = view::about(&found, &ago(&found.taken_at))
        .into_iter()
        .map(|(name, value)| view! { <dt>{name}</dt><dd>{value}</dd> })
        .collect_view();
    let rows = view::tables(&found)
        .into_iter()
        .map(|(name, number, size, share)| {
            view! {
                <tr>
                    <th scope="row">{name}</th>
                    <td class="num">{number}</td>
                    <td class="bar"><i style:width=format!("{share}%")></i></td>
                    <td class="num mid">{size}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <dl class="kv2">{about}</dl>
        <table class="holds">
            <caption class="sr">"What the file holds, by kind"</caption>
            <thead class="sr"><tr><th scope="col">"Kind"</th><th scope="col">"Rows"</th><th scope="col">"Share"</th><th scope="col">"Size"</th></tr></thead>
            <tbody>{rows}</tbody>
        </table>
        <div class="end"><Button label="Restore this file" icon="undo" kind=Kind::GhostDanger writes=true on_press=move || asking.set(true)/></div>
    }
    .into_any()
}

#[component]
fn RestoreDialog(
    model: Model,
    found: RwSignal<Option<Inspection>>,
    chosen: StoredValue<Option<Chosen>>,
    open: RwSignal<bool>,
) -> impl IntoView {
    let (typed, busy) = (RwSignal::new(String::new()), RwSignal::new(false));
    Effect::new(move |_| {
        open.track();
        typed.set(String::new());
    });
    let text = move || {
        found.with(|found| found.as_ref().map(|found| view::consequence(found, &model.dc.get(), &ago(&found.taken_at))).unwrap_or_default())
    };
    let blocked = Signal::derive(move || {
        if typed.with(|typed| typed.trim() == model.dc.get()) { String::new() } else { format!("Type {} first.", model.dc.get()) }
    });
    let go = move || {
        let Some(file) = chosen.get_value() else { return };
        busy.set(true);
        spawn_local(async move {
            let done = fetch::send_file(&Restore { dc: model.dc.get_untracked(), ..Restore::default() }, &file.blob).await;
            busy.try_set(false);
            open.try_set(false);
            model.archive.refetch();
            match done {
                Ok(()) => model.notices.done(format!("{} restored", model.dc.get_untracked()), format!("From {}.", file.name)),
                Err(error) => model.notices.failed("Nothing was restored", error.to_string()),
            }
        });
    };
    view! {
        <Dialog title=Signal::derive(move || format!("Restore {}?", model.dc.get())) open on_close=move || open.set(false)>
            <p>{text}</p>
            <p><Download model label="Download the state of now" class="btn sm"/></p>
            <div class="form"><TextInput id="p-dc" label="Type the datacenter's name to confirm" value=typed mono=true/></div>
            <div class="r">
                <Button label="Cancel" on_press=move || open.set(false)/>
                <Button label="Restore" kind=Kind::DangerPrimary busy writes=true denied=blocked on_press=go/>
            </div>
        </Dialog>
    }
    .into_any()
}
