//! Registering and editing a service by hand.

pub(crate) mod view;
