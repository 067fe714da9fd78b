//! The way around: which pages there are, with live counts; on phones a bar at the bottom.

use crate::prelude::*;
use shared::{
    changes::{Change, Topic},
    endpoint,
    health::Counts,
    ui::{GetOverview, Overview},
};

use super::{
    header::Datacenters,
    palette::{Overlay, use_overlay},
};
use crate::{
    api::{Query, query},
    components::{Dialog, Icon},
    format,
    router::{Page, Place, use_dc, use_router},
    state::{
        agent::{config, use_agent},
        cluster::use_cluster,
    },
};

/// A line of the side bar.
#[derive(Clone, Copy, PartialEq)]
enum Entry {
    Overview,
    Services,
    Nodes,
    Keys,
    Raft,
    Gossip,
    Snapshots,
}

impl Entry {
    /// On phones the others are behind "More".
    const FIRST: [Self; 4] = [Self::Overview, Self::Services, Self::Nodes, Self::Keys];
    const CLUSTER: [Self; 3] = [Self::Raft, Self::Gossip, Self::Snapshots];

    fn of(page: &Page) -> Option<Self> {
        match page {
            Page::Overview => Some(Self::Overview),
            Page::Services | Page::Service { .. } => Some(Self::Services),
            Page::Nodes | Page::Node { .. } => Some(Self::Nodes),
            Page::Keys { .. } => Some(Self::Keys),
            Page::Raft => Some(Self::Raft),
            Page::Gossip => Some(Self::Gossip),
            Page::Snapshots => Some(Self::Snapshots),
            Page::Unknown => None,
        }
    }

    fn page(self) -> Page {
        match self {
            Self::Overview => Page::Overview,
            Self::Services => Page::Services,
            Self::Nodes => Page::Nodes,
            Self::Keys => Page::keys(""),
            Self::Raft => Page::Raft,
            Self::Gossip => Page::Gossip,
            Self::Snapshots => Page::Snapshots,
        }
    }

    /// Icon, label, short label.
    fn face(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Overview => ("overview", "Overview", "Overview"),
            Self::Services => ("services", "Services", "Services"),
            Self::Nodes => ("nodes", "Nodes", "Nodes"),
            Self::Keys => ("keys", "Key / value", "Keys"),
            Self::Raft => ("crown", "Raft", "Raft"),
            Self::Gossip => ("gossip", "Gossip", "Gossip"),
            Self::Snapshots => ("snapshot", "Snapshots", "Snapshots"),
        }
    }

    /// What is behind the label: how many fail, else how many there are.
    fn badge(self, overview: &Overview) -> Badge {
        let health =
            |counts: &Counts| if counts.critical > 0 { Badge::Critical(counts.critical) } else { Badge::Count(counts.total.into()) };
        match self {
            Self::Overview | Self::Raft | Self::Gossip | Self::Snapshots => Badge::Nothing,
            Self::Services => health(&overview.services),
            Self::Nodes => health(&overview.nodes),
            Self::Keys => Badge::Count(overview.keys),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Badge {
    Nothing,
    Count(u64),
    Critical(u32),
    Leaderless,
}

/// The overview's numbers, shared by the side bar and the overview page.
pub(crate) fn use_overview() -> Query<Overview> {
    expect_context()
}

fn cares(change: &Change) -> bool {
    matches!(change.topic, Topic::Service | Topic::Node | Topic::Check | Topic::Kv)
}

/// The bar at the left.
#[component]
pub(crate) fn Sidebar() -> impl IntoView {
    let (dc, overview) = (use_dc(), use_overview());
    view! {
        <aside class="side" aria-label="Primary">
            <a class="brand" href=move || Place::new(&dc.get(), Page::Overview).href()><Logo/>"Muster"</a>
            <Datacenters/>
            <nav class="nav" aria-label="Sections">
                <ul>{[Entry::Overview, Entry::Services, Entry::Nodes].map(|entry| view! { <Line entry overview/> }).collect_view()}</ul>
                <h2>"Store"</h2>
                <ul><Line entry=Entry::Keys overview/></ul>
                <h2>"Cluster"</h2>
                <ul>{Entry::CLUSTER.map(|entry| view! { <Line entry overview/> }).collect_view()}</ul>
            </nav>
            <AgentLine/>
        </aside>
    }
    .into_any()
}

/// Reads the overview's numbers for the whole app and provides them.
pub(super) fn provide_overview() {
    let dc = use_dc();
    let read = move || {
        let dc = dc.get();
        (!dc.is_empty()).then(|| GetOverview { read: endpoint::Read { dc, ..Default::default() } })
    };
    provide_context(query(read, cares));
}

#[component]
fn Line(entry: Entry, overview: Query<Overview>) -> impl IntoView {
    let (router, dc, cluster) = (use_router(), use_dc(), use_cluster());
    let current = move || (Entry::of(&router.place().read().page) == Some(entry)).then_some("page");
    let badge = Memo::new(move |_| match entry {
        Entry::Raft if cluster.leaderless.get() => Badge::Leaderless,
        _ => overview.data.with(|data| data.as_ref().map_or(Badge::Nothing, |data| entry.badge(data))),
    });
    let (icon, label, _) = entry.face();
    view! {
        <li>
            <a href=move || Place::new(&dc.get(), entry.page()).href() aria-current=current>
                <Icon name=icon/>
                {label}
                {move || match badge.get() {
                    Badge::Nothing => ().into_any(),
                    Badge::Count(number) => view! { <span class="c">{format::count(number)}</span> }.into_any(),
                    Badge::Leaderless => view! { <span class="bad"><Icon name="critical" small=true/><span class="sr">"no leader"</span></span> }.into_any(),
                    Badge::Critical(number) => view! {
                        <span class="bad"><Icon name="critical" small=true/>{format::count(number)}<span class="sr">" critical"</span></span>
                    }.into_any(),
                }}
            </a>
        </li>
    }
}

/// The agent that serves this page.
#[component]
fn AgentLine() -> impl IntoView {
    let agent = use_agent();
    let name = move || agent.about.data.with(|about| about.as_ref().map(|about| config(about, "NodeName").to_owned()));
    let role = move || {
        agent.about.data.with(|about| {
            about.as_ref().map(|about| {
                let stat = |section: &str, key: &str| about.stats.get(section).and_then(|section| section.get(key)).map(String::as_str);
                let role = match (stat("consul", "leader"), stat("consul", "server")) {
                    (Some("true"), _) => "leader",
                    (_, Some("true")) => "server",
                    _ => "client",
                };
                format!("{role}, v{}, this agent", config(about, "Muster"))
            })
        })
    };
    view! {
        <div class="agent">
            <Icon name="agent"/>
            <div title=name>{name}<small>{role}</small></div>
        </div>
    }
}

/// The mark: three bars in line and one that stands out.
#[component]
fn Logo() -> impl IntoView {
    view! {
        <svg viewBox="0 0 22 22" aria-hidden="true">
            <g fill="currentColor">
                <rect x="1.5" y="9" width="3.5" height="11" rx="1"></rect>
                <rect x="6.7" y="5" width="3.5" height="15" rx="1"></rect>
                <rect x="17" y="7" width="3.5" height="13" rx="1"></rect>
            </g>
            <rect class="tall" x="11.8" y="1" width="3.5" height="19" rx="1"></rect>
        </svg>
    }
}

/// The bar at the bottom of phones.
#[component]
pub(crate) fn BottomBar() -> impl IntoView {
    let (router, dc, overlay) = (use_router(), use_dc(), use_overlay());
    let more = move || Entry::of(&router.place().read().page).is_some_and(|entry| Entry::CLUSTER.contains(&entry)).then_some("true");
    view! {
        <nav class="bn" aria-label="Sections">
            {Entry::FIRST.map(|entry| {
                let (icon, _, label) = entry.face();
                let current = move || (Entry::of(&router.place().read().page) == Some(entry)).then_some("page");
                view! {
                    <a href=move || Place::new(&dc.get(), entry.page()).href() aria-current=current><Icon name=icon/>{label}</a>
                }
            }).collect_view()}
            <button type="button" aria-haspopup="dialog" aria-current=more on:click=move |_| overlay.set(Some(Overlay::More))>
                <Icon name="menu"/>"More"
            </button>
        </nav>
    }
    .into_any()
}

/// The sections that have no place in the bar at the bottom.
#[component]
pub(super) fn More(overlay: RwSignal<Option<Overlay>>) -> impl IntoView {
    let (dc, numbers) = (use_dc(), use_overview());
    let open = Signal::derive(move || !dc.read().is_empty() && overlay.get() == Some(Overlay::More));
    let close = move || overlay.set(None);
    view! {
        <Dialog title="Cluster" open on_close=Callback::new(move |()| close())>
            <nav class="nav more" aria-label="More sections" on:click=move |_| close()>
                <ul>{Entry::CLUSTER.map(|entry| view! { <Line entry overview=numbers/> }).collect_view()}</ul>
            </nav>
        </Dialog>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_counts_replace_totals() {
        let services = Counts { total: 40, critical: 3, ..Counts::default() };
        let nodes = Counts { total: 4, passing: 4, ..Counts::default() };
        let overview = Overview { services, nodes, keys: 12, ..Overview::default() };
        let found = Entry::FIRST.map(|entry| entry.badge(&overview));
        assert_eq!(found, [Badge::Nothing, Badge::Critical(3), Badge::Count(4), Badge::Count(12)]);
    }
}
