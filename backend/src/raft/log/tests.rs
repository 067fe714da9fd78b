//! openraft's own suite, on every log store.
