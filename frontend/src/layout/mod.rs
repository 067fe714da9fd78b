//! The frame around every page.

mod header;
mod help;
pub(crate) mod keys;
pub(crate) mod palette;
pub(crate) mod sidebar;
mod toasts;

use crate::prelude::*;
use wasm_bindgen::JsCast;

use crate::{
    components::Banner,
    format,
    router::{Page, link},
    state::cluster::{banner, use_cluster},
};

/// Over every page while nobody leads.
#[component]
fn Leaderless() -> impl IntoView {
    let cluster = use_cluster();
    let text =
        Memo::new(move |_| cluster.raft.data.with(|raft| raft.as_ref().map(|raft| banner(raft, format::zone_min())).unwrap_or_default()));
    view! {
        <Show when=move || cluster.leaderless.get()>
            <div class="leaderless">
                <Banner text=text><a class="btn sm" href=link(Page::Raft)>"What to do"</a></Banner>
            </div>
        </Show>
    }
}

/// Side bar, header, the page, and what floats.
#[component]
pub(crate) fn Shell(children: Children) -> impl IntoView {
    sidebar::provide_overview();
    let overlay = RwSignal::new(None);
    provide_context(palette::OpenOverlay(overlay));
    keys::install(overlay);
    let skip = |event: web_sys::MouseEvent| {
        event.prevent_default();
        let main = document().get_element_by_id("main").and_then(|main| main.dyn_into::<web_sys::HtmlElement>().ok());
        if let Some(main) = main {
            // The page is always there; without focus the link merely does nothing.
            let _ = main.focus();
        }
    };
    view! {
        <a class="skip" href="#main" on:click=skip>"Skip to content"</a>
        <div class="app">
            <sidebar::Sidebar/>
            <header::Header/>
            <main class="main" id="main" tabindex="-1"><Leaderless/>{children()}</main>
            <sidebar::BottomBar/>
        </div>
        <toasts::Toasts/>
        <palette::Palette overlay/>
        <help::Help overlay/>
        <sidebar::More overlay/>
    }
    .into_any()
}
