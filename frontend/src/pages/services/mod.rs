//! The service list: filter, states, order, selection; ten thousand rows as quickly as ten.

mod bulk;
pub(crate) mod view;

use crate::prelude::*;
use shared::{changes::Topic, health::Health, service::ListServices, service::ServiceRow};

use super::title;
use crate::{
    actions::Action,
    api::query,
    components::{
        Button, Empty, HealthMark, Icon, IconButton, Key, Kind, Lamps, Loaded, Segmented, Tag, Trace,
        rows::{List, VirtualRows},
    },
    format,
    router::{Page, Step, link, use_dc, use_router},
    state::clock::use_clock,
};
use bulk::{Ask, Bulk};
use view::Asked;

const STATES: [Health; 4] = [Health::Critical, Health::Warning, Health::Maintenance, Health::None];

/// What the cells of a row need beside their row.
#[derive(Clone, Copy)]
struct Context {
    now_ms: Signal<u64>,
    ask: Ask,
}

/// The page.
#[component]
pub(crate) fn Services() -> impl IntoView {
    title(|| "Services".to_owned());
    let (router, dc, clock) = (use_router(), use_dc(), use_clock());
    let asked = asked();
    let list = List::<ServiceRow>::new();
    let offset = list.offset();
    let rows = query(
        move || Some(ListServices { page: asked.read().query(offset.get()), dc: dc.get() }),
        |change| matches!(change.topic, Topic::Service | Topic::Check | Topic::Node),
    );
    list.follow(rows.data.into(), Signal::derive(move || asked.read().scope()));
    keep_selection(list);
    let ask = Ask::new(list.selected);
    let now_ms = Signal::derive(move || clock.agent_now(list.page.with(|page| page.now_ms), rows.at_ms.get()));
    provide_context(Context { now_ms, ask });
    list.keys(move |key| {
        let chosen = list.chosen();
        match key {
            "r" if !chosen.is_empty() => ask.act(Action::Run, chosen),
            "m" if !chosen.is_empty() => ask.open(Action::Maintain(String::new()), chosen),
            _ => return false,
        }
        true
    });
    // The palette asks for maintenance of a service this way.
    let drawer = router.param("v");
    Effect::new(move |_| {
        if drawer.with(|drawer| drawer == "maintenance") {
            let chosen = list.chosen();
            router.set(&[("v", "")], Step::Replace);
            if !chosen.is_empty() {
                ask.open(Action::Maintain(String::new()), chosen);
            }
        }
    });
    let register = move || router.set(&[("v", "register")], Step::Push);
    view! {
        <div class="page fill">
            <div class="ph">
                <h1>"Services"</h1>
                <div class="act"><Button label="Register service" icon="plus" kind=Kind::Primary on_press=register/></div>
            </div>
            <Tools asked list/>
            <section class="panel lst" aria-label="Services">
                <Loaded query=rows what="The services" lines=10>
                    <Show when=move || { list.page.with(|page| page.matched) > 0 } fallback=move || view! { <Nothing asked list/> }>
                        <div class="scr"><Table asked list/></div>
                    </Show>
                    <Foot list/>
                </Loaded>
            </section>
            <Bulk list ask/>
        </div>
    }
    .into_any()
}

/// What the address asks for.
pub(super) fn asked() -> Memo<Asked> {
    let router = use_router();
    let (filter, status, sort, group) = (router.param("filter"), router.param("status"), router.param("sort"), router.param("group"));
    Memo::new(move |_| Asked { filter: filter.get(), status: status.get(), sort: sort.get(), group: group.get() })
}

/// The selection is in the address, so that a link shows it and a reload keeps it.
fn keep_selection(list: List<ServiceRow>) {
    let router = use_router();
    let start = router.param("sel").get_untracked();
    list.selected.update(|selected| selected.extend(start.split(',').filter(|name| !name.is_empty()).map(str::to_owned)));
    Effect::new(move |before: Option<()>| {
        let names = list.selected.with(|selected| selected.iter().cloned().collect::<Vec<_>>().join(","));
        if before.is_some() {
            router.set(&[("sel", &names)], Step::Replace);
        }
    });
}

/// Filter, group and states.
#[component]
fn Tools(asked: Memo<Asked>, list: List<ServiceRow>) -> impl IntoView {
    let router = use_router();
    let counts = Memo::new(move |_| list.page.with(|page| page.counts));
    view! {
        <div class="tools">
            <FilterField label="Filter services" placeholder="Filter by name, tag:edge, node:n-1*, meta.team=payments" value=Signal::derive(move || asked.read().filter.clone())/>
            {move || {
                let group = asked.read().group.clone();
                (!group.is_empty()).then(|| view! {
                    <span class="tok">
                        {format!("group:{group}")}
                        <button type="button" aria-label="Show all groups" on:click=move |_| router.set(&[("group", "")], Step::Push)><Icon name="close" small=true/></button>
                    </span>
                })
            }}
            <Segmented
                label="State"
                options=Signal::derive(move || view::segments(&counts.get(), &STATES))
                value=Signal::derive(move || asked.read().status.clone())
                on_pick=Callback::new(move |status: String| router.set(&[("status", &status)], Step::Push))
            />
        </div>
    }
}

/// The filter of a list: in the address with every letter, reached with `/`.
#[component]
pub(super) fn FilterField(label: &'static str, placeholder: &'static str, value: Signal<String>) -> impl IntoView {
    let router = use_router();
    view! {
        <div class="field">
            <Icon name="search"/>
            <input
                type="search"
                data-filter=""
                aria-label=label
                placeholder=placeholder
                autocomplete="off"
                spellcheck="false"
                prop:value=move || value.get()
                on:input:target=move |event| router.set(&[("filter", &event.target().value())], Step::Replace)
                on:keydown:target=move |event| if event.key() == "Escape" {
                    // A link that is gone cannot lose the focus.
                    let _ = event.target().blur();
                }
            />
            <Key name="/"/>
        </div>
    }
}

/// A column's heading; a press sorts by it.
#[component]
pub(super) fn Heading(asked: Memo<Asked>, field: &'static str, label: &'static str, class: &'static str) -> impl IntoView {
    let router = use_router();
    let direction = move || asked.read().direction(field);
    let press = move |_| {
        let sort = asked.read_untracked().sorted_by(field);
        router.set(&[("sort", &sort)], Step::Push);
    };
    view! {
        <th scope="col" class=class aria-sort=direction>
            <button type="button" on:click=press>
                {label}
                {move || direction().map(|direction| view! { <Icon name=if direction == "ascending" { "down" } else { "up" } small=true/> })}
            </button>
        </th>
    }
}

#[component]
fn Table(asked: Memo<Asked>, list: List<ServiceRow>) -> impl IntoView {
    let shown = move || list.page.with(|page| page.rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>());
    let all = move || {
        list.page
            .with(|page| !page.rows.is_empty() && list.selected.with(|selected| page.rows.iter().all(|row| selected.contains(&row.name))))
    };
    let toggle_all = move |_| {
        let (all, names) = (untrack(all), untrack(shown));
        list.selected.update(|selected| if all { selected.clear() } else { selected.extend(names) });
    };
    view! {
        <table class="tbl svcs" aria-rowcount=move || list.page.with(|page| page.matched + 1)>
            <caption class="sr">"Services"</caption>
            <colgroup>
                <col class="w-cb"/><col class="w-st"/><col/><col class="w-in"/><col class="w-tr"/><col class="w-nd"/><col class="w-ch"/><col class="w-src"/><col class="w-act"/>
            </colgroup>
            <thead>
                <tr aria-rowindex="1">
                    <th scope="col" class="c-cb"><input class="cb" type="checkbox" aria-label="Select all loaded services" prop:checked=all on:change=toggle_all/></th>
                    <Heading asked field="Status" label="State" class="c-st"/>
                    <Heading asked field="Name" label="Name" class="c-nm"/>
                    <Heading asked field="Instances" label="Instances" class="c-in"/>
                    <th scope="col" class="c-tr">"Last hour"</th>
                    <Heading asked field="Nodes" label="Nodes" class="c-nd"/>
                    <Heading asked field="Changed" label="Changed" class="c-ch"/>
                    <Heading asked field="Source" label="Source" class="c-src"/>
                    <th scope="col" class="c-act"><span class="sr">"Actions"</span></th>
                </tr>
            </thead>
            <VirtualRows list cells/>
        </table>
    }
}

fn cells(list: List<ServiceRow>, row: Memo<ServiceRow>) -> AnyView {
    let context = expect_context::<Context>();
    let name = row.read_untracked().name.clone();
    let (select, run, maintain) = (name.clone(), name.clone(), name.clone());
    let runnable = Memo::new(move |_| row.read().runnable);
    let picked = {
        let name = name.clone();
        move || list.selected.with(|selected| selected.contains(&name))
    };
    view! {
        <td class="c-cb">
            <input class="cb" type="checkbox" aria-label=format!("Select {name}") prop:checked=picked on:change=move |_| list.toggle(&select)/>
        </td>
        <td class="c-st"><HealthMark health=Signal::derive(move || row.read().health)/></td>
        <td class="c-nm">
            <span class="svc">
                <a class="nm" href=link(Page::service(&name, "instances"))>{name.clone()}</a>
                {move || row.read().tags.iter().take(4).map(|tag| view! { <Tag text=tag.clone()/> }).collect_view()}
            </span>
        </td>
        <td class="c-in vis">
            <Lamps counts=Signal::derive(move || row.read().instances)/>
            <span class="dim num n">{move || format::count(row.read().instances.total)}</span>
        </td>
        <td class="c-tr vis"><Trace points=Signal::derive(move || row.read().trace.clone()) now_ms=context.now_ms/></td>
        <td class="c-nd num mid">{move || format::count(row.read().nodes)}</td>
        <td class="c-ch dim num">{move || format::ago(row.read().changed_at_ms, context.now_ms.get())}</td>
        <td class="c-src dim">{move || row.read().source.clone()}</td>
        <td class="c-act">
            <span class="rowact">
                {move || runnable.get().then(|| {
                    let (label, run) = (format!("Run checks of {}", run), run.clone());
                    view! { <IconButton icon="run" label on_press=move || context.ask.act(Action::Run, vec![run.clone()])/> }
                })}
                <IconButton icon="maintenance" label=format!("Maintenance of {name}") on_press=move || context.ask.open(Action::Maintain(String::new()), vec![maintain.clone()])/>
            </span>
        </td>
    }
    .into_any()
}

/// Nothing to list: because there is nothing, or because of the filter.
#[component]
fn Nothing(asked: Memo<Asked>, list: List<ServiceRow>) -> impl IntoView {
    let router = use_router();
    move || {
        if asked.read().narrows() {
            let what = describe(&asked.read());
            let hidden = list.page.with(|page| page.totals.total);
            let clear = move || router.set(&[("filter", ""), ("status", ""), ("group", "")], Step::Push);
            view! {
                <Empty title="No service matches" text=format!("{} do not match {what}.", format::plural(hidden, "service", "services"))>
                    <Button label="Show all" on_press=clear/>
                </Empty>
            }
            .into_any()
        } else {
            view! {
                <Empty title="No services yet" text="Register one here, or point an agent at this cluster.">
                    <Button label="Register service" icon="plus" kind=Kind::Primary on_press=move || router.set(&[("v", "register")], Step::Push)/>
                </Empty>
            }
            .into_any()
        }
    }
}

/// The filter in words.
pub(super) fn describe(asked: &Asked) -> String {
    let filter = asked.filter.trim();
    let parts = [
        (!filter.is_empty()).then(|| format!("\"{filter}\"")),
        (!asked.group.is_empty()).then(|| format!("group {}", asked.group)),
        (!asked.status.is_empty()).then(|| format!("state {}", asked.status.replace(',', " or "))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What is in sight, how long it took, which keys there are.
#[component]
fn Foot(list: List<ServiceRow>) -> impl IntoView {
    view! {
        <div class="foot">
            <span class="num">{move || list.page.with(|page| view::place(list.in_sight(), page))}</span>
            <span class="num hide-m">{move || list.page.with(|page| view::took(page.took_us))}</span>
            <Show when=move || { list.waiting.get() > 0 }>
                <button class="btn sm" type="button" on:click=move |_| list.apply()>
                    {move || format!("{}, reorder", format::plural(list.waiting.get(), "change", "changes"))}
                </button>
            </Show>
            <span class="r">
                <span><Key name="J"/><Key name="K"/>"move"</span><span><Key name="X"/>"select"</span>
                <span><Key name="R"/>"run checks"</span><span><Key name="Enter"/>"open"</span>
            </span>
        </div>
    }
}
