//! A text editor for values: a textarea with a highlighted layer under it, and highlighted text by itself.
//!
//! The Tab key leaves it, as everywhere, unless the person asks for it. Large texts are edited without colours.

use wasm_bindgen::JsCast;

use super::syntax::{self, Class, Language};
use crate::prelude::*;

/// Bytes up to which text is coloured: past it every key press would be felt.
const COLOUR_MAX: usize = 64 * 1024;

/// Coloured text.
#[component]
pub(crate) fn Highlighted(#[prop(into)] text: Signal<String>, #[prop(into)] language: Signal<Language>) -> impl IntoView {
    move || {
        text.with(|text| {
            let language = if text.len() > COLOUR_MAX { Language::Text } else { language.get() };
            let piece = |(class, piece): (Class, &str)| {
                let piece = piece.to_owned();
                if class == Class::Plain { piece.into_any() } else { view! { <span class=class.css()>{piece}</span> }.into_any() }
            };
            syntax::pieces(language, text).into_iter().map(piece).collect_view()
        })
    }
}

/// A value under edit.
#[component]
pub(crate) fn Editor(
    #[prop(into)] id: String,
    #[prop(into)] label: String,
    text: RwSignal<String>,
    #[prop(into)] language: Signal<Language>,
    /// Whether the Tab key indents.
    #[prop(into)]
    tab_indents: Signal<bool>,
    /// Byte offset of the caret.
    caret: RwSignal<usize>,
    /// Control or command with S.
    #[prop(into)]
    on_save: Callback<()>,
) -> impl IntoView {
    let area = NodeRef::<html::Textarea>::new();
    let layer = NodeRef::<html::Pre>::new();
    let gutter = NodeRef::<html::Div>::new();
    let scroll = move |_| {
        let (Some(area), Some(layer), Some(gutter)) = (area.get_untracked(), layer.get_untracked(), gutter.get_untracked()) else { return };
        layer.set_scroll_top(area.scroll_top());
        layer.set_scroll_left(area.scroll_left());
        gutter.set_scroll_top(area.scroll_top());
    };
    let place = move || {
        let Some(area) = area.get_untracked() else { return };
        let utf16 = area.selection_end().ok().flatten().unwrap_or_default() as usize;
        caret.set(text.with_untracked(|text| byte_of(text, utf16)));
    };
    let on_key = move |event: web_sys::KeyboardEvent| {
        if (event.ctrl_key() || event.meta_key()) && event.key() == "s" {
            event.prevent_default();
            on_save.run(());
        } else if event.key() == "Tab" && tab_indents.get_untracked() && !event.shift_key() {
            event.prevent_default();
            if let Some(area) = area.get_untracked() {
                insert(&area, "  ");
                text.set(area.value());
            }
        }
    };
    let lines = Memo::new(move |_| text.with(|text| text.matches('\n').count() + 1));
    // The textarea holds its own text: it is written only when the text changed elsewhere, so that the caret stays.
    Effect::new(move |_| {
        let Some(area) = area.get() else { return };
        text.with(|text| {
            if area.value() != *text {
                area.set_value(text);
            }
        });
    });
    view! {
        <div class="edt">
            <div class="gut" node_ref=gutter aria-hidden="true">{move || (1..=lines.get()).map(|n| n.to_string()).collect::<Vec<_>>().join("\n")}</div>
            <div class="lay">
                // A last line without text has no height by itself.
                <pre node_ref=layer aria-hidden="true"><Highlighted text language/>"\n "</pre>
                <textarea
                    id=id
                    node_ref=area
                    aria-label=label
                    wrap="off"
                    spellcheck="false"
                    autocomplete="off"
                    autocapitalize="off"
                    on:input:target=move |event| { text.set(event.target().value()); place() }
                    on:keydown=on_key
                    on:keyup=move |_| place()
                    on:click=move |_| place()
                    on:scroll=scroll
                ></textarea>
            </div>
        </div>
    }
    .into_any()
}

/// Puts text at the caret, in place of the selection.
fn insert(area: &web_sys::HtmlTextAreaElement, text: &str) {
    // The old way is the only one that keeps the browser's own undo.
    let page = document().dyn_into::<web_sys::HtmlDocument>();
    if page.is_ok_and(|page| page.exec_command_with_show_ui_and_value("insertText", false, text).unwrap_or(false)) {
        return;
    }
    let (start, end) = (area.selection_start().ok().flatten().unwrap_or_default(), area.selection_end().ok().flatten().unwrap_or_default());
    let units: Vec<u16> = area.value().encode_utf16().collect();
    let cut = |from: u32, to: u32| String::from_utf16_lossy(&units[from as usize..(to as usize).min(units.len())]);
    area.set_value(&format!("{}{text}{}", cut(0, start), cut(end, units.len() as u32)));
    // A caret that cannot be placed stays where the browser puts it.
    let _ = area.set_selection_range(start + text.len() as u32, start + text.len() as u32);
}

/// The byte at which a UTF-16 offset lies.
fn byte_of(text: &str, utf16: usize) -> usize {
    let mut units = 0;
    for (at, c) in text.char_indices() {
        if units >= utf16 {
            return at;
        }
        units += c.len_utf16();
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_the_browser_become_bytes() {
        for (text, utf16, byte) in [("abc", 2, 2), ("äb", 1, 2), ("😀b", 2, 4), ("a", 9, 1), ("", 0, 0)] {
            assert_eq!(byte_of(text, utf16), byte, "{text}");
        }
    }
}
