//! The checks of an instance or node: what each says, since when, and "run now" with its outcome in place.

use crate::prelude::*;
use shared::{
    changes::Topic,
    check::{Check, CheckStatus, GetStatus, History, SERF_HEALTH},
    health::Health,
};

use super::{
    model::{Ran, Ref, Runs},
    view::{self, GONE, Outcome, Owner},
};
use crate::{
    api::query,
    components::{Button, Copy, Icon, diff, health},
    format,
};

/// A list of checks, worst first, the node's own last.
#[component]
pub(crate) fn Checks(
    #[prop(into)] checks: Signal<Vec<Check>>,
    #[prop(into)] histories: Signal<Vec<History>>,
    /// Who runs them.
    #[prop(into)]
    owner: Signal<Owner>,
    runs: Runs,
    now: Signal<u64>,
    /// Says which service a check belongs to: on a node's page.
    #[prop(optional)]
    name_service: bool,
) -> impl IntoView {
    let order = Memo::new(move |_| {
        let mut list = checks.get();
        crate::order::sort_by(&mut list, |one, other| {
            let key = |c: &_| (view::rank(Health::of_check(c)), c.service_id.is_empty(), c.name.clone(), c.id.clone());
            key(one).cmp(&key(other))
        });
        list.into_iter().map(|c| (c.node, c.id)).collect::<Vec<Ref>>()
    });
    view! {
        <ul>
            <For each=move || order.get() key=Clone::clone let:key>
                {
                    let (mine, wanted) = (key.clone(), key.clone());
                    let check = Memo::new(move |old: Option<&Check>| {
                        let found = checks.with(|list| list.iter().find(|c| c.node == mine.0 && c.id == mine.1).cloned());
                        found.or_else(|| old.cloned()).unwrap_or_default()
                    });
                    let history = Memo::new(move |_| {
                        histories.with(|list| list.iter().find(|h| h.node == wanted.0 && h.check_id == wanted.1).cloned()).unwrap_or_default()
                    });
                    view! { <CheckItem check history owner runs now name_service/> }
                }
            </For>
        </ul>
    }
    .into_any()
}

#[component]
fn CheckItem(
    check: Memo<Check>,
    history: Memo<History>,
    owner: Signal<Owner>,
    runs: Runs,
    now: Signal<u64>,
    name_service: bool,
) -> impl IntoView {
    let (node, id) = check.with_untracked(|c| (c.node.clone(), c.id.clone()));
    let ran = runs.of((node.clone(), id.clone()));
    let state = Memo::new(move |_| check.with(Health::of_check));
    let quiet = id == SERF_HEALTH || check.with_untracked(Check::is_maintenance);
    let (asked, watched) = ((node.clone(), id.clone()), (node, id));
    // Only the owner knows definition, runs in a row and the next run; it is asked again when the next run should be over.
    let status = query(
        move || (owner.get() != Owner::External && !quiet).then(|| GetStatus { node: asked.0.clone(), id: asked.1.clone() }),
        move |change| change.topic == Topic::Check && change.name == watched.1 && change.node == watched.0,
    );
    Effect::new(move |seen: Option<u64>| {
        let next = status.data.with(|d| d.as_ref().map_or(0, |d| d.next_run_at_ms));
        let seen = seen.unwrap_or_default();
        if next > 0 && now.get() > next + 1_500 && next != seen {
            status.refetch();
            return next;
        }
        seen
    });
    Effect::new(move |_| {
        if matches!(ran.get(), Some(Ran::Done { .. })) {
            status.refetch();
        }
    });
    let why_not = Memo::new(move |_| check.with(|c| view::not_runnable(c, owner.get() != Owner::External)));
    let blocked = Memo::new(move |_| match owner.get() {
        Owner::Gone => GONE.to_owned(),
        _ => status.data.with(|d| d.as_ref().filter(|d| !d.runnable).map(|d| d.reason.clone()).unwrap_or_default()),
    });
    let run = move || runs.one(check.get_untracked());
    let label = Signal::derive(move || match ran.get() {
        Some(Ran::Pending(since)) => format!("Running, {} s", now.get().saturating_sub(since) / 1000),
        _ => "Run check now".to_owned(),
    });
    let busy = Signal::derive(move || matches!(ran.get(), Some(Ran::Pending(_))));
    let hint = check.with_untracked(|c| format!("Run check now: {}", c.name));
    view! {
        <li class="chk">
            <StateIcon state/>
            <div>
                <div class="t">
                    <b>{move || check.with(title)}</b>
                    <span class=move || health::class(state.get())>{move || health::word(state.get())}</span>
                    {name_service.then_some(move || check.with(|c| (!c.service_name.is_empty()).then(|| view! { <span class="tag">{c.service_id.clone()}</span> })))}
                </div>
                <Meta check history status=status.data now/>
            </div>
            <div class="do">
                {move || match why_not.get() {
                    Some(why) => view! { <span class="dim why">{why}</span> }.into_any(),
                    None => view! {
                        <Button label hint=hint.clone() icon="run" small=true busy denied=blocked on_press=run/>
                        <CopyCommand status=status.data/>
                    }.into_any(),
                }}
            </div>
            <Output check state/>
            <Outcomes ran history check now/>
        </li>
    }
    .into_any()
}

/// A check's name for people.
pub(crate) fn title(check: &Check) -> String {
    match (check.id.as_str(), check.name.is_empty()) {
        (SERF_HEALTH, _) => "Node liveness".to_owned(),
        (id, true) => id.to_owned(),
        _ => check.name.clone(),
    }
}

/// A health's icon by itself; the word stands beside it.
#[component]
pub(crate) fn StateIcon(#[prop(into)] state: Signal<Health>) -> impl IntoView {
    let icon = Signal::derive(move || health::icon(state.get()));
    view! { <span class=move || format!("sti {}", health::class(state.get()))><Icon name=icon/></span> }
}

/// What the check does, since when it is in its state, how often it ran, when it runs next.
#[component]
fn Meta(check: Memo<Check>, history: Memo<History>, status: RwSignal<Option<CheckStatus>>, now: Signal<u64>) -> impl IntoView {
    let parts = Memo::new(move |_| {
        let now = now.get();
        let mut parts = Vec::new();
        check.with(|c| {
            if c.id == SERF_HEALTH {
                parts.push("gossip".to_owned());
            }
            let lasting = history.with(|h| view::lasting(Health::of_check(c), h.transitions.last().map_or(0, |t| t.at_ms), now));
            status.with(|s| {
                if let Some(s) = s {
                    parts.extend(view::definition(&s.kind, &s.definition));
                }
                parts.extend(lasting);
                let Some(s) = s else { return };
                if s.runnable && s.last_run.is_none() && s.runs_in_a_row == 0 {
                    parts.push("has not run yet".to_owned());
                }
                if s.runs_in_a_row > 1 {
                    parts.push(format!("{} runs in a row", format::count(s.runs_in_a_row)));
                }
                if s.running {
                    parts.push("running".to_owned());
                } else if s.next_run_at_ms > 0 {
                    let wait = s.next_run_at_ms.saturating_sub(now);
                    parts.push(if wait < 1000 { "next now".to_owned() } else { format!("next in {}", format::span(wait)) });
                }
            });
            if c.is_maintenance() || !c.notes.is_empty() {
                parts.push(c.notes.clone());
            }
        });
        parts
    });
    view! { <div class="meta">{move || parts.get().into_iter().map(|p| view! { <span>{p}</span> }).collect_view()}</div> }
}

/// The command that does what the check does.
#[component]
fn CopyCommand(status: RwSignal<Option<CheckStatus>>) -> impl IntoView {
    let command = Memo::new(move |_| status.with(|s| s.as_ref().and_then(|s| view::command(&s.definition))));
    move || {
        command.get().map(|command| {
            let what = if command.starts_with("curl") { "as curl" } else { "as command" };
            view! { <Copy text=command what/> }
        })
    }
}

/// What the check said last, while it is not passing, or when it is short.
#[component]
fn Output(check: Memo<Check>, state: Memo<Health>) -> impl IntoView {
    let parts = Memo::new(move |_| {
        let bad = state.get() > Health::Passing;
        check.with(|c| {
            let hidden = c.output.is_empty() || c.is_maintenance() || (c.id == SERF_HEALTH && !bad);
            if hidden { Vec::new() } else { view::marked(&c.output, bad) }
        })
    });
    move || {
        parts.with(|parts| {
            let bad = state.get() > Health::Passing;
            let pieces =
                parts
                    .iter()
                    .map(|(hit, text)| {
                        if *hit {
                            view! { <mark>{text.clone()}</mark> }.into_any()
                        } else {
                            view! { <span>{text.clone()}</span> }.into_any()
                        }
                    })
                    .collect_view();
            (!parts.is_empty()).then(
                || view! { <div class=if bad { "out" } else { "out one" } tabindex="0" role="group" aria-label="Output">{pieces}</div> },
            )
        })
    }
}

/// What a run asked for here found, and how it differs from the last pass.
#[component]
fn Outcomes(ran: Memo<Option<Ran>>, history: Memo<History>, check: Memo<Check>, now: Signal<u64>) -> impl IntoView {
    let compared = RwSignal::new(false);
    let told = Memo::new(move |_| match ran.get() {
        Some(Ran::Done { run, before, at_ms }) => Some(view::outcome(&run, &before, now.get().saturating_sub(at_ms))),
        Some(Ran::Failed(why)) => Some(Outcome { health: Health::Critical, lead: "It could not be run.".to_owned(), text: why }),
        _ => None,
    });
    // With or without a run, a failing check can be compared to when it last passed.
    let pass = Memo::new(move |_| {
        let bad = check.with(Health::of_check) > Health::Passing;
        history.with(|h| view::last_pass(h).filter(|_| bad).map(|(until, output)| (until, output.to_owned())))
    });
    let note = move || pass.get().map(|(until, _)| format!("Passed until {}.", format::clock(until, format::zone_min(), true)));
    let lines = move || {
        let (_, output) = pass.get()?;
        let latest = match ran.get() {
            Some(Ran::Done { run, .. }) => run.output,
            _ => check.with(|c| c.output.clone()),
        };
        Some(diff::unified(&view::marked_text(&output), &view::marked_text(&latest)))
    };
    let can_compare = Memo::new(move |_| pass.with(|p| p.as_ref().is_some_and(|p| !p.1.is_empty())));
    view! {
        <div role="status">
            {move || told.get().map(|told| view! {
                <div class=format!("ran {}", health::class(told.health))>
                    <span><b>{told.lead}</b>" "{told.text}</span>
                    <span class="dim">{note}</span>
                </div>
            })}
        </div>
        <Show when=move || can_compare.get()>
            <div class="cmp">
                <button type="button" class="lnk" aria-expanded=move || if compared.get() { "true" } else { "false" } on:click=move |_| compared.update(|c| *c = !*c)>
                    {move || if compared.get() { "Hide the comparison" } else { "Compare with the last pass" }}
                </button>
                <Show when=move || compared.get()>
                    <diff::Diff lines=Signal::derive(move || lines().unwrap_or_default()) label="Output at the last pass against now"/>
                </Show>
            </div>
        </Show>
    }
}
