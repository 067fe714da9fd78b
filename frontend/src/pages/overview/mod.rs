//! The page Overview.

use leptos::prelude::*;

use super::title;

/// The page.
#[component]
pub(crate) fn Overview() -> impl IntoView {
    title(|| "Overview".to_owned());
    view! { <div class="page"><div class="ph"><h1>"Overview"</h1></div></div> }.into_any()
}
