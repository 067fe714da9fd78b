//! The ACL token. In memory, and in this tab's storage only when the person asks for it.

use crate::prelude::*;

use crate::api::fetch;

const KEY: &str = "muster.token";

/// The token in use. Copy it freely.
#[derive(Clone, Copy)]
pub(crate) struct Token {
    /// Empty when anonymous.
    pub(crate) value: RwSignal<String>,
}

/// The token in use.
pub(crate) fn use_token() -> Token {
    expect_context()
}

pub(super) fn provide() {
    let kept = session().and_then(|storage| storage.get_item(KEY).ok().flatten()).unwrap_or_default();
    fetch::set_token(&kept);
    provide_context(Token { value: RwSignal::new(kept) });
}

impl Token {
    /// Uses a token from now on; empty forgets it.
    pub(crate) fn set(self, token: &str, keep: bool) {
        fetch::set_token(token);
        if let Some(storage) = session() {
            // Without storage the token lives as long as the page.
            let _ = if keep && !token.is_empty() { storage.set_item(KEY, token) } else { storage.remove_item(KEY) };
        }
        self.value.set(token.to_owned());
    }
}

fn session() -> Option<web_sys::Storage> {
    window().session_storage().ok().flatten()
}
