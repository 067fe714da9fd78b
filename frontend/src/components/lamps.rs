//! Lamps: one mark an instance, whose silhouette tells its state; from 25 on a bar in proportion.

use crate::prelude::*;
use shared::health::{Counts, Health};

use super::health::{class, in_words};

/// Marks in one row, at most.
const MARKS_MAX: u32 = 24;
const ORDER: [Health; 5] = [Health::Critical, Health::Warning, Health::Maintenance, Health::None, Health::Passing];

/// The marks of some instances, worst first.
#[component]
pub(crate) fn Lamps(#[prop(into)] counts: Signal<Counts>) -> impl IntoView {
    move || {
        let counts = counts.get();
        let present = ORDER.into_iter().filter(move |health| counts.of(*health) > 0);
        if counts.total <= MARKS_MAX {
            let marks = present.flat_map(|health| std::iter::repeat_n(class(health), counts.of(health) as usize));
            let marks = marks.map(|class| view! { <i class=format!("l {class}")></i> }).collect_view();
            view! { <span class="lamps" role="img" aria-label=in_words(&counts)>{marks}</span> }.into_any()
        } else {
            let parts = present.map(|health| view! { <i class=class(health) style:flex=counts.of(health).to_string()></i> }).collect_view();
            view! { <span class="prop" role="img" aria-label=in_words(&counts)>{parts}</span> }.into_any()
        }
    }
}
