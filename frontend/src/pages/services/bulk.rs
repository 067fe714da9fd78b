//! Doing something to many services: the bar that appears with a selection, the question before, the list after.

use std::collections::BTreeSet;

use crate::prelude::*;
use shared::service::ServiceRow;

use crate::{
    actions::{self, Action, Outcome},
    components::{Button, Dialog, Icon, IconButton, Kind, TextInput, rows::List},
    format::plural,
    pages::overview::summary,
    router::use_dc,
    state::notices::{Notices, use_notices},
};

/// Asks before, does, and tells after. Copy it freely.
#[derive(Clone, Copy)]
pub(super) struct Ask {
    /// What is being asked about.
    question: RwSignal<Option<(Action, Vec<String>)>>,
    outcomes: RwSignal<Option<(Action, Vec<Outcome>)>>,
    busy: RwSignal<bool>,
    selected: RwSignal<BTreeSet<String>>,
    dc: Signal<String>,
    notices: Notices,
}

impl Ask {
    pub(super) fn new(selected: RwSignal<BTreeSet<String>>) -> Self {
        let (question, outcomes, busy) = (RwSignal::new(None), RwSignal::new(None), RwSignal::new(false));
        Self { question, outcomes, busy, selected, dc: use_dc(), notices: use_notices() }
    }

    /// Asks first.
    pub(super) fn open(self, action: Action, services: Vec<String>) {
        self.question.set(Some((action, services)));
    }

    /// Does it.
    pub(super) fn act(self, action: Action, services: Vec<String>) {
        if self.busy.get_untracked() {
            return;
        }
        self.busy.set(true);
        let dc = self.dc.get_untracked();
        spawn_local(async move {
            let outcomes = actions::on_services(action.clone(), dc, services.clone()).await;
            self.busy.try_set(false);
            self.question.try_set(None);
            self.tell(action, &services, outcomes);
        });
    }

    fn tell(self, action: Action, services: &[String], outcomes: Vec<Outcome>) {
        let failed = outcomes.iter().any(|outcome| outcome.result.is_err());
        if failed && outcomes.len() > 1 {
            self.outcomes.try_set(Some((action, outcomes)));
            return;
        }
        let of = if let [one] = services { one.clone() } else { plural(services.len() as u32, "service", "services") };
        let why = outcomes.iter().find_map(|outcome| outcome.result.clone().err());
        let (good, title, text) = match (&action, why) {
            (Action::Run, _) => summary(&of, &outcomes),
            (_, Some(why)) => (false, format!("{of} was not changed"), why),
            (Action::Maintain(_), None) => (true, format!("{of} is in maintenance"), "Queries and DNS leave it out.".to_owned()),
            (Action::Resume, None) => (true, format!("{of} is back in traffic"), String::new()),
            (Action::Deregister, None) => (true, format!("{of} deregistered"), String::new()),
        };
        match action {
            Action::Maintain(_) if good => {
                let names = services.to_vec();
                self.notices.undoable(title, text, move || self.act(Action::Resume, names.clone()));
            }
            _ if good => self.notices.done(title, text),
            _ => self.notices.failed(title, text),
        }
        if action == Action::Deregister && good {
            self.selected.try_update(BTreeSet::clear);
        }
    }
}

/// The bar, the question and the list of outcomes.
#[component]
pub(super) fn Bulk(list: List<ServiceRow>, ask: Ask) -> impl IntoView {
    let count = move || list.selected.with(BTreeSet::len) as u32;
    let names = move || list.selected.with_untracked(|selected| selected.iter().cloned().collect::<Vec<_>>());
    let label = move || format!("Actions on {} selected", plural(count(), "service", "services"));
    view! {
        <Show when=move || { count() > 0 }>
            <div class="bulk" role="toolbar" aria-label=label>
                <b class="num" role="status">{move || format!("{} selected", count())}</b>
                <Button label="Run checks" icon="run" small=true busy=ask.busy on_press=move || ask.act(Action::Run, names())/>
                <Button label="Maintenance" icon="maintenance" small=true on_press=move || ask.open(Action::Maintain(String::new()), names())/>
                <Button label="Deregister" icon="trash" small=true on_press=move || ask.open(Action::Deregister, names())/>
                <span class="sep hide-m"></span>
                <IconButton icon="close" label="Clear selection" on_press=move || list.selected.update(BTreeSet::clear)/>
            </div>
        </Show>
        <Question ask/>
        <Outcomes ask/>
    }
}

#[component]
fn Question(ask: Ask) -> impl IntoView {
    let reason = RwSignal::new(String::new());
    let of = move || {
        ask.question.with(|question| {
            question
                .as_ref()
                .map(|(_, services)| match services.as_slice() {
                    [one] => one.clone(),
                    many => plural(many.len() as u32, "service", "services"),
                })
                .unwrap_or_default()
        })
    };
    let removes = move || ask.question.with(|question| matches!(question, Some((Action::Deregister, _))));
    let title = Signal::derive(move || if removes() { format!("Deregister {}?", of()) } else { format!("Put {} into maintenance?", of()) });
    let close = Callback::new(move |()| {
        if !ask.busy.get_untracked() {
            ask.question.set(None)
        }
    });
    let go = move || {
        let Some((action, services)) = ask.question.get_untracked() else { return };
        let action = if matches!(action, Action::Maintain(_)) { Action::Maintain(reason.get_untracked()) } else { action };
        ask.act(action, services);
    };
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        go()
    };
    let text = move || {
        if removes() {
            "Every instance is removed, by its own agent where there is one. A process that registers itself will come back the next time it starts. \
         To keep it out of traffic and in the list, use maintenance."
        } else {
            "Every instance stays registered, but queries and DNS leave it out until maintenance ends."
        }
    };
    view! {
        <Dialog title open=Signal::derive(move || ask.question.with(Option::is_some)) on_close=close>
            <form class="form" on:submit=submit>
                <p>{text}</p>
                <Show when=move || !removes()>
                    <TextInput id="reason" label="Reason" value=reason placeholder="schema migration" help="Shown wherever the service is."/>
                </Show>
                <div class="r">
                    <Button label="Cancel" on_press=close/>
                    <Show when=removes>
                        <Button label="Use maintenance" on_press=move || ask.question.update(|question| if let Some((action, _)) = question { *action = Action::Maintain(String::new()) })/>
                    </Show>
                    <Button
                        label=Signal::derive(move || if removes() { "Deregister".to_owned() } else { "Start maintenance".to_owned() })
                        kind=if removes() { Kind::DangerPrimary } else { Kind::Primary }
                        r#type="submit"
                        busy=ask.busy
                    />
                </div>
            </form>
        </Dialog>
    }
}

/// How each went, when not all went well.
#[component]
fn Outcomes(ask: Ask) -> impl IntoView {
    let close = Callback::new(move |()| ask.outcomes.set(None));
    let title = Signal::derive(move || {
        ask.outcomes.with(|outcomes| {
            outcomes
                .as_ref()
                .map(|(action, outcomes)| {
                    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
                    format!("{}: {failed} of {} failed", action.title(), outcomes.len())
                })
                .unwrap_or_default()
        })
    });
    view! {
        <Dialog title open=Signal::derive(move || ask.outcomes.with(Option::is_some)) on_close=close class="wide">
            <ul class="outcomes">
                {move || ask.outcomes.get().map(|(_, outcomes)| outcomes).unwrap_or_default().into_iter().map(|outcome| {
                    let (class, icon, text) = match outcome.result {
                        Ok(text) => ("ok", "passing", text),
                        Err(text) => ("crit", "critical", text),
                    };
                    view! { <li><span class=class><Icon name=icon/></span><b>{outcome.object}</b><span class="mid">{text}</span></li> }
                }).collect_view()}
            </ul>
            <div class="r"><Button label="Close" kind=Kind::Primary on_press=close/></div>
        </Dialog>
    }
}
