//! Handing leadership over, and taking a server out.

use crate::prelude::*;
use shared::operator::{RemoveRaftPeer, TransferRaftLeader};
use wasm_bindgen_futures::spawn_local;

use super::{Model, view};
use crate::{
    api::send,
    components::{Button, Dialog, Field, Kind, TextInput},
    state::notices::use_notices,
};

/// Whether the address asks for this dialog.
fn asked(model: Model, what: &'static str) -> Signal<bool> {
    let param = model.router.param("v");
    Signal::derive(move || param.with(|asked| asked == what) && model.state.data.with(Option::is_some))
}

/// Hands leadership over, to the one asked for or to the one most up to date.
#[component]
pub(super) fn Transfer(model: Model) -> impl IntoView {
    let (notices, busy) = (use_notices(), RwSignal::new(false));
    let (open, to) = (asked(model, "transfer"), model.router.param("to"));
    let others = Memo::new(move |_| {
        model.shown.with(|state| {
            view::rows(state).into_iter().filter(|row| !row.leads && row.voter).map(|row| (row.id, row.name)).collect::<Vec<_>>()
        })
    });
    let text = move || {
        let now = model.shown.with(|state| view::leader(state).map(|leader| leader.name.clone()));
        let now = now.map_or_else(String::new, |name| format!("{name} leads now. "));
        format!("{now}Writes pause for the moment it takes, and nothing is lost.")
    };
    let none =
        Signal::derive(move || if others.with(Vec::is_empty) { "There is no other server with a vote.".to_owned() } else { String::new() });
    let go = move || {
        let id = to.get_untracked();
        busy.set(true);
        spawn_local(async move {
            let done = send(&TransferRaftLeader { id }).await;
            busy.try_set(false);
            model.close();
            model.state.refetch();
            match done {
                Ok(_) => notices.done("Leadership handed over", ""),
                Err(error) => notices.failed("Leadership was not handed over", error.to_string()),
            }
        });
    };
    view! {
        <Dialog title="Transfer leadership?" open on_close=move || model.close()>
            <p>{text}</p>
            <div class="form">
                <Field id="r-to" label="To">
                    <div class="field">
                        <select id="r-to" aria-describedby="r-to-note" on:change:target=move |event| model.router.set(&[("to", &event.target().value())], crate::router::Step::Replace)>
                            <option value="" selected=move || to.with(String::is_empty)>"The server most up to date"</option>
                            {move || others.get().into_iter().map(|(id, name)| {
                                let chosen = to.with(|to| *to == id);
                                view! { <option value=id selected=chosen>{name}</option> }
                            }).collect_view()}
                        </select>
                    </div>
                </Field>
            </div>
            <div class="r">
                <Button label="Cancel" on_press=move || model.close()/>
                <Button label="Transfer leadership" kind=Kind::Primary busy writes=true denied=none on_press=go/>
            </div>
        </Dialog>
    }
    .into_any()
}

/// Takes a server out of the configuration, once its name has been typed.
#[component]
pub(super) fn Remove(model: Model) -> impl IntoView {
    let (notices, busy, typed) = (use_notices(), RwSignal::new(false), RwSignal::new(String::new()));
    let (open, to) = (asked(model, "remove"), model.router.param("to"));
    let name = Memo::new(move |_| {
        to.with(|id| {
            model
                .shown
                .with(|state| state.servers.iter().find(|server| server.id == *id).map(|server| server.name.clone()).unwrap_or_default())
        })
    });
    Effect::new(move |_| {
        open.track();
        typed.set(String::new());
    });
    let blocked = Signal::derive(move || match typed.with(|typed| name.with(|name| !name.is_empty() && typed.trim() == name)) {
        true => String::new(),
        false => format!("Type {} first.", name.get()),
    });
    let go = move || {
        let (id, name) = (to.get_untracked(), name.get_untracked());
        busy.set(true);
        spawn_local(async move {
            let done = send(&RemoveRaftPeer { id, address: String::new() }).await;
            busy.try_set(false);
            model.close();
            model.state.refetch();
            match done {
                Ok(()) => notices.done(format!("{name} removed"), "It is no longer in the Raft configuration."),
                Err(error) => notices.failed(format!("{name} was not removed"), error.to_string()),
            }
        });
    };
    view! {
        <Dialog title=Signal::derive(move || format!("Remove {}?", name.get())) open on_close=move || model.close()>
            <p>{move || to.with(|id| model.shown.with(|state| view::removal(state, id)))}</p>
            <div class="form"><TextInput id="r-name" label="Type the server's name to confirm" value=typed mono=true/></div>
            <div class="r">
                <Button label="Cancel" on_press=move || model.close()/>
                <Button label="Remove server" kind=Kind::DangerPrimary busy writes=true denied=blocked on_press=go/>
            </div>
        </Dialog>
    }
    .into_any()
}
