//! Long lists: only the rows in sight exist, the agent is asked for a window of rows around them, and rows do not move
//! under the pointer.
//!
//! A page makes a [`List`], asks for [`List::offset`] and [`WINDOW`] rows in its query, hands the query's data to
//! [`List::follow`], and draws [`VirtualRows`] as the body of a real `table` inside `.lst > .scr`.

use std::collections::BTreeSet;

use shared::page::Page;
use wasm_bindgen::JsCast;

use crate::{format, layout::keys::on_key, prelude::*, state::preferences::use_preferences};

/// Rows asked for at once.
pub(crate) const WINDOW: u32 = 150;
/// The window moves in steps, so that scrolling a few rows asks nothing.
const STEP: u32 = 50;
/// Rows drawn beyond what is in sight, on both sides.
const SPARE: u32 = 8;

/// A row with a name that is its own in the list.
pub(crate) trait Row: Clone + PartialEq + Default + Send + Sync + 'static {
    fn key(&self) -> &str;
}

/// The state of one list. Copy it freely.
pub(crate) struct List<R: Row> {
    /// The window as shown; its order may lag behind while the pointer is on it.
    pub(crate) page: RwSignal<Page<R>>,
    /// Rows that will move when the order is let go.
    pub(crate) waiting: RwSignal<u32>,
    /// Which row the keys act on, counted from 0 in the whole list.
    pub(crate) cursor: RwSignal<Option<u32>>,
    /// Selected rows by key.
    pub(crate) selected: RwSignal<BTreeSet<String>>,
    latest: RwSignal<Option<Page<R>>>,
    held: RwSignal<bool>,
    /// First row in sight, and how many are.
    sight: RwSignal<(u32, u32)>,
    row_px: RwSignal<f64>,
    /// The row that gets the focus when it is there.
    wanted: RwSignal<Option<u32>>,
    /// Where a range selection began.
    anchor: RwSignal<Option<u32>>,
    /// Whether a row that changes glows.
    glows: bool,
}

impl<R: Row> Clone for List<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: Row> Copy for List<R> {}

impl<R: Row> List<R> {
    pub(crate) fn new() -> Self {
        Self {
            page: RwSignal::new(Page::default()),
            waiting: RwSignal::new(0),
            cursor: RwSignal::new(None),
            selected: RwSignal::new(BTreeSet::new()),
            latest: RwSignal::new(None),
            held: RwSignal::new(false),
            sight: RwSignal::new((0, 40)),
            row_px: RwSignal::new(use_preferences().density.get_untracked().row_px()),
            wanted: RwSignal::new(None),
            anchor: RwSignal::new(None),
            glows: true,
        }
    }

    /// Of rows whose numbers move all the time: a change is no news.
    pub(crate) fn still(self) -> Self {
        Self { glows: false, ..self }
    }

    /// First row to ask for.
    pub(crate) fn offset(self) -> Memo<u32> {
        Memo::new(move |_| window_start(self.sight.get()))
    }

    /// First and last row in sight, counted from 1; `None` while there is none.
    pub(crate) fn in_sight(self) -> Option<(u32, u32)> {
        let (first, fit) = self.sight.get();
        let matched = self.page.with(|page| page.matched);
        (matched > 0).then(|| (first.min(matched - 1) + 1, (first + fit).min(matched)))
    }

    /// The row at a place of the whole list, if it is loaded.
    pub(crate) fn row(self, at: u32) -> Option<R> {
        self.page.with(|page| at.checked_sub(page.offset).and_then(|at| page.rows.get(at as usize)).cloned())
    }

    /// Shows what comes. `scope` is everything that makes it another list: filter, order, state.
    pub(crate) fn follow(self, data: Signal<Option<Page<R>>>, scope: Signal<String>) {
        let shown_scope = StoredValue::new(String::new());
        Effect::new(move |_| {
            let Some(new) = data.get() else { return };
            let scope = scope.get_untracked();
            let same = shown_scope.with_value(|shown| *shown == scope) && self.page.with_untracked(|page| page.offset == new.offset);
            shown_scope.set_value(scope);
            if same && self.held.get_untracked() {
                let (merged, moved) = self.page.with_untracked(|shown| merge(shown, &new));
                self.waiting.set(moved);
                self.latest.set((moved > 0).then_some(new));
                self.page.set(merged);
            } else {
                self.latest.set(None);
                self.waiting.set(0);
                self.page.set(new);
            }
        });
        Effect::new(move |before: Option<()>| {
            scope.track();
            if before.is_some() {
                self.cursor.set(None);
                self.sight.update(|(first, _)| *first = 0);
                scroll_to(0.0);
            }
        });
        Effect::new(move |_| {
            if !self.held.get() {
                self.apply()
            }
        });
    }

    /// Lets the rows go where they belong.
    pub(crate) fn apply(self) {
        if let Some(latest) = self.latest.get_untracked() {
            self.latest.set(None);
            self.waiting.set(0);
            self.page.set(latest);
        }
    }

    /// Selects a row or, when it is selected, does not.
    pub(crate) fn toggle(self, key: &str) {
        self.selected.update(|selected| {
            if !selected.remove(key) {
                selected.insert(key.to_owned());
            }
        });
    }

    /// What an action acts on: the selection, else the row under the cursor.
    pub(crate) fn chosen(self) -> Vec<String> {
        let selected: Vec<String> = self.selected.with_untracked(|selected| selected.iter().cloned().collect());
        let cursor = || self.cursor.get_untracked().and_then(|at| untrack(|| self.row(at))).map(|row| row.key().to_owned());
        if selected.is_empty() { cursor().into_iter().collect() } else { selected }
    }

    /// Moves the cursor and scrolls to it; its link gets the focus.
    fn move_to(self, at: u32) {
        let Some(last) = self.page.with_untracked(|page| page.matched.checked_sub(1)) else { return };
        let at = at.min(last);
        self.cursor.set(Some(at));
        if row_element(at).is_none() {
            scroll_to(f64::from(at.saturating_sub(3)) * self.row_px.get_untracked());
        }
        self.wanted.set(Some(at));
    }

    /// Gives the focus to the row it was moved to, as soon as that row is drawn.
    fn focus_wanted(self) {
        let Some(row) = self.wanted.get_untracked().and_then(row_element) else { return };
        let nearest = web_sys::ScrollIntoViewOptions::new();
        nearest.set_block(web_sys::ScrollLogicalPosition::Nearest);
        row.scroll_into_view_with_scroll_into_view_options(&nearest);
        let link = row.query_selector("a.nm").ok().flatten().and_then(|link| link.dyn_into::<web_sys::HtmlElement>().ok());
        if link.is_some_and(|link| link.focus().is_ok()) {
            self.wanted.set(None);
        }
    }

    fn select_range(self, to: u32) {
        let from = self.anchor.get_untracked().unwrap_or(to);
        for at in from.min(to)..=from.max(to) {
            if let Some(row) = untrack(|| self.row(at)) {
                self.selected.update(|selected| selected.extend([row.key().to_owned()]));
            }
        }
    }

    /// The keys of lists: J, K, arrows, Home, End, X, Shift X, Escape. `more` gets the others.
    pub(crate) fn keys(self, more: impl Fn(&str) -> bool + 'static) {
        on_key(move |key, event| {
            let at = self.cursor.get_untracked();
            match key {
                "j" | "arrowdown" => self.move_to(at.map_or(0, |at| at + 1)),
                "k" | "arrowup" => self.move_to(at.map_or(0, |at| at.saturating_sub(1))),
                "home" => self.move_to(0),
                "end" => self.move_to(u32::MAX),
                "x" if event.shift_key() => at.into_iter().for_each(|at| self.select_range(at)),
                "x" => {
                    let Some(row) = at.and_then(|at| untrack(|| self.row(at))) else { return false };
                    self.anchor.set(at);
                    self.toggle(row.key());
                }
                "escape" if !self.selected.with_untracked(BTreeSet::is_empty) => self.selected.update(BTreeSet::clear),
                other => return more(other),
            }
            true
        });
    }

    /// Looks which rows are in sight.
    fn look(self, body: &web_sys::Element) {
        let Some(scroller) = body.closest(".scr").ok().flatten() else { return };
        let Some(main) = body.closest("main").ok().flatten() else { return };
        let (inner, outer, rows) = (scroller.get_bounding_client_rect(), main.get_bounding_client_rect(), body.get_bounding_client_rect());
        if let Some(row) = body.query_selector("tr[data-row]").ok().flatten() {
            let height = row.get_bounding_client_rect().height();
            if height > 8.0 && (height - self.row_px.get_untracked()).abs() > 0.5 {
                self.row_px.set(height);
            }
        }
        let (top, bottom) = (inner.top().max(outer.top()), inner.bottom().min(outer.bottom()));
        let seen = sight(top - rows.top(), bottom - top, self.row_px.get_untracked());
        if self.sight.get_untracked() != seen {
            self.sight.set(seen);
        }
    }
}

/// The rows in sight, from how far the list is scrolled.
fn sight(scrolled_px: f64, height_px: f64, row_px: f64) -> (u32, u32) {
    let first = (scrolled_px / row_px).floor().max(0.0) as u32;
    (first, ((height_px.max(0.0) / row_px).ceil() as u32).clamp(1, 100))
}

/// Where the window of rows to ask for starts, so that what is in sight lies well inside.
fn window_start((first, _): (u32, u32)) -> u32 {
    first.saturating_sub(STEP / 2) / STEP * STEP
}

/// The new rows in the old order, and how many of them belong elsewhere.
fn merge<R: Row>(shown: &Page<R>, new: &Page<R>) -> (Page<R>, u32) {
    let moved =
        shown.rows.iter().zip(&new.rows).filter(|(old, new)| old.key() != new.key()).count() + shown.rows.len().abs_diff(new.rows.len());
    if moved == 0 {
        return (new.clone(), 0);
    }
    // A window holds a few hundred rows: a map would be more code than it saves time.
    let newest = |old: &R| new.rows.iter().find(|row| row.key() == old.key()).unwrap_or(old).clone();
    let rows = shown.rows.iter().map(newest).collect();
    (Page { rows, matched: shown.matched, ..new.clone() }, u32::try_from(moved).unwrap_or(u32::MAX))
}

fn row_element(at: u32) -> Option<web_sys::Element> {
    document().query_selector(&format!("tr[data-row=\"{at}\"]")).ok().flatten()
}

/// Scrolls whichever of the list and the page scrolls.
fn scroll_to(px: f64) {
    for place in [".lst .scr", "main"] {
        if let Some(element) = document().query_selector(place).ok().flatten() {
            element.set_scroll_top(px as i32);
        }
    }
}

/// The body of the table. `cells` draws one row's cells from a signal, so that a refresh changes cells, not rows.
#[component]
pub(crate) fn VirtualRows<R: Row>(list: List<R>, cells: fn(List<R>, Memo<R>) -> AnyView) -> impl IntoView {
    let body = NodeRef::<html::Tbody>::new();
    let look = move || body.get_untracked().into_iter().for_each(|body| list.look(&body));
    on_scroll(look);
    Effect::new(move |_| {
        list.page.with(|page| page.matched);
        request_animation_frame(look);
    });
    let range = Memo::new(move |_| {
        let (first, fit) = list.sight.get();
        let matched = list.page.with(|page| page.matched);
        (first.saturating_sub(SPARE).min(matched), (first + fit + SPARE).min(matched))
    });
    let rows = move || {
        let (from, to) = range.get();
        (from..to).map(|at| (at, list.row(at).map(|row| row.key().to_owned()))).collect::<Vec<_>>()
    };
    let rows = Memo::new(move |_| rows());
    Effect::new(move |_| {
        rows.track();
        if list.wanted.get().is_some() {
            request_animation_frame(move || list.focus_wanted());
        }
    });
    let gap = move |rows: u32| format::decimal(f64::from(rows) * list.row_px.get(), 1) + "px";
    let after = move || list.page.with(|page| page.matched).saturating_sub(range.get().1);
    view! {
        <tbody
            node_ref=body
            on:pointerenter=move |_| list.held.set(true)
            on:pointerleave=move |_| list.held.set(false)
        >
            <Show when=move || { range.get().0 > 0 }>
                <tr class="gap" aria-hidden="true"><td style:height=move || gap(range.get().0)></td></tr>
            </Show>
            <For each=move || rows.get() key=Clone::clone children=move |slot| one_row(list, slot, cells)/>
            <Show when=move || { after() > 0 }>
                <tr class="gap" aria-hidden="true"><td style:height=move || gap(after())></td></tr>
            </Show>
        </tbody>
    }
}

fn one_row<R: Row>(list: List<R>, slot: (u32, Option<String>), cells: fn(List<R>, Memo<R>) -> AnyView) -> AnyView {
    let (at, key) = slot;
    let Some(key) = key else {
        // As many columns as the narrowest screen has: one more would take room from the others.
        return view! { <tr data-row=at><td colspan="3"><span class="sk"></span></td></tr> }.into_any();
    };
    let row = Memo::new(move |old: Option<&R>| list.row(at).or_else(|| old.cloned()).unwrap_or_default());
    let picked = Memo::new(move |_| list.selected.with(|selected| selected.contains(&key)));
    // A row that changes while it is on screen glows for a moment: the class alternates, so that each change starts it anew.
    let changes = Memo::new(move |old: Option<&u32>| {
        if list.glows {
            row.track();
        }
        old.map_or(0, |old| old + 1)
    });
    view! {
        <tr
            data-row=at
            class:new-a=move || changes.get() % 2 == 1
            class:new-b=move || { changes.get() > 0 && changes.get().is_multiple_of(2) }
            class:cur=move || list.cursor.get() == Some(at)
            aria-rowindex=at + 2
            aria-selected=move || if picked.get() { "true" } else { "false" }
            on:focusin=move |_| list.cursor.set(Some(at))
        >
            {cells(list, row)}
        </tr>
    }
    .into_any()
}

/// Calls back, at most once a frame, when anything on the page scrolls or the window changes its size.
fn on_scroll(look: impl Fn() + Copy + Send + Sync + 'static) {
    let planned = StoredValue::new(false);
    let plan = move || {
        if planned.try_get_value() == Some(false) {
            planned.set_value(true);
            request_animation_frame(move || {
                if planned.try_set_value(false).is_none() {
                    look();
                }
            });
        }
    };
    // Scrolling does not bubble, but it can be caught on the way down.
    on_capture("scroll", move |_| plan());
    on_window("resize", move |_: web_sys::Event| plan());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default, PartialEq)]
    struct Name(&'static str, u8);

    impl Row for Name {
        fn key(&self) -> &str {
            self.0
        }
    }

    fn page(rows: &[(&'static str, u8)]) -> Page<Name> {
        let rows: Vec<Name> = rows.iter().map(|(name, value)| Name(name, *value)).collect();
        Page { matched: rows.len() as u32, rows, ..Page::default() }
    }

    #[test]
    fn rows_keep_their_place_but_show_what_is_new() {
        let shown = page(&[("a", 0), ("b", 0), ("c", 0)]);
        let (merged, moved) = merge(&shown, &page(&[("c", 1), ("a", 1), ("b", 1)]));
        assert_eq!((merged.rows, moved), (page(&[("a", 1), ("b", 1), ("c", 1)]).rows, 3));
        let (merged, moved) = merge(&shown, &page(&[("a", 1), ("b", 0)]));
        assert_eq!((merged.rows, moved), (page(&[("a", 1), ("b", 0), ("c", 0)]).rows, 1));
        assert_eq!(merge(&shown, &page(&[("a", 0), ("b", 2), ("c", 0)])).1, 0);
    }

    #[test]
    fn the_window_holds_what_is_in_sight() {
        for first in [0, 10, 49, 50, 99, 1234, 9_999] {
            let start = window_start((first, 40));
            assert!(start <= first && first + 40 + SPARE <= start + WINDOW, "{first}: {start}");
        }
        assert_eq!(sight(-20.0, 760.0, 38.0), (0, 20));
        assert_eq!(sight(3_800.0, 100.0, 38.0), (100, 3));
    }
}
