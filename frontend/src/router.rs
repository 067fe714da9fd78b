//! The site map, and where the browser is in it.
//!
//! [`Place`] is the one list of pages: parsing and printing are pure and tested here. Consul's routes are kept, so old
//! bookmarks land right. Addresses are relative to the page's `<base>`, whatever prefix a proxy adds.
//!
//! Everything a person can see is in the address: typing replaces the current entry of the history, choosing pushes.

use shared::endpoint::encode_path;
use wasm_bindgen::{JsCast, JsValue};

use crate::prelude::*;

/// A page of one datacenter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Page {
    /// `:dc/overview`
    Overview,
    /// `:dc/services`
    Services,
    /// `:dc/services/:name/:tab`; an instance page of Consul's is the tab `instances` with that instance chosen.
    Service { name: String, tab: String, instance: Option<(String, String)> },
    /// `:dc/nodes`
    Nodes,
    /// `:dc/nodes/:name/:tab`
    Node { name: String, tab: String },
    /// `:dc/kv/*key`; a key ending with `/` is a folder, the empty key is the root.
    Keys { key: String, action: KeyAction },
    /// `:dc/overview/server-status`, as in Consul.
    Raft,
    /// `:dc/gossip`
    Gossip,
    /// `:dc/snapshots`
    Snapshots,
    /// Nothing is here.
    Unknown,
}

/// What a key/value address asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyAction {
    /// Look at the folder or the key.
    View,
    /// `…/edit`
    Edit,
    /// `…/create`: a new key below the folder.
    Create,
}

/// Where the browser is: a page in a datacenter. The datacenter is empty only at the very root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) dc: String,
    pub(crate) page: Page,
}

impl Place {
    pub(crate) fn new(dc: &str, page: Page) -> Self {
        Self { dc: dc.to_owned(), page }
    }

    /// Reads a path below the base, percent-encoded, without a leading slash.
    pub(crate) fn parse(path: &str) -> Self {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).map(decode).peekable();
        // Consul puts a partition before and a namespace behind the datacenter; only `default` exists here.
        parts.next_if(|part| part == "_default");
        let Some(dc) = parts.next() else { return Self { dc: String::new(), page: Page::Overview } };
        parts.next_if(|part| part == "~default");
        let folder = path.ends_with('/');
        let last = path.rsplit('/').next().unwrap_or_default();
        let rest: Vec<String> = parts.collect();
        let words: Vec<&str> = rest.iter().map(String::as_str).collect();
        let page = match words.as_slice() {
            ["overview", "server-status", ..] => Page::Raft,
            [] | ["overview", ..] => Page::Overview,
            ["gossip"] => Page::Gossip,
            ["snapshots"] => Page::Snapshots,
            ["services"] => Page::Services,
            ["services", name] => Page::service(name, "instances"),
            ["services", name, "instances", node, id, ..] => Page::Service {
                name: (*name).to_owned(),
                tab: "instances".to_owned(),
                instance: Some(((*node).to_owned(), (*id).to_owned())),
            },
            ["services", name, tab] => Page::service(name, tab),
            ["nodes"] => Page::Nodes,
            ["nodes", name] => Page::node(name, "health-checks"),
            ["nodes", name, tab] => Page::node(name, tab),
            ["kv", key @ ..] => keys(key, folder, last),
            _ => Page::Unknown,
        };
        Self { dc, page }
    }

    /// The path below the base, encoded: an `href`.
    pub(crate) fn href(&self) -> String {
        let one = |text: &str| encode_path(text, false);
        let tail = match &self.page {
            Page::Overview | Page::Unknown => "overview".to_owned(),
            Page::Raft => "overview/server-status".to_owned(),
            Page::Gossip => "gossip".to_owned(),
            Page::Snapshots => "snapshots".to_owned(),
            Page::Services => "services".to_owned(),
            Page::Service { name, instance: Some((node, id)), .. } => {
                format!("services/{}/instances/{}/{}/health-checks", one(name), one(node), one(id))
            }
            Page::Service { name, tab, .. } => format!("services/{}/{}", one(name), one(tab)),
            Page::Nodes => "nodes".to_owned(),
            Page::Node { name, tab } => format!("nodes/{}/{}", one(name), one(tab)),
            Page::Keys { key, action } => {
                let key = encode_key(key);
                match action {
                    KeyAction::View if key.is_empty() => "kv".to_owned(),
                    KeyAction::View => format!("kv/{key}"),
                    KeyAction::Edit => format!("kv/{key}/edit"),
                    KeyAction::Create if key.is_empty() || key.ends_with('/') => format!("kv/{key}create"),
                    KeyAction::Create => format!("kv/{key}/create"),
                }
            }
        };
        format!("{}/{tail}", one(&self.dc))
    }
}

impl Page {
    pub(crate) fn service(name: &str, tab: &str) -> Self {
        Self::Service { name: name.to_owned(), tab: tab.to_owned(), instance: None }
    }

    pub(crate) fn node(name: &str, tab: &str) -> Self {
        Self::Node { name: name.to_owned(), tab: tab.to_owned() }
    }

    /// A key or, ending with `/`, a folder, to look at.
    pub(crate) fn keys(key: &str) -> Self {
        Self::Keys { key: key.to_owned(), action: KeyAction::View }
    }
}

/// A key as a path. One with words that browsers drop (`..`) or this parser does (empty ones) is written as a single word,
/// and a last word that would be an action is escaped.
fn encode_key(key: &str) -> String {
    let mut words = key.rsplit('/');
    let last = words.next().unwrap_or_default();
    if matches!(last, "." | "..") || words.any(|word| matches!(word, "" | "." | "..")) {
        return encode_path(key, false);
    }
    let mut out = encode_path(key, true);
    if matches!(last, "edit" | "create") {
        let at = out.len() - last.len();
        out.replace_range(at..=at, if last == "edit" { "%65" } else { "%63" });
    }
    out
}

/// `last` is the last word as it stands in the address: an action is written plainly, a key's end never is.
fn keys(parts: &[&str], folder: bool, last: &str) -> Page {
    let (parts, action) = match parts.split_last() {
        Some((&"edit", parts)) if last == "edit" && !folder && !parts.is_empty() => (parts, KeyAction::Edit),
        Some((&"create", parts)) if last == "create" && !folder => (parts, KeyAction::Create),
        _ => (parts, KeyAction::View),
    };
    let mut key = parts.join("/");
    if !key.is_empty() && !key.ends_with('/') && (action == KeyAction::Create || (folder && action == KeyAction::View)) {
        key.push('/');
    }
    Page::Keys { key, action }
}

/// Whether a step back should come here again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A choice: the old address stays in the history.
    Push,
    /// Typing: the new address takes the place of the old one.
    Replace,
}

/// Reads and changes the browser's address. Copy it freely.
#[derive(Clone, Copy)]
pub(crate) struct Router {
    place: Memo<Place>,
    query: Memo<Vec<(String, String)>>,
    address: RwSignal<(String, String)>,
}

/// Provides the router to everything below. Called once.
pub(crate) fn provide() -> Router {
    let address = RwSignal::new(current());
    let router = Router {
        place: Memo::new(move |_| Place::parse(&address.read().0)),
        query: Memo::new(move |_| parse_query(&address.read().1)),
        address,
    };
    provide_context(router);
    on_window("popstate", move |_: web_sys::Event| address.set(current()));
    on_window("click", move |event: web_sys::MouseEvent| follow(&router, &event));
    router
}

/// The router of this app.
pub(crate) fn use_router() -> Router {
    expect_context()
}

/// The datacenter of the address: what every request names.
pub(crate) fn use_dc() -> Signal<String> {
    let place = use_router().place;
    Memo::new(move |_| place.read().dc.clone()).into()
}

/// The `href` of a page in the datacenter of the address.
pub(crate) fn link(page: Page) -> String {
    let router = use_router();
    Place { dc: router.place.read_untracked().dc.clone(), page }.href()
}

impl Router {
    /// Where the browser is.
    pub(crate) fn place(self) -> Memo<Place> {
        self.place
    }

    /// A query parameter; empty when absent.
    pub(crate) fn param(self, name: &'static str) -> Memo<String> {
        Memo::new(move |_| value(&self.query.read(), name).to_owned())
    }

    /// Changes query parameters of this page; an empty value removes one.
    pub(crate) fn set(self, changes: &[(&str, &str)], step: Step) {
        let (path, query) = self.address.get_untracked();
        let changed = with_changes(&parse_query(&query), changes);
        self.enter(&path, &changed, step);
    }

    /// Goes to another page of this datacenter.
    pub(crate) fn go(self, page: Page) {
        let place = Place { dc: self.place.read_untracked().dc.clone(), page };
        self.open(&place.href(), Step::Push);
    }

    /// Goes to an `href` as [`Place::href`] gives it, with or without a query.
    pub(crate) fn open(self, href: &str, step: Step) {
        let (path, query) = href.split_once('?').unwrap_or((href, ""));
        self.enter(path, query, step);
    }

    fn enter(self, path: &str, query: &str, step: Step) {
        if self.address.with_untracked(|(old_path, old_query)| old_path == path && old_query == query) {
            return;
        }
        let url = if query.is_empty() { format!("{}{path}", base()) } else { format!("{}{path}?{query}", base()) };
        if let Ok(history) = window().history() {
            let done = match step {
                Step::Push => history.push_state_with_url(&JsValue::NULL, "", Some(&url)),
                Step::Replace => history.replace_state_with_url(&JsValue::NULL, "", Some(&url)),
            };
            if done.is_err() {
                // Browsers forbid hundreds of changes in seconds; the page itself still follows.
                leptos::logging::warn!("the address could not be changed to {url}");
            }
        }
        self.address.set((path.to_owned(), query.to_owned()));
    }
}

/// Takes over clicks on links into the dashboard.
fn follow(router: &Router, event: &web_sys::MouseEvent) {
    if event.default_prevented() || event.button() != 0 || event.meta_key() || event.ctrl_key() || event.shift_key() || event.alt_key() {
        return;
    }
    let target = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok());
    let Some(anchor) = target.and_then(|target| target.closest("a[href]").ok().flatten()) else { return };
    let Ok(anchor) = anchor.dyn_into::<web_sys::HtmlAnchorElement>() else { return };
    if anchor.has_attribute("download") || !matches!(anchor.target().as_str(), "" | "_self") || anchor.origin() != origin() {
        return;
    }
    let Some(path) = anchor.pathname().strip_prefix(&base()).map(str::to_owned) else { return };
    event.prevent_default();
    router.enter(&path, anchor.search().trim_start_matches('?'), Step::Push);
}

fn current() -> (String, String) {
    let location = window().location();
    let path = location.pathname().unwrap_or_default();
    let path = path.strip_prefix(&base()).unwrap_or_default().to_owned();
    (path, location.search().unwrap_or_default().trim_start_matches('?').to_owned())
}

fn origin() -> String {
    window().location().origin().unwrap_or_default()
}

/// What index.html says of `name`, since only the agent or the build know it.
pub(crate) fn told(name: &str) -> String {
    let meta = document().query_selector(&format!("meta[name=muster-{name}]")).ok().flatten();
    meta.and_then(|meta| meta.get_attribute("content")).unwrap_or_default()
}

/// The dashboard's root as a path with slashes at both ends: `/ui/`, `/tools/muster/ui/`.
pub(crate) fn base() -> String {
    let uri = document().base_uri().ok().flatten().unwrap_or_default();
    let path = uri.strip_prefix(&origin()).unwrap_or("/ui/");
    path.rfind('/').map_or("/ui/", |end| &path[..=end]).to_owned()
}

fn decode(part: &str) -> String {
    let mut out = Vec::with_capacity(part.len());
    let bytes = part.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| part.get(at + 1..at + 3)).flatten().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(&value.replace('+', " "))))
        .collect()
}

fn value<'a>(query: &'a [(String, String)], name: &str) -> &'a str {
    query.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
}

fn with_changes(query: &[(String, String)], changes: &[(&str, &str)]) -> String {
    let kept =
        query.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(|(name, _)| !changes.iter().any(|(new, _)| new == name));
    let pairs = kept.chain(changes.iter().copied().filter(|(_, value)| !value.is_empty()));
    pairs.map(|(name, value)| format!("{}={}", encode_path(name, false), encode_path(value, true))).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_page(key: &str, action: KeyAction) -> Page {
        Page::Keys { key: key.to_owned(), action }
    }

    #[test]
    fn every_address_of_consuls_dashboard_lands_on_its_page() {
        let instance = |node: &str, id: &str| Page::Service {
            name: "web".to_owned(),
            tab: "instances".to_owned(),
            instance: Some((node.to_owned(), id.to_owned())),
        };
        let cases = [
            ("dc1", Page::Overview),
            ("dc1/", Page::Overview),
            ("dc1/services", Page::Services),
            ("_default/dc1/~default/services", Page::Services),
            ("dc1/services/web", Page::service("web", "instances")),
            ("dc1/services/web/instances", Page::service("web", "instances")),
            ("dc1/services/web/tags", Page::service("web", "tags")),
            ("dc1/services/a%2Fb/instances", Page::service("a/b", "instances")),
            ("dc1/services/web/instances/n1/web-1/health-checks", instance("n1", "web-1")),
            ("dc1/services/web/instances/n1/web%2F1/metadata", instance("n1", "web/1")),
            ("dc1/nodes", Page::Nodes),
            ("dc1/nodes/n1", Page::node("n1", "health-checks")),
            ("dc1/nodes/n1/service-instances", Page::node("n1", "service-instances")),
            ("dc1/kv", keys_page("", KeyAction::View)),
            ("dc1/kv/", keys_page("", KeyAction::View)),
            ("dc1/kv/a/b/", keys_page("a/b/", KeyAction::View)),
            ("dc1/kv/a/b", keys_page("a/b", KeyAction::View)),
            ("dc1/kv/a/b/edit", keys_page("a/b", KeyAction::Edit)),
            ("dc1/kv/create", keys_page("", KeyAction::Create)),
            ("dc1/kv/a/create", keys_page("a/", KeyAction::Create)),
            ("dc1/kv/a%20b/%C3%A4/edit", keys_page("a b/ä", KeyAction::Edit)),
            ("dc1/overview/server-status", Page::Raft),
            ("dc1/overview/license", Page::Overview),
            ("dc1/gossip", Page::Gossip),
            ("dc1/snapshots", Page::Snapshots),
            ("dc1/nonsense", Page::Unknown),
        ];
        for (path, page) in cases {
            assert_eq!(Place::parse(path), Place::new("dc1", page), "{path}");
        }
        assert_eq!(Place::parse("").dc, "");
    }

    #[test]
    fn an_address_leads_back_to_its_page() {
        let pages = [
            Page::Overview,
            Page::Services,
            Page::service("a b/c", "instances"),
            Page::Service { name: "w".to_owned(), tab: "instances".to_owned(), instance: Some(("n%1".to_owned(), "i/1".to_owned())) },
            Page::Raft,
            Page::Gossip,
            Page::Snapshots,
            Page::Nodes,
            Page::node("ü", "metadata"),
            Page::keys(""),
            Page::keys("a/b?c/"),
            Page::keys("a/b#c"),
            keys_page("", KeyAction::Create),
            keys_page("a/", KeyAction::Create),
            keys_page("a", KeyAction::Edit),
        ];
        for page in pages {
            let place = Place::new("dc1", page);
            assert_eq!(Place::parse(&place.href()), place, "{}", place.href());
        }
    }

    #[test]
    fn every_key_has_an_address() {
        let odd =
            ["/", "/a", "//", "a//b", "a//", "a/edit", "edit", "create", "a/create", "edit/", "a/edit/b", "./a", "a/../b", "a/./", "a/.."];
        for key in odd {
            let folder = key.ends_with('/');
            for action in [KeyAction::View, if folder { KeyAction::Create } else { KeyAction::Edit }] {
                let place = Place::new("dc1", keys_page(key, action));
                let href = place.href();
                assert_eq!(Place::parse(&href), place, "{href}");
                assert!(!href.contains("//") && !href.split('/').any(|word| matches!(word, "." | "..")), "a browser changes {href}");
            }
        }
        assert_eq!(Place::new("dc1", keys_page("a/b", KeyAction::View)).href(), "dc1/kv/a/b");
    }

    #[test]
    fn a_key_that_is_found_is_opened_to_look_at() {
        assert_eq!(Page::keys("a/b"), keys_page("a/b", KeyAction::View));
    }

    #[test]
    fn query_parameters_are_set_changed_and_removed() {
        let query = parse_query("status=critical&filter=a%26b+c&flag");
        assert_eq!(value(&query, "filter"), "a&b c");
        assert_eq!(value(&query, "absent"), "");
        assert_eq!(with_changes(&query, &[("status", ""), ("sort", "Name:asc")]), "filter=a%26b%20c&flag=&sort=Name:asc");
    }

    #[test]
    fn broken_escapes_are_kept_as_they_are() {
        for (text, expected) in [("%zz", "%zz"), ("100%", "100%"), ("%4", "%4"), ("%41", "A"), ("%ff", "\u{fffd}")] {
            assert_eq!(decode(text), expected);
        }
    }
}
