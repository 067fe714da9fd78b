//! Deleting a folder: the exact list first, then exactly that list, each key only if it still is as it was listed.

use crate::prelude::*;
use shared::{
    endpoint,
    kv::{self, Entry},
};

use super::{model::Model, view};
use crate::{
    api::send,
    components::{Button, Dialog, Kind, TextInput, wait::Skeleton},
    format,
    router::KeyAction,
};

/// Keys named in the dialog.
const NAMED_MAX: usize = 200;

/// Asks before a folder goes.
#[component]
pub(super) fn DeleteFolder(model: Model) -> impl IntoView {
    let open = Signal::derive(move || model.deleting.with(Option::is_some));
    let entries = RwSignal::new(None::<Result<Vec<Entry>, String>>);
    let typed = RwSignal::new(String::new());
    let busy = RwSignal::new(false);
    Effect::new(move |_| {
        let Some(prefix) = model.deleting.get() else { return };
        entries.set(None);
        typed.set(String::new());
        spawn_local(async move {
            let read = endpoint::Read { dc: model.dc.get_untracked(), ..endpoint::Read::default() };
            let found = match send(&kv::List { prefix, read }).await {
                Err(error) if error.is_missing() => Ok(Vec::new()),
                found => found.map_err(|error| error.to_string()),
            };
            entries.try_set(Some(found));
        });
    });
    let folder = move || model.deleting.get().unwrap_or_default();
    let many = Memo::new(move |_| entries.with(|e| matches!(e, Some(Ok(e)) if e.len() > view::TYPE_TO_CONFIRM)));
    let blocked = Signal::derive(move || {
        entries.with(|e| match e {
            Some(Ok(e)) if e.is_empty() => "There is nothing to delete.".to_owned(),
            Some(Ok(_)) if many.get() && typed.get() != folder() => format!("Type {} first.", folder()),
            Some(Ok(_)) => String::new(),
            _ => "The keys are still being listed.".to_owned(),
        })
    });
    let go = move || {
        let Some(Ok(list)) = entries.get_untracked() else { return };
        let prefix = model.deleting.get_untracked().unwrap_or_default();
        busy.set(true);
        spawn_local(async move {
            let (gone, failed) = delete_all(model.dc.get_untracked(), list).await;
            busy.try_set(false);
            model.deleting.try_set(None);
            if !failed.is_empty() {
                model.notices.failed(format!("{} stayed", format::plural(failed.len() as u32, "key", "keys")), failed.join("\n"));
            } else {
                model.router.go(model.page(view::parent(&prefix), KeyAction::View));
            }
            if !gone.is_empty() {
                let told = format!("{} deleted", format::plural(gone.len() as u32, "key", "keys"));
                model.notices.undoable(told, format!("All below {prefix}"), move || model.bring_back(gone.clone()));
            }
        });
    };
    let list = move || match entries.get() {
        None => view! { <Skeleton lines=3/> }.into_any(),
        Some(Err(why)) => view! { <p class="err">{why}</p> }.into_any(),
        Some(Ok(all)) => {
            let rest = all.len().saturating_sub(NAMED_MAX);
            let locked = all.iter().filter(|e| !e.session.is_empty()).count();
            let total = format::plural(all.len() as u32, "key goes", "keys go");
            let names = all.into_iter().take(NAMED_MAX).map(|e| view! { <li>{e.key}</li> }).collect_view();
            view! {
                <p><b>{total}</b>{(locked > 0).then(|| format!(", {locked} of them locked by a session"))}":"</p>
                <ul class="names" tabindex="0" role="region" aria-label="Keys that are deleted">{names}{(rest > 0).then(|| view! { <li class="dim">{format!("and {} more", format::count(rest as u64))}</li> })}</ul>
            }
            .into_any()
        }
    };
    view! {
        <Dialog title=Signal::derive(move || format!("Delete {}?", folder())) open on_close=move || model.deleting.set(None) class="wide">
            {list}
            <Show when=move || many.get()>
                <div class="form"><TextInput id="k-typed" label="Type the folder's name to confirm" value=typed mono=true placeholder=untrack(folder)/></div>
            </Show>
            <div class="r">
                <Button label="Cancel" on_press=move || model.deleting.set(None)/>
                <Button label="Delete" kind=Kind::DangerPrimary busy writes=true denied=blocked on_press=go/>
            </div>
        </Dialog>
    }
    .into_any()
}

/// Deletes each entry if it still is as given; what went, and why the others did not.
async fn delete_all(dc: String, list: Vec<Entry>) -> (Vec<Entry>, Vec<String>) {
    let (mut gone, mut failed) = (Vec::new(), Vec::new());
    for entry in list {
        let call = kv::Delete { key: entry.key.clone(), cas: Some(entry.modify_index), dc: dc.clone(), ..kv::Delete::default() };
        match send(&call).await {
            Ok(true) => gone.push(entry),
            Ok(false) => failed.push(format!("{}: someone changed it", entry.key)),
            Err(error) => failed.push(format!("{}: {error}", entry.key)),
        }
    }
    (gone, failed)
}
