//! The page Nodes.

use leptos::prelude::*;

use super::title;

/// The page.
#[component]
pub(crate) fn Nodes() -> impl IntoView {
    title(|| "Nodes".to_owned());
    view! { <div class="page"><div class="ph"><h1>"Nodes"</h1></div></div> }.into_any()
}
