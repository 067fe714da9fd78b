//! Whether what clients saw of one register can be explained by one order of all operations.
//!
//! The search of Wing and Gong ("Testing and verifying concurrent objects", 1993) with Lowe's memory of states already tried
//! ("Testing for linearizability", 2017). Keys are independent, so each is checked alone.

use std::collections::HashSet;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The register got this value.
    Write(u64),
    /// The register had this value; `None` before the first write.
    Read(Option<u64>),
    /// The register had the one value and got the other in one step.
    Swap {
        /// Before.
        from: Option<u64>,
        /// After.
        to: u64,
    },
    /// A swap was refused because the register did not have this value.
    NoSwap {
        /// What it would have had to be.
        from: Option<u64>,
    },
}

/// One operation of one client. Times are any rising numbers.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// What was done.
    pub action: Action,
    /// When it began.
    pub invoked: u64,
    /// When its answer came; `None` when nobody knows whether it happened at all.
    pub returned: Option<u64>,
}

/// Whether some order explains it: every operation that returned takes effect once between its begin and its answer, every other
/// one at most once after its begin.
#[must_use]
pub fn is_linearizable(history: &[Operation]) -> bool {
    // One step of the search for each operation: deep, so on a stack of its own.
    let whole = history.to_vec();
    let searched = std::thread::Builder::new().stack_size(512 << 20).spawn(move || explain(&whole));
    searched.expect("a thread starts").join().expect("the search does not panic")
}

fn explain(history: &[Operation]) -> bool {
    let mut order: Vec<usize> = (0..history.len()).collect();
    order.sort_by_key(|at| history[*at].invoked);
    let mut done = vec![false; history.len()];
    let mut tried = HashSet::new();
    search(history, &order, &mut done, None, &mut tried)
}

fn search(
    history: &[Operation],
    order: &[usize],
    done: &mut Vec<bool>,
    value: Option<u64>,
    tried: &mut HashSet<(Vec<u64>, Option<u64>)>,
) -> bool {
    let open = || order.iter().copied().filter(|at| !done[*at]);
    if open().all(|at| history[at].returned.is_none()) {
        return true;
    }
    if !tried.insert((bits(done), value)) {
        return false;
    }
    // Whoever began after some open operation had returned cannot come before it.
    let limit = open().filter_map(|at| history[at].returned).min().unwrap_or(u64::MAX);
    let mut candidates: Vec<usize> = open().take_while(|at| history[*at].invoked <= limit).collect();
    // What may never have happened is tried last.
    candidates.sort_by_key(|at| history[*at].returned.unwrap_or(u64::MAX));
    for at in candidates {
        let next = match history[at].action {
            Action::Write(written) => Some(written),
            Action::Read(read) if read == value => value,
            Action::Swap { from, to } if from == value => Some(to),
            Action::NoSwap { from } if from != value => value,
            Action::Read(_) | Action::Swap { .. } | Action::NoSwap { .. } => continue,
        };
        done[at] = true;
        if search(history, order, done, next, tried) {
            return true;
        }
        done[at] = false;
    }
    false
}

fn bits(done: &[bool]) -> Vec<u64> {
    done.chunks(64).map(|chunk| chunk.iter().enumerate().fold(0, |word, (at, done)| word | u64::from(*done) << at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(history: &[(Action, u64, Option<u64>)], expected: bool) {
        let history: Vec<_> = history
            .iter()
            .map(|(action, invoked, returned)| Operation { action: *action, invoked: *invoked, returned: *returned })
            .collect();
        assert_eq!(is_linearizable(&history), expected, "{history:?}");
    }

    #[test]
    fn histories_are_told_apart() {
        use Action::{NoSwap, Read, Swap, Write};
        check(&[], true);
        check(&[(Write(1), 0, Some(1)), (Read(Some(1)), 2, Some(3))], true);
        check(&[(Write(1), 0, Some(1)), (Read(None), 2, Some(3))], false);
        check(&[(Write(1), 0, Some(5)), (Read(None), 2, Some(3))], true);
        check(&[(Write(1), 0, Some(1)), (Write(2), 2, Some(3)), (Read(Some(1)), 4, Some(5))], false);
        check(&[(Write(1), 0, Some(9)), (Write(2), 0, Some(9)), (Read(Some(1)), 1, Some(2)), (Read(Some(2)), 3, Some(4))], true);
        // A value that was replaced does not come back.
        check(&[(Write(1), 0, Some(1)), (Write(2), 2, None), (Read(Some(2)), 3, Some(4)), (Read(Some(1)), 5, Some(6))], false);
        // An unknown outcome may have happened or not, late too.
        check(&[(Write(1), 0, Some(1)), (Write(2), 2, None), (Read(Some(1)), 3, Some(4)), (Read(Some(2)), 5, Some(6))], true);
        check(&[(Write(1), 0, Some(1)), (Write(2), 2, None), (Read(Some(1)), 3, Some(4))], true);
        // Of two swaps from the same value only one is done.
        let swap = |from, to| Swap { from, to };
        check(&[(swap(None, 1), 0, Some(9)), (swap(None, 2), 0, Some(9))], false);
        check(&[(swap(None, 1), 0, Some(9)), (NoSwap { from: None }, 0, Some(9)), (Read(Some(1)), 10, Some(11))], true);
        check(&[(swap(None, 1), 0, Some(1)), (swap(Some(1), 2), 2, None), (Read(Some(1)), 3, Some(4)), (Read(Some(2)), 5, Some(6))], true);
        check(&[(swap(None, 1), 0, Some(1)), (NoSwap { from: Some(1) }, 2, Some(3))], false);
    }
}
