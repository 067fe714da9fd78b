//! Registering and editing a service by hand: a form and the JSON it stands for, side by side, in a drawer that is in
//! the address (`?v=register`, `?v=edit`).

mod check;
mod fields;
pub(crate) mod view;

use crate::prelude::*;
use shared::{
    agent::{RegisterService, ServiceRegistration},
    catalog::{self, Registration},
    check::CheckDefinition,
    endpoint::Read as Where,
    health::{GetService, ServiceNode},
    node::ListNodes,
    page::PageQuery,
    service::Service,
};
use wasm_bindgen::JsCast;

use self::{
    check::Checks,
    fields::Fields,
    view::{Form, Problem},
};
use super::service::{
    definitions,
    view::{Owner, owner},
};
use crate::{
    api::{Error, query, send},
    components::{Banner, Button, Drawer, Field, Icon, Kind, TextInput, editor::Editor, syntax::Language, wait::Skeleton},
    router::{Page, Step, use_dc, use_router},
    state::{
        agent::{config, use_agent},
        notices::use_notices,
    },
};

/// The drawer. Mounted once; the address opens it.
#[component]
pub(crate) fn RegisterDrawer() -> impl IntoView {
    let router = use_router();
    let asked = router.param("v");
    let mode = Memo::new(move |_| match asked.get().as_str() {
        "register" => Some(false),
        "edit" => Some(true),
        _ => None,
    });
    let title = Signal::derive(move || if mode.get() == Some(true) { "Edit instance" } else { "Register a service" }.to_owned());
    let open = Signal::derive(move || mode.get().is_some());
    let close = move || router.set(&[("v", "")], Step::Replace);
    view! {
        <Drawer title open on_close=close>
            {move || mode.get().map(|edit| if edit { view! { <Edit/> }.into_any() } else { fresh() })}
        </Drawer>
    }
    .into_any()
}

/// A new registration; on a service's page for another instance of it.
fn fresh() -> AnyView {
    let name = use_router().place().with_untracked(|place| match &place.page {
        Page::Service { name, .. } => name.clone(),
        _ => String::new(),
    });
    view! { <Sheet start=ServiceRegistration { name, ..ServiceRegistration::default() } edited=None/> }.into_any()
}

/// Reads the instance the address names, with its checks, then shows the form.
#[component]
fn Edit() -> impl IntoView {
    let (router, dc) = (use_router(), use_dc());
    let place = router.place().get_untracked();
    let Page::Service { name, instance: Some((node, id)), .. } = place.page else {
        return view! { <p class="note">"Choose an instance of a service first."</p> }.into_any();
    };
    let found = RwSignal::new(None::<Result<(ServiceNode, ServiceRegistration), String>>);
    spawn_local(async move {
        let call = GetService { service: name, read: Where { dc: dc.get_untracked(), ..Where::default() }, ..GetService::default() };
        let result = match send(&call).await {
            Ok(rows) => match rows.into_iter().find(|r| r.node.name == node && r.service.id == id) {
                Some(row) => {
                    let checks: Vec<CheckDefinition> = definitions(&row.checks).await;
                    let registration = view::of_instance(&row.service, &checks);
                    Ok((row, registration))
                }
                None => Err(format!("{id} is not registered on {node} any more.")),
            },
            Err(error) => Err(error.to_string()),
        };
        found.try_set(Some(result));
    });
    let face = move || match found.get() {
        None => view! { <Skeleton lines=6/> }.into_any(),
        Some(Err(why)) => view! { <Banner text=why/> }.into_any(),
        Some(Ok((row, start))) => view! { <Sheet start edited=Some(row)/> }.into_any(),
    };
    face.into_any()
}

/// The form, the JSON, and what happens on "Register".
#[component]
fn Sheet(start: ServiceRegistration, edited: Option<ServiceNode>) -> impl IntoView {
    let (router, dc, notices, agent) = (use_router(), use_dc(), use_notices(), use_agent());
    let fields = Fields::new(&view::form(&start));
    let json = RwSignal::new(view::json(&start));
    let made = Memo::new(move |_| view::registration(&fields.read()));
    let json_error = RwSignal::new(None::<(usize, String)>);
    join(fields, made, json, json_error);

    let own = Memo::new(move |_| agent.about.data.with(|a| a.as_ref().map(|a| config(a, "NodeName").to_owned()).unwrap_or_default()));
    let node = RwSignal::new(edited.as_ref().map(|row| row.node.name.clone()).unwrap_or_default());
    let target = Memo::new(move |_| node.with(|n| if n.is_empty() { own.get() } else { n.clone() }));
    let known = query(
        move || {
            let service = fields.name.get().trim().to_owned();
            (!service.is_empty()).then(|| GetService { service, read: Where { dc: dc.get(), ..Where::default() }, ..GetService::default() })
        },
        |_| false,
    );
    let is_edit = edited.is_some();
    let clash = Memo::new(move |_| {
        let name = fields.name.get();
        let of = |rows: &Vec<ServiceNode>| {
            let same = rows.iter().filter(|r| r.service.name == name.trim());
            same.map(|r| (r.node.name.clone(), r.service.id.clone())).collect::<Vec<_>>()
        };
        let instances = known.data.with(|d| d.as_ref().map(of).unwrap_or_default());
        let form = Form { name, id: fields.id.get(), ..Form::default() };
        if is_edit || form.name.trim().is_empty() { None } else { view::clash(&form, &target.get(), &instances) }
    });

    let external = edited.filter(|row| owner(&row.checks) == Owner::External);
    let (tried, busy) = (RwSignal::new(false), RwSignal::new(false));
    let failed = RwSignal::new(None::<Error>);
    let stored = StoredValue::new(external);
    let submit = move || {
        tried.set(true);
        let (registration, problems) = made.get_untracked();
        if busy.get_untracked() || !problems.is_empty() || json_error.with_untracked(Option::is_some) {
            focus(".reg .field.bad input, .reg .field.bad textarea");
            return;
        }
        busy.set(true);
        failed.set(None);
        let at = target.get_untracked();
        let away = if at == own.get_untracked() { String::new() } else { at.clone() };
        spawn_local(async move {
            let result = match stored.get_value() {
                Some(row) => send(&catalog::Register { registration: outside(&row, &registration) }).await.map(drop),
                None => send(&RegisterService { node: away, registration: registration.clone(), replace_existing_checks: is_edit }).await,
            };
            busy.try_set(false);
            match result {
                Ok(()) => {
                    let id = if registration.id.is_empty() { registration.name.clone() } else { registration.id.clone() };
                    notices.done(format!("{id} {}", if is_edit { "changed" } else { "registered" }), format!("On {at}."));
                    router.go(Page::Service { name: registration.name, tab: "instances".to_owned(), instance: Some((at, id)) });
                }
                Err(error) => drop(failed.try_set(Some(error))),
            }
        });
    };
    if !is_edit {
        focus("#r-name");
    }
    let label = Signal::derive(move || if is_edit { "Save" } else { "Register" }.to_owned());
    let problem = move || {
        let found = made.with(|m| m.1.first().map(|p| p.text.clone()));
        let json = json_error.get().map(|(line, why)| format!("JSON, line {line}: {why}"));
        failed.get().map(|e| e.to_string()).or_else(|| json.or(found).filter(|_| tried.get()))
    };
    let warning = Signal::derive(move || fields.name.with(|n| view::name_warning(n)).unwrap_or_default().to_owned());
    let error = move |field: &'static str| error_of(made, field.to_owned());
    view! {
        <form class="reg" on:submit=move |e: web_sys::SubmitEvent| { e.prevent_default(); submit() }>
            <div class="reg-f form">
                <TextInput id="r-name" label="Service name" value=fields.name mono=true error=error("name") help=warning placeholder="payments-api"/>
                {move || clash.get().map(|text| view! { <p class="clash" role="status"><Icon name="warning" small=true/>{text}</p> })}
                <NodePick node own fixed=is_edit/>
                <div class="two">
                    <TextInput id="r-address" label="Address" value=fields.address mono=true error=error("address") help="Empty: the node's." placeholder="10.0.0.7".to_owned()/>
                    <TextInput id="r-port" label="Port" value=fields.port mono=true error=error("port") placeholder="8080"/>
                </div>
                <div class="two">
                    <TextInput id="r-id" label="Instance id" value=fields.id mono=true help="Empty: the name. Unique on its node."/>
                    <TextInput id="r-tags" label="Tags" value=fields.tags mono=true help="Separated by commas." placeholder="primary, v2"/>
                </div>
                <Field id="r-meta" label="Metadata" help="One key=value a line." error=error("meta")>
                    <div class="field area"><textarea id="r-meta" class="mono" rows="2" aria-describedby="r-meta-note" spellcheck="false"
                        prop:value=move || fields.meta.get() on:input:target=move |e| fields.meta.set(e.target().value())></textarea></div>
                </Field>
                {if stored.with_value(Option::is_some) {
                    view! { <p class="note">"This node has no agent: the entry is changed in the catalog, and its checks stay as they are."</p> }.into_any()
                } else {
                    view! { <Checks fields made own target/> }.into_any()
                }}
            </div>
            <div class="reg-j">
                <h3>"JSON"</h3>
                <Editor id="r-json" label="Registration as JSON" text=json language=Language::Json tab_indents=false caret=RwSignal::new(0) on_save=submit/>
                <p class="jerr" role="status">{move || json_error.get().map(|(line, why)| format!("Line {line}: {why}"))}</p>
            </div>
            <footer class="save">
                <span class="msg" role="alert">{problem}</span>
                <div class="r">
                    <Button label="Cancel" on_press=move || router.set(&[("v", "")], Step::Replace)/>
                    <Button label kind=Kind::Primary busy r#type="submit"/>
                </div>
            </footer>
        </form>
    }
    .into_any()
}

/// Puts the focus on the first element that matches, once it is drawn.
fn focus(selector: &'static str) {
    request_animation_frame(move || {
        let first = document().query_selector(selector).ok().flatten().and_then(|e| e.dyn_into::<web_sys::HtmlElement>().ok());
        if let Some(first) = first {
            // Without focus the person clicks.
            let _ = first.focus();
        }
    });
}

/// Keeps form and JSON the same: whichever the person changes, the other follows.
fn join(
    fields: Fields,
    made: Memo<(ServiceRegistration, Vec<Problem>)>,
    json: RwSignal<String>,
    json_error: RwSignal<Option<(usize, String)>>,
) {
    Effect::new(move |first: Option<()>| {
        let now = made.with(|m| m.0.clone());
        // The text is left alone while it means the same: the person may be typing in it.
        if first.is_some() && json.with_untracked(|text| view::parse(text)).as_ref() != Ok(&now) {
            json.set(view::json(&now));
        }
    });
    Effect::new(move |_| match json.with(|text| view::parse(text)) {
        Ok(registration) => {
            json_error.set(None);
            if made.with_untracked(|m| m.0 != registration) {
                fields.write(&view::form(&registration));
            }
        }
        Err(error) => json_error.set(Some(error)),
    });
}

/// What is wrong with one field.
fn error_of(made: Memo<(ServiceRegistration, Vec<Problem>)>, field: String) -> Signal<String> {
    Signal::derive(move || made.with(|m| m.1.iter().find(|p| p.field == field).map(|p| p.text.clone()).unwrap_or_default()))
}

/// A service on a node without an agent, as the catalog takes it.
fn outside(row: &ServiceNode, registration: &ServiceRegistration) -> Registration {
    let r = registration.clone();
    Registration {
        node: row.node.name.clone(),
        address: row.node.address.clone(),
        datacenter: row.node.datacenter.clone(),
        skip_node_update: true,
        service: Some(Service {
            id: if r.id.is_empty() { r.name.clone() } else { r.id },
            name: r.name,
            kind: r.kind,
            tags: r.tags,
            address: r.address,
            port: r.port,
            meta: r.meta,
            tagged_addresses: r.tagged_addresses,
            weights: r.weights.unwrap_or_default(),
            enable_tag_override: r.enable_tag_override,
            ..row.service.clone()
        }),
        ..Registration::default()
    }
}

/// Whose agent holds the service.
#[component]
fn NodePick(node: RwSignal<String>, own: Memo<String>, fixed: bool) -> impl IntoView {
    let dc = use_dc();
    let nodes = query(move || Some(ListNodes { page: PageQuery { limit: 500, ..PageQuery::default() }, dc: dc.get() }), |_| false);
    let names = Memo::new(move |_| {
        let mut names: Vec<String> =
            nodes.data.with(|d| d.iter().flat_map(|p| &p.rows).filter(|r| r.agent).map(|r| r.node.name.clone()).collect());
        crate::order::sort_by(&mut names, Ord::cmp);
        names
    });
    let option = move |name: String| {
        let value = name.clone();
        let chosen = move || node.with(|n| if n.is_empty() { own.get() == value } else { *n == value });
        let text = if name == own.get_untracked() { format!("{name} (this agent)") } else { name.clone() };
        view! { <option value=name selected=chosen>{text}</option> }
    };
    view! {
        <Show when=move || !fixed && names.with(|n| n.len() > 1)>
            <Field id="r-node" label="Node" help="Its agent holds the service and runs the checks.">
                <select id="r-node" class="sel" on:change:target=move |e| node.set(e.target().value())>{move || names.get().into_iter().map(option).collect_view()}</select>
            </Field>
        </Show>
    }
    .into_any()
}
