//! The page Services.

use leptos::prelude::*;

use super::title;

/// The page.
#[component]
pub(crate) fn Services() -> impl IntoView {
    title(|| "Services".to_owned());
    view! { <div class="page"><div class="ph"><h1>"Services"</h1></div></div> }.into_any()
}
