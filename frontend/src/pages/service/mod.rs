//! One service.

use leptos::prelude::*;

use super::title;

/// The page of one service. Rebuilt when the name changes; tab and selection come from the router's place.
#[component]
pub(crate) fn Service(name: String) -> impl IntoView {
    let heading = name.clone();
    title(move || name.clone());
    view! { <div class="page"><div class="ph"><h1>{heading}</h1></div></div> }.into_any()
}
