//! What autopilot does by itself, and the form that changes it. A change is made only if nobody else made one meanwhile.

use crate::prelude::*;
use shared::{
    changes::Topic,
    endpoint::Read as Where,
    go,
    operator::{AutopilotConfiguration, GetAutopilot, SetAutopilot},
};
use wasm_bindgen_futures::spawn_local;

use super::Model;
use crate::{
    api::{query, send},
    components::{Button, Dialog, Kind, Loaded, TextInput},
    format,
    router::use_dc,
    state::notices::use_notices,
};

/// The panel and its dialog.
#[component]
pub(super) fn Autopilot(model: Model) -> impl IntoView {
    let dc = use_dc();
    let settings =
        query(move || Some(GetAutopilot { read: Where { dc: dc.get(), ..Where::default() } }), |change| change.topic == Topic::Raft);
    let shown = Memo::new(move |_| settings.data.get().unwrap_or_default());
    let param = model.router.param("v");
    let open = Signal::derive(move || param.with(|asked| asked == "autopilot") && settings.data.with(Option::is_some));
    let edit = move || model.ask("autopilot", "");
    let facts = move || shown.with(facts).map(|(name, value)| view! { <dt>{name}</dt><dd>{value}</dd> }).collect_view();
    view! {
        <section class="panel" aria-labelledby="h-auto">
            <header>
                <h2 id="h-auto">"Autopilot"</h2>
                <div class="r"><Button label="Edit" hint="Edit autopilot" icon="edit" kind=Kind::Ghost small=true writes=true on_press=edit/></div>
            </header>
            <Loaded query=settings what="Autopilot's settings" lines=4>
                <dl class="kv2">{facts}</dl>
            </Loaded>
        </section>
        <Dialog title="Autopilot" open on_close=move || model.close()>
            <Form start=shown.get_untracked() close=Callback::new(move |saved: bool| {
                model.close();
                if saved {
                    settings.refetch();
                }
            })/>
        </Dialog>
    }
    .into_any()
}

fn facts(settings: &AutopilotConfiguration) -> [(&'static str, String); 5] {
    let min = if settings.min_quorum == 0 { "no limit".to_owned() } else { format::count(settings.min_quorum) };
    [
        ("Remove failed servers", if settings.cleanup_dead_servers { "once replaced" } else { "never" }.to_owned()),
        ("But keep at least", min),
        ("Healthy if heard within", settings.last_contact_threshold.to_string()),
        ("And behind by at most", format!("{} entries", format::count(settings.max_trailing_logs))),
        ("A vote after", format!("{} of health", settings.server_stabilization_time)),
    ]
}

/// What the person typed, as settings; or why not.
fn parse(start: &AutopilotConfiguration, clean: bool, texts: &[String; 4]) -> Result<AutopilotConfiguration, (usize, String)> {
    let duration = |at: usize| texts[at].trim().parse::<go::Duration>().ok().filter(|duration| duration.0 > 0);
    let duration = |at: usize| duration(at).ok_or_else(|| (at, "Use a length of time such as 200ms or 10s.".to_owned()));
    let number = |at: usize| texts[at].trim().parse::<u64>().map_err(|_| (at, "Use a whole number.".to_owned()));
    Ok(AutopilotConfiguration {
        cleanup_dead_servers: clean,
        last_contact_threshold: duration(0)?,
        max_trailing_logs: number(1)?,
        min_quorum: number(2)?,
        server_stabilization_time: duration(3)?,
        ..start.clone()
    })
}

#[component]
fn Form(start: AutopilotConfiguration, close: Callback<bool>) -> impl IntoView {
    let (notices, busy) = (use_notices(), RwSignal::new(false));
    let clean = RwSignal::new(start.cleanup_dead_servers);
    let texts = [
        start.last_contact_threshold.to_string(),
        start.max_trailing_logs.to_string(),
        start.min_quorum.to_string(),
        start.server_stabilization_time.to_string(),
    ]
    .map(RwSignal::new);
    let start = StoredValue::new(start);
    let read = move || start.with_value(|start| parse(start, clean.get(), &texts.map(|text| text.get())));
    let error =
        move |at: usize| Signal::derive(move || read().err().filter(|(which, _)| *which == at).map(|(_, why)| why).unwrap_or_default());
    let blocked = Signal::derive(move || read().err().map(|(_, why)| why).unwrap_or_default());
    let save = move || {
        let Ok(configuration) = untrack(read) else { return };
        busy.set(true);
        spawn_local(async move {
            let cas = Some(configuration.modify_index);
            let done = send(&SetAutopilot { configuration, cas }).await;
            busy.try_set(false);
            match done {
                Ok(true) => {
                    notices.done("Autopilot changed", "");
                    close.run(true);
                }
                Ok(false) => notices.failed("Not saved", "Someone else changed autopilot meanwhile. Close this and look at it anew."),
                Err(error) => notices.failed("Not saved", error.to_string()),
            }
        });
    };
    view! {
        <div class="form">
            <label class="check">
                <input type="checkbox" class="sw" prop:checked=move || clean.get() on:change:target=move |event| clean.set(event.target().checked())/>
                "Remove failed servers once they are replaced"
            </label>
            <TextInput id="a-min" label="Keep at least so many servers" value=texts[2] error=error(2) help="0 is no limit." mono=true/>
            <TextInput id="a-contact" label="A server is healthy if heard within" value=texts[0] error=error(0) mono=true/>
            <TextInput id="a-trail" label="And if it is behind by at most so many entries" value=texts[1] error=error(1) mono=true/>
            <TextInput id="a-stable" label="A new server votes after being healthy for" value=texts[3] error=error(3) mono=true/>
        </div>
        <div class="r">
            <Button label="Cancel" on_press=move || close.run(false)/>
            <Button label="Save" kind=Kind::Primary busy writes=true denied=blocked on_press=save/>
        </div>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_settings_or_a_reason_at_its_field() {
        let start = AutopilotConfiguration { modify_index: 7, ..AutopilotConfiguration::default() };
        let texts = |texts: [&str; 4]| texts.map(str::to_owned);
        let parsed = parse(&start, false, &texts(["1s", "99", "3", "20s"])).expect("valid");
        assert_eq!((parsed.max_trailing_logs, parsed.min_quorum, parsed.cleanup_dead_servers, parsed.modify_index), (99, 3, false, 7));
        assert_eq!(parsed.last_contact_threshold, go::Duration::from_secs(1));
        for (bad, at) in [(["x", "1", "1", "1s"], 0), (["1s", "-1", "1", "1s"], 1), (["1s", "1", "", "1s"], 2), (["1s", "1", "1", "0s"], 3)]
        {
            assert_eq!(parse(&start, true, &texts(bad)).expect_err("not valid").0, at);
        }
        assert_eq!(facts(&start).map(|(_, value)| value), ["once replaced", "no limit", "200ms", "250 entries", "10s of health"]);
    }
}
