//! The cluster itself: who leads and how far the others are, who is a member.

use std::time::Duration;

use crate::prelude::*;
use shared::{changes::Topic, endpoint::Read as Where, gossip, raft};

use crate::{
    api::query,
    components::Icon,
    format::{count, plural},
    pages::{gossip::view as members, raft::view as servers},
    router::{Page, link, use_dc},
};

/// How often lag and round trips are looked at: they change without a word of the change stream.
const LOOK: Duration = Duration::from_secs(5);

/// The servers and which leads.
#[component]
pub(super) fn Consensus() -> impl IntoView {
    let dc = use_dc();
    let raft =
        query(move || Some(raft::GetRaft { read: Where { dc: dc.get(), ..Where::default() } }), |change| change.topic == Topic::Raft);
    raft.poll(LOOK);
    let rows = Memo::new(move |_| raft.data.with(|raft| raft.as_ref().map(servers::rows).unwrap_or_default()));
    let note = move || raft.data.with(|raft| raft.as_ref().map(tolerance).unwrap_or_default());
    let where_to =
        move || raft.data.with(|raft| raft.as_ref().map(|raft| format!("term {}, index {}", count(raft.term), count(raft.commit_index))));
    view! {
        <Show when=move || !rows.with(Vec::is_empty)>
            <section class="panel" aria-labelledby="h-raft">
                <header><h2 id="h-raft"><a href=link(Page::Raft)>"Consensus"</a></h2><div class="r">{note}</div></header>
                <ul class="raft">
                    <For each=move || rows.get() key=servers::Row::key let:row>
                        <li>
                            <span class=if row.leads { "" } else { row.state.1 }><Icon name=row.state.0/></span>
                            <a href=link(Page::node(&row.name, "health-checks"))>{row.name.clone()}</a>
                            {if row.leads {
                                view! { <span class="dim mono">{where_to}</span> }.into_any()
                            } else if row.lag.is_empty() || row.state.1 == "crit" {
                                view! { <span class=row.state.1>{row.state.2}" "{row.stable.clone()}</span> }.into_any()
                            } else {
                                view! { <span class="mid">{row.lag.clone()}</span> }.into_any()
                            }}
                            <span class="dim num">{if row.leads { view! { <b>"Leader"</b> }.into_any() } else { row.contact.clone().into_any() }}</span>
                        </li>
                    </For>
                </ul>
            </section>
        </Show>
    }
    .into_any()
}

/// What the set of servers can bear.
fn tolerance(raft: &raft::Raft) -> String {
    match (raft.leader.is_empty(), raft.failure_tolerance) {
        (true, _) => "no leader".to_owned(),
        (false, 0) => "one failure stops writes".to_owned(),
        (false, 1) => "survives 1 server failure".to_owned(),
        (false, many) => format!("survives {many} server failures"),
    }
}

/// The members of the gossip pool by state.
#[component]
pub(super) fn Gossip() -> impl IntoView {
    let dc = use_dc();
    let pool = query(
        move || Some(gossip::GetGossip { node: String::new(), read: Where { dc: dc.get(), ..Where::default() } }),
        |change| matches!(change.topic, Topic::Raft | Topic::Node) || change.name == shared::check::SERF_HEALTH,
    );
    pool.poll(LOOK * 2);
    let shown = Memo::new(move |_| pool.data.get().unwrap_or_default());
    let of = move |status: &'static str| shown.with(|pool| members::number(pool, status));
    let trip = move || shown.with(members::median_trip);
    view! {
        <Show when=move || shown.with(|pool| !pool.members.is_empty())>
            <section class="panel" aria-labelledby="h-gossip">
                <header>
                    <h2 id="h-gossip"><a href=link(Page::Gossip)>"Gossip"</a></h2>
                    <div class="r">{move || format!("LAN, {}", plural(shown.with(|pool| pool.members.len()) as u32, "member", "members"))}</div>
                </header>
                <dl class="kv2">
                    <dt>"Alive, failed, left"</dt>
                    <dd>
                        {move || count(of("alive") + of("suspect"))}" / "
                        <span class:crit=move || { of("failed") > 0 }>{move || count(of("failed"))}</span>
                        " / "{move || count(of("left"))}
                    </dd>
                    <Show when=move || !trip().is_empty()><dt>"Median round trip"</dt><dd>{trip}</dd></Show>
                </dl>
            </section>
        </Show>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerance_is_said_in_words() {
        let led = |tolerance: u64| raft::Raft { leader: "a".to_owned(), failure_tolerance: tolerance, ..raft::Raft::default() };
        for (raft, text) in [
            (led(0), "one failure stops writes"),
            (led(1), "survives 1 server failure"),
            (led(2), "survives 2 server failures"),
            (raft::Raft::default(), "no leader"),
        ] {
            assert_eq!(tolerance(&raft), text);
        }
    }
}
