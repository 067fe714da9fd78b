//! The node list.

use crate::prelude::*;
use shared::{
    changes::Topic,
    health::Health,
    node::{ListNodes, NodeRow},
};

use super::{
    services::{FilterField, Heading, asked, describe, view},
    title,
};
use crate::{
    api::query,
    components::{
        Button, Copy, Empty, HealthMark, Key, Lamps, Loaded, Segmented, Tag,
        rows::{List, Row, VirtualRows},
    },
    format,
    router::{Page, Step, link, use_dc, use_router},
    state::clock::use_clock,
};

const STATES: [Health; 3] = [Health::Critical, Health::Warning, Health::Maintenance];

impl Row for NodeRow {
    fn key(&self) -> &str {
        &self.node.name
    }
}

#[derive(Clone, Copy)]
struct Now(Signal<u64>);

/// The page.
#[component]
pub(crate) fn Nodes() -> impl IntoView {
    title(|| "Nodes".to_owned());
    let (router, dc, clock) = (use_router(), use_dc(), use_clock());
    let asked = asked();
    let list = List::<NodeRow>::new();
    let offset = list.offset();
    let rows = query(
        move || Some(ListNodes { page: asked.read().query(offset.get()), dc: dc.get() }),
        |change| matches!(change.topic, Topic::Service | Topic::Check | Topic::Node),
    );
    list.follow(rows.data.into(), Signal::derive(move || asked.read().scope()));
    list.keys(|_| false);
    provide_context(Now(Signal::derive(move || clock.agent_now(list.page.with(|page| page.now_ms), rows.at_ms.get()))));
    let counts = Memo::new(move |_| list.page.with(|page| page.counts));
    let clear = move || router.set(&[("filter", ""), ("status", "")], Step::Push);
    view! {
        <div class="page fill">
            <div class="ph"><h1>"Nodes"</h1></div>
            <div class="tools">
                <FilterField label="Filter nodes" placeholder="Filter by name, address, meta.rack=r1" value=Signal::derive(move || asked.read().filter.clone())/>
                <Segmented
                    label="State"
                    options=Signal::derive(move || view::segments(&counts.get(), &STATES))
                    value=Signal::derive(move || asked.read().status.clone())
                    on_pick=Callback::new(move |status: String| router.set(&[("status", &status)], Step::Push))
                />
            </div>
            <section class="panel lst" aria-label="Nodes">
                <Loaded query=rows what="The nodes" lines=10>
                    <Show
                        when=move || { list.page.with(|page| page.matched) > 0 }
                        fallback=move || view! {
                            <Empty title="No node matches" text=format!("No node matches {}.", describe(&asked.read()))>
                                <Button label="Show all" on_press=clear/>
                            </Empty>
                        }
                    >
                        <div class="scr"><Table asked list/></div>
                    </Show>
                    <div class="foot">
                        <span class="num">{move || list.page.with(|page| view::place(list.in_sight(), page))}</span>
                        <span class="num hide-m">{move || list.page.with(|page| view::took(page.took_us))}</span>
                        <Show when=move || { list.waiting.get() > 0 }>
                            <button class="btn sm" type="button" on:click=move |_| list.apply()>
                                {move || format!("{}, reorder", format::plural(list.waiting.get(), "change", "changes"))}
                            </button>
                        </Show>
                        <span class="r"><span><Key name="J"/><Key name="K"/>"move"</span><span><Key name="Enter"/>"open"</span></span>
                    </div>
                </Loaded>
            </section>
        </div>
    }
    .into_any()
}

#[component]
fn Table(asked: Memo<view::Asked>, list: List<NodeRow>) -> impl IntoView {
    view! {
        <table class="tbl nds" aria-rowcount=move || list.page.with(|page| page.matched + 1)>
            <caption class="sr">"Nodes"</caption>
            <colgroup>
                <col class="w-st"/><col class="w-name"/><col class="w-ad"/><col class="w-src"/><col class="w-nd"/><col class="w-ck"/><col/><col class="w-ch"/>
            </colgroup>
            <thead>
                <tr aria-rowindex="1">
                    <Heading asked field="Status" label="State" class="c-st"/>
                    <Heading asked field="Name" label="Name" class="c-nm"/>
                    <Heading asked field="Address" label="Address" class="c-ad"/>
                    <th scope="col" class="c-src">"Version"</th>
                    <Heading asked field="Services" label="Services" class="c-nd"/>
                    <Heading asked field="Checks" label="Checks" class="c-ck"/>
                    <th scope="col" class="c-why">"Reason"</th>
                    <Heading asked field="Changed" label="Changed" class="c-ch"/>
                </tr>
            </thead>
            <VirtualRows list cells/>
        </table>
    }
}

fn cells(_: List<NodeRow>, row: Memo<NodeRow>) -> AnyView {
    let now_ms = expect_context::<Now>().0;
    let name = row.read_untracked().node.name.clone();
    let role = move || role(&row.read());
    view! {
        <td class="c-st"><HealthMark health=Signal::derive(move || row.read().health)/></td>
        <td class="c-nm">
            <span class="svc">
                <a class="nm" href=link(Page::node(&name, "health-checks"))>{name.clone()}</a>
                {move || (!role().is_empty()).then(|| view! { <Tag text=role()/> })}
            </span>
        </td>
        <td class="c-ad vis"><span class="mono mid">{move || row.read().node.address.clone()}</span><Copy text=Signal::derive(move || row.read().node.address.clone()) what="address"/></td>
        <td class="c-src dim mono">{move || row.read().version.clone()}</td>
        <td class="c-nd num mid">{move || format::count(row.read().services)}</td>
        <td class="c-ck vis">
            <Lamps counts=Signal::derive(move || row.read().checks)/>
            <span class="dim num n">{move || format::count(row.read().checks.total)}</span>
        </td>
        <td class="c-why mono mid" title=move || row.read().output.clone()>{move || row.read().output.clone()}</td>
        <td class="c-ch dim num">{move || format::ago(row.read().changed_at_ms, now_ms.get())}</td>
    }
    .into_any()
}

/// `server`, `client`, or that no agent runs there.
fn role(row: &NodeRow) -> String {
    if row.agent { row.role.clone() } else { "no agent".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_an_agent_says_so() {
        let row = |agent: bool, word: &str| NodeRow { agent, role: word.to_owned(), ..NodeRow::default() };
        for (row, text) in [(row(true, "server"), "server"), (row(false, ""), "no agent")] {
            assert_eq!(role(&row), text);
        }
    }
}
