//! Transitions of checks, recorded when a command changes a status and kept within bounds: 256 a check, 7 days by the
//! commands' time, 64 MB in total.

use std::{collections::VecDeque, sync::Arc};

use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use shared::{
    check::{History, Transition},
    health::Status,
    text,
};

use super::tables::{Name, key};

/// Most transitions kept of one check.
pub(super) const PER_CHECK_MAX: usize = 256;
/// Most transitions of one check taken from one registration.
pub(super) const PER_SYNC_MAX: usize = 64;
/// How long a transition is kept, milliseconds.
pub const AGE_MS_MAX: u64 = 7 * 24 * 3_600_000;
/// How much is kept in total, bytes.
pub(super) const BYTES_MAX: u64 = 64 << 20;
/// Longest output kept with a transition, bytes.
pub(super) const OUTPUT_MAX: usize = 4096;
/// What a transition costs beside its output, bytes.
const OVERHEAD: u64 = 192;

/// What is recorded of one check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Node name as last written.
    pub node: String,
    /// Check id.
    pub check_id: String,
    /// Check name.
    pub check_name: String,
    /// Service name, empty for a node check.
    pub service_name: String,
    /// When recording began: nothing is known before, milliseconds since 1970.
    pub since_ms: u64,
    /// Oldest first, each with its place in the log.
    pub transitions: VecDeque<(u64, Arc<Transition>)>,
}

impl Record {
    /// When the status last changed, milliseconds since 1970; 0 when not recorded.
    #[must_use]
    pub fn changed_at_ms(&self) -> u64 {
        self.transitions.back().map_or(0, |(_, t)| t.at_ms)
    }

    /// How many transitions happened at or after a time.
    #[must_use]
    pub fn count_since(&self, at_ms: u64) -> u32 {
        u32::try_from(self.transitions.iter().rev().take_while(|(_, t)| t.at_ms >= at_ms).count()).unwrap_or(u32::MAX)
    }

    /// Bytes it counts for.
    pub(super) fn bytes(&self) -> u64 {
        self.transitions.iter().map(|(_, transition)| cost(transition)).sum()
    }

    /// As the API shows it.
    #[must_use]
    pub fn to_history(&self) -> History {
        History {
            node: self.node.clone(),
            check_id: self.check_id.clone(),
            service_name: self.service_name.clone(),
            transitions: self.transitions.iter().map(|(_, t)| (**t).clone()).collect(),
            since_ms: self.since_ms,
        }
    }
}

/// All records and the order in which their transitions were recorded.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub(super) records: OrdMap<(Name, Name), Arc<Record>>,
    /// Place in the log: which check, when.
    pub(super) order: OrdMap<u64, (Name, Name, u64)>,
    pub(super) next: u64,
    pub(super) bytes: u64,
}

/// What the log needs to know about the check a transition belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    /// Node name.
    pub node: &'a str,
    /// Check id.
    pub check_id: &'a str,
    /// Check name.
    pub check_name: &'a str,
    /// Service name.
    pub service_name: &'a str,
}

fn cost(transition: &Transition) -> u64 {
    OVERHEAD + transition.output.len() as u64
}

fn cut(output: &mut String) {
    output.truncate(text::head(output, OUTPUT_MAX).len());
}

impl Log {
    /// What is recorded of one check.
    #[must_use]
    pub fn of(&self, node: &str, check_id: &str) -> Option<&Arc<Record>> {
        self.records.get(&(key(node), Name::from(check_id)))
    }

    /// Everything recorded of one node.
    pub fn on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Record>> {
        let node = key(node);
        self.records.range((node.clone(), Name::from(""))..).take_while(move |((on, _), _)| *on == node).map(|(_, record)| record)
    }

    /// Everything recorded.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.records.values()
    }

    /// The newest transitions first, with the check they belong to.
    pub fn newest(&self) -> impl Iterator<Item = (&Arc<Record>, &Transition)> {
        self.order.iter().rev().filter_map(|(at, (node, check, _))| {
            let record = self.records.get(&(node.clone(), check.clone()))?;
            let (_, transition) = record.transitions.iter().rev().find(|(seq, _)| seq == at)?;
            Some((record, &**transition))
        })
    }

    /// How many transitions were recorded at or after a time.
    #[must_use]
    pub fn count_since(&self, at_ms: u64) -> u32 {
        u32::try_from(self.order.values().rev().take_while(|(_, _, at)| *at >= at_ms).count()).unwrap_or(u32::MAX)
    }

    /// Bytes held, as counted for the bound.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether something is older than a time, milliseconds since 1970.
    #[must_use]
    pub fn has_before(&self, at_ms: u64) -> bool {
        self.order.values().next().is_some_and(|(_, _, at)| *at < at_ms)
    }

    /// Records how a status changed, from what the agent told and, where that does not end at `to`, from the command's own time.
    /// Answers whether anything was recorded.
    pub(super) fn record(
        &mut self,
        subject: Subject<'_>,
        (from, to): (&Status, &Status),
        output: &str,
        told: &[&Transition],
        (index, at_ms): (u64, u64),
    ) -> bool {
        let at = (key(subject.node), Name::from(subject.check_id));
        let mut record = self.records.get(&at).map_or_else(|| Record { since_ms: at_ms, ..Record::default() }, |r| (**r).clone());
        subject.node.clone_into(&mut record.node);
        subject.check_id.clone_into(&mut record.check_id);
        subject.check_name.clone_into(&mut record.check_name);
        subject.service_name.clone_into(&mut record.service_name);
        let mut now = from.clone();
        let mut new = Vec::new();
        for transition in &told[told.len().saturating_sub(PER_SYNC_MAX)..] {
            let same = |t: &Transition| t.at_ms == transition.at_ms && t.from == transition.from && t.to == transition.to;
            if transition.from == transition.to || record.transitions.iter().any(|(_, t)| same(t)) {
                continue;
            }
            now = transition.to.clone();
            let mut transition = Transition { index, at_ms: transition.at_ms.min(at_ms), ..(*transition).clone() };
            cut(&mut transition.output);
            new.push(transition);
        }
        if now != *to {
            let mut transition = Transition { at_ms, from: now, to: to.clone(), output: output.to_owned(), duration_ms: 0, index };
            cut(&mut transition.output);
            new.push(transition);
        }
        if new.is_empty() {
            return false;
        }
        for transition in new {
            self.bytes += cost(&transition);
            self.order.insert(self.next, (at.0.clone(), at.1.clone(), transition.at_ms));
            record.transitions.push_back((self.next, Arc::new(transition)));
            self.next += 1;
        }
        while record.transitions.len() > PER_CHECK_MAX {
            self.drop_oldest(&mut record);
        }
        self.records.insert(at, Arc::new(record));
        true
    }

    fn drop_oldest(&mut self, record: &mut Record) {
        if let Some((seq, transition)) = record.transitions.pop_front() {
            self.bytes = self.bytes.saturating_sub(cost(&transition));
            self.order.remove(&seq);
            record.since_ms = record.since_ms.max(transition.at_ms);
        }
    }

    /// Drops what is older than 7 days before `at_ms` or over the total bound. `exists` tells whether a check is still registered:
    /// the record of one that is not goes with its last transition.
    pub(super) fn prune(&mut self, at_ms: u64, exists: impl Fn(&(Name, Name)) -> bool) {
        let oldest = at_ms.saturating_sub(AGE_MS_MAX);
        while let Some((seq, (node, check, at))) = self.order.iter().next().map(|(seq, entry)| (*seq, entry.clone())) {
            if at >= oldest && self.bytes <= BYTES_MAX {
                return;
            }
            let of = (node, check);
            match self.records.get(&of).map(|record| (**record).clone()) {
                Some(mut record) => {
                    self.drop_oldest(&mut record);
                    if record.transitions.is_empty() && !exists(&of) {
                        self.records.remove(&of);
                    } else {
                        self.records.insert(of, Arc::new(record));
                    }
                }
                None => {
                    self.order.remove(&seq);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_transitions_of_any_check_go_when_everything_takes_too_much() {
        let mut log = Log::default();
        let output = "x".repeat(OUTPUT_MAX * 2);
        let each = OVERHEAD + OUTPUT_MAX as u64;
        let count = BYTES_MAX / each + 10;
        for n in 0..count {
            let check_id = format!("c{}", n % 100);
            let subject = Subject { node: "n1", check_id: &check_id, check_name: "c", service_name: "" };
            let to = if (n / 100) % 2 == 0 { Status::PASSING } else { Status::CRITICAL };
            assert!(log.record(subject, (&Status::WARNING, &to), &output, &[], (n, 1000 + n)));
            log.prune(1000 + n, |_| false);
        }
        assert!(log.bytes() <= BYTES_MAX && log.bytes() > BYTES_MAX - each);
        assert_eq!(log.newest().next().map(|(_, t)| t.index), Some(count - 1));
        assert_eq!(log.order.len() as u64 * each, log.bytes());
        assert!(log.of("n1", "c0").expect("kept").transitions[0].1.index > 0, "its first one went");
    }

    #[test]
    fn an_output_is_cut_between_characters() {
        let mut output = "é".repeat(OUTPUT_MAX);
        output.insert(0, 'x');
        cut(&mut output);
        assert_eq!(output.len(), OUTPUT_MAX - 1);
    }
}
