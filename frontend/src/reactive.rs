//! Signals of any type over Leptos's reactive graph, so that a type costs a few bytes and not a copy of that graph.
//!
//! Leptos's own handles (`RwSignal<T>`, `Memo<T>`, `Signal<T>`, `StoredValue<T>`, `Callback<T>`) compile arena, locks and
//! bookkeeping once for every `T`. These have the same names and methods, but only their values know their type: who
//! reads what is kept by one `ArcTrigger` or `ArcMemo<u64>` each, and ownership by one kind of `StoredValue`. They live as
//! long as the owner (component, effect, list row) that made them and are used on the browser's one thread only.

use std::{
    any::{Any, TypeId},
    cell::RefCell,
    marker::PhantomData,
    rc::Rc,
    time::Duration,
};

use leptos::{
    prelude as graph,
    prelude::{Get as _, GetUntracked as _, GetValue as _, LocalStorage, Notify as _, Track as _},
};
use send_wrapper::SendWrapper;

type Slot = graph::StoredValue<Rc<dyn Any>, LocalStorage>;

/// Where a value comes from and who is told that it changed.
enum Source {
    /// It is set; who reads it is told.
    Set(graph::ArcTrigger),
    /// It is computed when something it read changed.
    Computed(graph::ArcMemo<u64>),
    /// Nobody is told.
    Silent,
}

/// Shared with the computation that fills it.
type Value<T> = Rc<RefCell<Option<Rc<T>>>>;

struct Cell<T> {
    value: Value<T>,
    source: Source,
    /// How to make it anew for every reader.
    derive: Option<Box<dyn Derive<T>>>,
}

/// What gives a value. A trait of its own, as those below, for the reason that `dom::Draw` gives.
trait Derive<T> {
    fn derive(&self) -> T;
}

struct Derived<F>(F);

impl<F: Fn() -> T, T> Derive<T> for Derived<F> {
    fn derive(&self) -> T {
        (self.0)()
    }
}

impl Source {
    fn track(&self) {
        match self {
            Self::Set(trigger) => trigger.track(),
            Self::Computed(memo) => drop(memo.get()),
            Self::Silent => {}
        }
    }

    fn refresh(&self) {
        if let Self::Computed(memo) = self {
            memo.get_untracked();
        }
    }

    fn notify(&self) {
        if let Self::Set(trigger) = self {
            trigger.notify();
        }
    }
}

fn computed(compute: Box<dyn Derive<bool>>) -> Source {
    let compute = SendWrapper::new(compute);
    Source::Computed(graph::ArcMemo::new_owning(move |version: Option<u64>| {
        let changed = compute.derive();
        (version.unwrap_or_default() + u64::from(changed), changed)
    }))
}

fn find(slot: Slot) -> Option<Rc<dyn Any>> {
    slot.try_get_value()
}

impl<T: 'static> Cell<T> {
    fn store(value: Value<T>, source: Source, derive: Option<Box<dyn Derive<T>>>) -> Slot {
        let cell: Rc<dyn Any> = Rc::new(Self { value, source, derive });
        Slot::new_local(cell)
    }

    fn holding(value: T, source: Source) -> Slot {
        Self::store(Rc::new(RefCell::new(Some(Rc::new(value)))), source, None)
    }

    fn find(slot: Slot) -> Option<Rc<Self>> {
        find(slot)?.downcast().ok()
    }

    fn read(&self, tracked: bool) -> Rc<T> {
        match &self.derive {
            Some(derive) if tracked => Rc::new(derive.derive()),
            Some(derive) => Rc::new(graph::untrack(|| derive.derive())),
            None => {
                if tracked {
                    self.source.track()
                } else {
                    self.source.refresh()
                }
                let value = self.value.borrow().clone();
                value.expect("a value is not read while it is changed")
            }
        }
    }

    fn replace(&self, value: T) {
        let old = self.value.replace(Some(Rc::new(value)));
        self.source.notify();
        drop(old);
    }

    fn take(&self) -> T {
        let value = self.value.take().and_then(Rc::into_inner);
        value.expect("a value is not changed while it is read")
    }
}

/// The cell of a slot whose owner must still be there.
fn cell<T: 'static>(slot: Slot) -> Rc<Cell<T>> {
    Cell::find(slot).expect("a signal is not used after its component is gone")
}

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub(crate) struct $name<T> {
            slot: Slot,
            kind: PhantomData<fn() -> T>,
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T> Copy for $name<T> {}

        impl<T> $name<T> {
            fn at(slot: Slot) -> Self {
                Self { slot, kind: PhantomData }
            }
        }
    };
}

macro_rules! readable {
    ($name:ident) => {
        #[allow(dead_code)] // every kind of signal is read the same ways, whether or not a page does so today
        impl<T: 'static> $name<T> {
            /// The value; who asks runs again when it changes.
            pub(crate) fn read(self) -> Rc<T> {
                cell::<T>(self.slot).read(true)
            }

            /// The value.
            pub(crate) fn read_untracked(self) -> Rc<T> {
                cell::<T>(self.slot).read(false)
            }

            /// Something of the value; who asks runs again when it changes.
            pub(crate) fn with<U>(self, look: impl FnOnce(&T) -> U) -> U {
                look(&self.read())
            }

            /// Something of the value.
            pub(crate) fn with_untracked<U>(self, look: impl FnOnce(&T) -> U) -> U {
                look(&self.read_untracked())
            }

            /// Something of the value, if its owner is still there.
            pub(crate) fn try_with_untracked<U>(self, look: impl FnOnce(&T) -> U) -> Option<U> {
                Cell::<T>::find(self.slot).map(|cell| look(&cell.read(false)))
            }

            /// Who asks runs again when the value changes.
            pub(crate) fn track(self) {
                drop(self.read());
            }
        }

        #[allow(dead_code)] // as above
        impl<T: Clone + 'static> $name<T> {
            /// A copy of the value; who asks runs again when it changes.
            pub(crate) fn get(self) -> T {
                T::clone(&self.read())
            }

            /// A copy of the value, if its owner is still there.
            pub(crate) fn try_get_untracked(self) -> Option<T> {
                self.try_with_untracked(T::clone)
            }

            /// A copy of the value.
            pub(crate) fn get_untracked(self) -> T {
                T::clone(&self.read_untracked())
            }
        }
    };
}

handle! {
    /// A value that is set. Copy it freely.
    RwSignal
}
handle! {
    /// A value that is computed from others, once for all its readers, who hear of it only when it differs. Copy it freely.
    Memo
}
handle! {
    /// Any value that may change: set, computed, derived or fixed. Copy it freely.
    Signal
}
handle! {
    /// A value that nobody is told of when it changes. Copy it freely.
    StoredValue
}
handle! {
    /// Something to call. Copy it freely.
    Callback
}
readable!(RwSignal);
readable!(Memo);
readable!(Signal);

impl<T: 'static> RwSignal<T> {
    pub(crate) fn new(value: T) -> Self {
        Self::at(Cell::holding(value, Source::Set(graph::ArcTrigger::new())))
    }

    /// Sets it, and tells its readers.
    pub(crate) fn set(self, value: T) {
        cell(self.slot).replace(value);
    }

    /// Sets it if its owner is still there; else gives the value back.
    pub(crate) fn try_set(self, value: T) -> Option<T> {
        match Cell::find(self.slot) {
            Some(cell) => cell.replace(value),
            None => return Some(value),
        }
        None
    }

    /// Changes it, and tells its readers.
    pub(crate) fn update<U>(self, change: impl FnOnce(&mut T) -> U) {
        self.try_update(change).expect("a signal is not used after its component is gone");
    }

    /// Changes it if its owner is still there, and tells its readers.
    pub(crate) fn try_update<U>(self, change: impl FnOnce(&mut T) -> U) -> Option<U> {
        let cell = Cell::find(self.slot)?;
        let mut value = cell.take();
        let answer = change(&mut value);
        cell.replace(value);
        Some(answer)
    }
}

impl<T: PartialEq + 'static> Memo<T> {
    /// `compute` is given the value before, if there is one.
    pub(crate) fn new(compute: impl Fn(Option<&T>) -> T + 'static) -> Self {
        let value: Value<T> = Rc::default();
        let kept = Rc::clone(&value);
        let source = computed(Box::new(Derived(move || {
            let old = kept.borrow().clone();
            let new = compute(old.as_deref());
            let changed = old.as_deref() != Some(&new);
            if changed {
                *kept.borrow_mut() = Some(Rc::new(new));
            }
            changed
        })));
        Self::at(Cell::store(value, source, None))
    }
}

impl<T: 'static> Signal<T> {
    /// Made anew for every reader.
    pub(crate) fn derive(derive: impl Fn() -> T + 'static) -> Self {
        Self::at(Cell::store(Rc::default(), Source::Silent, Some(Box::new(Derived(derive)))))
    }
}

impl<T: 'static> From<T> for Signal<T> {
    fn from(value: T) -> Self {
        Self::at(Cell::holding(value, Source::Silent))
    }
}

impl From<&str> for Signal<String> {
    fn from(value: &str) -> Self {
        Self::from(value.to_owned())
    }
}

impl<T: Default + 'static> Default for Signal<T> {
    fn default() -> Self {
        Self::from(T::default())
    }
}

impl<T> From<RwSignal<T>> for Signal<T> {
    fn from(signal: RwSignal<T>) -> Self {
        Self::at(signal.slot)
    }
}

impl<T> From<Memo<T>> for Signal<T> {
    fn from(memo: Memo<T>) -> Self {
        Self::at(memo.slot)
    }
}

impl<T: 'static> StoredValue<T> {
    pub(crate) fn new(value: T) -> Self {
        Self::at(Cell::holding(value, Source::Silent))
    }

    /// Something of the value.
    pub(crate) fn with_value<U>(self, look: impl FnOnce(&T) -> U) -> U {
        look(&cell::<T>(self.slot).read(false))
    }

    /// Something of the value, if its owner is still there.
    pub(crate) fn try_with_value<U>(self, look: impl FnOnce(&T) -> U) -> Option<U> {
        Cell::<T>::find(self.slot).map(|cell| look(&cell.read(false)))
    }

    pub(crate) fn set_value(self, value: T) {
        cell(self.slot).replace(value);
    }

    /// Sets it if its owner is still there; else gives the value back.
    pub(crate) fn try_set_value(self, value: T) -> Option<T> {
        match Cell::find(self.slot) {
            Some(cell) => cell.replace(value),
            None => return Some(value),
        }
        None
    }

    pub(crate) fn update_value(self, change: impl FnOnce(&mut T)) {
        self.try_update_value(change).expect("a value is not used after its component is gone");
    }

    /// Changes it if its owner is still there.
    pub(crate) fn try_update_value<U>(self, change: impl FnOnce(&mut T) -> U) -> Option<U> {
        RwSignal::<T>::at(self.slot).try_update(change)
    }
}

impl<T: Clone + 'static> StoredValue<T> {
    /// A copy of the value.
    pub(crate) fn get_value(self) -> T {
        self.with_value(T::clone)
    }

    /// A copy of the value, if its owner is still there.
    pub(crate) fn try_get_value(self) -> Option<T> {
        self.try_with_value(T::clone)
    }
}

type Call<T> = Box<dyn Take<T>>;

trait Take<T> {
    fn take(&self, argument: T);
}

struct Taken<F>(F);

impl<F: Fn(T), T> Take<T> for Taken<F> {
    fn take(&self, argument: T) {
        (self.0)(argument);
    }
}

impl<T: 'static> Callback<T> {
    pub(crate) fn new(call: impl Fn(T) + 'static) -> Self {
        Self::at(Cell::<Call<T>>::holding(Box::new(Taken(call)), Source::Silent))
    }

    /// Calls it.
    pub(crate) fn run(self, argument: T) {
        let call = cell::<Call<T>>(self.slot).read(false);
        call.take(argument);
    }
}

impl<F: Fn() + 'static> From<F> for Callback<()> {
    fn from(call: F) -> Self {
        Self::new(move |()| call())
    }
}

impl<F: Fn(String) + 'static> From<F> for Callback<String> {
    fn from(call: F) -> Self {
        Self::new(call)
    }
}

impl<F: Fn((String, bool)) + 'static> From<F> for Callback<(String, bool)> {
    fn from(call: F) -> Self {
        Self::new(call)
    }
}

/// What happens again whenever a signal that it reads changes. Runs first in a moment, not at once.
pub(crate) struct Effect;

impl Effect {
    /// `run` is given what it gave the time before. Ends with the current owner.
    #[allow(clippy::new_ret_no_self)] // Leptos's name; there is nothing to hold
    pub(crate) fn new<T: 'static>(mut run: impl FnMut(Option<T>) -> T + 'static) {
        let mut before = None;
        effect(Box::new(Ran(move || before = Some(run(before.take())))));
    }
}

trait Run {
    fn run(&mut self);
}

struct Ran<F>(F);

impl<F: FnMut()> Run for Ran<F> {
    fn run(&mut self) {
        (self.0)();
    }
}

fn effect(mut run: Box<dyn Run>) {
    graph::Effect::new(move |_: Option<()>| run.run());
}

/// A context: a value for everything below its owner, under its type. Each knows those above it.
#[derive(Clone)]
struct Context(SendWrapper<Rc<Provided>>);

struct Provided {
    kind: TypeId,
    value: Rc<dyn Any>,
    above: Option<Context>,
}

/// Gives a value to everything below the current owner.
pub(crate) fn provide_context<T: 'static>(value: T) {
    provide(TypeId::of::<T>(), Rc::new(value));
}

fn provide(kind: TypeId, value: Rc<dyn Any>) {
    let above = graph::use_context::<Context>();
    graph::provide_context(Context(SendWrapper::new(Rc::new(Provided { kind, value, above }))));
}

fn provided(kind: TypeId) -> Option<Rc<dyn Any>> {
    let mut next = graph::use_context::<Context>();
    while let Some(context) = next {
        if context.0.kind == kind {
            return Some(Rc::clone(&context.0.value));
        }
        next = context.0.above.clone();
    }
    None
}

/// What was given above under this type.
pub(crate) fn use_context<T: Clone + 'static>() -> Option<T> {
    provided(TypeId::of::<T>()).and_then(|value| value.downcast_ref::<T>().cloned())
}

/// What must have been given above under this type.
pub(crate) fn expect_context<T: Clone + 'static>() -> T {
    use_context().expect("the app provides what its pages ask for")
}

/// Calls once, after a time.
pub(crate) fn set_timeout(call: impl FnOnce() + 'static, wait: Duration) {
    // A browser refuses no timer.
    let _ = set_timeout_with_handle(call, wait);
}

/// Calls once, after a time, unless it is cleared before.
pub(crate) fn set_timeout_with_handle(call: impl FnOnce() + 'static, wait: Duration) -> Option<graph::TimeoutHandle> {
    let call: Box<dyn FnOnce()> = Box::new(call);
    graph::set_timeout_with_handle(call, wait).ok()
}

/// Calls again and again, until it is cleared.
pub(crate) fn set_interval(call: impl Fn() + 'static, every: Duration) -> Option<graph::IntervalHandle> {
    let call: Box<dyn Fn()> = Box::new(call);
    graph::set_interval_with_handle(call, every).ok()
}

/// Calls once, before the browser draws.
pub(crate) fn request_animation_frame(call: impl FnOnce() + 'static) {
    let call: Box<dyn FnOnce()> = Box::new(call);
    graph::request_animation_frame(call);
}

/// Runs a task in the browser until it ends.
pub(crate) fn spawn_local(task: impl Future<Output = ()> + 'static) {
    let task: std::pin::Pin<Box<dyn Future<Output = ()>>> = Box::pin(task);
    wasm_bindgen_futures::spawn_local(task);
}
