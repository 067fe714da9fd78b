//! A read that belongs to what is on screen.
//!
//! It is sent again when its request's signals change and when the change stream names something it cares about; calls
//! are coalesced, the old one is aborted. What is shown stays until something newer is there: a failed refresh keeps
//! the data, says so in `error`, and tries again by itself.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use crate::prelude::*;
use shared::{changes::Change, endpoint::Endpoint};
use web_sys::AbortController;

use super::{
    fetch::{self, Answer, Call, Error, now_ms},
    live::{Link, Live, News, use_live},
};

/// Nothing is shown for so long; then a skeleton.
const PATIENCE: Duration = Duration::from_millis(120);
/// Refreshes are at least so far apart, and three times as long as one takes.
const REFRESH_MIN_MS: f64 = 100.0;
const RETRY_MAX_S: u32 = 30;
/// A read that takes longer counts as not answered. Longer than a server waits for a leader.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a page shows of a read. Copy it freely.
pub(crate) struct Query<T: Send + Sync + 'static> {
    /// The latest reply.
    pub(crate) data: RwSignal<Option<T>>,
    /// Why the latest try failed; `data` is then older than it should be.
    pub(crate) error: RwSignal<Option<Error>>,
    /// Nothing has come yet and it takes long enough to show a skeleton.
    pub(crate) slow: RwSignal<bool>,
    /// When `data` came, milliseconds since 1970 by the browser's clock.
    pub(crate) at_ms: RwSignal<u64>,
    /// Seconds to the next try after a failure, counting down.
    pub(crate) retry_in_s: RwSignal<u32>,
    driver: StoredValue<Rc<Driver>>,
}

impl<T: Send + Sync + 'static> Clone for Query<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send + Sync + 'static> Copy for Query<T> {}

impl<T: Send + Sync + 'static> Query<T> {
    /// Reads again now.
    pub(crate) fn refetch(self) {
        self.driver.with_value(Driver::start);
    }

    /// Reads again from time to time, for what changes without a word of the change stream, as long as the current component lives.
    pub(crate) fn poll(self, every: Duration) {
        let driver = self.driver;
        let timer = set_interval(
            move || {
                driver.try_with_value(Driver::poll);
            },
            every,
        );
        on_cleanup(move || timer.into_iter().for_each(|timer| timer.clear()));
    }
}

/// Reads `request` for as long as the current component lives. `None` reads nothing and keeps what is there. `cares` says which
/// changes mean that the reply may be different.
pub(crate) fn query<E>(request: impl Fn() -> Option<E> + 'static, cares: impl Fn(&Change) -> bool + 'static) -> Query<E::Reply>
where
    E: Endpoint,
    E::Reply: Send + Sync + 'static,
{
    let data = RwSignal::new(None);
    let error = RwSignal::new(None);
    let at_ms = RwSignal::new(0);
    let accept = move |answer: Result<Answer, Error>| {
        let reply = answer.and_then(|answer| fetch::reply(&answer.body));
        match reply {
            Ok(reply) => {
                data.try_set(Some(reply));
                at_ms.try_set(js_sys::Date::now() as u64);
                if error.try_with_untracked(Option::is_some) == Some(true) {
                    error.try_set(None);
                }
                None
            }
            Err(found) => {
                error.try_set(Some(found.clone()));
                Some(found)
            }
        }
    };
    let driver = Rc::new(Driver {
        live: use_live(),
        accept: Box::new(accept),
        call: RefCell::new(None),
        abort: RefCell::new(None),
        deadline: Cell::new(None),
        generation: Cell::new(0),
        busy: Cell::new(false),
        again: Cell::new(false),
        waiting: Cell::new(false),
        started_ms: Cell::new(f64::MIN),
        took_ms: Cell::new(0.0),
        failures: Cell::new(0),
        slow: RwSignal::new(false),
        answered: Cell::new(false),
        retry_in_s: RwSignal::new(0),
    });
    attach(&driver, move || request().as_ref().map(Call::of), cares);
    let (slow, retry_in_s) = (driver.slow, driver.retry_in_s);
    Query { data, error, slow, at_ms, retry_in_s, driver: StoredValue::new(driver) }
}

/// Everything of a query that does not depend on its type, so that it is compiled once.
struct Driver {
    live: Live,
    /// Takes an answer and gives back the error, if it is one.
    accept: Box<dyn Fn(Result<Answer, Error>) -> Option<Error>>,
    call: RefCell<Option<Call>>,
    abort: RefCell<Option<AbortController>>,
    deadline: Cell<Option<TimeoutHandle>>,
    generation: Cell<u64>,
    busy: Cell<bool>,
    /// Something changed while a call was under way.
    again: Cell<bool>,
    /// A later start is planned.
    waiting: Cell<bool>,
    started_ms: Cell<f64>,
    took_ms: Cell<f64>,
    failures: Cell<u32>,
    slow: RwSignal<bool>,
    answered: Cell<bool>,
    retry_in_s: RwSignal<u32>,
}

fn attach(driver: &Rc<Driver>, call: impl Fn() -> Option<Call> + 'static, cares: impl Fn(&Change) -> bool + 'static) {
    let held = Rc::clone(driver);
    Effect::new(move |_| {
        let next = call();
        if next.is_none() || *held.call.borrow() == next {
            return;
        }
        *held.call.borrow_mut() = next;
        Driver::start(&held);
    });
    let held = Rc::clone(driver);
    driver.live.listen(move |news| {
        let concerned = match news {
            News::Changes(changes) => changes.iter().any(&cares),
            News::All => true,
            News::Restart => return Driver::start(&held),
        };
        if concerned {
            Driver::refresh(&held);
        }
    });
    let held = StoredValue::new(Rc::clone(driver));
    on_cleanup(move || {
        held.try_with_value(|driver| {
            driver.generation.set(driver.generation.get() + 1);
            if let Some(abort) = driver.abort.borrow_mut().take() {
                abort.abort();
            }
        });
    });
}

impl Driver {
    /// Sends the call now, in place of the one under way.
    fn start(self: &Rc<Self>) {
        let Some(call) = self.call.borrow().clone() else { return };
        let Ok(abort) = AbortController::new() else { return };
        if let Some(old) = self.abort.replace(Some(abort.clone())) {
            old.abort();
        }
        let generation = self.generation.get() + 1;
        self.generation.set(generation);
        self.busy.set(true);
        self.again.set(false);
        if self.retry_in_s.get_untracked() > 0 {
            self.retry_in_s.set(0);
        }
        self.started_ms.set(now_ms());
        self.show_skeleton_later();
        self.give_up_later(generation);
        let driver = Rc::clone(self);
        spawn_local(async move {
            let answer = fetch::call(&call, Some(&abort.signal())).await;
            if driver.generation.get() == generation {
                driver.finish(answer);
            }
        });
    }

    fn finish(self: &Rc<Self>, answer: Result<Answer, Error>) {
        self.busy.set(false);
        if let Some(timer) = self.deadline.take() {
            timer.clear();
        }
        if let Ok(answer) = &answer {
            self.took_ms.set(answer.took_ms);
            self.live.took_ms.try_set(Some(answer.took_ms));
        }
        let reached = !matches!(answer, Err(Error::Unreachable));
        if self.live.reached.get_untracked() != reached {
            self.live.reached.set(reached);
        }
        self.answered.set(true);
        self.slow.try_set(false);
        match (self.accept)(answer) {
            None => {
                self.failures.set(0);
                self.retry_in_s.try_set(0);
            }
            Some(error) if error.is_passing() => {
                self.failures.set(self.failures.get() + 1);
                self.count_down((1 << self.failures.get().min(5)).min(RETRY_MAX_S), self.generation.get());
            }
            Some(_) => {}
        }
        if self.again.get() {
            self.refresh();
        }
    }

    /// Sends the call soon: not while one is under way, not too often, not while paused.
    fn refresh(self: &Rc<Self>) {
        if self.live.link.get_untracked() == Link::Paused {
            return;
        }
        if self.busy.get() {
            self.again.set(true);
            return;
        }
        if self.waiting.get() {
            return;
        }
        let due = self.started_ms.get() + REFRESH_MIN_MS.max(3.0 * self.took_ms.get());
        let wait = due - now_ms();
        if wait <= 0.0 {
            self.start();
            return;
        }
        self.waiting.set(true);
        let driver = Rc::clone(self);
        let generation = self.generation.get();
        set_timeout(
            move || {
                driver.waiting.set(false);
                // Something newer may have started, or the page may be gone.
                if driver.generation.get() == generation {
                    driver.start();
                }
            },
            Duration::from_millis(wait as u64),
        );
    }

    /// Sends the call unless one is under way, or nobody looks.
    fn poll(self: &Rc<Self>) {
        if !self.busy.get() && !matches!(self.live.link.get_untracked(), Link::Paused | Link::Asleep) {
            self.refresh();
        }
    }

    /// Ends the call of this generation if it still is under way after [`DEADLINE`].
    fn give_up_later(self: &Rc<Self>, generation: u64) {
        let driver = Rc::clone(self);
        let give_up = move || {
            if driver.generation.get() == generation && driver.busy.get() {
                driver.generation.set(generation + 1);
                if let Some(abort) = driver.abort.borrow_mut().take() {
                    abort.abort();
                }
                driver.finish(Err(Error::Unreachable));
            }
        };
        if let Some(old) = self.deadline.replace(set_timeout_with_handle(give_up, DEADLINE)) {
            old.clear();
        }
    }

    fn show_skeleton_later(self: &Rc<Self>) {
        if self.answered.get() {
            return;
        }
        let driver = Rc::clone(self);
        set_timeout(
            move || {
                if !driver.answered.get() {
                    driver.slow.try_set(true);
                }
            },
            PATIENCE,
        );
    }

    fn count_down(self: &Rc<Self>, seconds: u32, generation: u64) {
        if self.generation.get() != generation {
            return;
        }
        self.retry_in_s.try_set(seconds);
        if seconds == 0 {
            self.start();
            return;
        }
        let driver = Rc::clone(self);
        set_timeout(move || driver.count_down(seconds - 1, generation), Duration::from_secs(1));
    }
}
