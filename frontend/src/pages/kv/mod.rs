//! Key/value: folders, keys and their values.

use leptos::prelude::*;

use super::title;

/// The page. Stays mounted while folders and keys change; which one is shown comes from the router's place.
#[component]
pub(crate) fn Keys() -> impl IntoView {
    title(|| "Key/value".to_owned());
    view! { <div class="page"><div class="ph"><h1>"Key/value"</h1></div></div> }.into_any()
}
