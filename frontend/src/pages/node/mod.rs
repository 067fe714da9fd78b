//! One node: its checks, what runs on it, its addresses and metadata, and maintenance of all of it.

mod view;

use crate::prelude::*;
use shared::{
    agent,
    changes::Topic,
    check::{Check, GetHistory, NODE_MAINTENANCE},
    endpoint::Read as Where,
    health::{Counts, Health},
    node::NodeDump,
    ui::GetNode,
};

use super::{
    service::{
        Checks, Runs, clock,
        view::{Owner, join, no_maintenance, not_runnable, owner},
    },
    title,
};
use crate::{
    api::{Query, query, send},
    components::{
        Button, Choice, Copy, Dialog, Empty, HealthMark, Kind, Loaded, Pill, Segmented, Tabs, TextInput,
        lanes::{self, Lane, Lanes},
    },
    format,
    layout::keys::on_key,
    router::{Page, Place, Step, link, use_dc, use_router},
    state::notices::{Notices, use_notices},
};

/// What the parts of the page share. Copy it freely.
#[derive(Clone, Copy)]
struct Model {
    name: StoredValue<String>,
    dump: Query<NodeDump>,
    shown: Memo<NodeDump>,
    now: Signal<u64>,
    runs: Runs,
    notices: Notices,
}

impl Model {
    fn checks(self) -> Memo<Vec<Check>> {
        Memo::new(move |_| self.shown.with(|d| d.checks.clone()))
    }

    fn owner(self) -> Memo<Owner> {
        Memo::new(move |_| self.shown.with(|d| owner(&d.checks)))
    }

    fn runnable(self) -> Vec<Check> {
        self.shown.with(|d| {
            let agent = owner(&d.checks) == Owner::Agent;
            d.checks.iter().filter(|c| not_runnable(c, agent).is_none()).cloned().collect()
        })
    }
}

/// The page of one node. Rebuilt when the name changes; tab and selection come from the router's place.
#[component]
pub(crate) fn Node(name: String) -> impl IntoView {
    let dc = use_dc();
    let heading = StoredValue::new(name.clone());
    title(move || heading.get_value());
    let dump = query(
        move || Some(GetNode { node: heading.get_value(), read: Where { dc: dc.get(), ..Where::default() } }),
        move |c| match c.topic {
            Topic::Node => heading.with_value(|n| *n == c.name),
            Topic::Service | Topic::Check => c.node.is_empty() || heading.with_value(|n| *n == c.node),
            _ => false,
        },
    );
    let now = clock();
    let shown = Memo::new(move |_| dump.data.get().unwrap_or_default());
    let model = Model { name: heading, dump, shown, now, runs: Runs::new(now), notices: use_notices() };
    let missing =
        Memo::new(move |_| dump.error.with(|e| e.as_ref().is_some_and(crate::api::Error::is_missing)) && dump.data.with(Option::is_none));
    let asking = RwSignal::new(false);
    let router = use_router();
    on_key(move |key, _| {
        match key {
            "r" => model.runs.all(untrack(|| model.runnable())),
            "m" if model.owner().get_untracked() == Owner::Agent => asking.set(true),
            "[" | "]" => {
                let here =
                    router.place().with_untracked(|p| if let Page::Node { tab, .. } = &p.page { tab.clone() } else { String::new() });
                let at = TABS.iter().position(|t| t.0 == here).unwrap_or_default();
                let next = (at + if key == "]" { 1 } else { TABS.len() - 1 }) % TABS.len();
                router.go(Page::node(&heading.get_value(), TABS[next].0));
            }
            _ => return false,
        }
        true
    });
    view! {
        <div class="page">
            <Head model asking/>
            {move || if missing.get() {
                let text = format!("No node of this datacenter is called {}.", heading.get_value());
                view! { <Empty title="There is no such node" text><a class="btn pri" href=link(Page::Nodes)>"See all nodes"</a></Empty> }.into_any()
            } else {
                view! { <Loaded query=model.dump what=format!("The node {}", heading.get_value()) lines=8><Body model/></Loaded> }.into_any()
            }}
            <MaintenanceDialog model open=asking/>
        </div>
    }
    .into_any()
}

#[component]
fn Head(model: Model, asking: RwSignal<bool>) -> impl IntoView {
    let health = Memo::new(move |_| model.shown.with(|d| Health::of_node(&d.checks)));
    let there = Memo::new(move |_| model.dump.data.with(Option::is_some));
    let text = Signal::derive(move || model.shown.with(view::headline));
    let address = Memo::new(move |_| model.shown.with(|d| d.address.clone()));
    let owner = model.owner();
    let denied = Signal::derive(move || no_maintenance(owner.get()));
    let on = Memo::new(move |_| model.shown.with(|d| d.checks.iter().any(|c| c.id == NODE_MAINTENANCE)));
    let label = Signal::derive(move || if on.get() { "End maintenance" } else { "Maintenance" }.to_owned());
    let toggle =
        move || if on.get_untracked() { maintain(model.notices, model.name.get_value(), false, String::new()) } else { asking.set(true) };
    let none =
        Signal::derive(
            move || if model.runnable().is_empty() { "None of its checks can be run from here.".to_owned() } else { String::new() },
        );
    let busy = Signal::derive(move || model.runs.busy());
    view! {
        <div class="ph">
            <div class="hd">
                <h1>{model.name.get_value()}</h1>
                <Show when=move || there.get()>
                    <Pill health text/>
                    <span class="mono dim">{move || address.get()}</span>
                    <Copy text=address what="the address"/>
                </Show>
            </div>
            <Show when=move || there.get()>
                <div class="act">
                    <Button label icon="maintenance" denied on_press=toggle/>
                    <Button label="Run all checks" icon="run" kind=Kind::Primary busy denied=none on_press=move || model.runs.all(untrack(|| model.runnable()))/>
                </div>
            </Show>
        </div>
    }
    .into_any()
}

/// Turns maintenance of a node on or off, and offers to take it back.
fn maintain(notices: Notices, node: String, enable: bool, reason: String) {
    spawn_local(async move {
        match send(&agent::SetNodeMaintenance { node: node.clone(), enable, reason: reason.clone() }).await {
            Ok(()) => {
                let title = if enable { format!("{node} in maintenance") } else { format!("Maintenance of {node} ended") };
                let text = if enable { "DNS and queries hand out none of its services." } else { "Its checks decide again." };
                notices.undoable(title, text, move || maintain(notices, node.clone(), !enable, reason.clone()));
            }
            Err(error) => notices.failed(format!("Maintenance of {node} was not changed"), error.to_string()),
        }
    });
}

#[component]
fn MaintenanceDialog(model: Model, open: RwSignal<bool>) -> impl IntoView {
    let reason = RwSignal::new(String::new());
    let close = move || open.set(false);
    let services = move || model.shown.with(|d| format::plural(d.services.len() as u32, "service instance", "service instances"));
    let start = move |e: web_sys::SubmitEvent| {
        e.prevent_default();
        close();
        maintain(model.notices, model.name.get_value(), true, reason.get_untracked().trim().to_owned());
    };
    view! {
        <Dialog title=Signal::derive(move || format!("Put {} into maintenance?", model.name.get_value())) open on_close=close>
            <p>{move || format!("DNS and queries stop handing out the {} on it. Checks go on.", services())}</p>
            <form class="form" on:submit=start>
                <TextInput id="n-reason" label="Reason" value=reason help="Shown to everyone who wonders why it is out." placeholder="kernel update, back at 15:00"/>
                <div class="r">
                    <Button label="Cancel" on_press=close/>
                    <Button label="Start maintenance" kind=Kind::Primary r#type="submit"/>
                </div>
            </form>
        </Dialog>
    }
    .into_any()
}

const TABS: [(&str, &str); 3] = [("health-checks", "Checks"), ("service-instances", "Services"), ("metadata", "Addresses and meta")];

#[component]
fn Body(model: Model) -> impl IntoView {
    let (router, place) = (use_router(), use_router().place());
    let tab = Memo::new(move |_| {
        place.with(|place| match &place.page {
            Page::Node { tab, .. } => TABS.into_iter().find(|t| t.0 == tab).map_or("health-checks", |t| t.0),
            _ => "health-checks",
        })
    });
    let options = Signal::derive(move || {
        let (checks, services) = model.shown.with(|d| (d.checks.len(), d.services.len()));
        let count = |value: &str| match value {
            "health-checks" => Some(checks),
            "service-instances" => Some(services),
            _ => None,
        };
        let choice = |(value, label): (&str, &str)| match count(value) {
            Some(number) => Choice::new(value, label).count(format::count(number as u64)),
            None => Choice::new(value, label),
        };
        TABS.into_iter().map(choice).collect::<Vec<_>>()
    });
    let pick = move |tab: String| router.go(Page::node(&model.name.get_value(), &tab));
    view! {
        <Tabs label=model.name.get_value() options value=Signal::derive(move || tab.get().to_owned()) panel="node-panel" on_pick=pick/>
        <div role="tabpanel" id="node-panel" aria-label=move || TABS.into_iter().find(|t| t.0 == tab.get()).map(|t| t.1)>
            {move || match tab.get() {
                "service-instances" => view! { <Services model/> }.into_any(),
                "metadata" => view! { <Facts model/> }.into_any(),
                _ => view! { <ChecksTab model/> }.into_any(),
            }}
        </div>
    }
    .into_any()
}

#[component]
fn ChecksTab(model: Model) -> impl IntoView {
    let (router, dc) = (use_router(), use_dc());
    let node = model.name.get_value();
    let asked = node.clone();
    let histories = query(
        move || Some(GetHistory { node: asked.clone(), read: Where { dc: dc.get(), ..Where::default() }, ..GetHistory::default() }),
        move |c| matches!(c.topic, Topic::Check | Topic::Service) && (c.node.is_empty() || c.node == node),
    );
    let recorded = Memo::new(move |_| histories.data.get().unwrap_or_default());
    let word = router.param("range");
    let range = Memo::new(move |_| {
        let oldest = recorded.with(|all| all.iter().map(|h| h.since_ms).filter(|at| *at > 0).min());
        lanes::range(&word.get(), oldest, model.now.get())
    });
    let checks = model.checks();
    let drawn = Memo::new(move |_| {
        recorded
            .with(|all| checks.with(|c| view::lanes(c, all)).into_iter().map(|(name, record)| Lane { name, record }).collect::<Vec<_>>())
    });
    let owner = model.owner();
    let options = lanes::RANGES.map(|r| Choice::new(r.0, r.1)).to_vec();
    let pick = move |picked: String| router.set(&[("range", &picked)], Step::Push);
    view! {
        <div class="stack">
            <section class="panel" aria-labelledby="h-chk">
                <header><h2 id="h-chk">"Checks"</h2></header>
                {move || checks.with(Vec::is_empty).then(|| view! { <p class="note">"This node has no checks."</p> })}
                <Checks checks histories=recorded owner runs=model.runs now=model.now name_service=true/>
            </section>
            <Show when=move || drawn.with(|d| !d.is_empty())>
                <section class="panel" aria-labelledby="h-lane">
                    <header>
                        <h2 id="h-lane">{move || range.get().2}</h2>
                        <span class="dim hide-m">"tall is critical, half is warning, flat is passing, hatched is not recorded"</span>
                        <div class="r"><Segmented label="Range" options=options.clone() value=Signal::derive(move || range.get().0.to_owned()) on_pick=pick/></div>
                    </header>
                    <Lanes lanes=drawn now_ms=model.now length_ms=Signal::derive(move || range.get().3)/>
                </section>
            </Show>
        </div>
    }
    .into_any()
}

#[component]
fn Services(model: Model) -> impl IntoView {
    let dc = use_dc();
    let list = Memo::new(move |_| model.shown.with(view::instances));
    let host = Memo::new(move |_| model.shown.with(|d| d.address.clone()));
    let row = move |(service, health): (shared::service::Service, Health)| {
        let page = Page::Service {
            name: service.name.clone(),
            tab: "instances".to_owned(),
            instance: Some((model.name.get_value(), service.id.clone())),
        };
        let address = if service.address.is_empty() { join(&host.get(), service.port) } else { join(&service.address, service.port) };
        let tags = service.tags.iter().map(|t| view! { <span class="tag">{t.clone()}</span> }).collect_view();
        view! {
            <li><a class="nsv" href=Place::new(&dc.get(), page).href()>
                <HealthMark health shown=false/>
                <b>{service.id}</b>
                <span class="dim">{service.name}</span>
                <span class="mono dim">{address}</span>
                <span class="tgs">{tags}</span>
            </a></li>
        }
    };
    let counts = Memo::new(move |_| {
        let mut counts = Counts::default();
        list.with(|l| l.iter().for_each(|(_, h)| counts.add(*h)));
        counts
    });
    view! {
        <section class="panel" aria-labelledby="h-sv">
            <header><h2 id="h-sv">"Services on this node"</h2><div class="r"><crate::components::Lamps counts/></div></header>
            {move || list.with(Vec::is_empty).then(|| view! { <p class="note">"No service is registered on this node."</p> })}
            <ul>{move || list.get().into_iter().map(row).collect_view()}</ul>
        </section>
    }
    .into_any()
}

#[component]
fn Facts(model: Model) -> impl IntoView {
    let table = |title: &'static str, id: &'static str, empty: &'static str, rows: Signal<Vec<(String, String)>>| {
        let row = |(key, value): (String, String)| {
            let text = value.clone();
            view! { <tr><th scope="row" class="mono">{key}</th><td class="mono">{value}<Copy text what="the value"/></td></tr> }
        };
        view! {
            <section class="panel" aria-labelledby=id>
                <header><h2 id=id>{title}</h2></header>
                {move || rows.with(Vec::is_empty).then(|| view! { <p class="note">{empty}</p> })}
                <table class="facts-t"><tbody>{move || rows.get().into_iter().map(row).collect_view()}</tbody></table>
            </section>
        }
        .into_any()
    };
    let addresses = Signal::derive(move || model.shown.with(view::addresses));
    let meta = Signal::derive(move || model.shown.with(|d| d.meta.clone().into_iter().collect()));
    view! {
        <div class="stack">
            {table("Addresses", "h-addr", "No addresses are known.", addresses)}
            {table("Metadata", "h-meta", "This node carries no metadata.", meta)}
        </div>
    }
    .into_any()
}
