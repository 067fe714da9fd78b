//! The gossip pool: who is a member, who is suspected or gone and who says so, the keys; join, force-leave, forget.

mod change;
mod keys;
pub(crate) mod view;
mod witness;

use std::time::Duration;

use crate::prelude::*;
use shared::{
    changes::Topic,
    endpoint::Read as Where,
    gossip::{GetGossip, Member, Pool},
};

use super::{services::FilterField, title};
use crate::{
    api::{Query, query},
    components::{
        Button, Choice, Copy, Empty, Hero, Icon, Key, Kind, Loaded, Segmented, Tabs, Tag,
        rows::{List, VirtualRows},
    },
    format,
    router::{Page, Router, Step, link, use_dc, use_router},
};

/// How often the pool is looked at: suspicions come and go without a word of the change stream.
const LOOK: Duration = Duration::from_secs(2);
/// Tabs by their word in the address.
const TABS: [(&str, &str); 3] = [("", "Members"), ("views", "Who accuses whom"), ("keys", "Keys")];

/// What the parts of the page share. Copy it freely.
#[derive(Clone, Copy)]
struct Model {
    pool: Query<Pool>,
    shown: Memo<Pool>,
    router: Router,
    dc: Signal<String>,
}

impl Model {
    /// Opens a dialog: which, and about which member.
    fn ask(self, what: &str, name: &str) {
        self.router.set(&[("v", what), ("to", name)], Step::Push);
    }

    fn close(self) {
        self.router.set(&[("v", ""), ("to", "")], Step::Replace);
    }
}

/// The page.
#[component]
pub(crate) fn Gossip() -> impl IntoView {
    title(|| "Gossip".to_owned());
    let (dc, router) = (use_dc(), use_router());
    let pool = query(
        move || Some(GetGossip { node: String::new(), read: Where { dc: dc.get(), ..Where::default() } }),
        |change| change.topic == Topic::Node || change.name == shared::check::SERF_HEALTH,
    );
    pool.poll(LOOK);
    let shown = Memo::new(move |_| pool.data.get().unwrap_or_default());
    let model = Model { pool, shown, router, dc };
    let tab = router.param("tab");
    let options = Signal::derive(move || {
        let accused = shown.with(|pool| view::accused(pool, usize::MAX).len());
        let number = |at: usize| match at {
            0 => Some(shown.with(|pool| pool.members.len())),
            1 => Some(accused).filter(|accused| *accused > 0),
            _ => Some(shown.with(|pool| pool.keys)).filter(|keys| *keys > 0),
        };
        let choice = |(at, (value, label)): (usize, (&str, &str))| match number(at) {
            Some(number) => Choice::new(value, label).count(format::count(number as u64)),
            None => Choice::new(value, label),
        };
        TABS.into_iter().enumerate().map(choice).collect::<Vec<_>>()
    });
    let label = move || TABS.into_iter().find(|(value, _)| tab.with(|tab| tab == value)).map(|(_, label)| label);
    view! {
        <div class="page fill gsp">
            <Loaded query=pool what="The gossip pool" lines=10>
                <Hero sentence=Signal::derive(move || shown.with(view::sentence)) facts=Signal::derive(move || shown.with(view::facts))/>
                <div class="tabbar">
                    <Tabs label="Gossip" options value=tab panel="gossip-panel" on_pick=move |tab: String| router.set(&[("tab", &tab)], Step::Push)/>
                    <div class="act"><Button label="Join members" icon="plus" kind=Kind::Primary on_press=move || model.ask("join", "")/></div>
                </div>
                <div role="tabpanel" id="gossip-panel" class="tabbed" aria-label=label>
                    {move || match tab.get().as_str() {
                        "views" => view! { <witness::Views model/> }.into_any(),
                        "keys" => view! { <keys::Keys model/> }.into_any(),
                        _ => view! { <Members model/> }.into_any(),
                    }}
                </div>
            </Loaded>
            <change::Join model/>
            <change::Leave model/>
        </div>
    }
    .into_any()
}

#[component]
fn Members(model: Model) -> impl IntoView {
    let list = List::<Member>::new().still();
    let (filter, status) = (model.router.param("filter"), model.router.param("status"));
    let page = Memo::new(move |_| model.pool.data.with(|pool| pool.as_ref().map(|pool| view::page(pool, &filter.get(), &status.get()))));
    list.follow(page.into(), Signal::derive(move || format!("{} {}", status.get(), filter.get())));
    list.keys(|_| false);
    provide_context(model);
    let clear = move || model.router.set(&[("filter", ""), ("status", "")], Step::Push);
    let alone = move || model.shown.with(|pool| pool.members.len() < 2);
    view! {
        <div class="tools">
            <FilterField label="Filter members" placeholder="Filter by name, address, server, version" value=filter.into()/>
            <Segmented
                label="State"
                options=Signal::derive(move || model.shown.with(view::segments))
                value=status
                on_pick=Callback::new(move |status: String| model.router.set(&[("status", &status)], Step::Push))
            />
        </div>
        <section class="panel lst" aria-label="Members">
            <Show
                when=move || { list.page.with(|page| page.matched) > 0 }
                fallback=move || view! {
                    <Empty title="No member matches" text="No member has this name, address or state."><Button label="Show all" on_press=clear/></Empty>
                }
            >
                <div class="scr">
                    <Table list/>
                    <Show when=alone><Alone model/></Show>
                </div>
            </Show>
            <div class="foot">
                <span class="num">{move || list.page.with(|page| super::services::view::place(list.in_sight(), page))}</span>
                <span class="hide-m">{move || format!("as {} sees them", model.shown.read().node)}</span>
                <Show when=move || { list.waiting.get() > 0 }>
                    <button class="btn sm" type="button" on:click=move |_| list.apply()>
                        {move || format!("{}, reorder", format::plural(list.waiting.get(), "change", "changes"))}
                    </button>
                </Show>
                <span class="r"><span><Key name="J"/><Key name="K"/>"move"</span><span><Key name="Enter"/>"open"</span></span>
            </div>
        </section>
    }
    .into_any()
}

#[component]
fn Table(list: List<Member>) -> impl IntoView {
    view! {
        <table class="tbl mbr" aria-rowcount=move || list.page.with(|page| page.matched + 1)>
            <caption class="sr">"Members, those in trouble first"</caption>
            <colgroup>
                <col class="w-st"/><col/><col class="w-ad"/><col class="w-rt"/><col class="w-for"/><col class="w-up"/><col class="w-ve"/><col class="w-go"/>
            </colgroup>
            <thead>
                <tr aria-rowindex="1">
                    <th scope="col" class="c-st">"State"</th><th scope="col" class="c-nm">"Name"</th><th scope="col" class="c-ad">"Address"</th>
                    <th scope="col" class="c-rt">"Round trip"</th><th scope="col" class="c-for">"State for"</th><th scope="col" class="c-up">"Started"</th>
                    <th scope="col" class="c-ve">"Version"</th><th scope="col" class="c-go"><span class="sr">"Actions"</span></th>
                </tr>
            </thead>
            <VirtualRows list cells/>
        </table>
    }
    .into_any()
}

fn cells(_: List<Member>, row: Memo<Member>) -> AnyView {
    let model = expect_context::<Model>();
    let name = StoredValue::new(row.read_untracked().name.clone());
    let mark = Memo::new(move |_| view::mark(&row.read().status));
    let now = js_sys::Date::now() as u64;
    let forgotten = move || model.shown.with(|pool| view::forgotten(pool, &row.read()));
    let gone = Memo::new(move |_| matches!(row.read().status.as_str(), "failed" | "left"));
    let does = move || {
        let (what, label, hint) = match row.read().status.as_str() {
            "failed" => ("leave", "Force leave", format!("Force {} to leave", name.get_value())),
            _ => ("forget", "Forget", format!("Forget {}", name.get_value())),
        };
        gone.get().then(|| view! { <Button label=label hint small=true on_press=move || model.ask(what, &name.get_value())/> })
    };
    view! {
        <td class="c-st"><span class=move || format!("st {}", mark.get().1)><Icon name=Signal::derive(move || mark.get().0)/><span class="w">{move || mark.get().2}</span></span></td>
        <td class="c-nm">
            <span class="svc"><a class="nm" href=link(Page::node(&name.get_value(), "health-checks"))>{name.get_value()}</a><Tag text=row.read_untracked().role.clone()/></span>
        </td>
        <td class="c-ad vis"><span class="mono mid">{move || row.read().address.clone()}</span><Copy text=Signal::derive(move || row.read().address.clone()) what="address"/></td>
        <td class="c-rt mid num">{move || model.shown.with(|pool| view::trip(pool, &row.read()))}</td>
        <td class="c-for dim num">{move || format::span(row.read().since_ms)}</td>
        <td class="c-up dim num" title=move || format!("Incarnation {}", row.read().incarnation)>{move || format::ago(row.read().incarnation, now)}</td>
        <td class="c-ve dim mono">{move || row.read().version.clone()}</td>
        <td class="c-go"><span class="does"><span class="dim num">{forgotten}</span>{does}</span></td>
    }
    .into_any()
}

/// There is nobody else yet: how to change that.
#[component]
fn Alone(model: Model) -> impl IntoView {
    let own = move || model.shown.with(|pool| pool.members.first().map(|member| member.address.clone()).unwrap_or_default());
    let command = Signal::derive(move || format!("muster join {}", own()));
    let setting = Signal::derive(move || format!("retry_join = [\"{}\"]", own()));
    view! {
        <div class="empty">
            <h2>"Nobody has joined yet"</h2>
            <p>"Start an agent on another machine and have it join this one, once by hand or at every start by its configuration."</p>
            <div class="ways">
                <div class="file"><pre class="mono">{move || command.get()}</pre><Copy text=command what="the command"/></div>
                <div class="file"><pre class="mono">{move || setting.get()}</pre><Copy text=setting what="the setting"/></div>
            </div>
        </div>
    }
    .into_any()
}
