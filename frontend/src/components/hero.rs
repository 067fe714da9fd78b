//! The head of a page that says its state in a sentence, with a few numbers beside it.

use crate::prelude::*;

/// `3 services` loud, `are failing.` after it, and one line more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sentence {
    pub(crate) loud: String,
    /// The loud part's colour.
    pub(crate) class: &'static str,
    pub(crate) rest: String,
    pub(crate) more: String,
}

/// A number beside the sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) note: String,
}

impl Fact {
    pub(crate) fn new(name: &'static str, value: String, note: String) -> Self {
        Self { name, value, note }
    }
}

/// The sentence, and the numbers at the right; on narrow screens without them.
#[component]
pub(crate) fn Hero(#[prop(into)] sentence: Signal<Sentence>, #[prop(into)] facts: Signal<Vec<Fact>>) -> impl IntoView {
    view! {
        <div class="hero">
            <div>
                <h1>
                    {move || sentence.with(|sentence| (!sentence.loud.is_empty()).then(|| view! { <em class=sentence.class>{sentence.loud.clone()}</em> }))}
                    {move || sentence.with(|sentence| sentence.rest.clone())}
                </h1>
                <p>{move || sentence.with(|sentence| sentence.more.clone())}</p>
            </div>
            <dl class="facts">
                {move || facts.get().into_iter().map(|fact| view! {
                    <div><dt>{fact.name}</dt><dd class="num">{fact.value}" "<small>{fact.note}</small></dd></div>
                }).collect_view()}
            </dl>
        </div>
    }
}
