//! Consensus: who leads, who may be lost, who led when; transfer of leadership, removal of a server, autopilot. Without a
//! quorum it says how to get one back.

mod autopilot;
mod change;
pub(crate) mod view;

use std::time::Duration;

use crate::prelude::*;
use shared::{
    changes::Topic,
    endpoint::Read as Where,
    raft::{GetRaft, Raft as State},
};

use super::title;
use crate::{
    api::{Query, query},
    components::{Button, Copy, Hero, Icon, Loaded, Tag},
    format,
    router::{Page, Router, Step, link, use_dc, use_router},
};
use view::Row;

/// How often lag and contact are looked at: they change without a word of the change stream.
const LOOK: Duration = Duration::from_secs(2);

/// What the parts of the page share. Copy it freely.
#[derive(Clone, Copy)]
struct Model {
    state: Query<State>,
    shown: Memo<State>,
    router: Router,
}

impl Model {
    /// Opens a dialog: which, and about which server.
    fn ask(self, what: &str, id: &str) {
        self.router.set(&[("v", what), ("to", id)], Step::Push);
    }

    fn close(self) {
        self.router.set(&[("v", ""), ("to", "")], Step::Replace);
    }

    fn is_led(self) -> bool {
        self.shown.with(|state| !state.leader.is_empty())
    }
}

/// The page.
#[component]
pub(crate) fn Raft() -> impl IntoView {
    title(|| "Raft".to_owned());
    let dc = use_dc();
    let state = query(
        move || Some(GetRaft { read: Where { dc: dc.get(), ..Where::default() } }),
        |change| matches!(change.topic, Topic::Raft | Topic::Node),
    );
    state.poll(LOOK);
    let shown = Memo::new(move |_| state.data.get().unwrap_or_default());
    let model = Model { state, shown, router: use_router() };
    view! {
        <div class="page">
            <Loaded query=state what="The servers" lines=8>
                <Hero sentence=Signal::derive(move || shown.with(view::sentence)) facts=Signal::derive(move || shown.with(view::facts))/>
                <div class="stack">
                    <Show when=move || !model.is_led()><Recovery model/></Show>
                    <Servers model/>
                    <div class="trio">
                        <Leadership model/>
                        <Log model/>
                        <autopilot::Autopilot model/>
                    </div>
                </div>
            </Loaded>
            <change::Transfer model/>
            <change::Remove model/>
        </div>
    }
    .into_any()
}

/// Every server of the configuration.
#[component]
fn Servers(model: Model) -> impl IntoView {
    let rows = Memo::new(move |_| model.shown.with(view::rows));
    let ids = move || rows.with(|rows| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>());
    view! {
        <section class="panel" aria-labelledby="h-srv">
            <header>
                <h2 id="h-srv">"Servers"</h2>
                <div class="r">
                    <Button label="Transfer leadership" icon="crown" kind=crate::components::Kind::Ghost small=true writes=true on_press=move || model.ask("transfer", "")/>
                </div>
            </header>
            <table class="tbl srv">
                <caption class="sr">"Servers of the Raft configuration, the leader first"</caption>
                <thead>
                    <tr>
                        <th scope="col" class="s-st">"State"</th><th scope="col" class="s-nm">"Server"</th><th scope="col" class="s-ad">"Address"</th>
                        <th scope="col" class="s-tm n">"Term"</th><th scope="col" class="s-ix n">"Index"</th><th scope="col" class="s-lg">"Lag"</th><th scope="col" class="s-ct">"Last contact"</th>
                        <th scope="col" class="s-ls">"If it is lost"</th><th scope="col" class="s-ve">"Version"</th>
                        <th scope="col" class="s-do"><span class="sr">"Actions"</span></th>
                    </tr>
                </thead>
                <tbody><For each=ids key=String::clone let:id><Line model rows id/></For></tbody>
            </table>
        </section>
    }
    .into_any()
}

#[component]
fn Line(model: Model, rows: Memo<Vec<Row>>, id: String) -> impl IntoView {
    let id = StoredValue::new(id);
    let row = Memo::new(move |_| rows.with(|rows| id.with_value(|id| rows.iter().find(|row| row.id == *id).cloned().unwrap_or_default())));
    let name = row.read_untracked().name.clone();
    let leads = Memo::new(move |_| row.read().leads);
    let hint = name.clone();
    let transfer = move || {
        let denied = match row.read().state.1 {
            _ if !row.read().voter => "It has no vote, so it cannot lead.",
            "ok" => "",
            _ => "It is not well, so it cannot take over.",
        };
        let label = format!("Make {} the leader", hint);
        (!leads.get()).then(|| view! {
            <Button label="Make leader" hint=label small=true writes=true denied=denied.to_owned() on_press=move || model.ask("transfer", &id.get_value())/>
        })
    };
    let gone = name.clone();
    let remove = move || {
        let label = format!("Remove {} from the Raft configuration", gone);
        (!leads.get()).then(|| view! {
            <Button label="Remove" hint=label kind=crate::components::Kind::GhostDanger small=true writes=true on_press=move || model.ask("remove", &id.get_value())/>
        })
    };
    view! {
        <tr>
            <td class="s-st">
                <span class=move || format!("st {}", row.read().state.1)>
                    <Icon name=Signal::derive(move || row.read().state.0)/>
                    <span>{move || row.read().state.2}</span>
                </span>
                <small class="dim num">{move || row.read().stable.clone()}</small>
            </td>
            <td class="s-nm"><span class="svc"><a class="nm" href=link(Page::node(&name, "health-checks"))>{name.clone()}</a>{move || view! { <Tag text=row.read().role.clone()/> }}</span></td>
            <td class="s-ad mono mid">{move || row.read().address.clone()}</td>
            <td class="s-tm n num mono">{move || row.read().term.clone()}</td>
            <td class="s-ix n num mono">{move || row.read().index.clone()}</td>
            <td class="s-lg mid">{move || row.read().lag.clone()}</td>
            <td class="s-ct mid num">{move || row.read().contact.clone()}</td>
            <td class="s-ls"><b class=move || row.read().loss.0>{move || row.read().loss.1}</b></td>
            <td class="s-ve dim mono">{move || row.read().version.clone()}</td>
            <td class="s-do"><span class="does">{transfer}{remove}</span></td>
        </tr>
    }
}

/// Who led when: lanes over time, and the latest changes in words.
#[component]
fn Leadership(model: Model) -> impl IntoView {
    let lanes = Memo::new(move |_| model.shown.with(view::lanes));
    let lines = Memo::new(move |_| model.shown.with(|state| view::lines(state, format::zone_min())));
    let who = move || format!("as {} saw it", model.shown.read().node);
    view! {
        <section class="panel" aria-labelledby="h-led">
            <header><h2 id="h-led">"Leadership"</h2><span class="dim">{who}</span></header>
            <div class="led" role="img" aria-label=move || format!("Who led since {}; the list below says the same in words", lanes.read().1)>
                {move || lanes.get().0.into_iter().map(|lane| view! {
                    <span class:crit=lane.nobody>{lane.name}</span>
                    <div class:none=lane.nobody>
                        {lane.spans.into_iter().map(|(at, width)| view! { <i style:left=format::decimal(at, 2) + "%" style:width=format::decimal(width, 2) + "%"></i> }).collect_view()}
                    </div>
                }).collect_view()}
                <span></span>
                <p class="dim num"><span>{move || lanes.get().1}</span><span>"now"</span></p>
            </div>
            <ol class="feed wide">
                <For each=move || lines.get() key=|line| (line.at_ms, line.text.clone(), line.time.clone()) let:line>
                    <li>
                        <time>{line.time.clone()}</time>
                        <span class=line.mark.1><Icon name=line.mark.0 small=true/></span>
                        <p>{line.text.clone()}" "<span class="dim num">{line.term.clone()}</span></p>
                    </li>
                </For>
            </ol>
        </section>
    }
    .into_any()
}

/// How far the answering server is.
#[component]
fn Log(model: Model) -> impl IntoView {
    let facts = move || {
        model.shown.with(|state| {
            let snapshot = if state.snapshot_index == 0 { "none yet".to_owned() } else { format::count(state.snapshot_index) };
            [
                ("Last index", format::count(state.last_index)),
                ("Committed", format::count(state.commit_index)),
                ("Applied", format::count(state.applied_index)),
                ("Last snapshot at", snapshot),
                ("Entries since", format::count(state.last_index.saturating_sub(state.snapshot_index))),
                ("Quorum", format!("{} of {}", state.quorum, state.servers.iter().filter(|server| server.role != "non-voter").count())),
            ]
        })
    };
    view! {
        <section class="panel" aria-labelledby="h-log">
            <header><h2 id="h-log">"Log"</h2><span class="dim">{move || format!("on {}", model.shown.read().node)}</span></header>
            <dl class="kv2">{move || facts().map(|(name, value)| view! { <dt>{name}</dt><dd>{value}</dd> }).collect_view()}</dl>
        </section>
    }
    .into_any()
}

/// How to get a quorum back.
#[component]
fn Recovery(model: Model) -> impl IntoView {
    let lost = move || model.shown.with(view::lost);
    let json = Signal::derive(move || model.shown.with(view::peers_json));
    let enough = move || {
        model.shown.with(|state| {
            let answer = state.servers.len() - view::lost(state).len();
            match state.quorum.saturating_sub(answer) {
                0 | 1 => "one of them answers".to_owned(),
                many => format!("{} of them answer", view::word(many)),
            }
        })
    };
    view! {
        <Show when=move || !lost().is_empty()>
            <section class="panel rec" aria-labelledby="h-rec">
                <header><h2 id="h-rec">"How to get a leader back"</h2></header>
                <ol>
                    <li>
                        <h3>"These servers are missing"</h3>
                        <ul class="gone">
                            {move || lost().into_iter().map(|(name, address, since)| view! {
                                <li><span class="st crit"><Icon name="critical"/></span><b>{name}</b><span class="mono dim">{address}</span><span class="mid">{since}</span></li>
                            }).collect_view()}
                        </ul>
                    </li>
                    <li>
                        <h3>"Start them again, or mend the network between them"</h3>
                        <p>{move || format!("As soon as {}, a leader is elected, nothing is lost, and this page heals by itself.", enough())}</p>
                    </li>
                    <li>
                        <h3>"Only if they are lost for good: go on with who is left"</h3>
                        <p>"Stop the servers that still run. On each of them write this as "<code>"raft/peers.json"</code>" in its data directory, then start them. Writes that only the lost servers held are gone, and the lost servers must not come back with their old data."</p>
                        <div class="file"><pre class="mono">{move || json.get()}</pre><Copy text=json what="peers.json"/></div>
                    </li>
                </ol>
            </section>
        </Show>
    }
    .into_any()
}
