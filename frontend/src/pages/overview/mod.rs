//! The overview: the cluster's state in one sentence, what needs attention, every service as one mark, what happens now.

mod cluster;
mod field;
mod view;

use crate::prelude::*;
use shared::{
    changes::Topic,
    health::Health,
    page::{Page as Rows, PageQuery},
    service::{ListServices, ServiceRow},
    ui::Overview as Numbers,
};

pub(crate) use view::summary;

use super::title;
use crate::{
    actions::{self, Action},
    api::{Query, query},
    components::{Button, Empty, HealthMark, Hero, Icon, Kind, Lamps, Loaded, health},
    format,
    layout::sidebar::use_overview,
    router::{Page, link, use_dc},
    state::notices::use_notices,
};

/// Rows under "Needs attention"; the services page has the rest.
const ROWS_MAX: u32 = 8;

/// The page.
#[component]
pub(crate) fn Overview() -> impl IntoView {
    title(|| "Overview".to_owned());
    let (dc, numbers) = (use_dc(), use_overview());
    let need = move || {
        let status = vec![Health::Critical, Health::Warning, Health::Maintenance];
        let page = PageQuery { limit: ROWS_MAX, status, ..PageQuery::default() };
        Some(ListServices { page, dc: dc.get() })
    };
    let rows = query(need, |change| matches!(change.topic, Topic::Service | Topic::Check | Topic::Node));
    view! {
        <div class="page">
            <Loaded query=numbers what="The overview" lines=8>
                <Hero
                    sentence=Signal::derive(move || numbers.data.with(|data| data.as_ref().map(view::sentence).unwrap_or_default()))
                    facts=Signal::derive(move || numbers.data.with(|data| data.as_ref().map(view::facts).unwrap_or_default()))
                />
                <div class="ov">
                    <div class="col">
                        <Needs rows numbers/>
                        <field::EveryService numbers/>
                    </div>
                    <div class="col">
                        <Feed numbers/>
                        <cluster::Consensus/>
                        <cluster::Gossip/>
                    </div>
                </div>
            </Loaded>
        </div>
    }
    .into_any()
}

/// The services that are not passing, worst first.
#[component]
fn Needs(rows: Query<Rows<ServiceRow>>, numbers: Query<Numbers>) -> impl IntoView {
    let names = move || rows.data.with(|page| page.as_ref().map(|page| page.rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>()));
    let names = Memo::new(move |_| names().unwrap_or_default());
    let more = move || rows.data.with(|page| page.as_ref().map_or(0, |page| page.matched.saturating_sub(page.rows.len() as u32)));
    // Servers are the service `consul` themselves.
    let any_services = move || numbers.data.with(|data| data.as_ref().is_some_and(|data| data.services.total > 1));
    let failing = move || {
        rows.data.with(|page| {
            page.iter()
                .flat_map(|page| &page.rows)
                .filter(|row| row.health == Health::Critical && row.runnable)
                .map(|row| row.name.clone())
                .collect::<Vec<_>>()
        })
    };
    view! {
        <section class="panel" aria-labelledby="h-need">
            <header>
                <h2 id="h-need">"Needs attention"</h2>
                <div class="r">
                    <Show when=move || !failing().is_empty()>
                        <RunButton services=Signal::derive(failing) label="Run all failing checks" hint=String::new() ghost=true/>
                    </Show>
                </div>
            </header>
            <Loaded query=rows what="The services" lines=4>
                <Show
                    when=move || !names.with(Vec::is_empty)
                    fallback=move || if any_services() {
                        view! { <div class="calm"><HealthMark health=Health::Passing shown=false/>"Nothing. Every service with checks is passing."</div> }.into_any()
                    } else {
                        view! {
                            <Empty title="No services yet" text="Register one here, or point an agent at this cluster.">
                                <a class="btn pri" href=format!("{}?v=register", link(Page::Services))><Icon name="plus"/>"Register service"</a>
                            </Empty>
                        }.into_any()
                    }
                >
                    <table class="need">
                        <caption class="sr">"Services that are not passing, worst first"</caption>
                        <thead class="sr">
                            <tr>
                                <th scope="col">"State"</th><th scope="col">"Service"</th><th scope="col">"Instances"</th>
                                <th scope="col">"Reason"</th><th scope="col">"Since"</th><th scope="col">"Run"</th>
                            </tr>
                        </thead>
                        <tbody>
                            <For each=move || names.get() key=String::clone let:name><Need rows name/></For>
                        </tbody>
                    </table>
                </Show>
                <Show when=move || { more() > 0 }>
                    <a class="all" href=format!("{}?status=critical,warning,maintenance", link(Page::Services))>
                        {move || format!("{} more", format::count(more()))}
                    </a>
                </Show>
            </Loaded>
        </section>
    }
}

#[component]
fn Need(rows: Query<Rows<ServiceRow>>, name: String) -> impl IntoView {
    let held = name.clone();
    let row = Memo::new(move |_| {
        rows.data.with(|page| page.as_ref().and_then(|page| page.rows.iter().find(|row| row.name == held).cloned())).unwrap_or_default()
    });
    let health = Signal::derive(move || row.with(|row| row.health));
    let since = move || rows.data.with(|page| page.as_ref().map(|page| row.with(|row| view::since(row, page.now_ms))));
    let (service, hint) = (name.clone(), format!("Run checks of {name} now"));
    let runnable = Memo::new(move |_| row.with(|row| row.runnable));
    view! {
        <tr>
            <td><HealthMark health shown=false/></td>
            <th class="nmc" scope="row"><a class="nm" href=link(Page::service(&name, "instances"))>{name.clone()}</a></th>
            <td class="lm"><Lamps counts=Signal::derive(move || row.with(|row| row.instances))/></td>
            <td class="why" title=move || row.with(|row| row.output.clone())>{move || row.with(view::reason)}</td>
            <td class="ag dim num">{since}</td>
            <td class="a">
                {move || runnable.get().then(|| {
                    let service = service.clone();
                    view! { <RunButton services=Signal::derive(move || vec![service.clone()]) label="Run" hint=hint.clone() ghost=false/> }
                })}
            </td>
        </tr>
    }
}

/// Runs the checks of some services and says how it went, once.
#[component]
fn RunButton(#[prop(into)] services: Signal<Vec<String>>, label: &'static str, hint: String, ghost: bool) -> impl IntoView {
    let (dc, notices, busy) = (use_dc(), use_notices(), RwSignal::new(false));
    let press = move || {
        let (dc, services) = (dc.get_untracked(), services.get_untracked());
        busy.set(true);
        spawn_local(async move {
            let of =
                if let [one] = services.as_slice() { one.clone() } else { format::plural(services.len() as u32, "service", "services") };
            let outcomes = actions::on_services(Action::Run, dc, services).await;
            busy.try_set(false);
            let (good, title, text) = summary(&of, &outcomes);
            if good { notices.done(title, text) } else { notices.failed(title, text) }
        });
    };
    let hint = if hint.is_empty() { label.to_owned() } else { hint };
    let label = Signal::derive(move || if busy.get() { "Running".to_owned() } else { label.to_owned() });
    view! { <Button label hint icon="run" small=true kind=if ghost { Kind::Ghost } else { Kind::Plain } busy on_press=press/> }
}

/// The latest changes of checks.
#[component]
fn Feed(numbers: Query<Numbers>) -> impl IntoView {
    let lines =
        Memo::new(move |_| numbers.data.with(|data| data.as_ref().map(|data| view::feed(data, format::zone_min())).unwrap_or_default()));
    view! {
        <section class="panel" aria-labelledby="h-feed">
            <header><h2 id="h-feed">"Happening now"</h2></header>
            <Show when=move || !lines.with(Vec::is_empty) fallback=|| view! { <p class="quiet">"No check has changed since recording began."</p> }>
                <ol class="feed">
                    <For each=move || lines.get() key=view::Line::key let:line>
                        <li>
                            <time>{line.time.clone()}</time>
                            <span class=health::class(line.health)><Icon name=health::icon(line.health) small=true/></span>
                            <p><a href=link(line.page.clone())>{line.name.clone()}</a>" "{line.text.clone()}</p>
                        </li>
                    </For>
                </ol>
            </Show>
        </section>
    }
}
