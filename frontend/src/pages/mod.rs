//! The pages. One folder each: `mod.rs` draws, `view.rs` decides what is drawn, as pure functions.

use crate::prelude::*;

use crate::{
    components::{Empty, Loaded},
    router::{self, Page, use_dc},
    state::agent::use_agent,
};

pub(crate) mod gossip;
pub(crate) mod kv;
pub(crate) mod node;
pub(crate) mod nodes;
pub(crate) mod overview;
pub(crate) mod raft;
pub(crate) mod register;
pub(crate) mod service;
pub(crate) mod services;
pub(crate) mod snapshots;

/// Says what this page is, in the browser's title.
pub(crate) fn title(name: impl Fn() -> String + 'static) {
    let dc = use_dc();
    Effect::new(move |_| {
        let dc = dc.get();
        document().set_title(&if dc.is_empty() { "Muster".to_owned() } else { format!("{}, {dc}, Muster", name()) });
    });
}

/// The bare root, until the agent has told its datacenter.
#[component]
pub(crate) fn Nowhere() -> impl IntoView {
    title(String::new);
    view! {
        <div class="page">
            <h1 class="sr">"Muster"</h1>
            <Loaded query=use_agent().about what="The agent" lines=8>""</Loaded>
        </div>
    }
    .into_any()
}

/// An address where nothing is.
#[component]
pub(crate) fn Unknown() -> impl IntoView {
    title(|| "Not found".to_owned());
    view! {
        <div class="page">
            <h1 class="sr">"Not found"</h1>
            <Empty title="There is no page here" text="The address may be from another version, or of a part that this one does not have.">
                <a class="btn pri" href=router::link(Page::Overview)>"Go to the overview"</a>
            </Empty>
        </div>
    }
    .into_any()
}
