//! What every page uses: Leptos's signals, owners and timers, and our own views. Import it whole.

pub(crate) use frontend_macro::{component, view};
pub(crate) use leptos::prelude::{
    Callable, Callback, Effect, Get, GetUntracked, GetValue, LocalStorage, Memo, Read, ReadUntracked, RwSignal, Set, SetValue, Signal,
    StoredValue, TimeoutHandle, Track, Update, UpdateValue, With, WithUntracked, WithValue, document, expect_context, on_cleanup,
    provide_context, request_animation_frame, set_interval, set_interval_with_handle, set_timeout, set_timeout_with_handle, untrack,
    use_context, window,
};

pub(crate) use crate::dom::{Children, ChildrenFn, CollectView, IntoView, NodeRef, View as AnyView, html, on_capture, on_window};
