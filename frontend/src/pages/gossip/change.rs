//! Joining others, and telling the pool that somebody will not come back.

use crate::prelude::*;
use shared::agent;
use wasm_bindgen_futures::spawn_local;

use super::Model;
use crate::{
    api::send,
    components::{Button, Dialog, Kind, TextInput},
    state::notices::use_notices,
};

/// Joins an address.
#[component]
pub(super) fn Join(model: Model) -> impl IntoView {
    let (notices, busy, address) = (use_notices(), RwSignal::new(false), RwSignal::new(String::new()));
    let param = model.router.param("v");
    let open = Signal::derive(move || param.with(|asked| asked == "join"));
    let blocked =
        Signal::derive(
            move || if address.with(|address| address.trim().is_empty()) { "Give an address first.".to_owned() } else { String::new() },
        );
    let go = move || {
        let to = address.get_untracked().trim().to_owned();
        if to.is_empty() || busy.get_untracked() {
            return;
        }
        busy.set(true);
        spawn_local(async move {
            let done = send(&agent::Join { address: to.clone(), wan: false }).await;
            busy.try_set(false);
            match done {
                Ok(()) => {
                    notices.done(format!("Joined {to}"), "");
                    address.try_set(String::new());
                    model.close();
                    model.pool.refetch();
                }
                Err(error) => notices.failed(format!("Did not join {to}"), error.to_string()),
            }
        });
    };
    view! {
        <Dialog title="Join members" open on_close=move || model.close()>
            <p>"This agent introduces itself to the one at this address; both pools become one."</p>
            <form class="form" on:submit=move |event| { event.prevent_default(); go() }>
                <TextInput id="g-join" label="Address" value=address help="Host or IP address, with the gossip port if it is not 8301." placeholder="10.0.0.12" mono=true/>
                <div class="r">
                    <Button label="Cancel" on_press=move || model.close()/>
                    <Button label="Join" kind=Kind::Primary busy denied=blocked r#type="submit"/>
                </div>
            </form>
        </Dialog>
    }
    .into_any()
}

/// Declares a member that failed left, or has it forgotten.
#[component]
pub(super) fn Leave(model: Model) -> impl IntoView {
    let (notices, busy, prune) = (use_notices(), RwSignal::new(false), RwSignal::new(false));
    let (param, name) = (model.router.param("v"), model.router.param("to"));
    let forget = Memo::new(move |_| param.with(|asked| asked == "forget"));
    let open = Signal::derive(move || param.with(|asked| asked == "leave" || asked == "forget") && !name.with(String::is_empty));
    let head =
        Signal::derive(move || if forget.get() { format!("Forget {}?", name.get()) } else { format!("Force {} to leave?", name.get()) });
    let text = move || {
        let member = model.shown.with(|pool| name.with(|name| pool.members.iter().find(|member| member.name == *name).cloned()));
        let server = member.is_some_and(|member| member.role == "server");
        let raft = if server { " It is a server: its vote is taken away as well." } else { "" };
        if forget.get() {
            "It goes from every member list at once. If it starts again, it is a member again.".to_owned()
        } else {
            format!(
                "Nobody waits for it any longer: its node and services go from the catalog.{raft} If it runs after all, it says so and stays."
            )
        }
    };
    let go = move || {
        let (node, prune) = (name.get_untracked(), forget.get_untracked() || prune.get_untracked());
        busy.set(true);
        spawn_local(async move {
            let done = send(&agent::ForceLeave { node: node.clone(), prune }).await;
            busy.try_set(false);
            model.close();
            model.pool.refetch();
            match done {
                Ok(()) => notices.done(if prune { format!("{node} forgotten") } else { format!("{node} left") }, ""),
                Err(error) => notices.failed(format!("{node} stays"), error.to_string()),
            }
        });
    };
    view! {
        <Dialog title=head open on_close=move || model.close()>
            <p>{text}</p>
            <Show when=move || !forget.get()>
                <label class="check gap">
                    <input type="checkbox" class="cb" prop:checked=move || prune.get() on:change:target=move |event| prune.set(event.target().checked())/>
                    "Also forget it"
                </label>
            </Show>
            <div class="r">
                <Button label="Cancel" on_press=move || model.close()/>
                <Button label=Signal::derive(move || if forget.get() { "Forget" } else { "Force leave" }.to_owned()) kind=Kind::DangerPrimary busy on_press=go/>
            </div>
        </Dialog>
    }
    .into_any()
}
