//! Who may do what. Until tokens and policies exist every authorizer allows everything, but every noun function of
//! `server` already takes one.

/// What a caller may do. Resolved once per request from its token.
#[derive(Clone, Debug, Default)]
pub struct Authorizer(());

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access<'a> {
    /// Read a node of this name.
    NodeRead(&'a str),
    /// Write a node of this name.
    NodeWrite(&'a str),
    /// Read a service of this name.
    ServiceRead(&'a str),
    /// Write a service of this name.
    ServiceWrite(&'a str),
    /// Read a key.
    KeyRead(&'a str),
    /// List keys under a prefix.
    KeyList(&'a str),
    /// Write a key.
    KeyWrite(&'a str),
    /// Write every key under a prefix.
    KeyWritePrefix(&'a str),
    /// Read an agent's state.
    AgentRead(&'a str),
    /// Change an agent.
    AgentWrite(&'a str),
    /// Read operator data.
    OperatorRead,
    /// Change operator data.
    OperatorWrite,
    /// Save and restore everything: only those who manage access control.
    Snapshot,
    /// See the gossip keys.
    KeyringRead,
    /// Change the gossip keys.
    KeyringWrite,
}

impl Authorizer {
    /// Allows everything.
    #[must_use]
    pub fn allow_all() -> Self {
        Self(())
    }

    /// Whether the caller may.
    #[must_use]
    pub fn allows(&self, _access: Access<'_>) -> bool {
        true
    }
}
