//! One service: its instances and their checks, history, tags and definition, and what can be done to them.

mod checks;
mod dialogs;
mod history;
mod instances;
mod model;
mod tags;
pub(crate) mod view;

use crate::prelude::*;
use shared::health::Health;

pub(crate) use checks::{Checks, title as check_title};
pub(crate) use model::{Runs, clock, definitions};

use self::model::Model;
use super::title;
use crate::{
    components::{Banner, Button, Choice, Empty, Kind, Loaded, Pill, Tabs, copy},
    format,
    layout::keys::on_key,
    router::{Page, Step, link},
};

/// What a dialog asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Into maintenance: the chosen instance or all of them.
    Maintenance { all: bool },
    /// Deregister the chosen instance.
    Deregister,
}

/// The page of one service. Rebuilt when the name changes; tab and selection come from the router's place.
#[component]
pub(crate) fn Service(name: String) -> impl IntoView {
    let heading = StoredValue::new(name.clone());
    title(move || heading.get_value());
    let model = Model::new(name.clone());
    let action = RwSignal::new(None::<Action>);
    let nothing = Memo::new(move |_| model.shown.with(Vec::is_empty));
    on_key(move |key, _| !nothing.get_untracked() && press(model, action, key));
    view! {
        <div class="page">
            <Head model action nothing/>
            <Loaded query=model.rows what=format!("The service {name}") lines=8>
                {move || if nothing.get() {
                    let text = format!("No instance of {} is registered in this datacenter.", heading.get_value());
                    view! {
                        <Empty title="There is no such service" text>
                            <a class="btn pri" href=link(Page::Services)>"See all services"</a>
                        </Empty>
                    }.into_any()
                } else {
                    view! { <Body model action/> }.into_any()
                }}
            </Loaded>
            <dialogs::Dialogs model action/>
        </div>
    }
    .into_any()
}

/// Does what a shortcut stands for; whether it stands for anything.
fn press(model: Model, action: RwSignal<Option<Action>>, key: &str) -> bool {
    match key {
        "r" => model.runs.all(untrack(|| model.runnable())),
        "m" => action.set(Some(Action::Maintenance { all: false })),
        "e" => instances::edit(model),
        "y" => {
            let address = untrack(|| model.instance().with(|i| i.as_ref().map(view::address)));
            if let Some(address) = address {
                spawn_local(async move {
                    if copy::write(&address).await {
                        model.notices.done(format!("Copied {address}"), "");
                    }
                });
            }
        }
        "[" | "]" => {
            let here =
                model.router.place().with_untracked(|p| if let Page::Service { tab, .. } = &p.page { tab.clone() } else { String::new() });
            let at = TABS.iter().position(|t| t.0 == here).unwrap_or_default();
            let next = (at + if key == "]" { 1 } else { TABS.len() - 1 }) % TABS.len();
            model.router.go(Page::service(&model.name.get_value(), TABS[next].0));
        }
        "j" | "k" => {
            let list = model.shown.with_untracked(|rows| view::instances(rows));
            let chosen = model.selected.get_untracked();
            let at = list.iter().position(|i| chosen.as_ref().is_some_and(|c| c.0 == i.node && c.1 == i.id));
            let next = at.map_or(Some(0), |at| if key == "j" { Some(at + 1) } else { at.checked_sub(1) });
            if let Some(next) = next.and_then(|n| list.get(n)) {
                model.router.go(model.page_of(&next.node, &next.id));
            }
        }
        _ => return false,
    }
    true
}

/// Name, state, tags, and what can be done to the whole service.
#[component]
fn Head(model: Model, action: RwSignal<Option<Action>>, nothing: Memo<bool>) -> impl IntoView {
    let counts = model.counts();
    let head =
        Memo::new(
            move |_| {
                if model.gone_ms.get() > 0 { (Health::None, "No longer registered".to_owned()) } else { view::headline(&counts.get()) }
            },
        );
    let tags = Memo::new(move |_| {
        let mut tags: Vec<String> = model.shown.with(|rows| rows.iter().flat_map(|r| r.service.tags.clone()).collect());
        crate::order::sort_by(&mut tags, Ord::cmp);
        tags.dedup();
        tags
    });
    const TAGS_SHOWN: usize = 6;
    let tag_list = move || {
        let all = tags.get();
        let more = all.len().saturating_sub(TAGS_SHOWN);
        let shown = all.into_iter().take(TAGS_SHOWN).map(|tag| view! { <span class="tag">{tag}</span> }).collect_view();
        view! { {shown} {(more > 0).then(|| view! { <span class="dim">{format!("{more} more")}</span> })} }
    };
    let busy = Signal::derive(move || model.runs.busy());
    let none = Signal::derive(move || {
        model.shown.track();
        if model.runnable().is_empty() { "None of its checks can be run from here.".to_owned() } else { String::new() }
    });
    let register = move || model.router.set(&[("v", "register")], Step::Push);
    view! {
        <div class="ph">
            <div class="hd">
                <h1>{model.name.get_value()}</h1>
                <Show when=move || !nothing.get()>
                    <Pill health=Signal::derive(move || head.get().0) text=Signal::derive(move || head.get().1)/>
                    {tag_list}
                </Show>
            </div>
            <Show when=move || !nothing.get()>
                <div class="act" class:gone=move || { model.gone_ms.get() > 0 }>
                    <Button label="Maintenance" icon="maintenance" on_press=move || action.set(Some(Action::Maintenance { all: true }))/>
                    <Button label="Register instance" icon="plus" on_press=register/>
                    <Button label="Run all checks" icon="run" kind=Kind::Primary busy denied=none on_press=move || model.runs.all(model.runnable())/>
                </div>
            </Show>
        </div>
    }
    .into_any()
}

const TABS: [(&str, &str); 4] =
    [("instances", "Instances"), ("history", "History"), ("tags", "Tags and meta"), ("definition", "Definition")];

#[component]
fn Body(model: Model, action: RwSignal<Option<Action>>) -> impl IntoView {
    let place = model.router.place();
    // Consul's tabs that do not exist here lead to the instances.
    let tab = Memo::new(move |_| match &place.read().page {
        Page::Service { tab, .. } => TABS.into_iter().find(|t| t.0 == tab).map_or("instances", |t| t.0),
        _ => "instances",
    });
    let options = Signal::derive(move || {
        let instances = model.shown.with(Vec::len) as u64;
        let facts = model.shown.with(|rows| tags::count(rows)) as u64;
        let count = |name: &str| match name {
            "instances" => Some(format::count(instances)),
            "tags" => Some(format::count(facts)),
            _ => None,
        };
        TABS.map(|(value, label)| {
            let choice = Choice::new(value, label);
            match count(value) {
                Some(number) => choice.count(number),
                None => choice,
            }
        })
        .to_vec()
    });
    let pick = move |tab: String| model.router.go(Page::service(&model.name.get_value(), &tab));
    let gone = Signal::derive(move || {
        let at = format::clock(model.gone_ms.get(), format::zone_min(), true);
        format!("The last instance was deregistered at {at}. This is what was known until then.")
    });
    view! {
        <Show when=move || { model.gone_ms.get() > 0 }><Banner text=gone/></Show>
        <Tabs label=model.name.get_value() options value=Signal::derive(move || tab.get().to_owned()) panel="service-panel" on_pick=pick/>
        <div role="tabpanel" id="service-panel" aria-label=move || TABS.into_iter().find(|t| t.0 == tab.get()).map(|t| t.1)>
            {move || match tab.get() {
                "history" => view! { <history::HistoryTab model/> }.into_any(),
                "tags" => view! { <tags::TagsTab model/> }.into_any(),
                "definition" => view! { <tags::DefinitionTab model/> }.into_any(),
                _ => view! { <instances::Instances model action/> }.into_any(),
            }}
        </div>
    }
    .into_any()
}
