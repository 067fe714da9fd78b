//! The list of shortcuts, how the dashboard looks, and the switch that turns single letters off.

use crate::prelude::*;

use super::{keys::HELP, palette::Overlay};
use crate::{
    components::{Choice, Dialog, Key, Segmented},
    state::preferences::{Density, use_preferences},
};

/// The dialog behind `?`.
#[component]
pub(crate) fn Help(overlay: RwSignal<Option<Overlay>>) -> impl IntoView {
    let preferences = use_preferences();
    let densities = Density::ALL.map(|density| Choice::new(density.as_str(), density.as_str())).to_vec();
    let pick = Callback::new(move |word: String| {
        if let Some(density) = Density::ALL.into_iter().find(|density| density.as_str() == word) {
            preferences.density.set(density);
        }
    });
    let densities = StoredValue::new(densities);
    view! {
        <Dialog
            title="Keyboard shortcuts"
            open=Signal::derive(move || overlay.get() == Some(Overlay::Help))
            on_close=Callback::new(move |()| overlay.set(None))
            class="wide"
        >
            <div class="helps">
                {HELP.map(|(group, keys)| view! {
                    <section>
                        <h3>{group}</h3>
                        <dl>
                            {keys.iter().map(|(keys, does)| view! {
                                <div><dt>{keys.split(' ').map(|key| view! { <Key name=key/> }).collect_view()}</dt><dd>{*does}</dd></div>
                            }).collect_view()}
                        </dl>
                    </section>
                }).collect_view()}
            </div>
            <div class="prefs">
                <label class="check">
                    <input
                        type="checkbox"
                        class="sw"
                        prop:checked=move || preferences.letters.get()
                        on:change:target=move |event| preferences.letters.set(event.target().checked())
                    />
                    "Single letters are shortcuts"
                </label>
                <Segmented
                    label="Row height"
                    options=densities.get_value()
                    value=Signal::derive(move || preferences.density.get().as_str().to_owned())
                    on_pick=pick
                />
            </div>
            <div class="r"><button class="btn pri" type="button" on:click=move |_| overlay.set(None)>"Close"</button></div>
        </Dialog>
    }
}
