//! A key's value, to look at.

use crate::prelude::*;
use shared::{
    changes::Topic,
    kv::{self, Entry},
};

use super::{
    Heading,
    model::{self, Model},
    view,
};
use crate::{
    api::{Query, query},
    components::{
        Banner, Button, Copy, Icon, Kind, Loaded,
        editor::Highlighted,
        syntax::{self, Language, Verdict},
    },
    format,
    layout::keys::on_key,
    router::{KeyAction, Place},
};

/// Bytes of a binary value that are shown.
const HEX_MAX: usize = 4_096;

/// Reads one key for as long as its pane is shown.
pub(super) fn entry(model: Model, key: &str) -> (Query<Vec<Entry>>, Memo<Option<Entry>>) {
    let (asked, mine) = (key.to_owned(), key.to_owned());
    let stored = query(
        move || Some(kv::Get { key: asked.clone(), read: model::at(model.dc) }),
        move |change| change.topic == Topic::Kv && (change.name == mine || mine.starts_with(&change.name)),
    );
    let found = Memo::new(move |_| {
        // A key that is gone answers 404: what came before is history.
        let missing = stored.error.with(|e| e.as_ref().is_some_and(crate::api::Error::is_missing));
        if missing { None } else { stored.data.with(|d| d.as_ref().and_then(|d| d.first().cloned())) }
    });
    (stored, found)
}

/// The facts about an entry.
#[component]
pub(super) fn Facts(#[prop(into)] entry: Signal<Option<Entry>>) -> impl IntoView {
    let facts = move || {
        entry.get().map(|e| {
            let lock = if e.session.is_empty() {
                view! { <span>"Not locked"</span> }.into_any()
            } else {
                view! { <span class="st warn"><Icon name="lock" small=true/>"Locked by session "<b>{e.session.clone()}</b></span> }
                    .into_any()
            };
            view! {
                <span>"ModifyIndex "<b>{format::count(e.modify_index)}</b></span>
                <span>"Flags "<b>{e.flags.to_string()}</b></span>
                {lock}
                <span>{format::bytes(e.value.len())}</span>
            }
        })
    };
    view! { <div class="km">{facts}</div> }
}

/// The pane of a key.
#[component]
pub(super) fn Value(model: Model, key: String) -> impl IntoView {
    let (stored, found) = entry(model, &key);
    let missing = Memo::new(move |_| stored.error.with(|e| e.as_ref().is_some_and(crate::api::Error::is_missing)));
    let mine = StoredValue::new(key.clone());
    let has_draft = Memo::new(move |_| model.drafts.with(|d| d.contains_key(&mine.get_value())));
    let edit = move || model.router.go(model.page(&mine.get_value(), KeyAction::Edit));
    on_key(move |key, _| {
        let edits = key == "e" && found.with_untracked(Option::is_some);
        if edits {
            edit();
        }
        edits
    });
    let actions = move || {
        found.with(Option::is_some).then(|| {
            view! {
                <Button label="Edit" icon="edit" kind=Kind::Primary on_press=edit/>
                <Copy text=Signal::derive(move || found.with(|e| e.as_ref().and_then(|e| view::text(&e.value)).unwrap_or_default())) what="the value"/>
                <span class="grow"></span>
                <Button label="Delete" icon="trash" kind=Kind::GhostDanger writes=true on_press=move || if let Some(entry) = found.get_untracked() { model.delete(entry) }/>
            }
        })
    };
    let create = Place::new(&model.dc.get_untracked(), model.page(view::parent(&key), KeyAction::Create)).href();
    let create = format!("{create}?name={}", shared::endpoint::encode_path(view::label(&key), false));
    let was_there = StoredValue::new(false);
    Effect::new(move |_| {
        if found.with(Option::is_some) {
            was_there.set_value(true);
        }
    });
    let body = move || {
        if missing.get() {
            let text =
                if was_there.get_value() { "It was deleted while you looked at it." } else { "Nobody has stored it, or it was deleted." };
            return view! { <div class="empty"><h3>"There is no such key"</h3><p>{text}</p><a class="btn pri" href=create.clone()><Icon name="plus"/>"Create it"</a></div> }.into_any();
        }
        view! { <Loaded query=stored what="The key" lines=8><Body found key=mine.get_value()/></Loaded> }.into_any()
    };
    view! {
        <div class="kh"><Heading model key/><Facts entry=found/></div>
        <Show when=move || has_draft.get()>
            <Banner text="There is a draft of this key that is not saved.".to_owned()><Button label="Continue editing" small=true on_press=edit/></Banner>
        </Show>
        <div class="bar">{actions}</div>
        {body}
    }
    .into_any()
}

#[component]
fn Body(found: Memo<Option<Entry>>, key: String) -> impl IntoView {
    let key = StoredValue::new(key);
    let text = Memo::new(move |_| found.with(|e| e.as_ref().map(|e| view::text(&e.value))));
    let language =
        Memo::new(move |_| text.with(|t| t.iter().flatten().next().map_or(Language::Text, |t| Language::detect(&key.get_value(), t))));
    let body = move || {
        match text.get() {
        None => ().into_any(),
        Some(None) => {
            let hex = found.with(|e| e.as_ref().map(|e| view::hex(&e.value, HEX_MAX)).unwrap_or_default());
            view! { <p class="note">"These bytes are not text. They are shown as hexadecimal numbers, and can be replaced by text only."</p><div class="code pre" tabindex="0" role="group" aria-label="Value">{hex}</div> }.into_any()
        }
        Some(Some(text)) if text.is_empty() => view! { <p class="note">"The value is empty."</p> }.into_any(),
        Some(Some(text)) => view! { <div class="code pre" tabindex="0" role="group" aria-label="Value"><Highlighted text=Signal::from(text) language/></div> }.into_any(),
    }
    };
    let foot = move || {
        let text = text.get().flatten().unwrap_or_default();
        view! { <div class="save"><VerdictMark verdict=syntax::check(language.get(), &text) language=language.get()/></div> }
    };
    view! { {body} {foot} }
}

/// What the syntax check says.
#[component]
pub(super) fn VerdictMark(verdict: Verdict, language: Language) -> impl IntoView {
    let name = language.name();
    match verdict {
        Verdict::Unchecked => view! { <span class="msg">"Plain text"</span> }.into_any(),
        Verdict::Valid => view! { <span class="st ok"><Icon name="passing"/>{format!("Valid {name}")}</span> }.into_any(),
        Verdict::Plausible => view! { <span class="msg">{format!("{name}, no mistake found")}</span> }.into_any(),
        Verdict::Wrong { line, column, why } => {
            view! { <span class="st warn"><Icon name="warning"/>{format!("Not valid {name}: line {line}, column {column}: {why}")}</span> }
                .into_any()
        }
    }
}
