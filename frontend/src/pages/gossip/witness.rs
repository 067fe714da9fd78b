//! Who accuses whom: what others think of members in trouble, each asked itself, and which of them accuse it.

use std::time::Duration;

use crate::prelude::*;
use shared::{
    endpoint::Read as Where,
    gossip::{GetGossip, Pool},
};

use super::{Model, view};
use crate::{
    api::query,
    components::{Empty, Icon, Tag},
    format,
    router::{Page, link},
};

/// Members in trouble shown side by side.
const ACCUSED_MAX: usize = 5;
/// Members asked.
const WITNESSES_MAX: usize = 9;
/// How often each is asked.
const ASK: Duration = Duration::from_secs(2);

/// Accusers and others asked by row, accused by column.
#[component]
pub(super) fn Views(model: Model) -> impl IntoView {
    let accused = Memo::new(move |_| model.shown.with(|pool| view::accused(pool, ACCUSED_MAX)));
    let witnesses = Memo::new(move |_| model.shown.with(|pool| view::witnesses(pool, WITNESSES_MAX)));
    let note = move || {
        let (asked, all) = witnesses.with(|(names, all)| (names.len(), *all));
        (asked < all).then(|| format!("{asked} of {} members are asked, accusers and servers first", format::count(all as u64)))
    };
    view! {
        <section class="panel" aria-labelledby="h-say">
            <header><h2 id="h-say">"Who accuses whom"</h2><span class="dim">{note}</span></header>
            <Show
                when=move || !accused.with(Vec::is_empty)
                fallback=|| view! {
                    <Empty title="Nobody is accused" text="No member is suspected or has failed. When one is, this shows who accuses it and since when, each member asked itself."/>
                }
            >
                <div class="scrx" tabindex="0" role="region" aria-label="Members asked by row, accused by column">
                    <table class="tbl wit">
                        <thead>
                            <tr>
                                <th scope="col">"Member asked"</th>
                                <For each=move || accused.get() key=String::clone let:name><About model name/></For>
                            </tr>
                        </thead>
                        <tbody><For each=move || witnesses.get().0 key=String::clone let:name><Witness model name accused/></For></tbody>
                    </table>
                </div>
            </Show>
        </section>
    }
    .into_any()
}

/// Who it is about, and who accused it as the agent of this page has heard.
#[component]
fn About(model: Model, name: String) -> impl IntoView {
    let (title, href) = (format!("About {name}"), link(Page::node(&name, "health-checks")));
    let accusers = Memo::new(move |_| model.shown.with(|pool| view::accusers(pool, &name)));
    view! { <th scope="col"><a href=href>{title}</a><small>{move || accusers.get()}</small></th> }.into_any()
}

#[component]
fn Witness(model: Model, name: String, accused: Memo<Vec<String>>) -> impl IntoView {
    let node = name.clone();
    let pool = query(move || Some(GetGossip { node: node.clone(), read: Where { dc: model.dc.get(), ..Where::default() } }), |_| false);
    pool.poll(ASK);
    let own = StoredValue::new(name.clone());
    let cell = move |about: String| {
        let accused = about.clone();
        let accuses = move |pool: &Pool| own.with_value(|own| view::accuses(pool, own, &accused));
        let accuses = Memo::new(move |_| model.shown.with(&accuses) || pool.data.with(|pool| pool.as_ref().is_some_and(&accuses)));
        let told = move || match (pool.data.with(|pool| pool.as_ref().map(|pool| view::opinion(pool, &about))), pool.error.get()) {
            (Some(opinion), _) => opinion,
            (None, Some(_)) => ("warning", "none", "Did not answer".to_owned()),
            (None, None) => ("clock", "none", "Asking".to_owned()),
        };
        let told = Memo::new(move |_| told());
        view! {
            <td><span class=move || format!("st {}", told.read().1)><Icon name=Signal::derive(move || told.read().0)/><span>{move || told.read().2.clone()}</span></span>{move || accuses.get().then(|| view! { <Tag text="accuser"/> })}</td>
        }
    };
    view! {
        <tr>
            <th scope="row">{name}</th>
            <For each=move || accused.get() key=String::clone children=cell/>
        </tr>
    }
    .into_any()
}
