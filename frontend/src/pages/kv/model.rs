//! What the key/value page knows: which folders are open and listed, drafts, and where it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::prelude::*;
use shared::{
    changes::Topic,
    endpoint,
    kv::{self, Entry},
};

use super::view;
use crate::{
    api::{Error, live::News, send, use_live},
    router::{KeyAction, Page, Place, Router, use_dc, use_router},
    state::notices::{Notices, use_notices},
};

/// Changes of keys are gathered so long before folders are listed again.
const GATHER: Duration = Duration::from_millis(150);

/// A text that is not saved yet, and what it began with.
#[derive(Clone, Default)]
pub(crate) struct Draft {
    pub(crate) base: Option<Entry>,
    pub(crate) text: String,
}

/// Copy it freely.
#[derive(Clone, Copy)]
pub(crate) struct Model {
    pub(crate) router: Router,
    pub(crate) notices: Notices,
    pub(crate) dc: Signal<String>,
    /// The key or folder of the address.
    pub(crate) key: Memo<String>,
    pub(crate) action: Memo<KeyAction>,
    /// Keys of the folders that were asked for.
    pub(crate) listed: RwSignal<BTreeMap<String, Vec<String>>>,
    /// Why the latest folder that was asked for could not be listed.
    pub(crate) trouble: RwSignal<Option<Error>>,
    pub(crate) open: RwSignal<BTreeSet<String>>,
    /// Texts left without saving.
    pub(crate) drafts: RwSignal<BTreeMap<String, Draft>>,
    /// The folder a dialog asks about deleting.
    pub(crate) deleting: RwSignal<Option<String>>,
}

/// Reads in a datacenter.
pub(super) fn at(dc: Signal<String>) -> endpoint::Read {
    endpoint::Read { dc: dc.get(), ..endpoint::Read::default() }
}

impl Model {
    pub(crate) fn new() -> Self {
        let router = use_router();
        let of = move |place: &Place| match &place.page {
            Page::Keys { key, action } => (key.clone(), *action),
            _ => (String::new(), KeyAction::View),
        };
        let place = router.place();
        let model = Self {
            router,
            notices: use_notices(),
            dc: use_dc(),
            key: Memo::new(move |_| place.with(of).0),
            action: Memo::new(move |_| place.with(of).1),
            listed: RwSignal::new(BTreeMap::new()),
            trouble: RwSignal::new(None),
            open: RwSignal::new(BTreeSet::new()),
            drafts: RwSignal::new(BTreeMap::new()),
            deleting: RwSignal::new(None),
        };
        Effect::new(move |before: Option<String>| {
            let dc = model.dc.get();
            if before.is_some_and(|before| before != dc) {
                model.listed.set(BTreeMap::new());
            }
            model.list("");
            dc
        });
        // Wherever the address leads, the tree opens up to it.
        Effect::new(move |_| {
            let key = model.key.get();
            let own = key.ends_with('/').then(|| key.clone());
            view::ancestors(&key).into_iter().chain(own).for_each(|folder| model.set_open(&folder, true));
        });
        model.follow();
        model
    }

    /// Lists folders again when keys below them come, go or change.
    fn follow(self) {
        let due = StoredValue::new(BTreeSet::<String>::new());
        let list = move || {
            let folders = due.try_update_value(std::mem::take).unwrap_or_default();
            folders.iter().for_each(|folder| self.list(folder));
        };
        use_live().listen(move |news| {
            let known: Vec<String> = self.listed.with_untracked(|l| l.keys().cloned().collect());
            let touched: BTreeSet<String> = match news {
                // Also those that were not listed yet: without a leader the first try waits for one.
                News::All | News::Restart => return self.list_again(),
                News::Changes(changes) => {
                    let keys = || changes.iter().filter(|c| c.topic == Topic::Kv);
                    known.into_iter().filter(|folder| keys().any(|c| c.name.starts_with(folder.as_str()))).collect()
                }
            };
            if touched.is_empty() {
                return;
            }
            let first = due.try_update_value(|due| {
                let first = due.is_empty();
                due.extend(touched);
                first
            });
            if first == Some(true) {
                set_timeout(list, GATHER);
            }
        });
    }

    /// Asks for the keys of a folder.
    pub(crate) fn list(self, folder: &str) {
        let folder = folder.to_owned();
        let dc = self.dc.try_get_untracked().unwrap_or_default();
        if dc.is_empty() {
            return;
        }
        spawn_local(async move {
            let read = endpoint::Read { dc, ..endpoint::Read::default() };
            let keys = match send(&kv::Keys { prefix: folder.clone(), separator: "/".to_owned(), read }).await {
                Ok(keys) => keys,
                Err(error) if error.is_missing() => Vec::new(),
                Err(error) => {
                    self.trouble.try_set(Some(error));
                    return;
                }
            };
            self.trouble.try_set(None);
            let same = self.listed.try_with_untracked(|l| l.get(&folder) == Some(&keys));
            if same == Some(false) {
                self.listed.try_update(|l| l.insert(folder, keys));
            }
        });
    }

    /// Asks again for every folder that is open, listed yet or not.
    pub(crate) fn list_again(self) {
        self.list("");
        self.open.get_untracked().iter().for_each(|folder| self.list(folder));
    }

    /// Opens or closes a folder of the tree.
    pub(crate) fn set_open(self, folder: &str, open: bool) {
        if self.open.with_untracked(|o| o.contains(folder)) == open {
            return;
        }
        self.open.update(|o| {
            let _ = if open { o.insert(folder.to_owned()) } else { o.remove(folder) };
        });
        if open {
            self.list(folder);
        }
    }

    /// The page of a key or folder.
    pub(crate) fn page(self, key: &str, action: KeyAction) -> Page {
        let _ = self;
        Page::Keys { key: key.to_owned(), action }
    }

    /// The address of a key or folder, to look at.
    pub(crate) fn href(self, key: &str) -> String {
        Place::new(&self.dc.get_untracked(), self.page(key, KeyAction::View)).href()
    }

    /// The address for a new key beside or below what is shown.
    pub(crate) fn create_href(self) -> String {
        let folder = self.key.with(|key| if key.ends_with('/') { key.clone() } else { view::parent(key).to_owned() });
        Place::new(&self.dc.get(), self.page(&folder, KeyAction::Create)).href()
    }

    /// Removes one key if it still is as it was seen, and offers to bring it back.
    pub(crate) fn delete(self, entry: Entry) {
        spawn_local(async move {
            let dc = self.dc.get_untracked();
            let call = kv::Delete { key: entry.key.clone(), cas: Some(entry.modify_index), dc, ..kv::Delete::default() };
            match send(&call).await {
                Ok(true) => {
                    let key = entry.key.clone();
                    self.drafts.try_update(|d| d.remove(&key));
                    self.router.go(self.page(view::parent(&key), KeyAction::View));
                    self.notices.undoable(format!("{key} deleted"), "", move || self.bring_back(vec![entry.clone()]));
                }
                Ok(false) => self
                    .notices
                    .failed(format!("{} was not deleted", entry.key), "Someone changed it in this moment. Look at it again first."),
                Err(error) => self.notices.failed(format!("{} was not deleted", entry.key), error.to_string()),
            }
        });
    }

    /// Makes deleted keys again, unless someone else did meanwhile.
    pub(crate) fn bring_back(self, entries: Vec<Entry>) {
        spawn_local(async move {
            let total = entries.len();
            let mut failed = Vec::new();
            for entry in entries {
                let dc = self.dc.try_get_untracked().unwrap_or_default();
                let call =
                    kv::Put { key: entry.key.clone(), value: entry.value, flags: entry.flags, cas: Some(0), dc, ..kv::Put::default() };
                match send(&call).await {
                    Ok(true) => {}
                    Ok(false) => failed.push(format!("{}: exists again", entry.key)),
                    Err(error) => failed.push(format!("{}: {error}", entry.key)),
                }
            }
            if failed.is_empty() {
                self.notices.done(crate::format::plural(total as u32, "key is back", "keys are back"), "");
            } else {
                self.notices.failed("Not everything came back", failed.join("\n"));
            }
        });
    }
}
