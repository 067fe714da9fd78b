//! Keys that work on every page, and the rule when a single letter is a shortcut at all: never while something is being
//! typed, never under an open dialog, and only if the person has not turned letters off.

use std::time::Duration;

use wasm_bindgen::JsCast;
use web_sys::KeyboardEvent;

use super::palette::Overlay;
use crate::{
    api::use_live,
    prelude::*,
    router::{Page, use_router},
    state::preferences::{Theme, use_preferences},
};

/// How long `g` waits for its second letter.
const CHORD: Duration = Duration::from_millis(1200);

/// Every shortcut: keys, what they do, and where. The help shows these.
pub(crate) const HELP: [(&str, &[(&str, &str)]); 4] = [
    (
        "Everywhere",
        &[
            ("Ctrl K", "Search or run a command"),
            ("/", "Filter this page"),
            ("?", "These keys"),
            ("P", "Pause or resume live updates"),
            ("T", "Next theme"),
            ("Esc", "Back out one level"),
        ],
    ),
    (
        "Go to",
        &[
            ("G O", "Overview"),
            ("G S", "Services"),
            ("G N", "Nodes"),
            ("G K", "Key / value"),
            ("G R", "Raft"),
            ("G M", "Gossip members"),
            ("G B", "Snapshots (backups)"),
        ],
    ),
    (
        "Lists",
        &[
            ("J K", "Next, previous row"),
            ("Enter", "Open"),
            ("X", "Select"),
            ("Shift X", "Select up to here"),
            ("R", "Run checks"),
            ("M", "Maintenance"),
        ],
    ),
    (
        "A service, node or key",
        &[
            ("J K", "Next, previous instance"),
            ("R", "Run all its checks"),
            ("M", "Maintenance"),
            ("E", "Edit"),
            ("Y", "Copy the address"),
            ("[ ]", "Previous, next tab"),
        ],
    ),
];

/// Whether this key press is free to be a shortcut.
pub(crate) fn is_free(event: &KeyboardEvent) -> bool {
    if event.default_prevented() || event.meta_key() || event.ctrl_key() || event.alt_key() {
        return false;
    }
    let typing = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok()).is_some_and(|element| {
        let name = element.tag_name();
        let text = name == "INPUT" && !matches!(element.get_attribute("type").as_deref(), Some("checkbox" | "radio" | "button"));
        text || name == "TEXTAREA" || name == "SELECT" || element.has_attribute("contenteditable")
    });
    !typing && document().query_selector("dialog[open]").ok().flatten().is_none()
}

/// Calls back for free key presses while the current component lives. The callback says whether it used the key.
pub(crate) fn on_key(handle: impl Fn(&str, &KeyboardEvent) -> bool + 'static) {
    let letters = use_preferences().letters;
    on_window("keydown", move |event: KeyboardEvent| {
        let key = event.key();
        let letter = key.chars().count() == 1;
        if is_free(&event) && (!letter || letters.get_untracked()) && handle(&key.to_lowercase(), &event) {
            event.prevent_default();
        }
    });
}

/// Listens for the keys that work everywhere. Called once.
pub(super) fn install(overlay: RwSignal<Option<Overlay>>) {
    let (router, live, preferences) = (use_router(), use_live(), use_preferences());
    on_window("keydown", move |event: KeyboardEvent| {
        if (event.meta_key() || event.ctrl_key()) && event.key().eq_ignore_ascii_case("k") {
            event.prevent_default();
            overlay.update(|overlay| *overlay = if *overlay == Some(Overlay::Palette) { None } else { Some(Overlay::Palette) });
        }
    });
    let chord = StoredValue::new(false);
    on_key(move |key, _| {
        if chord.get_value() {
            chord.set_value(false);
            let page = match key {
                "o" => Page::Overview,
                "s" => Page::Services,
                "n" => Page::Nodes,
                "k" => Page::keys(""),
                "r" => Page::Raft,
                "m" => Page::Gossip,
                "b" => Page::Snapshots,
                _ => return false,
            };
            router.go(page);
            return true;
        }
        match key {
            "g" => {
                chord.set_value(true);
                set_timeout(move || chord.set_value(false), CHORD);
            }
            "/" => return focus_filter(),
            "?" => overlay.set(Some(Overlay::Help)),
            "p" => live.toggle_pause(),
            "t" => preferences.theme.update(|theme| *theme = theme.next()),
            _ => return false,
        }
        true
    });
}

/// Puts the cursor into the page's filter, if it has one.
fn focus_filter() -> bool {
    let field =
        document().query_selector("[data-filter]").ok().flatten().and_then(|field| field.dyn_into::<web_sys::HtmlInputElement>().ok());
    let Some(field) = field else { return false };
    field.select();
    field.focus().is_ok()
}

impl Theme {
    /// The next one in turn.
    pub(crate) fn next(self) -> Self {
        match self {
            Self::System => Self::Light,
            Self::Light => Self::Dark,
            Self::Dark => Self::System,
        }
    }
}
