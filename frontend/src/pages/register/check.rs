//! The check builder of the register form.

use crate::prelude::*;
use shared::agent::ServiceRegistration;

use super::{
    error_of,
    fields::{CheckFields, Fields},
    view::{CheckForm, Kind, Problem},
};
use crate::{
    components::{Button, Choice, IconButton, Segmented, TextInput},
    state::agent::use_agent,
};

type Made = Memo<(ServiceRegistration, Vec<Problem>)>;

/// All checks, and the button for one more.
#[component]
pub(super) fn Checks(fields: Fields, made: Made, own: Memo<String>, target: Memo<String>) -> impl IntoView {
    let agent = use_agent();
    // What another node's agent allows is not known here: it answers for itself.
    let no_scripts = Memo::new(move |_| {
        let off = agent.about.data.with(|a| {
            let flag = |name: &str| a.as_ref().and_then(|a| a.debug_config.get(name)).and_then(serde_json::Value::as_bool);
            flag("EnableRemoteScriptChecks") == Some(false)
        });
        off && own.get() == target.get()
    });
    let index = move |id: u64| fields.checks.with_untracked(|c| c.iter().position(|c| c.id == id)).unwrap_or_default();
    view! {
        <fieldset class="chks">
            <legend>"Checks"</legend>
            {move || fields.checks.with(Vec::is_empty).then(|| view! {
                <p class="help">"Without a check the service counts as healthy for as long as its node does."</p>
            })}
            <For each=move || fields.checks.get() key=|c| c.id let:check>
                <OneCheck fields check at=index(check.id) made no_scripts/>
            </For>
            <Button label="Add a check" icon="plus" small=true on_press=move || fields.add_check(&CheckForm::new(Kind::Http))/>
        </fieldset>
    }
    .into_any()
}

#[component]
fn OneCheck(fields: Fields, check: CheckFields, at: usize, made: Made, no_scripts: Memo<bool>) -> impl IntoView {
    let error = move |field: &str| error_of(made, format!("check.{at}.{field}"));
    let id = move |field: &str| format!("r-check-{}-{field}", check.id);
    let options = Signal::derive(move || {
        let offered = Kind::OFFERED.into_iter().filter(|k| *k != Kind::Script || !no_scripts.get() || check.kind.get() == Kind::Script);
        offered.map(|k| Choice::new(k.name(), k.name())).collect::<Vec<_>>()
    });
    let pick = move |name: String| {
        if let Some(kind) = Kind::OFFERED.into_iter().find(|k| k.name() == name) {
            check.write(&untrack(|| check.read()).to_kind(kind));
        }
    };
    let body = move || {
        let kind = check.kind.get();
        let (label, example, help) = kind.target();
        if kind == Kind::Other {
            return view! { <p class="help">{help}</p> }.into_any();
        }
        view! {
            <TextInput id=id("target") label value=check.target mono=true placeholder=example error=error("target") help=help.to_owned()/>
            {(kind != Kind::Ttl).then(|| view! {
                <div class="two">
                    <TextInput id=id("interval") label="Every" value=check.interval mono=true error=error("interval") placeholder="10s"/>
                    <TextInput id=id("timeout") label="Timeout" value=check.timeout mono=true error=error("timeout") placeholder="3s"/>
                </div>
            })}
            <div class="two">
                <TextInput id=id("name") label="Check name" value=check.name placeholder=format!("{} check", kind.name())/>
                <TextInput id=id("gone") label="Deregister after" value=check.deregister_after mono=true error=error("deregister_after") help="Critical for so long: the instance goes." placeholder="never"/>
            </div>
        }
        .into_any()
    };
    view! {
        <div class="chk-f">
            <div class="chk-h">
                <Segmented label="Kind of check" options value=Signal::derive(move || check.kind.get().name().to_owned()) on_pick=pick/>
                <IconButton icon="trash" label="Remove this check" on_press=move || fields.remove_check(check.id)/>
            </div>
            {body}
        </div>
    }
    .into_any()
}
