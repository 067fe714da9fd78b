//! durability.
