//! A folder: what lies in it, and what can be done to all of it.

use crate::prelude::*;

use super::{Heading, model::Model, view};
use crate::{
    components::{
        Button, Icon, Kind,
        wait::{self, Skeleton},
    },
    format,
    router::{KeyAction, Place},
};

/// Rows drawn at most.
const ROWS_MAX: usize = 1_000;

/// The pane of a folder; the empty one is the root.
#[component]
pub(super) fn Folder(model: Model, folder: String) -> impl IntoView {
    let root = folder.is_empty();
    if !root {
        model.set_open(&folder, true);
    }
    let mine = StoredValue::new(folder.clone());
    let keys = Memo::new(move |_| {
        model.listed.with(|l| {
            let mut keys = l.get(&mine.get_value())?.clone();
            keys.retain(|k| *k != mine.get_value());
            crate::order::sort_by(&mut keys, |one, other| {
                let key = |k: &String| (!k.ends_with('/'), k.clone());
                key(one).cmp(&key(other))
            });
            Some(keys)
        })
    });
    let create = Place::new(&model.dc.get_untracked(), model.page(&folder, KeyAction::Create)).href();
    let row = move |key: String| {
        let icon = if key.ends_with('/') { "folder" } else { "file" };
        view! { <li><a class="kr" href=model.href(&key)><Icon name=icon/><span>{view::label(&key).to_owned()}</span></a></li> }
    };
    let make = create.clone();
    let body = move || match keys.get() {
        None => match model.trouble.get() {
            Some(error) => wait::failed(error, "The keys", move || {
                view! { <Button label="Retry" small=true on_press=move || model.list_again()/> }.into_any()
            }),
            None => view! { <div class="pad"><Skeleton lines=6/></div> }.into_any(),
        },
        Some(keys) if keys.is_empty() => {
            let (title, text) = if root {
                ("There are no keys yet", "Keys hold small values, such as settings, that every service can read and watch.")
            } else {
                ("This folder is empty", "A folder is there as long as a key lies in it.")
            };
            view! { <div class="empty"><h2>{title}</h2><p>{text}</p><a class="btn pri" href=make.clone()><Icon name="plus"/>"Create a key"</a></div> }.into_any()
        }
        Some(keys) => {
            let rest = keys.len().saturating_sub(ROWS_MAX);
            let more =
                (rest > 0).then(|| view! { <p class="note">{format!("{} more: search to see them.", format::count(rest as u64))}</p> });
            view! { <ul class="krs">{keys.into_iter().take(ROWS_MAX).map(row).collect_view()}</ul>{more} }.into_any()
        }
    };
    let told = move || keys.with(|k| k.as_ref().map(|k| format::plural(k.len() as u32, "entry", "entries")));
    let ask = move || model.deleting.set(Some(mine.get_value()));
    view! {
        <div class="kh"><Heading model key=folder/><div class="km"><span>{told}</span></div></div>
        <div class="bar">
            <a class="btn" href=create><Icon name="plus"/>"New key"</a>
            {(!root).then(|| view! { <Button label="Delete folder" icon="trash" kind=Kind::GhostDanger writes=true on_press=ask/> })}
        </div>
        <div class="fld-body">{body}</div>
    }
    .into_any()
}
