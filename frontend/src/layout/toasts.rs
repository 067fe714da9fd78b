//! The notices that float at the lower right.

use crate::prelude::*;

use crate::{
    components::{Button, Icon, IconButton},
    state::notices::{Notice, Tone, use_notices},
};

/// All current notices. Errors interrupt a screen reader, the others wait.
#[component]
pub(crate) fn Toasts() -> impl IntoView {
    let notices = use_notices();
    let hold = move |held: bool| notices.held.set(held);
    view! {
        <div class="toasts" on:mouseenter=move |_| hold(true) on:mouseleave=move |_| hold(false) on:focusin=move |_| hold(true) on:focusout=move |_| hold(false)>
            <For each=move || notices.list.get() key=|notice| notice.id let:notice>
                <Toast notice/>
            </For>
        </div>
    }
}

#[component]
fn Toast(notice: Notice) -> impl IntoView {
    let notices = use_notices();
    let id = notice.id;
    let (role, icon, class) = match notice.tone {
        Tone::Done => ("status", "passing", "st ok"),
        Tone::Failed => ("alert", "critical", "st crit"),
    };
    view! {
        <div class="toast" role=role>
            <span class=class><Icon name=icon/></span>
            <div><b>{notice.title}</b>{(!notice.text.is_empty()).then(|| view! { <p>{notice.text}</p> })}</div>
            {notice.action.map(|(label, action)| {
                let press = Callback::new(move |()| { notices.close(id); action.run(()) });
                view! { <Button label small=true on_press=press/> }
            })}
            <IconButton icon="close" label="Close" on_press=move || notices.close(id)/>
        </div>
    }
}
