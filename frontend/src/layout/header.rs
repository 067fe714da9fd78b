//! The bar at the top: where you are, search, how live the page is, theme.

use crate::prelude::*;

use super::palette::{Overlay, use_overlay};
use crate::{
    api::{live::Link, use_live},
    components::{Icon, IconButton},
    format,
    router::{Page, Place, Step, use_dc, use_router},
    state::{
        agent::{config, use_agent},
        cluster::use_cluster,
        preferences::{Theme, use_preferences},
    },
};

/// The bar.
#[component]
pub(crate) fn Header() -> impl IntoView {
    let open = use_overlay();
    view! {
        <header class="top">
            <div class="only-m"><Datacenters/></div>
            <Crumbs/>
            <Find/>
            <LiveMark/>
            <IconButton icon="search" label="Search or run a command" class="only-m" on_press=move || open.set(Some(Overlay::Palette))/>
            <IconButton icon="help" label="Keyboard shortcuts" class="hide-m" on_press=move || open.set(Some(Overlay::Help))/>
            <ThemeSwitch/>
        </header>
    }
    .into_any()
}

/// Looks like a search field, opens the palette.
#[component]
fn Find() -> impl IntoView {
    let open = use_overlay();
    let mac = window().navigator().user_agent().is_ok_and(|agent| agent.contains("Mac"));
    view! {
        <button class="find" type="button" aria-haspopup="dialog" on:click=move |_| open.set(Some(Overlay::Palette))>
            <Icon name="search"/>
            "Search or run a command"
            <kbd>{if mac { "⌘K" } else { "Ctrl K" }}</kbd>
        </button>
    }
}

/// The way down to this page.
#[component]
fn Crumbs() -> impl IntoView {
    let place = use_router().place();
    view! {
        <nav class="crumbs" aria-label="Breadcrumb">
            {move || {
                let place = place.get();
                if place.dc.is_empty() {
                    return ().into_any();
                }
                let mut steps = trail(&place.page);
                let last = steps.pop();
                let href = |page: Page| Place::new(&place.dc, page).href();
                view! {
                    <a href=href(Page::Overview)>{place.dc.clone()}</a>
                    {steps.into_iter().map(|(label, page)| view! { <i>"/"</i><a href=href(page)>{label}</a> }).collect_view()}
                    {last.map(|(label, _)| view! { <i>"/"</i><span aria-current="page">{label}</span> })}
                }.into_any()
            }}
        </nav>
    }
}

/// Every step from the datacenter to the page, the page last.
fn trail(page: &Page) -> Vec<(String, Page)> {
    let step = |label: &str, page: Page| (label.to_owned(), page);
    match page {
        Page::Overview => vec![step("Overview", Page::Overview)],
        Page::Services => vec![step("Services", Page::Services)],
        Page::Service { name, .. } => vec![step("Services", Page::Services), step(name, Page::service(name, "instances"))],
        Page::Nodes => vec![step("Nodes", Page::Nodes)],
        Page::Node { name, .. } => vec![step("Nodes", Page::Nodes), step(name, Page::node(name, "health-checks"))],
        Page::Keys { key, .. } => {
            let mut steps = vec![step("Key / value", Page::keys(""))];
            let mut end = 0;
            for part in key.split_inclusive('/') {
                end += part.len();
                steps.push(step(part.trim_end_matches('/'), Page::keys(&key[..end])));
            }
            steps
        }
        Page::Raft => vec![step("Raft", Page::Raft)],
        Page::Gossip => vec![step("Gossip", Page::Gossip)],
        Page::Snapshots => vec![step("Snapshots", Page::Snapshots)],
        Page::Unknown => vec![step("Not found", Page::Unknown)],
    }
}

/// Which datacenter; a list when there is more than one.
#[component]
pub(crate) fn Datacenters() -> impl IntoView {
    let (router, dc, agent) = (use_router(), use_dc(), use_agent());
    let others = move || agent.datacenters.data.with(|list| list.clone().unwrap_or_default());
    let note = move || {
        let own = agent.about.data.with(|about| about.as_ref().is_some_and(|about| config(about, "Datacenter") == dc.get()));
        match others().len() {
            0 | 1 => "the only datacenter".to_owned(),
            many if own => format!("one of {many}, this agent's"),
            many => format!("one of {many}"),
        }
    };
    let go = move |to: String| router.open(&Place::new(&to, router.place().get_untracked().page).href(), Step::Push);
    view! {
        <label class="dc">
            <span><b>{move || dc.get()}</b><small>{note}</small></span>
            <Icon name="sort"/>
            <select aria-label="Datacenter" prop:value=move || dc.get() on:change:target=move |event| go(event.target().value())>
                {move || others().into_iter().map(|name| {
                    let chosen = name == dc.get();
                    view! { <option value=name.clone() selected=chosen>{name.clone()}</option> }
                }).collect_view()}
            </select>
        </label>
    }
}

/// How fresh the page is, and a button that stops it.
#[component]
fn LiveMark() -> impl IntoView {
    let (live, cluster) = (use_live(), use_cluster());
    let word = move || match live.link.get() {
        Link::Live | Link::Polling if cluster.leaderless.get() => "No leader",
        Link::Connecting => "Connecting",
        Link::Live => "Live",
        Link::Polling if !live.reached.get() => "No answer",
        Link::Polling => "Every 2 s",
        Link::Paused => "Paused",
        Link::Asleep => "Asleep",
    };
    let why = move || match word() {
        "No answer" => "The agent does not answer. It is asked again all the time.",
        "Every 2 s" => "Changes do not come through by themselves, a proxy may hold them back: everything is read again every 2 s.",
        _ => "",
    };
    let paused = move || live.link.get() == Link::Paused;
    let lag = move || live.took_ms.get().filter(|_| live.link.get() == Link::Live).map(format::duration);
    view! {
        <span class=move || format!("live {}", word().to_lowercase().replace(' ', "-"))>
            <span role="status" title=why>{word}</span>
            <span class="lag dim num" title="The last read took this long">{lag}</span>
            <button
                type="button"
                aria-label=move || if paused() { "Resume live updates" } else { "Pause live updates" }
                on:click=move |_| live.toggle_pause()
            >
                <Icon name=Signal::derive(move || if paused() { "run" } else { "pause" }) small=true/>
            </button>
        </span>
    }
}

/// System, light, dark, in turn.
#[component]
fn ThemeSwitch() -> impl IntoView {
    let theme = use_preferences().theme;
    move || {
        let (icon, label) = match theme.get() {
            Theme::System => ("screen", "Theme: as the system. Switch to light"),
            Theme::Light => ("sun", "Theme: light. Switch to dark"),
            Theme::Dark => ("moon", "Theme: dark. Switch to the system's"),
        };
        view! { <IconButton icon label on_press=move || theme.update(|theme| *theme = theme.next())/> }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trail_of_a_key_names_every_folder() {
        let steps = trail(&Page::keys("a/b/c.json"));
        let labels: Vec<&str> = steps.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(labels, ["Key / value", "a", "b", "c.json"]);
        assert_eq!(steps[2].1, Page::keys("a/b/"));
        assert_eq!(steps[3].1, Page::keys("a/b/c.json"));
    }
}
