//! Editing and creating keys. Every save names the index it began with; what someone else stored meanwhile is shown
//! beside the draft, and nothing is lost on either side.

use crate::prelude::*;
use shared::{
    endpoint,
    kv::{self, Entry},
};

use super::{
    Heading,
    model::{Draft, Model},
    read::{self, Facts, VerdictMark},
    view::{self, Moved},
};
use crate::{
    api::send,
    components::{
        Button, Choice, Icon, Kind, Loaded, Segmented, TextInput, diff,
        editor::Editor,
        syntax::{self, Language},
    },
    format,
    router::{KeyAction, Step},
};

/// The pane with a key under edit.
#[component]
pub(super) fn Edit(model: Model, key: String) -> impl IntoView {
    let (stored, found) = read::entry(model, &key);
    let mine = StoredValue::new(key.clone());
    let missing = Memo::new(move |_| stored.error.with(|e| e.as_ref().is_some_and(crate::api::Error::is_missing)));
    // The draft begins with what is stored when it first comes; what was left unsaved goes on.
    let draft = RwSignal::new(None::<Draft>);
    Effect::new(move |_| {
        if draft.with_untracked(Option::is_some) {
            return;
        }
        let left = model.drafts.with_untracked(|d| d.get(&mine.get_value()).cloned());
        let start = left.or_else(|| found.get().map(|e| Draft { text: view::text(&e.value).unwrap_or_default(), base: Some(e) }));
        if start.is_some() {
            draft.set(start);
        }
    });
    let ready = Memo::new(move |_| draft.with(Option::is_some));
    let create = move || {
        let label = view::label(&mine.get_value()).to_owned();
        model.router.go(model.page(view::parent(&mine.get_value()), KeyAction::Create));
        model.router.set(&[("name", &label)], Step::Replace);
    };
    let body = move || {
        if ready.get() {
            view! { <Sheet model key=mine.get_value() start=draft.get_untracked().unwrap_or_default() found refetch=Callback::new(move |()| stored.refetch())/> }.into_any()
        } else if missing.get() {
            view! { <div class="empty"><h3>"There is no such key"</h3><p>"Nobody has stored it, or it was deleted."</p><Button label="Create it" icon="plus" kind=Kind::Primary on_press=create/></div> }.into_any()
        } else {
            view! { <Loaded query=stored what="The key" lines=8>""</Loaded> }.into_any()
        }
    };
    view! { <div class="kh"><Heading model key/><Facts entry=found/></div> {body} }.into_any()
}

/// The draft of an existing key.
#[component]
fn Sheet(model: Model, key: String, start: Draft, found: Memo<Option<Entry>>, refetch: Callback<()>) -> impl IntoView {
    let binary = start.base.as_ref().is_some_and(|e| view::text(&e.value).is_none());
    let text = RwSignal::new(start.text);
    let base = RwSignal::new(start.base);
    let key = StoredValue::new(key);
    let busy = RwSignal::new(false);
    let base_text = Memo::new(move |_| base.with(|b| b.as_ref().and_then(|b| view::text(&b.value)).unwrap_or_default()));
    let dirty = Memo::new(move |_| base.with(Option::is_none) || text.with(|t| base_text.with(|b| t != b)));
    let moved = Memo::new(move |_| base.with(|b| found.with(|f| view::moved(b.as_ref(), f.as_ref()))));
    Effect::new(move |_| {
        // The draft outlives this pane while it says something new.
        let now = Draft { base: base.get(), text: text.get() };
        model.drafts.update(|d| if dirty.get() { drop(d.insert(key.get_value(), now)) } else { drop(d.remove(&key.get_value())) });
    });
    Effect::new(move |_| {
        // A touch that left the value alone is no conflict.
        if moved.get() == Moved::IndexOnly {
            base.set(found.get_untracked());
        }
    });
    let leave = move || {
        model.drafts.update(|d| drop(d.remove(&key.get_value())));
        model.router.go(model.page(&key.get_value(), KeyAction::View));
    };
    let save = move || {
        if busy.get_untracked() || !dirty.get_untracked() || text.with_untracked(String::len) > view::VALUE_MAX {
            return;
        }
        busy.set(true);
        let (old, value) = (base.get_untracked(), text.get_untracked());
        spawn_local(async move {
            let (flags, index) = old.as_ref().map_or((0, 0), |e| (e.flags, e.modify_index));
            let put = kv::Put {
                key: key.get_value(),
                value: value.clone().into(),
                flags,
                cas: Some(index),
                dc: model.dc.get_untracked(),
                ..kv::Put::default()
            };
            let result = send(&put).await;
            busy.try_set(false);
            match result {
                Ok(true) => {
                    let name = key.get_value();
                    leave();
                    if let Some(old) = old {
                        model.notices.undoable(format!("{name} saved"), "", move || put_back(model, old.clone(), value.clone()));
                    } else {
                        model.notices.done(format!("{name} saved"), "");
                    }
                }
                Ok(false) => {
                    refetch.run(());
                    model.notices.failed("Not saved", "Someone changed the key in this moment. Compare both versions, then save again.");
                }
                Err(error) => model.notices.failed("Not saved", error.to_string()),
            }
        });
    };
    let message = Signal::derive(move || {
        base.with(|b| {
            b.as_ref().map_or_else(
                || "Saves only if nobody creates the key meanwhile".to_owned(),
                |b| format!("Saves only if the key is still at index {}", format::count(b.modify_index)),
            )
        })
    });
    let blocked = Signal::derive(move || match () {
        () if text.with(String::len) > view::VALUE_MAX => "The value is larger than 512 KB.".to_owned(),
        () if !dirty.get() => "Nothing is changed.".to_owned(),
        () => String::new(),
    });
    view! {
        {binary.then(|| view! { <p class="note">"The stored bytes are not text. Saving replaces them by the text below."</p> })}
        <Conflict moved base base_text found text/>
        <Desk key=Signal::derive(move || key.get_value()) text base=base_text on_save=save/>
        <div class="save">
            <span class="msg">{move || message.get()}</span>
            <div class="r">
                <Button label="Discard" on_press=leave/>
                <Button label="Save changes" kind=Kind::Primary busy writes=true denied=blocked on_press=save/>
            </div>
        </div>
    }
    .into_any()
}

/// Stores the old value again, if nobody changed the key since.
fn put_back(model: Model, old: Entry, ours: String) {
    spawn_local(async move {
        let dc = model.dc.get_untracked();
        let read = endpoint::Read { dc: dc.clone(), ..endpoint::Read::default() };
        let now = send(&kv::Get { key: old.key.clone(), read }).await.ok().and_then(|list| list.into_iter().next());
        let Some(now) = now.filter(|now| now.value == ours.as_bytes()) else {
            model.notices.failed("Not undone", "Someone changed the key since.");
            return;
        };
        let put =
            kv::Put { key: old.key.clone(), value: old.value, flags: old.flags, cas: Some(now.modify_index), dc, ..kv::Put::default() };
        match send(&put).await {
            Ok(true) => model.notices.done(format!("{} is as before", old.key), ""),
            Ok(false) => model.notices.failed("Not undone", "Someone changed the key since."),
            Err(error) => model.notices.failed("Not undone", error.to_string()),
        }
    });
}

/// Someone else changed the key: both versions, and the ways out.
#[component]
fn Conflict(
    moved: Memo<Moved>,
    base: RwSignal<Option<Entry>>,
    base_text: Memo<String>,
    found: Memo<Option<Entry>>,
    text: RwSignal<String>,
) -> impl IntoView {
    let shown = RwSignal::new(String::new());
    let theirs = Memo::new(move |_| found.with(|f| f.as_ref().and_then(|f| view::text(&f.value)).unwrap_or_default()));
    let merged = Memo::new(move |_| base_text.with(|b| theirs.with(|t| text.with(|y| diff::merge(b, t, y)))));
    let told = move || {
        let index = found.with(|f| f.as_ref().map_or(0, |f| f.modify_index));
        match moved.get() {
            Moved::Changed => format!("Someone changed this key while you edit: it is at index {} now.", format::count(index)),
            Moved::Deleted => "Someone deleted this key while you edit. Saving your draft creates it again.".to_owned(),
            Moved::Created => "Someone created this key while you edit.".to_owned(),
            Moved::No | Moved::IndexOnly => String::new(),
        }
    };
    let rebase = move || base.set(found.get_untracked());
    let merge = move || {
        if let Ok(both) = merged.get_untracked() {
            rebase();
            text.set(both);
        }
    };
    let take = move || {
        let new = theirs.get_untracked();
        rebase();
        text.set(new);
    };
    let differs = Memo::new(move |_| matches!(moved.get(), Moved::Changed | Moved::Created));
    let no_merge = Signal::derive(move || {
        merged
            .with(|m| {
                m.as_ref()
                    .err()
                    .map(|n| format!("{} changed by both: decide by hand.", format::plural(*n as u32, "place was", "places were")))
            })
            .unwrap_or_default()
    });
    let options = Signal::from(vec![
        Choice::new("theirs", "Their change"),
        Choice::new("yours", "Your change"),
        Choice::new("both", "Yours against theirs"),
    ]);
    let lines = move || {
        let (from, to) = match shown.get().as_str() {
            "theirs" => (base_text.get(), theirs.get()),
            "yours" => (base_text.get(), text.get()),
            _ => (theirs.get(), text.get()),
        };
        diff::unified(&from, &to)
    };
    view! {
        <Show when=move || !matches!(moved.get(), Moved::No | Moved::IndexOnly)>
            <div class="banner warn conflict" role="alert">
                <Icon name="warning"/>
                <span>{told}</span>
                <div class="r">
                    <Show when=move || differs.get()>
                        <Button label="Merge both" small=true denied=no_merge on_press=merge/>
                        <Button label="Take theirs" small=true on_press=take/>
                    </Show>
                    <Button label="Keep mine" small=true on_press=rebase/>
                </div>
            </div>
            <Show when=move || differs.get()>
                <div class="bar"><Segmented label="Compare" options value=shown on_pick=move |picked| shown.update(|s| *s = if *s == picked { String::new() } else { picked })/></div>
                <Show when=move || !shown.with(String::is_empty)><div class="threeway"><diff::Diff lines=Signal::derive(lines) label="Changes"/></div></Show>
            </Show>
        </Show>
    }
    .into_any()
}

/// The editor with its view switch, language, size and caret.
#[component]
fn Desk(
    #[prop(into)] key: Signal<String>,
    text: RwSignal<String>,
    #[prop(into)] base: Signal<String>,
    #[prop(into)] on_save: Callback<()>,
) -> impl IntoView {
    let shown = RwSignal::new("edit".to_owned());
    let picked = RwSignal::new(None::<Language>);
    let language = Memo::new(move |_| picked.get().unwrap_or_else(|| text.with(|t| Language::detect(&key.get(), t))));
    let (tabs, caret) = (RwSignal::new(false), RwSignal::new(0));
    let lines = Memo::new(move |_| text.with(|t| base.with(|b| diff::unified(b, t))));
    let options = Signal::derive(move || {
        let (added, removed) = lines.with(|l| diff::counts(l));
        vec![Choice::new("edit", "Edit"), Choice::new("changes", "Changes").count((added.max(removed)).to_string())]
    });
    let size = move || {
        let bytes = text.with(String::len);
        let share = bytes as f64 * 100.0 / view::VALUE_MAX as f64;
        let class = if share > 100.0 { "size over" } else { "size" };
        view! { <span class=class><i style:width=format::decimal(share.clamp(0.5, 100.0), 1) + "%"></i></span><span>{format!("{} of 512 KB", format::bytes(bytes))}</span> }
    };
    let place = move || {
        let (line, column) = text.with(|t| syntax::place(t, caret.get()));
        format!("line {line}, column {column}")
    };
    let pick = move |name: String| picked.set(Language::ALL.into_iter().find(|l| l.name() == name));
    let option = move |l: Language| view! { <option value=l.name() selected=move || language.get() == l>{l.name()}</option> };
    let body = move || {
        if shown.get() == "changes" {
            view! { <diff::Diff lines label="Your draft against the stored value"/> }.into_any()
        } else {
            view! { <Editor id="kv-text" label="Value" text language tab_indents=tabs caret on_save/> }.into_any()
        }
    };
    view! {
        <div class="bar">
            <Segmented label="View" options value=shown on_pick=move |v| shown.set(v)/>
            <span class="grow"></span>
            <label class="check hide-m"><input type="checkbox" class="cb" prop:checked=move || tabs.get() on:change:target=move |e| tabs.set(e.target().checked())/>"Tab indents"</label>
            <label class="pick"><span class="sr">"Language"</span>
                <select on:change:target=move |e| pick(e.target().value())>{Language::ALL.map(option).collect_view()}</select>
            </label>
        </div>
        {body}
        <div class="stat">
            {move || view! { <VerdictMark verdict=text.with(|t| syntax::check(language.get(), t)) language=language.get()/> }}
            <span class="grow"></span>
            <span class="hide-m">{place}</span>
            {size}
        </div>
    }
    .into_any()
}

/// The pane for a new key.
#[component]
pub(super) fn Create(model: Model, folder: String) -> impl IntoView {
    let name = model.router.param("name").get_untracked();
    let key = RwSignal::new(format!("{folder}{name}"));
    let text = RwSignal::new(String::new());
    let (tried, busy, taken) = (RwSignal::new(false), RwSignal::new(false), RwSignal::new(String::new()));
    // The folder stands there to be written on; by itself it is no name yet.
    let given = StoredValue::new(folder.clone());
    let untouched = move |k: &str| given.with_value(|folder| k.trim() == folder);
    let problem = Memo::new(move |_| key.with(|k| if untouched(k) { view::key_problem("") } else { view::key_problem(k.trim()) }));
    let error = Signal::derive(move || match problem.get() {
        Some(text) => text.to_owned(),
        None if taken.with(|t| !t.is_empty() && *t == key.get().trim()) => "This key exists already. Open it to change it.".to_owned(),
        None => String::new(),
    });
    let is_folder = Memo::new(move |_| key.with(|k| k.trim().ends_with('/') && !untouched(k)));
    let help = Signal::derive(move || {
        if is_folder.get() { "Ends with a slash: this makes an empty folder." } else { "Slashes make folders." }.to_owned()
    });
    let save = move || {
        tried.set(true);
        if busy.get_untracked() || problem.get_untracked().is_some() {
            return;
        }
        busy.set(true);
        let name = key.get_untracked().trim().to_owned();
        spawn_local(async move {
            let value = if name.ends_with('/') { Vec::new() } else { text.get_untracked().into() };
            let put = kv::Put { key: name.clone(), value, cas: Some(0), dc: model.dc.get_untracked(), ..kv::Put::default() };
            let result = send(&put).await;
            busy.try_set(false);
            match result {
                Ok(true) => {
                    model.notices.done(format!("{name} created"), "");
                    model.list(view::parent(&name));
                    model.router.go(model.page(&name, KeyAction::View));
                }
                Ok(false) => drop(taken.try_set(name)),
                Err(error) => model.notices.failed("Not created", error.to_string()),
            }
        });
    };
    let back = folder.clone();
    view! {
        <div class="kh"><h1>"New key"</h1></div>
        <form class="form mk" on:submit=move |e: web_sys::SubmitEvent| { e.prevent_default(); save() }>
            <TextInput id="k-name" label="Key" value=key mono=true help error placeholder="payments/limits.json"/>
            <p class="err" role="alert">{move || (tried.get() || taken.with(|t| !t.is_empty())).then(|| error.get())}</p>
        </form>
        <Show when=move || !is_folder.get()><Desk key text base=String::new() on_save=save/></Show>
        <div class="save">
            <span class="msg">"Stored only if the key does not exist"</span>
            <div class="r">
                <Button label="Cancel" on_press=move || model.router.go(model.page(&back, KeyAction::View))/>
                <Button label="Create" kind=Kind::Primary busy writes=true on_press=save/>
            </div>
        </div>
    }
    .into_any()
}
