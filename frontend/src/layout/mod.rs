//! The frame around every page.

mod header;
mod help;
pub(crate) mod keys;
pub(crate) mod palette;
pub(crate) mod sidebar;
mod toasts;

use crate::prelude::*;
use wasm_bindgen::JsCast;

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
            <main class="main" id="main" tabindex="-1">{children()}</main>
            <sidebar::BottomBar/>
        </div>
        <toasts::Toasts/>
        <palette::Palette overlay/>
        <help::Help overlay/>
    }
    .into_any()
}
