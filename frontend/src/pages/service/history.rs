//! The tab with everything recorded about the service's checks.

use crate::prelude::*;
use shared::check::History;

use super::{instances::RangePicker, model::Model, view};
use crate::{
    components::{
        Icon, health,
        lanes::{self, Lane, Lanes},
    },
    format,
    router::Step,
};

/// Rows of the list at most.
const ROWS_MAX: usize = 200;
/// Lanes drawn at most.
const LANES_MAX: usize = 40;

/// Transitions with the checks' names and the instances they belong to, newest first.
pub(crate) fn all_changes(model: Model, histories: &[History], most: usize) -> Vec<view::Change> {
    let names = names(model);
    // The instance says more than the node; a node's own check has none.
    let told = histories.iter().map(|history| {
        let (name, instance) = named(&names, history);
        (history, name, if instance.is_empty() { history.node.as_str() } else { instance })
    });
    view::changes(told, most)
}

/// A check as the catalog knows it.
pub(crate) struct Named {
    node: String,
    id: String,
    name: String,
    instance: String,
}

fn names(model: Model) -> Vec<Named> {
    let of = |row: &shared::health::ServiceNode| {
        let checks = row.checks.iter();
        checks
            .map(|c| Named { node: c.node.clone(), id: c.id.clone(), name: super::checks::title(c), instance: c.service_id.clone() })
            .collect::<Vec<_>>()
    };
    model.shown.with(|rows| rows.iter().flat_map(of).collect())
}

/// Name and instance of a check; its id where the catalog has forgotten it.
fn named<'a>(names: &'a [Named], h: &'a History) -> (&'a str, &'a str) {
    names.iter().find(|n| n.node == h.node && n.id == h.check_id).map_or((&h.check_id, &h.node), |n| (&n.name, &n.instance))
}

/// The whole tab.
#[component]
pub(crate) fn HistoryTab(model: Model) -> impl IntoView {
    let only = model.router.param("node");
    let range = model.range();
    let histories = Memo::new(move |_| {
        let only = only.get();
        let mut all = model.histories.data.get().unwrap_or_default();
        all.retain(|h| only.is_empty() || h.node == only);
        all
    });
    let list = Memo::new(move |_| {
        let from = model.now.get_untracked().saturating_sub(range.get().3);
        let mut list = histories.with(|h| all_changes(model, h, usize::MAX));
        list.retain(|c| c.at_ms >= from);
        list.truncate(ROWS_MAX);
        list
    });
    let drawn = Memo::new(move |_| {
        let names = names(model);
        let lane = |h: &History| {
            let (name, instance) = named(&names, h);
            Lane { name: if instance.is_empty() { name.to_owned() } else { format!("{instance}: {name}") }, record: view::record(h) }
        };
        histories.with(|all| all.iter().take(LANES_MAX).map(lane).collect::<Vec<_>>())
    });
    let nodes = Memo::new(move |_| {
        let mut nodes: Vec<String> = model.histories.data.with(|h| h.iter().flatten().map(|h| h.node.clone()).collect());
        crate::order::sort_by(&mut nodes, Ord::cmp);
        nodes.dedup();
        nodes
    });
    let available = move || {
        let to = model.now.get();
        let from = to.saturating_sub(range.get().3);
        let parts: Vec<f64> = drawn.with(|d| d.iter().filter_map(|l| l.record.availability(from, to)).collect());
        (!parts.is_empty()).then(|| {
            let share = format::decimal(parts.iter().sum::<f64>() * 100.0 / parts.len() as f64, 2);
            format!("{share} % usable, over the recorded time of all checks")
        })
    };
    view! {
        <div class="stack">
            <section class="panel" aria-labelledby="h-lanes">
                <header>
                    <h2 id="h-lanes">{move || range.get().2}</h2>
                    <span class="dim hide-m">{available}</span>
                    <div class="r"><NodePicker model nodes/><RangePicker model/></div>
                </header>
                <Lanes lanes=drawn now_ms=model.now length_ms=Signal::derive(move || range.get().3)/>
            </section>
            <section class="panel" aria-labelledby="h-all">
                <header><h2 id="h-all">"Changes"</h2><div class="r">{move || format::plural(list.with(Vec::len) as u32, "change", "changes")}</div></header>
                <Changes list/>
            </section>
        </div>
    }
    .into_any()
}

#[component]
fn NodePicker(model: Model, nodes: Memo<Vec<String>>) -> impl IntoView {
    let only = model.router.param("node");
    let option = move |node: String| {
        let value = node.clone();
        view! { <option value=value.clone() selected=move || only.get() == value>{node}</option> }
    };
    view! {
        <Show when=move || nodes.with(|n| n.len() > 1)>
            <label class="pick"><span class="sr">"Node"</span>
                <select on:change:target=move |e| model.router.set(&[("node", &e.target().value())], Step::Push)>
                    <option value="">"All nodes"</option>
                    {move || nodes.get().into_iter().map(option).collect_view()}
                </select>
            </label>
        </Show>
    }
}

#[component]
fn Changes(list: Memo<Vec<view::Change>>) -> impl IntoView {
    let zone = format::zone_min();
    let row = move |c: view::Change| {
        let (icon, class) = c.to.map_or(("none", "dim"), |h| (health::icon(h), health::class(h)));
        let output = (!c.output.is_empty())
            .then(|| view! { <div class="out" tabindex="0" role="group" aria-label="Output">{view::marked_text(&c.output)}</div> });
        view! {
            <li>
                <time>{format!("{} {}", lanes::date(c.at_ms, zone), format::clock(c.at_ms, zone, true))}</time>
                <span class=class><Icon name=icon small=true/></span>
                <div><b>{c.text}</b>" on "{c.place}{output}</div>
            </li>
        }
    };
    view! {
        {move || list.with(Vec::is_empty).then(|| view! { <p class="note">"Nothing changed in this time, as far as it was recorded."</p> })}
        <ol class="tl long">{move || list.get().into_iter().map(row).collect_view()}</ol>
    }
}
