//! What belongs to the person and the agent rather than to a page: the only contexts beside the router and the change
//! stream.

pub(crate) mod agent;
pub(crate) mod clock;
pub(crate) mod cluster;
pub(crate) mod notices;
pub(crate) mod preferences;
pub(crate) mod token;

/// Provides them all. Called once.
pub(crate) fn provide() {
    clock::provide();
    preferences::provide();
    token::provide();
    notices::provide();
}

/// The browser's lasting storage; `None` where it is forbidden.
fn local_storage() -> Option<web_sys::Storage> {
    leptos::prelude::window().local_storage().ok().flatten()
}
