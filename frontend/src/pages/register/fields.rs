//! The form's fields as signals, read and written as one [`Form`].

use crate::prelude::*;
use shared::{agent::ServiceRegistration, check::CheckDefinition};

use super::view::{CheckForm, Form, Kind};

/// One check's fields. Copy it freely.
#[derive(Clone, Copy)]
pub(super) struct CheckFields {
    /// Which one it is, for lists.
    pub(super) id: u64,
    pub(super) kind: RwSignal<Kind>,
    pub(super) name: RwSignal<String>,
    pub(super) target: RwSignal<String>,
    pub(super) interval: RwSignal<String>,
    pub(super) timeout: RwSignal<String>,
    pub(super) deregister_after: RwSignal<String>,
    rest: RwSignal<CheckDefinition>,
}

impl CheckFields {
    fn new(id: u64, form: &CheckForm) -> Self {
        let text = || RwSignal::new(String::new());
        let fields = Self {
            id,
            kind: RwSignal::new(form.kind),
            name: text(),
            target: text(),
            interval: text(),
            timeout: text(),
            deregister_after: text(),
            rest: RwSignal::new(CheckDefinition::default()),
        };
        fields.write(form);
        fields
    }

    pub(super) fn read(self) -> CheckForm {
        CheckForm {
            kind: self.kind.get(),
            name: self.name.get(),
            target: self.target.get(),
            interval: self.interval.get(),
            timeout: self.timeout.get(),
            deregister_after: self.deregister_after.get(),
            rest: self.rest.get(),
        }
    }

    pub(super) fn write(self, form: &CheckForm) {
        self.kind.set(form.kind);
        self.rest.set(form.rest.clone());
        let texts = [
            (self.name, &form.name),
            (self.target, &form.target),
            (self.interval, &form.interval),
            (self.timeout, &form.timeout),
            (self.deregister_after, &form.deregister_after),
        ];
        texts.into_iter().for_each(|(signal, text)| put(signal, text));
    }
}

/// Every field. Copy it freely.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    pub(super) name: RwSignal<String>,
    pub(super) id: RwSignal<String>,
    pub(super) address: RwSignal<String>,
    pub(super) port: RwSignal<String>,
    pub(super) tags: RwSignal<String>,
    pub(super) meta: RwSignal<String>,
    pub(super) checks: RwSignal<Vec<CheckFields>>,
    rest: RwSignal<ServiceRegistration>,
    next: StoredValue<u64>,
}

impl Fields {
    pub(super) fn new(form: &Form) -> Self {
        let text = || RwSignal::new(String::new());
        let fields = Self {
            name: text(),
            id: text(),
            address: text(),
            port: text(),
            tags: text(),
            meta: text(),
            checks: RwSignal::new(Vec::new()),
            rest: RwSignal::new(ServiceRegistration::default()),
            next: StoredValue::new(0),
        };
        fields.write(form);
        fields
    }

    pub(super) fn read(self) -> Form {
        Form {
            name: self.name.get(),
            id: self.id.get(),
            address: self.address.get(),
            port: self.port.get(),
            tags: self.tags.get(),
            meta: self.meta.get(),
            checks: self.checks.get().into_iter().map(CheckFields::read).collect(),
            rest: self.rest.get(),
        }
    }

    pub(super) fn write(self, form: &Form) {
        let texts = [
            (self.name, &form.name),
            (self.id, &form.id),
            (self.address, &form.address),
            (self.port, &form.port),
            (self.tags, &form.tags),
            (self.meta, &form.meta),
        ];
        texts.into_iter().for_each(|(signal, text)| put(signal, text));
        self.rest.set(form.rest.clone());
        let have = self.checks.get_untracked();
        if have.len() == form.checks.len() {
            have.into_iter().zip(&form.checks).for_each(|(fields, check)| fields.write(check));
        } else {
            self.checks.set(form.checks.iter().map(|check| CheckFields::new(self.fresh(), check)).collect());
        }
    }

    /// Puts another check below the others.
    pub(super) fn add_check(self, form: &CheckForm) {
        let fields = CheckFields::new(self.fresh(), form);
        self.checks.update(|checks| checks.push(fields));
    }

    /// Takes a check away.
    pub(super) fn remove_check(self, id: u64) {
        self.checks.update(|checks| checks.retain(|check| check.id != id));
    }

    fn fresh(self) -> u64 {
        self.next.update_value(|next| *next += 1);
        self.next.get_value()
    }
}

/// Writes only what differs, so that nothing runs for nothing.
fn put(signal: RwSignal<String>, text: &str) {
    if signal.with_untracked(|have| have != text) {
        signal.set(text.to_owned());
    }
}
