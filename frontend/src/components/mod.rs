//! The kit pages are made of. No nouns of the domain but health; every look is in `style/<component>.css`.
//!
//! - [`icon::Icon`]: `<Icon name="run"/>`; names are the files of `assets/icons`. Decorative: the words beside it speak.
//! - [`health::HealthMark`]: icon and word; `<HealthMark health word=false/>` keeps the word for screen readers only,
//!   allowed where a column header says "State". [`health::Pill`] for a header: `<Pill health text/>`.
//! - [`lamps::Lamps`]: one mark an instance up to 24, then a bar: `<Lamps counts/>`. [`trace::Trace`]: the last hour.
//! - [`hero::Hero`]: the head of a page that says its state in a sentence.
//! - [`button::Button`]: `<Button label="Run" icon="run" kind=Kind::Primary on_press=move || …/>`; `busy` while its action is under
//!   way, `denied` gives the reason it cannot be pressed. [`button::IconButton`] for a bare icon with a label.
//! - [`choice::Segmented`]: one of a few, `<Segmented label options value on_pick/>`. [`choice::Tabs`]: APG tabs.
//! - [`dialog::Dialog`] asks something, [`dialog::Drawer`] edits something; both are native `dialog` elements that give the focus
//!   back: `<Dialog title open on_close>…</Dialog>`.
//! - [`form::Field`]: label, help and error around one control; [`form::TextInput`] the usual control.
//! - [`wait::Loaded`]: the five states of a page around a query: skeleton after 120 ms, denied, failed, stale banner, else its
//!   child with the data: `<Loaded query skeleton=… let:data>`. [`wait::Empty`] and [`wait::Banner`] by themselves.
//! - [`rows::VirtualRows`]: long lists, see its head.
//! - [`copy::Copy`]: copies a text and says so. [`copy::Tag`], [`copy::Key`] (a keyboard key).
//!
//! - [`diff::Diff`]: what differs between two texts. [`editor::Editor`]: a coloured textarea. [`lanes::Lanes`]: states over time.
//!   [`tree::Tree`]: APG tree with lazy folders. [`syntax`] colours and checks JSON, YAML and HCL.
//!
//! Conventions: a component takes `Signal`s where a value changes and plain values where it does not; actions are
//! `Callback`s; pages end with `.into_any()`.

pub(crate) mod button;
pub(crate) mod choice;
pub(crate) mod copy;
pub(crate) mod dialog;
pub(crate) mod diff;
pub(crate) mod editor;
pub(crate) mod form;
pub(crate) mod health;
pub(crate) mod hero;
pub(crate) mod icon;
pub(crate) mod lamps;
pub(crate) mod lanes;
pub(crate) mod rows;
pub(crate) mod syntax;
pub(crate) mod trace;
pub(crate) mod tree;
pub(crate) mod wait;

pub(crate) use button::{Button, IconButton, Kind};
pub(crate) use choice::{Choice, Segmented, Tabs};
pub(crate) use copy::{Copy, Key, Tag};
pub(crate) use dialog::{Dialog, Drawer};
pub(crate) use form::{Field, TextInput};
pub(crate) use health::{HealthMark, Pill};
pub(crate) use hero::Hero;
pub(crate) use icon::Icon;
pub(crate) use lamps::Lamps;
pub(crate) use trace::Trace;
pub(crate) use wait::{Banner, Empty, Loaded};
