//! The questions asked before something is done to a service.

use crate::prelude::*;
use shared::{
    agent,
    catalog::{self, Deregistration},
    health::ServiceNode,
};

use super::{
    Action,
    model::{Model, Ref, maintain},
    view::{self, Owner},
};
use crate::{
    api::send,
    components::{Button, Choice, Dialog, Kind, Segmented, TextInput},
};

/// Both dialogs; at most one is open.
#[component]
pub(crate) fn Dialogs(model: Model, action: RwSignal<Option<Action>>) -> impl IntoView {
    view! {
        <MaintenanceDialog model action/>
        <DeregisterDialog model action/>
    }
}

#[component]
fn MaintenanceDialog(model: Model, action: RwSignal<Option<Action>>) -> impl IntoView {
    let open = Signal::derive(move || matches!(action.get(), Some(Action::Maintenance { .. })));
    let close = move || action.set(None);
    let reason = RwSignal::new(String::new());
    let scope = RwSignal::new("one".to_owned());
    Effect::new(move |_| {
        if let Some(Action::Maintenance { all }) = action.get() {
            scope.set(if all { "all" } else { "one" }.to_owned());
            reason.set(String::new());
        }
    });
    // Only instances whose agent answers can be told.
    let able = move || {
        let able = |r: &&ServiceNode| view::owner(&r.checks) == Owner::Agent;
        model.shown.with(|rows| {
            rows.iter().filter(able).map(|r| (r.node.name.clone(), r.service.id.clone(), in_maintenance(r))).collect::<Vec<_>>()
        })
    };
    let targets = move |on: bool| -> Vec<Ref> {
        let one = model.selected.get();
        let all = scope.get() == "all";
        let wanted = |t: &(String, String, bool)| (all || one.as_ref() == Some(&(t.0.clone(), t.1.clone()))) && t.2 != on;
        able().into_iter().filter(wanted).map(|t| (t.0, t.1)).collect()
    };
    let options = Signal::derive(move || {
        let one = model.selected.get().map_or_else(String::new, |s| format!("Only {}", s.1));
        vec![Choice::new("all", &format!("All {} instances", model.shown.with(Vec::len))), Choice::new("one", &one)]
    });
    let unable = move || {
        let unable = model.shown.with(Vec::len) - able().len();
        (unable > 0).then(|| format!("{unable} of the instances have no agent that answers; they stay as they are."))
    };
    let change = move |on: bool| {
        let targets = untrack(|| targets(on));
        close();
        maintain(model.notices, targets, on, reason.get_untracked().trim().to_owned());
    };
    let start = Signal::derive(move || if targets(true).is_empty() { "All of them are in maintenance already." } else { "" }.to_owned());
    view! {
        <Dialog title="Maintenance" open on_close=close>
            <p>"DNS and queries stop handing out what is in maintenance. Its checks go on."</p>
            <form class="form" on:submit=move |e: web_sys::SubmitEvent| { e.prevent_default(); change(true) }>
                <Show when=move || model.shown.with(|rows| rows.len() > 1)>
                    <Segmented label="Which instances" options value=scope on_pick=move |picked| scope.set(picked)/>
                </Show>
                <TextInput id="m-reason" label="Reason" value=reason help="Shown to everyone who wonders why it is out." placeholder="schema migration, back at 15:00"/>
                {move || unable().map(|text| view! { <p class="help">{text}</p> })}
                <div class="r">
                    <Button label="Cancel" on_press=close/>
                    <Show when=move || !targets(false).is_empty()><Button label="End maintenance" on_press=move || change(false)/></Show>
                    <Button label="Start maintenance" kind=Kind::Primary r#type="submit" denied=start/>
                </div>
            </form>
        </Dialog>
    }
    .into_any()
}

fn in_maintenance(row: &ServiceNode) -> bool {
    row.checks.iter().any(|c| c.is_maintenance() && !c.service_id.is_empty())
}

#[component]
fn DeregisterDialog(model: Model, action: RwSignal<Option<Action>>) -> impl IntoView {
    let open = Signal::derive(move || action.get() == Some(Action::Deregister));
    let close = move || action.set(None);
    let busy = RwSignal::new(false);
    let instance = model.instance();
    let row = move || instance.get().unwrap_or_default();
    let owner = Memo::new(move |_| instance.with(|i| i.as_ref().map_or(Owner::Gone, |i| view::owner(&i.checks))));
    let title = Signal::derive(move || format!("Deregister {}?", row().service.id));
    let text = move || view::consequence(owner.get(), &row().node.name, &row().service.id);
    let go = move || {
        let row = untrack(row);
        busy.set(true);
        spawn_local(async move {
            let (node, id) = (row.node.name.clone(), row.service.id.clone());
            let result = if owner.get_untracked() == Owner::Agent {
                send(&agent::DeregisterService { node: node.clone(), id: id.clone() }).await
            } else {
                let deregistration = Deregistration {
                    node: node.clone(),
                    service_id: id.clone(),
                    datacenter: row.node.datacenter.clone(),
                    ..Deregistration::default()
                };
                send(&catalog::Deregister { deregistration }).await.map(drop)
            };
            busy.try_set(false);
            match result {
                Ok(()) => {
                    model.notices.done(format!("{id} deregistered"), format!("It is gone from {node}."));
                    action.try_set(None);
                }
                Err(error) => model.notices.failed(format!("{id} was not deregistered"), error.to_string()),
            }
        });
    };
    let instead = move || action.set(Some(Action::Maintenance { all: false }));
    view! {
        <Dialog title open on_close=close>
            <p>{text}</p>
            {move || (owner.get() == Owner::Agent).then(|| view! { <p>"To keep it out of traffic for a while, put it into maintenance instead."</p> })}
            <div class="r">
                <Button label="Cancel" on_press=close/>
                <Show when=move || owner.get() == Owner::Agent><Button label="Use maintenance" on_press=instead/></Show>
                <Button label="Deregister" kind=Kind::DangerPrimary busy on_press=go/>
            </div>
        </Dialog>
    }
    .into_any()
}
