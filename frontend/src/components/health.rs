//! Health as icon, word and colour; never colour alone.

use crate::prelude::*;
use shared::health::{Counts, Health};

use super::Icon;

/// The style sheet's class.
pub(crate) fn class(health: Health) -> &'static str {
    match health {
        Health::None => "none",
        Health::Passing => "ok",
        Health::Warning => "warn",
        Health::Critical => "crit",
        Health::Maintenance => "maint",
    }
}

/// The icon, which has its own outline for each.
pub(crate) fn icon(health: Health) -> &'static str {
    health.as_str()
}

/// The word for people.
pub(crate) fn word(health: Health) -> &'static str {
    match health {
        Health::None => "No checks",
        Health::Passing => "Passing",
        Health::Warning => "Warning",
        Health::Critical => "Critical",
        Health::Maintenance => "Maintenance",
    }
}

/// Every state that occurs, worst first: `2 critical, 3 passing`.
pub(crate) fn in_words(counts: &Counts) -> String {
    let mut words: Vec<String> = [Health::Critical, Health::Warning, Health::Maintenance, Health::Passing]
        .into_iter()
        .filter(|health| counts.of(*health) > 0)
        .map(|health| format!("{} {}", counts.of(health), health.as_str()))
        .collect();
    if counts.none > 0 {
        words.push(format!("{} without checks", counts.none));
    }
    words.join(", ")
}

/// Icon and word.
#[component]
pub(crate) fn HealthMark(
    #[prop(into)] health: Signal<Health>,
    /// Whether the word is visible.
    #[prop(default = true)]
    shown: bool,
) -> impl IntoView {
    view! {
        <span class=move || format!("st {}", class(health.get())) title=move || (!shown).then(|| word(health.get()))>
            <Icon name=Signal::derive(move || icon(health.get()))/>
            <span class=if shown { "w" } else { "sr" }>{move || word(health.get())}</span>
        </span>
    }
}

/// A health with more to say, for a page's header.
#[component]
pub(crate) fn Pill(#[prop(into)] health: Signal<Health>, #[prop(into)] text: Signal<String>) -> impl IntoView {
    view! {
        <span class=move || format!("pill {}", class(health.get()))>
            <Icon name=Signal::derive(move || icon(health.get()))/>
            {move || text.get()}
        </span>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_said_worst_first() {
        let counts = Counts { total: 6, passing: 3, warning: 0, critical: 2, maintenance: 0, none: 1 };
        assert_eq!(in_words(&counts), "2 critical, 3 passing, 1 without checks");
        assert_eq!(in_words(&Counts::default()), "");
    }
}
