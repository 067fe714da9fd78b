//! Snapshots: what the leader keeps, one more now, the state of now as a file, what a saved file holds, and its restore.

mod file;
mod view;

use shared::{
    changes::Topic,
    endpoint::Read as Where,
    snapshot::{Archive, GetArchive, Snapshot, Take},
};
use std::time::Duration;

use super::title;
use crate::{
    api::{Query, fetch, query, send},
    components::{Button, Empty, Hero, Icon, Kind, Loaded},
    format,
    prelude::*,
    router::use_dc,
    state::{
        clock::{Clock, use_clock},
        notices::{Notices, use_notices},
    },
};

/// How often it is looked how far the log has come.
const LOOK: Duration = Duration::from_secs(5);

/// What the parts of the page share. Copy it freely.
#[derive(Clone, Copy)]
struct Model {
    archive: Query<Archive>,
    shown: Memo<Archive>,
    dc: Signal<String>,
    notices: Notices,
    clock: Clock,
}

/// A time of the wire, milliseconds since 1970; 0 when it is none.
fn at_ms(text: &str) -> u64 {
    let ms = js_sys::Date::parse(text);
    if ms.is_finite() { ms as u64 } else { 0 }
}

fn ago(text: &str) -> String {
    format::ago(at_ms(text), js_sys::Date::now() as u64)
}

/// The page.
#[component]
pub(crate) fn Snapshots() -> impl IntoView {
    title(|| "Snapshots".to_owned());
    let (dc, notices) = (use_dc(), use_notices());
    let archive =
        query(move || Some(GetArchive { read: Where { dc: dc.get(), ..Where::default() } }), |change| change.topic == Topic::Raft);
    archive.poll(LOOK);
    let shown = Memo::new(move |_| archive.data.get().unwrap_or_default());
    let clock = use_clock();
    let model = Model { archive, shown, dc, notices, clock };
    let busy = RwSignal::new(false);
    let take = move || {
        busy.set(true);
        spawn_local(async move {
            taken(notices, send(&Take { dc: dc.get_untracked() }).await);
            busy.try_set(false);
            archive.refetch();
        });
    };
    let sentence = move || {
        shown.with(|archive| {
            let newest = archive.snapshots.first().map_or(0, |newest| at_ms(&newest.taken_at));
            view::sentence(archive, newest, clock.agent_now(0, 0))
        })
    };
    view! {
        <div class="page">
            <Loaded query=archive what="The snapshots" lines=6>
                <Hero sentence=Signal::derive(sentence) facts=Signal::derive(move || shown.with(view::facts))/>
                <div class="duo">
                    <Kept model busy take=Callback::new(move |()| take())/>
                    <file::SavedFile model/>
                </div>
            </Loaded>
        </div>
    }
    .into_any()
}

/// Says what came of taking one.
pub(crate) fn taken(notices: Notices, result: Result<Snapshot, crate::api::Error>) {
    match result {
        Ok(snapshot) => {
            let text = format!("{}, up to index {}.", view::size(snapshot.size_bytes), format::count(snapshot.index));
            notices.done("Snapshot taken", text);
        }
        Err(error) => notices.failed("No snapshot was taken", error.to_string()),
    }
}

/// What lies on the leader's disk.
#[component]
fn Kept(model: Model, busy: RwSignal<bool>, take: Callback<()>) -> impl IntoView {
    let all = Memo::new(move |_| model.shown.with(|archive| archive.snapshots.clone()));
    let row = move |snapshot: Snapshot| {
        let (taken, full) = (snapshot.taken_at.clone(), snapshot.taken_at.clone());
        view! {
            <tr>
                <td class="p-at"><b class="num" title=full>{move || format::ago(at_ms(&taken), model.clock.agent_now(0, 0))}</b></td>
                <td class="p-ix mono num">{format::count(snapshot.index)}</td>
                <td class="p-tm mono num mid">{format::count(snapshot.term)}</td>
                <td class="p-sz num mid">{view::size(snapshot.size_bytes)}</td>
                <td class="p-by mid">{snapshot.server}</td>
            </tr>
        }
    };
    view! {
        <section class="panel" aria-labelledby="h-kept">
            <header>
                <h2 id="h-kept">"On disk"</h2>
                <div class="r">
                    <Download model label="Download" class="btn ghost sm"/>
                    <Button label="Take a snapshot" icon="snapshot" kind=Kind::Primary small=true busy writes=true on_press=take/>
                </div>
            </header>
            <Show
                when=move || !all.with(Vec::is_empty)
                fallback=|| view! {
                    <Empty title="None yet" text="The first one is taken by itself once the log is long enough, or now if you ask for it."/>
                }
            >
                <table class="tbl snp">
                    <caption class="sr">"Snapshots the leader keeps, newest first"</caption>
                    <thead>
                        <tr>
                            <th scope="col" class="p-at">"Taken"</th><th scope="col" class="p-ix">"Index"</th><th scope="col" class="p-tm">"Term"</th>
                            <th scope="col" class="p-sz">"Size"</th><th scope="col" class="p-by">"By"</th>
                        </tr>
                    </thead>
                    <tbody><For each=move || all.get() key=view::key children=row/></tbody>
                </table>
            </Show>
        </section>
    }
    .into_any()
}

/// A link that saves the state of now; the browser writes it to disk as it comes.
#[component]
fn Download(model: Model, label: &'static str, class: &'static str) -> impl IntoView {
    let href = move || fetch::download(&format!("snapshot?dc={}", shared::endpoint::segment(&model.dc.get())));
    let name = move || model.shown.with(|archive| view::file_name(&model.dc.get(), archive));
    view! { <a class=class href=href download=name><Icon name="download" small=true/>{label}</a> }
}
