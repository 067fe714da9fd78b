//! Muster's dashboard: a Leptos app that runs in the browser and speaks only the agent's HTTP API.
//!
//! Reading order: `router` (the site map), `app` (what page a place shows), `api` (how data comes), `components`
//! (what pages are made of; start with its head), then a page. Each page keeps its logic in a `view.rs` of pure
//! functions, tested natively.
#![allow(unreachable_pub)] // the component macro makes its props public

mod actions;
mod api;
mod app;
mod components;
mod dom;
mod format;
mod layout;
mod order;
mod pages;
mod prelude;
mod reactive;
mod router;
mod state;

/// Mounts the app over the static skeleton of index.html.
pub fn start() {
    console_error_panic_hook::set_once();
    app::mount();
}
