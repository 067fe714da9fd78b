//! A tree with folders that load when opened: the APG pattern with one tab stop, arrows and type-ahead.

use crate::prelude::*;
use wasm_bindgen::JsCast;

use super::Icon;

/// One visible row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    /// What it is, whole; a folder ends with `/`.
    pub(crate) key: String,
    /// What is shown.
    pub(crate) label: String,
    /// From 1.
    pub(crate) level: usize,
    /// `None` for a leaf, else whether the folder is open.
    pub(crate) open: Option<bool>,
    /// The folder is open and its rows have not come yet.
    pub(crate) waiting: bool,
}

/// Rows drawn at most.
const ROWS_MAX: usize = 1_000;

/// The tree. Rows are links; `on_open` opens (`true`) or closes a folder without following its link.
#[component]
pub(crate) fn Tree(
    #[prop(into)] label: String,
    #[prop(into)] rows: Signal<Vec<Row>>,
    #[prop(into)] selected: Signal<String>,
    /// The address of a row.
    href: impl Fn(&str) -> String + Copy + Send + Sync + 'static,
    #[prop(into)] on_open: Callback<(String, bool)>,
) -> impl IntoView {
    let active = RwSignal::new(String::new());
    // The one row that Tab reaches: where the person was, else the selected one, else the first.
    let stop = Memo::new(move |_| {
        rows.with(|rows| {
            let has = |key: &str| rows.iter().any(|r| r.key == key);
            let (active, selected) = (active.get(), selected.get());
            if has(&active) {
                active
            } else if has(&selected) {
                selected
            } else {
                rows.first().map(|r| r.key.clone()).unwrap_or_default()
            }
        })
    });
    let on_key = move |event: web_sys::KeyboardEvent| {
        if event.ctrl_key() || event.meta_key() || event.alt_key() {
            return;
        }
        let Some(act) = rows.with_untracked(|rows| act(rows, &stop.get_untracked(), &event.key())) else { return };
        event.prevent_default();
        event.stop_propagation();
        match act {
            Act::Go(key) => {
                active.set(key);
                focus_active(event.current_target());
            }
            Act::Open(key, open) => on_open.run((key, open)),
        }
    };
    let row = move |row: Row| {
        let (key, folder) = (row.key.clone(), row.open.is_some());
        let (k1, k2, k3) = (key.clone(), key.clone(), key.clone());
        let arrow = match row.open {
            Some(open) => {
                let flip = move |event: web_sys::MouseEvent| {
                    event.prevent_default();
                    event.stop_propagation();
                    on_open.run((k3.clone(), !open));
                };
                view! { <span class="tw" on:click=flip><Icon name=if open { "down" } else { "right" } small=true/></span> }.into_any()
            }
            None => view! { <span class="tw"></span> }.into_any(),
        };
        view! {
            <li role="none">
                <a
                    class="ti"
                    role="treeitem"
                    href=href(&key)
                    aria-level=row.level.to_string()
                    aria-expanded=row.open.map(|open| if open { "true" } else { "false" })
                    aria-busy=row.waiting.then_some("true")
                    aria-selected=move || if selected.with(|s| *s == k1) { "true" } else { "false" }
                    tabindex=move || if stop.with(|s| *s == k2) { "0" } else { "-1" }
                    style:padding-left=format!("{}px", indent(row.level))
                    on:focus=move |_| active.set(key.clone())
                >
                    {arrow}
                    <Icon name=if folder { "folder" } else { "file" }/>
                    <span class="tl-t">{row.label}</span>
                </a>
            </li>
        }
    };
    let rest = move || rows.with(Vec::len).saturating_sub(ROWS_MAX);
    view! {
        <ul role="tree" aria-label=label on:keydown=on_key>
            {move || rows.get().into_iter().take(ROWS_MAX).map(row).collect_view()}
            {move || (rest() > 0).then(|| view! { <li role="none" class="note">{format!("{} more: search to see them.", rest())}</li> })}
        </ul>
    }
    .into_any()
}

/// Pixels before a row: deep levels step in less, so that their names stay in sight.
fn indent(level: usize) -> usize {
    let steps = level - 1;
    8 + steps.min(5) * 15 + steps.saturating_sub(5) * 4
}

fn focus_active(tree: Option<web_sys::EventTarget>) {
    let Some(tree) = tree.and_then(|t| t.dyn_into::<web_sys::Element>().ok()) else { return };
    // After the rows have their new tab stop.
    request_animation_frame(move || {
        let row = tree.query_selector("[tabindex='0']").ok().flatten().and_then(|row| row.dyn_into::<web_sys::HtmlElement>().ok());
        if let Some(row) = row {
            // A row that is gone cannot be focused, and then there is nothing to do.
            let _ = row.focus();
        }
    });
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    Go(String),
    Open(String, bool),
}

/// What a key does while `at` has the focus.
fn act(rows: &[Row], at: &str, key: &str) -> Option<Act> {
    let here = rows.iter().position(|r| r.key == at)?;
    let row = &rows[here];
    let go = |index: usize| rows.get(index).map(|r| Act::Go(r.key.clone()));
    match key {
        "ArrowDown" => go(here + 1),
        "ArrowUp" => go(here.checked_sub(1)?),
        "Home" => go(0),
        "End" => go(rows.len() - 1),
        "ArrowRight" => match row.open? {
            false => Some(Act::Open(row.key.clone(), true)),
            true => go(here + 1).filter(|_| rows.get(here + 1).is_some_and(|r| r.level > row.level)),
        },
        "ArrowLeft" if row.open == Some(true) => Some(Act::Open(row.key.clone(), false)),
        "ArrowLeft" => go(rows[..here].iter().rposition(|r| r.level < row.level)?),
        _ => {
            let mut chars = key.chars();
            let letter = chars.next().filter(|c| chars.next().is_none() && c.is_alphanumeric())?.to_lowercase().next()?;
            let starts = |r: &Row| r.label.chars().next().and_then(|c| c.to_lowercase().next()) == Some(letter);
            let next = (here + 1..rows.len()).chain(0..here).find(|&i| starts(&rows[i]))?;
            go(next)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_move_open_and_find() {
        let row = |key: &str, level, open| Row { key: key.to_owned(), label: key.to_owned(), level, open, waiting: false };
        let rows = [row("a/", 1, Some(true)), row("a/b/", 2, Some(false)), row("a/c", 2, None), row("d", 1, None)];
        let go = |key: &str| Some(Act::Go(key.to_owned()));
        let open = |key: &str, open| Some(Act::Open(key.to_owned(), open));
        let check = |at: &str, key: &str, expected: Option<Act>| assert_eq!(act(&rows, at, key), expected, "{at} {key}");
        check("a/", "ArrowDown", go("a/b/"));
        check("a/", "ArrowUp", None);
        check("d", "ArrowDown", None);
        check("a/", "ArrowRight", go("a/b/"));
        check("a/b/", "ArrowRight", open("a/b/", true));
        check("a/c", "ArrowRight", None);
        check("a/", "ArrowLeft", open("a/", false));
        check("a/c", "ArrowLeft", go("a/"));
        check("d", "ArrowLeft", None);
        check("a/c", "End", go("d"));
        check("a/c", "D", go("d"));
        check("d", "a", go("a/"));
        check("d", "x", None);
        check("d", "Enter", None);
        check("gone", "ArrowDown", None);
    }
}
