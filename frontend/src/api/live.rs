//! The one change stream of this tab: every query on screen listens to it.
//!
//! Read with `fetch`, so that the token travels in a header; resumed by index. 15 s of silence, where the agent beats
//! every 5, mean that something buffers: then all queries are asked again every 2 s until a new try gets through. A
//! tab that is hidden for a minute lets go of the stream and resumes when it is shown.

use std::{cell::RefCell, rc::Rc, time::Duration};

use js_sys::{Reflect, Uint8Array};
use shared::{
    changes::{Change, Position, Watch, event},
    decode,
};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, ReadableStreamDefaultReader};

use super::{
    fetch::{self, Call, Error, now_ms},
    sse::{Event, Parser},
};
use crate::prelude::*;

const SILENCE_MAX_MS: f64 = 15_000.0;
const POLL_EVERY: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_secs(2);
const HIDDEN_MAX: Duration = Duration::from_secs(60);

/// How fresh the page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// The stream is being opened.
    Connecting,
    /// Changes arrive as they happen.
    Live,
    /// The stream does not get through; everything is read every 2 s.
    Polling,
    /// The person stopped it.
    Paused,
    /// The tab is hidden.
    Asleep,
}

/// What listeners are told.
#[derive(Clone)]
pub(crate) enum News {
    /// These things changed.
    Changes(Rc<Vec<Change>>),
    /// Anything may have changed: read again.
    All,
    /// Calls under way would not end soon: begin them anew.
    Restart,
}

type Listener = Rc<dyn Fn(&News)>;

#[derive(Default)]
struct Inner {
    listeners: Vec<(u64, Listener)>,
    next_listener: u64,
    abort: Option<AbortController>,
    /// Which try is the current one: an older one that ends late changes nothing.
    generation: u64,
    last_event_ms: f64,
    asleep: Option<TimeoutHandle>,
}

/// The change stream. Copy it freely.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    /// How fresh the page is.
    pub(crate) link: RwSignal<Link>,
    /// Raft index of the latest change that arrived.
    pub(crate) index: RwSignal<u64>,
    /// How long the last read took, milliseconds.
    pub(crate) took_ms: RwSignal<Option<f64>>,
    /// Whether the last read got any answer.
    pub(crate) reached: RwSignal<bool>,
    inner: StoredValue<Rc<RefCell<Inner>>>,
}

/// The change stream of this app.
pub(crate) fn use_live() -> Live {
    expect_context()
}

/// Opens the stream and provides it. Called once.
pub(crate) fn provide() -> Live {
    let live = Live {
        link: RwSignal::new(Link::Connecting),
        index: RwSignal::new(0),
        took_ms: RwSignal::new(None),
        reached: RwSignal::new(true),
        inner: StoredValue::new(Rc::default()),
    };
    provide_context(live);
    live.connect();
    set_interval(move || live.watch(), POLL_EVERY);
    on_window("visibilitychange", move |_: web_sys::Event| live.visibility());
    on_window("online", move |_: web_sys::Event| live.reconnect());
    live
}

impl Live {
    /// Calls back on every change until the current page or component ends.
    pub(crate) fn listen(self, listener: impl Fn(&News) + 'static) {
        let id = self.with(|inner| {
            inner.next_listener += 1;
            inner.listeners.push((inner.next_listener, Rc::new(listener)));
            inner.next_listener
        });
        on_cleanup(move || self.with(|inner| inner.listeners.retain(|(held, _)| *held != id)));
    }

    /// Stops, or goes on from where it stopped.
    pub(crate) fn toggle_pause(self) {
        if self.link.get_untracked() == Link::Paused {
            self.link.set(Link::Connecting);
            self.tell(&News::All);
            self.connect();
        } else {
            self.link.set(Link::Paused);
            self.disconnect();
        }
    }

    /// Reads everything again and opens a new stream: the token changed, or much was done at once.
    pub(crate) fn renew(self) {
        self.tell(&News::All);
        if self.link.get_untracked() != Link::Paused {
            self.connect();
        }
    }

    /// Begins every call anew, also those under way.
    pub(crate) fn restart(self) {
        self.tell(&News::Restart);
    }

    fn with<T>(self, work: impl FnOnce(&mut Inner) -> T) -> T {
        self.inner.with_value(|inner| work(&mut inner.borrow_mut()))
    }

    fn tell(self, news: &News) {
        // Listeners may come and go while they are told.
        let listeners: Vec<Listener> = self.with(|inner| inner.listeners.iter().map(|(_, listener)| Rc::clone(listener)).collect());
        for listener in listeners {
            listener(news);
        }
    }

    fn disconnect(self) {
        self.with(|inner| {
            inner.generation += 1;
            if let Some(abort) = inner.abort.take() {
                abort.abort();
            }
        });
    }

    fn connect(self) {
        self.disconnect();
        let Ok(abort) = AbortController::new() else { return };
        let generation = self.with(|inner| {
            inner.abort = Some(abort.clone());
            inner.last_event_ms = now_ms();
            inner.generation
        });
        let url = Watch { index: self.index.get_untracked(), ..Watch::default() }.url();
        spawn_local(async move {
            let ended = self.read(&url, &abort, generation).await;
            if self.with(|inner| inner.generation) != generation {
                return;
            }
            self.with(|inner| inner.abort = None);
            self.link.set(Link::Polling);
            // No stream at all: ask seldom. One that broke off: ask soon.
            let wait = if matches!(ended, Err(Error::Refused { .. })) { RETRY_AFTER * 15 } else { RETRY_AFTER };
            set_timeout(
                move || {
                    if self.with(|inner| inner.generation) == generation {
                        self.connect()
                    }
                },
                wait,
            );
        });
    }

    fn reconnect(self) {
        if !matches!(self.link.get_untracked(), Link::Paused | Link::Live) {
            self.connect();
        }
    }

    /// Reads until the stream ends or `generation` is over.
    async fn read(self, url: &str, abort: &AbortController, generation: u64) -> Result<(), Error> {
        let call = Call { method: "GET", url: url.to_owned(), body: None };
        let response = fetch::open(&call, Some(&abort.signal())).await?;
        if !response.ok() {
            return Err(Error::Refused { status: response.status(), text: String::new() });
        }
        let body = response.body().ok_or(Error::Unreachable)?;
        let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        let mut parser = Parser::default();
        loop {
            let chunk = JsFuture::from(reader.read()).await.map_err(|_| Error::Unreachable)?;
            if self.with(|inner| inner.generation) != generation {
                return Err(Error::Aborted);
            }
            if Reflect::get(&chunk, &"done".into()).is_ok_and(|done| done.is_truthy()) {
                return Ok(());
            }
            let bytes = Reflect::get(&chunk, &"value".into()).map_err(|_| Error::Unreachable)?;
            for event in parser.push(&Uint8Array::new(&bytes).to_vec()) {
                self.with(|inner| inner.last_event_ms = now_ms());
                self.take(&event);
            }
        }
    }

    fn take(self, event: &Event) {
        if self.link.get_untracked() != Link::Live {
            self.link.set(Link::Live);
        }
        match event.name.as_str() {
            event::CHANGES => {
                let Ok(changes) = decode::read::<Vec<Change>>(event.data.as_bytes()) else { return };
                let latest = changes.iter().map(|change| change.index).max().unwrap_or_default();
                self.index.update(|index| *index = latest.max(*index));
                self.tell(&News::Changes(Rc::new(changes)));
            }
            event::HELLO | event::BEAT | event::RESET => {
                let Ok(position) = decode::read::<Position>(event.data.as_bytes()) else { return };
                // A first stream begins at its opening: what was read before that may have changed in between.
                let late = self.index.get_untracked() == 0 && self.took_ms.with_untracked(Option::is_some);
                self.index.set(position.index);
                if late || event.name == event::RESET {
                    self.tell(&News::All);
                }
            }
            _ => {}
        }
    }

    /// Runs every 2 s: finds a silent stream, and asks for everything while there is none.
    fn watch(self) {
        let silent = now_ms() - self.with(|inner| inner.last_event_ms) > SILENCE_MAX_MS;
        match self.link.get_untracked() {
            Link::Live | Link::Connecting if silent => {
                self.link.set(Link::Polling);
                self.tell(&News::All);
                self.connect();
            }
            Link::Polling => {
                if silent {
                    self.connect();
                }
                self.tell(&News::All);
            }
            _ => {}
        }
    }

    fn visibility(self) {
        if let Some(timer) = self.with(|inner| inner.asleep.take()) {
            timer.clear();
        }
        if document().hidden() {
            let fall_asleep = move || {
                if self.link.get_untracked() != Link::Paused {
                    self.link.set(Link::Asleep);
                    self.disconnect();
                }
            };
            if let Some(timer) = set_timeout_with_handle(fall_asleep, HIDDEN_MAX) {
                self.with(|inner| inner.asleep = Some(timer));
            }
        } else if self.link.get_untracked() == Link::Asleep {
            self.link.set(Link::Connecting);
            self.tell(&News::All);
            self.connect();
        }
    }
}
