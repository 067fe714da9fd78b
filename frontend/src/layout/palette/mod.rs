//! The command palette: pages, services, nodes, keys, and verbs on them. A combobox over one list box.

mod view;

use shared::{endpoint, kv, node, page::PageQuery, service};
use web_sys::KeyboardEvent;

use crate::{
    actions::{self, Action},
    api::{Query, query, send, use_live},
    components::{Icon, Key, dialog::modal},
    pages::{overview, snapshots},
    prelude::*,
    router::{KeyAction, Page, Place, Router, Step, use_dc, use_router},
    state::{
        notices::{Notices, use_notices},
        preferences::use_preferences,
    },
};
use view::{Deed, Found, Item};

/// What floats over the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlay {
    Palette,
    Help,
    /// The sections behind "More" on phones.
    More,
}

/// Which overlay is open.
#[derive(Clone, Copy)]
pub(super) struct OpenOverlay(pub(super) RwSignal<Option<Overlay>>);

/// Which overlay is open.
pub(crate) fn use_overlay() -> RwSignal<Option<Overlay>> {
    expect_context::<OpenOverlay>().0
}

/// The palette in its dialog.
#[component]
pub(crate) fn Palette(overlay: RwSignal<Option<Overlay>>) -> impl IntoView {
    let open = Signal::derive(move || overlay.get() == Some(Overlay::Palette));
    let element = modal(open);
    let close = move || overlay.set(None);
    view! {
        <dialog
            node_ref=element
            class="cmd"
            aria-label="Search or run a command"
            on:cancel=move |event: web_sys::Event| { event.prevent_default(); close() }
            on:mousedown=move |event| if event.target() == event.current_target() { close() }
        >
            <Show when=move || open.get()><Search overlay/></Show>
        </dialog>
    }
}

/// What the agent finds for the text, asked for while the palette is open.
#[derive(Clone, Copy)]
struct Remote {
    services: Query<shared::page::Page<service::ServiceRow>>,
    nodes: Query<shared::page::Page<node::NodeRow>>,
    keys: Query<Vec<String>>,
}

fn remote(text: RwSignal<String>) -> Remote {
    let dc = use_dc();
    let page = move |search: String| PageQuery { limit: 6, search, ..PageQuery::default() };
    let services = move || view::service_search(&text.read()).map(|search| service::ListServices { page: page(search), dc: dc.get() });
    let nodes = move || view::node_search(&text.read()).map(|search| node::ListNodes { page: page(search), dc: dc.get() });
    let keys = move || {
        let read = endpoint::Read { dc: dc.get(), ..Default::default() };
        view::key_search(&text.read()).map(|prefix| kv::Keys { prefix, separator: String::new(), read })
    };
    Remote { services: query(services, |_| false), nodes: query(nodes, |_| false), keys: query(keys, |_| false) }
}

#[component]
fn Search(overlay: RwSignal<Option<Overlay>>) -> impl IntoView {
    let (text, at) = (RwSignal::new(String::new()), RwSignal::new(0_usize));
    let remote = remote(text);
    let items = Memo::new(move |_| {
        text.with(|text| {
            remote.services.data.with(|services| {
                remote.nodes.data.with(|nodes| {
                    remote.keys.data.with(|keys| {
                        let found = Found {
                            services: services.as_ref().map(|page| page.rows.as_slice()).unwrap_or_default(),
                            nodes: nodes.as_ref().map(|page| page.rows.as_slice()).unwrap_or_default(),
                            keys: keys.as_deref().unwrap_or_default(),
                        };
                        view::items(text, &found)
                    })
                })
            })
        })
    });
    let doer = Doer::new(overlay);
    let input = NodeRef::<html::Input>::new();
    Effect::new(move |_| {
        if let Some(input) = input.get() {
            let _ = input.focus();
        }
    });
    let on_key = move |event: KeyboardEvent| {
        let last = items.with_untracked(Vec::len).saturating_sub(1);
        match event.key().as_str() {
            "ArrowDown" => at.update(|at| *at = if *at >= last { 0 } else { *at + 1 }),
            "ArrowUp" => at.update(|at| *at = if *at == 0 { last } else { (*at - 1).min(last) }),
            "Enter" => {
                if let Some(item) = items.with_untracked(|items| items.get(at.get_untracked()).cloned()) {
                    doer.run(&item.deed, event.meta_key() || event.ctrl_key());
                }
            }
            _ => return,
        }
        event.prevent_default();
    };
    let group_of = move |index: usize| {
        items.with(|items| {
            let new = index == 0 || items.get(index - 1).map(|item| item.group) != items.get(index).map(|item| item.group);
            items.get(index).filter(|_| new).map(|item| item.group)
        })
    };
    view! {
        <div class="q">
            <Icon name="search"/>
            <input
                node_ref=input
                type="text"
                role="combobox"
                aria-label="Search or run a command"
                aria-expanded="true"
                aria-controls="cmd-list"
                aria-autocomplete="list"
                aria-activedescendant=move || format!("cmd-{}", at.get())
                autocomplete="off"
                spellcheck="false"
                placeholder="Search or run a command"
                on:keydown=on_key
                on:input:target=move |event| { at.set(0); text.set(event.target().value()) }
            />
            <Key name="Esc"/>
        </div>
        <ul id="cmd-list" role="listbox" aria-label="Results">
            <For each=move || items.get().into_iter().enumerate() key=|(index, item)| (*index, item.key()) let:entry>
                {
                    let (index, item) = entry;
                    let deed = item.deed.clone();
                    view! {
                        {move || group_of(index).map(|group| view! { <li class="gl" role="presentation">{group}</li> })}
                        <li
                            id=format!("cmd-{index}")
                            role="option"
                            aria-selected=move || if at.get() == index { "true" } else { "false" }
                            on:pointermove=move |_| if at.get_untracked() != index { at.set(index) }
                            on:click=move |event| doer.run(&deed, event.meta_key() || event.ctrl_key())
                        >
                            <span class=item.class><Icon name=item.icon/></span>
                            <span class="lb">{marked(&item)}</span>
                            <small>{item.note.clone()}</small>
                        </li>
                    }
                }
            </For>
            <Show when=move || items.with(Vec::is_empty)><li class="gl" role="presentation">"Nothing is called that."</li></Show>
        </ul>
        <footer class="hide-m">
            <span><Key name="↑"/><Key name="↓"/>"move"</span>
            <span><Key name="Enter"/>"run"</span>
            <span class="end">"type "<Key name=">"/>" for actions, "<Key name="#"/>" tags, "<Key name="@"/>" nodes"</span>
        </footer>
    }
}

/// The label with the matching letters marked.
fn marked(item: &Item) -> AnyView {
    view::pieces(&item.label, &item.hits)
        .into_iter()
        .map(|(hit, piece)| if hit { view! { <mark>{piece}</mark> }.into_any() } else { piece.into_any() })
        .collect_view()
        .into_any()
}

/// Does what an item says.
#[derive(Clone, Copy)]
struct Doer {
    overlay: RwSignal<Option<Overlay>>,
    router: Router,
    notices: Notices,
    live: crate::api::live::Live,
    preferences: crate::state::preferences::Preferences,
    dc: Signal<String>,
}

impl Doer {
    fn new(overlay: RwSignal<Option<Overlay>>) -> Self {
        Self { overlay, router: use_router(), notices: use_notices(), live: use_live(), preferences: use_preferences(), dc: use_dc() }
    }

    fn run(self, deed: &Deed, new_tab: bool) {
        self.overlay.set(None);
        match deed {
            Deed::Go(page) if new_tab => {
                let href = Place::new(&self.dc.get_untracked(), page.clone()).href();
                let url = format!("{}{href}", crate::router::base());
                // A pop-up blocker may refuse; then the person sees the browser's own note.
                let _ = window().open_with_url_and_target(&url, "_blank");
            }
            Deed::Go(page) => self.router.go(page.clone()),
            Deed::Open(page, query) => {
                let href = Place::new(&self.dc.get_untracked(), page.clone()).href();
                self.router.open(&format!("{href}?{query}"), Step::Push);
            }
            Deed::Snapshot => {
                let (notices, dc) = (self.notices, self.dc.get_untracked());
                spawn_local(async move { snapshots::taken(notices, send(&shared::snapshot::Take { dc }).await) });
            }
            Deed::Run(service) => self.run_checks(service.clone()),
            Deed::Maintain(service) => {
                let href = Place::new(&self.dc.get_untracked(), Page::Services).href();
                self.router.open(&format!("{href}?v=maintenance&sel={}", endpoint::segment(service)), Step::Push);
            }
            Deed::Register => {
                let href = Place::new(&self.dc.get_untracked(), Page::Services).href();
                self.router.open(&format!("{href}?v=register"), Step::Push);
            }
            Deed::NewKey => self.router.go(Page::Keys { key: String::new(), action: KeyAction::Create }),
            Deed::Theme => self.preferences.theme.update(|theme| *theme = theme.next()),
            Deed::Pause => self.live.toggle_pause(),
            Deed::Help => self.overlay.set(Some(Overlay::Help)),
        }
    }

    fn run_checks(self, service: String) {
        let dc = self.dc.get_untracked();
        spawn_local(async move {
            let outcomes = actions::on_services(Action::Run, dc, vec![service.clone()]).await;
            let (good, title, text) = overview::summary(&service, &outcomes);
            if good { self.notices.done(title, text) } else { self.notices.failed(title, text) }
        });
    }
}
