//! The tab with the instances: the list, the chosen one's checks and lanes, and what changed.

use crate::prelude::*;
use shared::{
    changes::Topic,
    check::{GetHistory, History},
    endpoint::Read,
    health::{Health, ServiceNode},
};

use super::{
    Action,
    checks::{Checks, StateIcon},
    model::Model,
    view::{self, Owner},
};
use crate::{
    api::query,
    components::{
        Button, Choice, Copy, Icon, Kind, Lamps, Segmented, health,
        lanes::{self, Lane, Lanes},
    },
    format,
    router::{Place, Step, use_dc},
};

/// Instances drawn at most: past it the filter helps.
const ROWS_MAX: usize = 300;
/// From so many on there is a filter.
const FILTER_FROM: usize = 13;

/// The whole tab.
#[component]
pub(crate) fn Instances(model: Model, action: RwSignal<Option<Action>>) -> impl IntoView {
    let instance = model.instance();
    let dc = use_dc();
    let node = Memo::new(move |_| instance.with(|i| i.as_ref().map(|i| i.node.name.clone())));
    // The node's own checks are not in the service's history.
    let of_node = query(
        move || node.get().map(|node| GetHistory { node, read: Read { dc: dc.get(), ..Read::default() }, ..GetHistory::default() }),
        move |change| change.topic == Topic::Check && node.with_untracked(|n| n.as_ref() == Some(&change.node)),
    );
    let histories = Memo::new(move |_| {
        let mut all = model.histories.data.get().unwrap_or_default();
        let extra = of_node.data.get().unwrap_or_default();
        all.extend(extra.into_iter().filter(|h| h.service_name.is_empty()));
        all
    });
    view! {
        <div class="sd">
            <div class="sdl">
                <List model/>
                <Changed model/>
            </div>
            <div class="sdr">
                {move || instance.with(Option::is_some).then(|| view! {
                    <Chosen model instance histories=histories.into() action/>
                    <LanesPanel model instance histories=histories.into()/>
                })}
                {move || (model.selected.with(Option::is_some) && instance.with(Option::is_none)).then(|| view! { <NotThere model/> })}
            </div>
        </div>
    }
    .into_any()
}

/// The address names an instance that does not exist.
#[component]
fn NotThere(model: Model) -> impl IntoView {
    let text = move || {
        let (node, id) = model.selected.get().unwrap_or_default();
        format!("{id} is not registered on {node}. It may have been deregistered.")
    };
    view! {
        <section class="panel"><div class="empty"><h3>"This instance is not there"</h3><p>{text}</p></div></section>
    }
}

#[component]
fn List(model: Model) -> impl IntoView {
    let dc = use_dc();
    let filter = model.router.param("filter");
    let since = Memo::new(move |_| {
        let histories = model.histories.data.get().unwrap_or_default();
        model.shown.with(|rows| {
            rows.iter().map(|row| ((row.node.name.clone(), row.service.id.clone()), since(row, &histories))).collect::<Vec<_>>()
        })
    });
    let list = Memo::new(move |_| {
        let word = filter.get().to_lowercase();
        let mut all = model.shown.with(|rows| view::instances(rows));
        all.retain(|i| word.is_empty() || [&i.id, &i.node, &i.address].iter().any(|t| t.to_lowercase().contains(&word)));
        all
    });
    let many = Memo::new(move |_| model.shown.with(|rows| rows.len() >= FILTER_FROM));
    let row = move |i: view::Instance| {
        let key = (i.node.clone(), i.id.clone());
        let href = Place::new(&dc.get(), model.page_of(&i.node, &i.id)).href();
        let (mine, timed) = (key.clone(), key);
        let age = move || {
            let at = since.with(|list| list.iter().find(|s| s.0 == timed).map_or(0, |s| s.1));
            (at > 0).then(|| format::span(model.now.get().saturating_sub(at)))
        };
        view! {
            <li>
                <a href=href aria-current=move || model.selected.with(|s| s.as_ref() == Some(&mine)).then_some("true")>
                    <StateIcon state=i.health/>
                    <b>{i.id}</b>
                    <span class="ago">{age}</span>
                    <small><span class="sr">{format!("{}, ", health::word(i.health))}</span>{i.node}"\u{2002}"{i.address}</small>
                </a>
            </li>
        }
    };
    let rest = move || {
        let hidden = list.with(Vec::len).saturating_sub(ROWS_MAX);
        (hidden > 0).then(|| view! { <p class="note">{format!("{} more: filter to see them.", format::count(hidden as u64))}</p> })
    };
    view! {
        <section class="panel inst" aria-labelledby="h-inst">
            <header><h2 id="h-inst">"Instances"</h2><div class="r"><Lamps counts=model.counts()/></div></header>
            <Show when=move || many.get()>
                <div class="inf"><div class="field">
                    <Icon name="search" small=true/>
                    <input
                        type="search"
                        aria-label="Filter instances"
                        placeholder="Filter by id, node or address"
                        prop:value=move || filter.get()
                        on:input:target=move |e| model.router.set(&[("filter", e.target().value().trim())], Step::Replace)
                    />
                </div></div>
            </Show>
            <ul>{move || list.get().into_iter().take(ROWS_MAX).map(row).collect_view()}</ul>
            {move || (list.with(Vec::is_empty) && !filter.with(String::is_empty)).then(|| view! { <p class="note">"No instance matches the filter."</p> })}
            {rest}
        </section>
    }
    .into_any()
}

/// When an instance's worst check came into its state; 0 when not recorded.
fn since(row: &ServiceNode, histories: &[History]) -> u64 {
    let worst = row.health();
    let of = |id: &str| histories.iter().find(|h| h.node == row.node.name && h.check_id == id);
    let times = row.checks.iter().filter(|c| Health::of_check(c) == worst).filter_map(|c| of(&c.id)?.transitions.last());
    // A failing instance fails since its first failing check; a passing one passes since its last came back.
    if worst > Health::Passing { times.map(|t| t.at_ms).min().unwrap_or(0) } else { times.map(|t| t.at_ms).max().unwrap_or(0) }
}

/// The chosen instance with its checks and what can be done to it.
#[component]
fn Chosen(
    model: Model,
    instance: Memo<Option<ServiceNode>>,
    histories: Signal<Vec<History>>,
    action: RwSignal<Option<Action>>,
) -> impl IntoView {
    let row = Memo::new(move |old: Option<&ServiceNode>| instance.get().or_else(|| old.cloned()).unwrap_or_default());
    let owner = Memo::new(move |_| row.with(|r| view::owner(&r.checks)));
    let checks = Signal::derive(move || row.with(|r| r.checks.clone()));
    let address = Memo::new(move |_| row.with(view::address));
    let maintained = Memo::new(move |_| row.with(|r| r.checks.iter().any(|c| c.is_maintenance() && !c.service_id.is_empty())));
    let no_agent = Signal::derive(move || view::no_maintenance(owner.get()));
    let gone = Signal::derive(move || if owner.get() == Owner::Gone { no_agent.get() } else { String::new() });
    let toggle = move || {
        if maintained.get_untracked() {
            let of = row.with_untracked(|r| (r.node.name.clone(), r.service.id.clone()));
            super::model::maintain(model.notices, vec![of], false, String::new());
        } else {
            action.set(Some(Action::Maintenance { all: false }));
        }
    };
    let dc = use_dc();
    let node_href = move || Place::new(&dc.get(), crate::router::Page::node(&row.with(|r| r.node.name.clone()), "health-checks")).href();
    let maintenance_label = Signal::derive(move || if maintained.get() { "End maintenance" } else { "Maintenance" }.to_owned());
    view! {
        <section class="panel" aria-labelledby="h-chk">
            <header class="ih">
                <h2 id="h-chk">{move || row.with(|r| r.service.id.clone())}</h2>
                <span class="dim mono where"><a class="lnk" href=node_href>{move || row.with(|r| r.node.name.clone())}</a>"\u{2002}"{move || address.get()}</span>
                <Copy text=address what="address"/>
                <div class="r" class:gone=move || { model.gone_ms.get() > 0 }>
                    <Button label="Edit" icon="edit" small=true kind=Kind::Ghost denied=gone on_press=move || edit(model)/>
                    <Button label=maintenance_label icon="maintenance" small=true kind=Kind::Ghost denied=no_agent on_press=toggle/>
                    <Button label="Deregister" icon="trash" small=true kind=Kind::GhostDanger on_press=move || action.set(Some(Action::Deregister))/>
                </div>
            </header>
            {move || row.with(|r| r.checks.is_empty()).then(|| view! {
                <p class="note">"This instance has no checks, so nothing is known of its health. DNS hands it out."</p>
            })}
            <Checks checks histories owner runs=model.runs now=model.now/>
        </section>
    }
    .into_any()
}

/// Opens the drawer on the chosen instance.
pub(super) fn edit(model: Model) {
    if let Some((node, id)) = model.selected.get_untracked() {
        let dc = model.router.place().with_untracked(|p| p.dc.clone());
        model.router.open(&format!("{}?v=edit", Place::new(&dc, model.page_of(&node, &id)).href()), Step::Push);
    }
}

/// Lanes of the chosen instance's checks.
#[component]
fn LanesPanel(model: Model, instance: Memo<Option<ServiceNode>>, histories: Signal<Vec<History>>) -> impl IntoView {
    let range = model.range();
    let list = Memo::new(move |_| {
        let mut checks = instance.with(|i| i.as_ref().map(|i| i.checks.clone()).unwrap_or_default());
        crate::order::sort_by(&mut checks, |one, other| {
            let key = |c: &_| (view::rank(Health::of_check(c)), c.service_id.is_empty(), c.name.clone());
            key(one).cmp(&key(other))
        });
        histories.with(|all| {
            let of = |c: &shared::check::Check| {
                all.iter().find(|h| h.node == c.node && h.check_id == c.id).map(view::record).unwrap_or_default()
            };
            checks.iter().map(|c| Lane { name: super::checks::title(c), record: of(c) }).collect::<Vec<_>>()
        })
    });
    view! {
        <Show when=move || list.with(|l| !l.is_empty())>
            <section class="panel" aria-labelledby="h-lane">
                <header>
                    <h2 id="h-lane">{move || range.get().2}</h2>
                    <span class="dim hide-m">"tall is critical, half is warning, flat is passing, hatched is not recorded"</span>
                    <div class="r"><RangePicker model/></div>
                </header>
                <Lanes lanes=list now_ms=model.now length_ms=Signal::derive(move || range.get().3)/>
            </section>
        </Show>
    }
    .into_any()
}

/// One hour, a day or a week; in the address.
#[component]
pub(crate) fn RangePicker(model: Model) -> impl IntoView {
    let range = model.range();
    let options = lanes::RANGES.map(|r| Choice::new(r.0, r.1)).to_vec();
    let value = Signal::derive(move || range.get().0.to_owned());
    let pick = move |picked: String| model.router.set(&[("range", &picked)], Step::Push);
    view! { <Segmented label="Range" options value on_pick=pick/> }
}

/// The latest transitions of the whole service.
#[component]
fn Changed(model: Model) -> impl IntoView {
    let list = Memo::new(move |_| model.histories.data.with(|h| super::history::all_changes(model, h.as_deref().unwrap_or_default(), 7)));
    let zone = format::zone_min();
    let today = move |at: u64| lanes::date(at, zone) == lanes::date(model.now.get_untracked(), zone);
    let row = move |c: view::Change| {
        let when = if today(c.at_ms) { format::clock(c.at_ms, zone, false) } else { lanes::date(c.at_ms, zone) };
        let (icon, class) = c.to.map_or(("none", "dim"), |h| (health::icon(h), health::class(h)));
        view! {
            <li>
                <time>{when}</time>
                <span class=class><Icon name=icon small=true/></span>
                <span>{c.text}" on "{c.place}</span>
            </li>
        }
    };
    view! {
        <Show when=move || list.with(|l| !l.is_empty())>
            <section class="panel" aria-labelledby="h-chg">
                <header><h2 id="h-chg">"What changed"</h2></header>
                <ol class="tl">{move || list.get().into_iter().map(row).collect_view()}</ol>
            </section>
        </Show>
    }
    .into_any()
}
