//! Notices: short messages that float for a while. Never the only place of a piece of information.

use std::time::Duration;

use crate::prelude::*;

/// How long a notice stays.
const STAY: Duration = Duration::from_secs(8);
/// How long one with an undo stays.
const STAY_UNDO: Duration = Duration::from_secs(12);
/// Older ones give way.
const AT_ONCE_MAX: usize = 4;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Done,
    Failed,
}

/// One notice.
#[derive(Clone)]
pub(crate) struct Notice {
    pub(crate) id: u64,
    pub(crate) tone: Tone,
    pub(crate) title: String,
    pub(crate) text: String,
    /// Label and action of its one button.
    pub(crate) action: Option<(String, Callback<()>)>,
}

/// The notices on screen. Copy it freely.
#[derive(Clone, Copy)]
pub(crate) struct Notices {
    pub(crate) list: RwSignal<Vec<Notice>>,
    next: StoredValue<u64>,
    /// While the pointer or focus is on them, none goes away.
    pub(crate) held: RwSignal<bool>,
}

/// The notices of this app.
pub(crate) fn use_notices() -> Notices {
    expect_context()
}

pub(super) fn provide() {
    provide_context(Notices { list: RwSignal::new(Vec::new()), next: StoredValue::new(0), held: RwSignal::new(false) });
}

impl Notices {
    /// Something was done.
    pub(crate) fn done(self, title: impl Into<String>, text: impl Into<String>) {
        self.show(Tone::Done, title.into(), text.into(), None);
    }

    /// Something failed. Stays until it is closed.
    pub(crate) fn failed(self, title: impl Into<String>, text: impl Into<String>) {
        self.show(Tone::Failed, title.into(), text.into(), None);
    }

    /// Something was done that one press takes back.
    pub(crate) fn undoable(self, title: impl Into<String>, text: impl Into<String>, undo: impl Fn() + Send + Sync + 'static) {
        self.show(Tone::Done, title.into(), text.into(), Some(("Undo".to_owned(), Callback::new(move |()| undo()))));
    }

    /// Takes one away.
    pub(crate) fn close(self, id: u64) {
        self.list.update(|list| list.retain(|notice| notice.id != id));
    }

    fn show(self, tone: Tone, title: String, text: String, action: Option<(String, Callback<()>)>) {
        let id = self.next.get_value() + 1;
        self.next.set_value(id);
        let stay = if action.is_some() { STAY_UNDO } else { STAY };
        self.list.update(|list| {
            list.push(Notice { id, tone, title, text, action });
            let extra = list.len().saturating_sub(AT_ONCE_MAX);
            list.drain(..extra);
        });
        if tone == Tone::Done {
            self.close_later(id, stay);
        }
    }

    fn close_later(self, id: u64, stay: Duration) {
        set_timeout(move || if self.held.get_untracked() { self.close_later(id, Duration::from_secs(2)) } else { self.close(id) }, stay);
    }
}
