//! What every page uses: markup, views, signals, contexts and timers. Import it whole.

pub(crate) use frontend_macro::{component, view};
pub(crate) use leptos::prelude::{TimeoutHandle, document, on_cleanup, untrack, window};

pub(crate) use crate::{
    dom::{Children, ChildrenFn, CollectView, IntoView, NodeRef, View as AnyView, html, on_capture, on_window},
    reactive::{
        Callback, Effect, Memo, RwSignal, Signal, StoredValue, expect_context, provide_context, request_animation_frame, set_interval,
        set_timeout, set_timeout_with_handle, spawn_local, use_context,
    },
};
