//! Who says that a member is gone: what others think of those in trouble, each asked itself.

use std::time::Duration;

use crate::prelude::*;
use shared::{endpoint::Read as Where, gossip::GetGossip};

use super::{Model, view};
use crate::{
    api::query,
    components::{Empty, Icon},
};

/// Members in trouble shown side by side.
const ACCUSED_MAX: usize = 5;
/// Members asked.
const WITNESSES_MAX: usize = 9;
/// How often each is asked.
const ASK: Duration = Duration::from_secs(5);

/// One row for each member that is asked, one column for each in trouble.
#[component]
pub(super) fn Views(model: Model) -> impl IntoView {
    let accused = Memo::new(move |_| model.shown.with(|pool| view::accused(pool, ACCUSED_MAX)));
    let witnesses = Memo::new(move |_| model.shown.with(|pool| view::witnesses(pool, WITNESSES_MAX)));
    view! {
        <section class="panel" aria-labelledby="h-say">
            <header><h2 id="h-say">"What others think of members in trouble"</h2></header>
            <Show
                when=move || !accused.with(Vec::is_empty)
                fallback=|| view! {
                    <Empty title="Nobody is in trouble" text="No member is suspected or has failed. When one is, this shows what the others say about it, each asked itself."/>
                }
            >
                <div class="scrx" tabindex="0" role="region" aria-label="Opinions">
                    <table class="tbl wit">
                        <thead>
                            <tr>
                                <th scope="col">"Asked"</th>
                                <For each=move || accused.get() key=String::clone let:name><About model name/></For>
                            </tr>
                        </thead>
                        <tbody><For each=move || witnesses.get() key=String::clone let:name><Witness model name accused/></For></tbody>
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
    let title = format!("About {name}");
    let accusers = Memo::new(move |_| model.shown.with(|pool| view::accusers(pool, &name)));
    view! { <th scope="col">{title}<small class="dim">{move || accusers.get()}</small></th> }.into_any()
}

#[component]
fn Witness(model: Model, name: String, accused: Memo<Vec<String>>) -> impl IntoView {
    let node = name.clone();
    let pool = query(move || Some(GetGossip { node: node.clone(), read: Where { dc: model.dc.get(), ..Where::default() } }), |_| false);
    pool.poll(ASK);
    let cell = move |about: String| {
        let told = move || match (pool.data.with(|pool| pool.as_ref().map(|pool| view::opinion(pool, &about))), pool.error.get()) {
            (Some(opinion), _) => opinion,
            (None, Some(_)) => ("warning", "none", "Did not answer".to_owned()),
            (None, None) => ("clock", "none", "Asking".to_owned()),
        };
        let told = Memo::new(move |_| told());
        view! {
            <td><span class=move || format!("st {}", told.read().1)><Icon name=Signal::derive(move || told.read().0)/><span>{move || told.read().2.clone()}</span></span></td>
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
