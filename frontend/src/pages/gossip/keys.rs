//! The keys that encrypt gossip: which are installed where, which is in use. A key is shown only when asked for.

use crate::prelude::*;
use shared::{
    endpoint::Read as Where,
    operator::{GetKeyring, InstallKey, KeyringPool, RemoveKey, UseKey},
};
use wasm_bindgen_futures::spawn_local;

use super::{Model, view};
use crate::{
    api::{Error, Query, query, send},
    components::{Button, Copy, Dialog, Empty, IconButton, Kind, Loaded, Pill, TextInput},
    state::notices::{Notices, use_notices},
};

/// What is done to the keys.
#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Install,
    Use,
    Remove,
}

/// The panel.
#[component]
pub(super) fn Keys(model: Model) -> impl IntoView {
    let notices = use_notices();
    let encrypted = Memo::new(move |_| model.shown.with(|pool| pool.encrypted));
    let install = move || model.ask("key", "");
    view! {
        <section class="panel" aria-labelledby="h-keys">
            <header>
                <h2 id="h-keys">"Keys"</h2>
                <div class="r">
                    <Show when=move || encrypted.get()><Button label="Install a key" icon="plus" kind=Kind::Ghost small=true on_press=install/></Show>
                </div>
            </header>
            <Show
                when=move || encrypted.get()
                fallback=|| view! {
                    <Empty title="Gossip is not encrypted" text="Anyone who reaches this network can read it and join. Put the same key into the configuration of every agent as encrypt, and start them again; after that keys are changed here."/>
                }
            >
                <Ring model notices/>
            </Show>
        </section>
    }
    .into_any()
}

#[component]
fn Ring(model: Model, notices: Notices) -> impl IntoView {
    let ring = query(move || Some(GetKeyring { read: Where { dc: model.dc.get(), ..Where::default() } }), |_| false);
    let rows = Memo::new(move |_| ring.data.with(|pools| pools.as_ref().and_then(|pools| pools.first()).map(rows).unwrap_or_default()));
    view! {
        <Loaded query=ring what="The keys" lines=3>
            <ul class="ring"><For each=move || rows.get() key=Held::key let:held><Line ring notices held/></For></ul>
        </Loaded>
        <Install model ring notices/>
    }
    .into_any()
}

/// A key and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    key: String,
    holders: usize,
    users: usize,
    members: usize,
}

impl Held {
    fn key(&self) -> (String, String) {
        (self.key.clone(), spread(self))
    }
}

fn rows(pool: &KeyringPool) -> Vec<Held> {
    let held = |(key, holders): (&String, &usize)| Held {
        key: key.clone(),
        holders: *holders,
        users: pool.primary_keys.get(key).copied().unwrap_or_default(),
        members: pool.num_nodes,
    };
    let mut rows: Vec<Held> = pool.keys.iter().map(held).collect();
    crate::order::sort_by(&mut rows, |a, b| (b.users, &a.key).cmp(&(a.users, &b.key)));
    rows
}

/// Who has it, in words.
fn spread(held: &Held) -> String {
    let all =
        |number: usize| if number == held.members { "every member".to_owned() } else { format!("{number} of {} members", held.members) };
    match held.users {
        0 => format!("on {}, used by none", all(held.holders)),
        users if users == held.holders => format!("on {}, used by all of them", all(held.holders)),
        users => format!("on {}, used by {users}", all(held.holders)),
    }
}

/// Does it, says how it went and looks again.
fn change(ring: Query<Vec<KeyringPool>>, notices: Notices, busy: RwSignal<bool>, deed: Deed, key: String, done: Option<Callback<()>>) {
    busy.set(true);
    spawn_local(async move {
        let print = view::fingerprint(&key);
        let result: Result<(), Error> = match deed {
            Deed::Install => send(&InstallKey { key }).await,
            Deed::Use => send(&UseKey { key }).await,
            Deed::Remove => send(&RemoveKey { key }).await,
        };
        busy.try_set(false);
        ring.refetch();
        match result {
            Ok(()) => {
                let (title, text) = match deed {
                    Deed::Install => ("installed", "Every member has it. Use it next, then remove the old one."),
                    Deed::Use => ("in use", "Every member encrypts with it."),
                    Deed::Remove => ("removed", "No member has it any longer."),
                };
                notices.done(format!("Key {print} {title}"), text);
                if let Some(done) = done {
                    done.run(());
                }
            }
            Err(error) => notices.failed("The keys were not changed everywhere", error.to_string()),
        }
    });
}

#[component]
fn Line(ring: Query<Vec<KeyringPool>>, notices: Notices, held: Held) -> impl IntoView {
    let (busy, shown) = (RwSignal::new(false), RwSignal::new(false));
    let key = StoredValue::new(held.key.clone());
    let print = view::fingerprint(&held.key);
    let in_use = held.users > 0;
    let everywhere = if held.holders == held.members { "" } else { "Not every member has it: install it again first." };
    let told = move || if shown.get() { key.get_value() } else { String::new() };
    let (use_hint, remove_hint) = (format!("Use key {print}"), format!("Remove key {print}"));
    view! {
        <li>
            <span class="mono fp">{print}</span>
            {in_use.then(|| view! { <Pill health=shared::health::Health::Passing text="In use".to_owned()/> })}
            <span class="mid num">{spread(&held)}</span>
            <span class="does">
                <IconButton icon="eye" label=Signal::derive(move || if shown.get() { "Hide the key" } else { "Show the key" }.to_owned()) on_press=move || shown.update(|shown| *shown = !*shown)/>
                {(held.users < held.members).then(|| view! {
                    <Button label="Use" hint=use_hint small=true busy denied=everywhere.to_owned() on_press=move || change(ring, notices, busy, Deed::Use, key.get_value(), None)/>
                })}
                {(!in_use).then(|| view! {
                    <Button label="Remove" hint=remove_hint small=true kind=Kind::GhostDanger busy on_press=move || change(ring, notices, busy, Deed::Remove, key.get_value(), None)/>
                })}
            </span>
            <Show when=move || shown.get()>
                <p class="full"><code>{told}</code><Copy text=Signal::derive(move || key.get_value()) what="the key"/></p>
            </Show>
        </li>
    }
    .into_any()
}

#[component]
fn Install(model: Model, ring: Query<Vec<KeyringPool>>, notices: Notices) -> impl IntoView {
    let (busy, text) = (RwSignal::new(false), RwSignal::new(String::new()));
    let param = model.router.param("v");
    let open = Signal::derive(move || param.with(|asked| asked == "key"));
    let error = Signal::derive(move || {
        text.with(|text| if text.is_empty() { String::new() } else { view::bad_key(text).unwrap_or_default().to_owned() })
    });
    let blocked = Signal::derive(move || text.with(|text| view::bad_key(text).unwrap_or_default().to_owned()));
    let make = move || {
        let mut bytes = [0_u8; 32];
        if let Ok(crypto) = window().crypto()
            && crypto.get_random_values_with_u8_array(&mut bytes).is_ok()
        {
            text.set(view::base64(&bytes));
        }
    };
    let done = Callback::new(move |()| {
        text.set(String::new());
        model.close();
    });
    let go = move || change(ring, notices, busy, Deed::Install, text.get_untracked().trim().to_owned(), Some(done));
    view! {
        <Dialog title="Install a key" open on_close=move || model.close()>
            <p>"Every member gets it beside the ones it has. Nothing is encrypted with it until it is put to use."</p>
            <div class="form"><TextInput id="g-key" label="Key" value=text error help="16, 24 or 32 bytes, base64." mono=true/></div>
            <div class="r">
                <Button label="Generate" on_press=make/>
                <Button label="Cancel" on_press=move || model.close()/>
                <Button label="Install" kind=Kind::Primary busy denied=blocked on_press=go/>
            </div>
        </Dialog>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_in_use_comes_first_and_says_who_has_it() {
        let pool = KeyringPool {
            keys: [("a".to_owned(), 3), ("b".to_owned(), 2), ("c".to_owned(), 3)].into(),
            primary_keys: [("c".to_owned(), 3)].into(),
            num_nodes: 3,
            ..KeyringPool::default()
        };
        let told: Vec<_> = rows(&pool).iter().map(|held| format!("{}: {}", held.key, spread(held))).collect();
        assert_eq!(
            told,
            ["c: on every member, used by all of them", "a: on every member, used by none", "b: on 2 of 3 members, used by none"]
        );
    }
}
