//! How the person likes the dashboard: theme and density. Kept in the browser; boot.js applies them before the first
//! paint, so the names here and there must agree.

use crate::prelude::*;

/// Light or dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Theme {
    /// As the system says.
    #[default]
    System,
    Light,
    Dark,
}

impl Theme {
    pub(crate) const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|theme| theme.as_str() == word).unwrap_or_default()
    }
}

/// How high a row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Density {
    Compact,
    #[default]
    Normal,
    Roomy,
}

impl Density {
    pub(crate) const ALL: [Self; 3] = [Self::Compact, Self::Normal, Self::Roomy];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Compact => "compact",
            Self::Normal => "normal",
            Self::Roomy => "roomy",
        }
    }

    /// Height of a table row, px; the style sheet's `--row` is the same.
    pub(crate) fn row_px(self) -> f64 {
        match self {
            Self::Compact => 30.0,
            Self::Normal => 38.0,
            Self::Roomy => 46.0,
        }
    }

    fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|density| density.as_str() == word).unwrap_or_default()
    }
}

/// The person's choices. Copy it freely.
#[derive(Clone, Copy)]
pub(crate) struct Preferences {
    pub(crate) theme: RwSignal<Theme>,
    pub(crate) density: RwSignal<Density>,
    /// Whether single letters are shortcuts.
    pub(crate) letters: RwSignal<bool>,
}

/// The person's choices.
pub(crate) fn use_preferences() -> Preferences {
    expect_context()
}

pub(super) fn provide() {
    let preferences = Preferences {
        theme: RwSignal::new(Theme::parse(&load("muster.theme"))),
        density: RwSignal::new(Density::parse(&load("muster.density"))),
        letters: RwSignal::new(load("muster.letters") != "off"),
    };
    provide_context(preferences);
    Effect::new(move |_| {
        let theme = preferences.theme.get();
        show("theme", if theme == Theme::System { "" } else { theme.as_str() });
        store("muster.theme", theme.as_str());
    });
    Effect::new(move |_| {
        let density = preferences.density.get();
        show("density", if density == Density::Normal { "" } else { density.as_str() });
        store("muster.density", density.as_str());
    });
    Effect::new(move |_| store("muster.letters", if preferences.letters.get() { "on" } else { "off" }));
}

fn load(key: &str) -> String {
    super::local_storage().and_then(|storage| storage.get_item(key).ok().flatten()).unwrap_or_default()
}

fn store(key: &str, value: &str) {
    if let Some(storage) = super::local_storage() {
        // A full or forbidden storage only means that the choice is not remembered.
        let _ = storage.set_item(key, value);
    }
}

/// Sets `data-…` on the root element, or removes it.
fn show(name: &str, value: &str) {
    let Some(root) = document().document_element() else { return };
    let name = format!("data-{name}");
    let _ = if value.is_empty() { root.remove_attribute(&name) } else { root.set_attribute(&name, value) };
}
