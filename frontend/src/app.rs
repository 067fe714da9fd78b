//! The app: providers, and which page a place shows. The places themselves are in `router`.

use crate::{
    api::live,
    dom,
    layout::Shell,
    pages,
    prelude::*,
    router::{self, KeyAction, Page, Place, Step},
    state,
};

/// Replaces the static skeleton by the app.
pub(crate) fn mount() {
    let Some(root) = document().get_element_by_id("app") else { return };
    // boot.js may have started twice, when the first try seemed lost.
    if !matches!(root.query_selector(".boot"), Ok(Some(_))) {
        return;
    }
    root.set_inner_html("");
    dom::mount(&root, App);
}

#[component]
fn App() -> impl IntoView {
    let router = router::provide();
    state::provide();
    live::provide();
    state::cluster::provide();
    let agent = state::agent::provide();
    // The bare root leads to the agent's own datacenter.
    Effect::new(move |_| {
        if !router.place().read().dc.is_empty() {
            return;
        }
        let dc = agent.about.data.with(|about| about.as_ref().map(|about| state::agent::config(about, "Datacenter").to_owned()));
        if let Some(dc) = dc {
            router.open(&Place::new(&dc, Page::Overview).href(), Step::Replace);
        }
    });
    let screen = Memo::new(move |_| Screen::of(&router.place().read()));
    view! { <Shell>{move || screen.get().show()}</Shell> <pages::register::RegisterDrawer/> }
}

/// What is mounted: two places with the same screen keep its state.
#[derive(Clone, PartialEq)]
enum Screen {
    Nothing,
    Overview,
    Services,
    Service(String),
    Nodes,
    Node(String),
    Keys,
    Raft,
    Gossip,
    Snapshots,
    Unknown,
}

impl Screen {
    fn of(place: &Place) -> Self {
        match &place.page {
            _ if place.dc.is_empty() => Self::Nothing,
            Page::Overview => Self::Overview,
            Page::Services => Self::Services,
            Page::Service { name, .. } => Self::Service(name.clone()),
            Page::Nodes => Self::Nodes,
            Page::Node { name, .. } => Self::Node(name.clone()),
            Page::Keys { action: KeyAction::View | KeyAction::Edit | KeyAction::Create, .. } => Self::Keys,
            Page::Raft => Self::Raft,
            Page::Gossip => Self::Gossip,
            Page::Snapshots => Self::Snapshots,
            Page::Unknown => Self::Unknown,
        }
    }

    fn show(self) -> AnyView {
        match self {
            Self::Nothing => view! { <pages::Nowhere/> }.into_any(),
            Self::Overview => view! { <pages::overview::Overview/> }.into_any(),
            Self::Services => view! { <pages::services::Services/> }.into_any(),
            Self::Service(name) => view! { <pages::service::Service name/> }.into_any(),
            Self::Nodes => view! { <pages::nodes::Nodes/> }.into_any(),
            Self::Node(name) => view! { <pages::node::Node name/> }.into_any(),
            Self::Keys => view! { <pages::kv::Keys/> }.into_any(),
            Self::Raft => view! { <pages::raft::Raft/> }.into_any(),
            Self::Gossip => view! { <pages::gossip::Gossip/> }.into_any(),
            Self::Snapshots => view! { <pages::snapshots::Snapshots/> }.into_any(),
            Self::Unknown => view! { <pages::Unknown/> }.into_any(),
        }
    }
}
