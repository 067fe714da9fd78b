//! Line and word differences between two texts, and the view that shows them.
//!
//! Pure but for the component. Never claims two texts are equal when they are not: past its effort limit it
//! answers with one block removed and one block added.

use crate::prelude::*;

/// A unified view of two texts; unchanged lines far from a change are folded.
#[component]
pub(crate) fn Diff(#[prop(into)] lines: Signal<Vec<Line>>, #[prop(into)] label: String) -> impl IntoView {
    let line = |line: Line| {
        let sign = line.sign();
        let class = match sign {
            "+" => "add",
            "" => "",
            _ => "del",
        };
        let number = |n: Option<usize>| n.map(|n| n.to_string());
        let parts = line.parts.into_iter().map(|(hit, text)| if hit { view! { <u>{text}</u> }.into_any() } else { text.into_any() });
        view! { <div class=class><i>{number(line.old)}</i><i>{number(line.new)}</i><s>{sign}</s><span>{parts.collect_view()}</span></div> }
            .into_any()
    };
    let fold =
        |count: usize| view! { <div class="fold"><i></i><i></i><s></s><span>{format!("{count} unchanged lines")}</span></div> }.into_any();
    let rows = move || {
        let lines = lines.get();
        let near = near_changes(&lines);
        let mut out = Vec::new();
        let mut folded = 0;
        for (one, near) in lines.into_iter().zip(near) {
            if !near {
                folded += 1;
                continue;
            }
            if folded > 0 {
                out.push(fold(folded));
                folded = 0;
            }
            out.push(line(one));
        }
        if folded > 0 {
            out.push(fold(folded));
        }
        out
    };
    let told = move || {
        let (added, removed) = lines.with(|l| counts(l));
        format!("{label}: {added} lines added, {removed} removed")
    };
    view! { <div class="code" role="group" aria-label=told tabindex="0">{rows}</div> }.into_any()
}

/// Which lines are shown: changes and three lines around them; short gaps are not worth folding.
fn near_changes(lines: &[Line]) -> Vec<bool> {
    const AROUND: usize = 3;
    const GAP_MIN: usize = 4;
    let mut near = vec![false; lines.len()];
    for at in (0..lines.len()).filter(|&at| !lines[at].sign().is_empty()) {
        near[at.saturating_sub(AROUND)..(at + AROUND + 1).min(lines.len())].fill(true);
    }
    let mut start = None;
    for at in 0..=near.len() {
        if at < near.len() && !near[at] {
            start.get_or_insert(at);
        } else if let Some(from) = start.take()
            && at - from < GAP_MIN
        {
            near[from..at].fill(true);
        }
    }
    near
}

/// One run of equal, removed or added items; ranges index the old and the new sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// `len` items, from `old` and `new` on, are the same.
    Same { old: usize, new: usize, len: usize },
    /// `len` items from `old` on are gone.
    Removed { old: usize, len: usize },
    /// `len` items from `new` on are new.
    Added { new: usize, len: usize },
}

/// A line of a unified view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Line number in the old text, from 1.
    pub(crate) old: Option<usize>,
    /// Line number in the new text, from 1.
    pub(crate) new: Option<usize>,
    /// Text in pieces; `true` marks what differs from the line it is paired with.
    pub(crate) parts: Vec<(bool, String)>,
}

impl Line {
    /// `+` for added, `−` for removed, nothing for unchanged lines.
    #[must_use]
    pub(crate) fn sign(&self) -> &'static str {
        match (self.old, self.new) {
            (None, _) => "+",
            (_, None) => "−",
            _ => "",
        }
    }
}

/// Most edits looked for before giving up on a minimal answer.
const EFFORT_MAX: usize = 1200;

/// The shortest edit script from `old` to `new` (Myers), removals before additions.
#[must_use]
pub(crate) fn edits<T: PartialEq>(old: &[T], new: &[T]) -> Vec<Edit> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut out = Vec::new();
    push(&mut out, Edit::Same { old: 0, new: 0, len: head });
    middle(a, b, head, &mut out);
    push(&mut out, Edit::Same { old: old.len() - tail, new: new.len() - tail, len: tail });
    out
}

fn middle<T: PartialEq>(a: &[T], b: &[T], offset: usize, out: &mut Vec<Edit>) {
    let Some(trace) = trace(a, b) else {
        push(out, Edit::Removed { old: offset, len: a.len() });
        push(out, Edit::Added { new: offset, len: b.len() });
        return;
    };
    // Walk back from the end; each step is one insertion or deletion followed by a diagonal.
    let mut steps = Vec::new();
    let (mut x, mut y) = (a.len(), b.len());
    for (d, v) in trace.iter().enumerate().rev() {
        let at = |k: isize| v[(k + d as isize + 1) as usize];
        let k = x as isize - y as isize;
        let down = k == -(d as isize) || (k != d as isize && at(k - 1) < at(k + 1));
        let from_k = if down { k + 1 } else { k - 1 };
        let from_x = at(from_k);
        let from_y = from_x - from_k;
        while x as isize > from_x.max(0) && y as isize > from_y.max(0) && (d > 0 || x > 0) {
            let stop_x = if down { from_x } else { from_x + 1 };
            if d > 0 && x as isize == stop_x {
                break;
            }
            x -= 1;
            y -= 1;
            steps.push(Edit::Same { old: offset + x, new: offset + y, len: 1 });
        }
        if d > 0 {
            if down {
                y -= 1;
                steps.push(Edit::Added { new: offset + y, len: 1 });
            } else {
                x -= 1;
                steps.push(Edit::Removed { old: offset + x, len: 1 });
            }
        }
    }
    // Removals first inside every changed block: easier to read.
    let (mut removed, mut added): (Vec<Edit>, Vec<Edit>) = (Vec::new(), Vec::new());
    for step in steps.into_iter().rev() {
        match step {
            Edit::Removed { .. } => removed.push(step),
            Edit::Added { .. } => added.push(step),
            Edit::Same { .. } => {
                removed.drain(..).chain(added.drain(..)).for_each(|e| push(out, e));
                push(out, step);
            }
        }
    }
    removed.into_iter().chain(added).for_each(|e| push(out, e));
}

/// Furthest x per diagonal before each round; `None` when the texts differ too much.
fn trace<T: PartialEq>(a: &[T], b: &[T]) -> Option<Vec<Vec<isize>>> {
    let (n, m) = (a.len() as isize, b.len() as isize);
    let mut rounds: Vec<Vec<isize>> = Vec::new();
    let mut v = vec![0_isize; 3];
    for d in 0..=(a.len() + b.len()).min(EFFORT_MAX) as isize {
        // v holds diagonals -d-1 ..= d+1.
        rounds.push(v.clone());
        let mut next = vec![0_isize; (2 * d + 5) as usize];
        let at = |k: isize| v[(k + d + 1) as usize];
        for k in (-d..=d).step_by(2) {
            let mut x = match () {
                () if d == 0 => 0,
                () if k == -d || (k != d && at(k - 1) < at(k + 1)) => at(k + 1),
                () => at(k - 1) + 1,
            };
            let mut y = x - k;
            while x < n && y < m && a[x as usize] == b[y as usize] {
                x += 1;
                y += 1;
            }
            next[(k + d + 2) as usize] = x;
            if x >= n && y >= m {
                return Some(rounds);
            }
        }
        v = next;
    }
    None
}

fn push(out: &mut Vec<Edit>, edit: Edit) {
    let len = match edit {
        Edit::Same { len, .. } | Edit::Removed { len, .. } | Edit::Added { len, .. } => len,
    };
    if len == 0 {
        return;
    }
    match (out.last_mut(), &edit) {
        (Some(Edit::Same { len: have, .. }), Edit::Same { .. })
        | (Some(Edit::Removed { len: have, .. }), Edit::Removed { .. })
        | (Some(Edit::Added { len: have, .. }), Edit::Added { .. }) => *have += len,
        _ => out.push(edit),
    }
}

/// The unified view of two texts, whole, with the differing words of paired lines marked.
#[must_use]
pub(crate) fn unified(old: &str, new: &str) -> Vec<Line> {
    let (a, b): (Vec<&str>, Vec<&str>) = (lines(old), lines(new));
    let edits = edits(&a, &b);
    let mut out = Vec::new();
    let mut at = 0;
    while at < edits.len() {
        match (&edits[at], edits.get(at + 1)) {
            (Edit::Same { old, new, len }, _) => out.extend((0..*len).map(|i| Line {
                old: Some(old + i + 1),
                new: Some(new + i + 1),
                parts: vec![(false, a[old + i].to_owned())],
            })),
            (Edit::Removed { old, len }, Some(Edit::Added { new, len: added })) => {
                let pairs: Vec<_> = (0..(*len).min(*added)).map(|i| words(a[old + i], b[new + i])).collect();
                let part = |i: usize, text: &str, pick: fn(&Pair) -> &Parts| {
                    pairs.get(i).map_or_else(|| vec![(false, text.to_owned())], |pair| pick(pair).clone())
                };
                out.extend((0..*len).map(|i| Line { old: Some(old + i + 1), new: None, parts: part(i, a[old + i], |p| &p.0) }));
                out.extend((0..*added).map(|i| Line { old: None, new: Some(new + i + 1), parts: part(i, b[new + i], |p| &p.1) }));
                at += 1;
            }
            (Edit::Removed { old, len }, _) => {
                out.extend((0..*len).map(|i| Line { old: Some(old + i + 1), new: None, parts: vec![(false, a[old + i].to_owned())] }))
            }
            (Edit::Added { new, len }, _) => {
                out.extend((0..*len).map(|i| Line { old: None, new: Some(new + i + 1), parts: vec![(false, b[new + i].to_owned())] }))
            }
        }
        at += 1;
    }
    out
}

/// Lines added and lines removed.
#[must_use]
pub(crate) fn counts(lines: &[Line]) -> (usize, usize) {
    (lines.iter().filter(|l| l.old.is_none()).count(), lines.iter().filter(|l| l.new.is_none()).count())
}

type Parts = Vec<(bool, String)>;
type Pair = (Parts, Parts);

/// Two lines in pieces, the differing words marked; nothing is marked when the lines have little in common.
fn words(old: &str, new: &str) -> Pair {
    let (a, b) = (split_words(old), split_words(new));
    let edits = edits(&a, &b);
    let same: usize = edits
        .iter()
        .map(|e| match e {
            Edit::Same { old, len, .. } => a[*old..old + len].iter().filter(|w| !w.trim().is_empty()).map(|w| w.len()).sum(),
            _ => 0_usize,
        })
        .sum();
    if same * 3 < old.trim().len().max(new.trim().len()) {
        return (vec![(false, old.to_owned())], vec![(false, new.to_owned())]);
    }
    let (mut left, mut right): Pair = (Vec::new(), Vec::new());
    for edit in edits {
        match edit {
            Edit::Same { old, len, .. } => {
                let text = a[old..old + len].concat();
                left.push((false, text.clone()));
                right.push((false, text));
            }
            Edit::Removed { old, len } => left.push((true, a[old..old + len].concat())),
            Edit::Added { new, len } => right.push((true, b[new..new + len].concat())),
        }
    }
    (left, right)
}

fn split_words(line: &str) -> Vec<&str> {
    let class = |c: char| {
        if c.is_alphanumeric() || c == '_' || c == '.' {
            1
        } else if c.is_whitespace() {
            2
        } else {
            3
        }
    };
    let mut out = Vec::new();
    let mut start = 0;
    let mut last = 0;
    for (at, c) in line.char_indices() {
        let now = class(c);
        if at > start && (now != last || now == 3) {
            out.push(&line[start..at]);
            start = at;
        }
        last = now;
    }
    if start < line.len() {
        out.push(&line[start..]);
    }
    out
}

fn lines(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split('\n').collect() }
}

/// Joins two descendants of one text line by line.
///
/// # Errors
/// How many places both changed in different ways.
pub(crate) fn merge(base: &str, theirs: &str, yours: &str) -> Result<String, usize> {
    let (o, a, b) = (lines(base), lines(theirs), lines(yours));
    let (ta, tb) = (kept(&o, &a), kept(&o, &b));
    let mut out: Vec<&str> = Vec::new();
    let mut conflicts = 0;
    let (mut i, mut ia, mut ib) = (0, 0, 0);
    loop {
        // The next base line that both kept ends the present block.
        let stop = (i..o.len()).find(|&k| ta[k].is_some() && tb[k].is_some());
        let (na, nb) = stop.map_or((a.len(), b.len()), |k| (ta[k].unwrap_or(a.len()), tb[k].unwrap_or(b.len())));
        let (block_o, block_a, block_b) = (&o[i..stop.unwrap_or(o.len())], &a[ia..na], &b[ib..nb]);
        if block_a == block_b || block_b == block_o {
            out.extend(block_a);
        } else if block_a == block_o {
            out.extend(block_b);
        } else {
            conflicts += 1;
        }
        let Some(k) = stop else { break };
        out.push(o[k]);
        (i, ia, ib) = (k + 1, na + 1, nb + 1);
    }
    if conflicts == 0 { Ok(out.join("\n")) } else { Err(conflicts) }
}

/// For every old item the place where the new sequence keeps it.
fn kept<T: PartialEq>(old: &[T], new: &[T]) -> Vec<Option<usize>> {
    let mut out = vec![None; old.len()];
    for edit in edits(old, new) {
        if let Edit::Same { old, new, len } = edit {
            (0..len).for_each(|i| out[old + i] = Some(new + i));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(old: &[char], new: &[char], edits: &[Edit]) -> (String, String) {
        let (mut left, mut right) = (String::new(), String::new());
        for edit in edits {
            match edit {
                Edit::Same { old: o, new: n, len } => {
                    assert_eq!(old[*o..o + len], new[*n..n + len]);
                    left.extend(&old[*o..o + len]);
                    right.extend(&new[*n..n + len]);
                }
                Edit::Removed { old: o, len } => left.extend(&old[*o..o + len]),
                Edit::Added { new: n, len } => right.extend(&new[*n..n + len]),
            }
        }
        (left, right)
    }

    #[test]
    fn edits_rebuild_both_sides_and_are_minimal() {
        let check = |a: &str, b: &str, cost: usize| {
            let (x, y): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            let edits = edits(&x, &y);
            assert_eq!(apply(&x, &y, &edits), (a.to_owned(), b.to_owned()), "{a} -> {b}: {edits:?}");
            let changed: usize = edits
                .iter()
                .map(|e| match e {
                    Edit::Same { .. } => 0,
                    Edit::Removed { len, .. } | Edit::Added { len, .. } => *len,
                })
                .sum();
            assert_eq!(changed, cost, "{a} -> {b}: {edits:?}");
        };
        check("", "", 0);
        check("abc", "abc", 0);
        check("", "abc", 3);
        check("abc", "", 3);
        check("abcabba", "cbabac", 5);
        check("xaxcxabc", "abcy", 6);
        check("kitten", "sitting", 5);
        check("aaaa", "aa", 2);
        check("ab", "ba", 2);
    }

    #[test]
    fn edits_hold_for_every_short_pair() {
        let words: Vec<Vec<char>> = (0..=5_u32)
            .flat_map(|len| (0..2_u32.pow(len)).map(move |bits| (0..len).map(|i| if bits >> i & 1 == 1 { 'a' } else { 'b' }).collect()))
            .collect();
        for a in &words {
            for b in &words {
                let (left, right) = apply(a, b, &edits(a, b));
                assert_eq!((left, right), (a.iter().collect(), b.iter().collect()));
            }
        }
    }

    #[test]
    fn texts_without_anything_in_common_are_replaced_whole() {
        let (a, b): (Vec<u32>, Vec<u32>) = ((0..2000).collect(), (5000..7000).collect());
        assert_eq!(edits(&a, &b), [Edit::Removed { old: 0, len: 2000 }, Edit::Added { new: 0, len: 2000 }]);
    }

    #[test]
    fn unified_numbers_lines_and_marks_words() {
        let lines = unified("{\n  \"soft\": 20000,\n}", "{\n  \"soft\": 25000,\n  \"x\": 1\n}");
        let shown: Vec<String> = lines
            .iter()
            .map(|l| {
                let text: String = l.parts.iter().map(|(hit, t)| if *hit { format!("[{t}]") } else { t.clone() }).collect();
                format!("{}/{} {}{text}", l.old.unwrap_or(0), l.new.unwrap_or(0), l.sign())
            })
            .collect();
        assert_eq!(shown, ["1/1 {", "2/0 −  \"soft\": [20000],", "0/2 +  \"soft\": [25000],", "0/3 +  \"x\": 1", "3/4 }"]);
        assert_eq!(counts(&lines), (2, 1));
    }

    #[test]
    fn lines_far_from_a_change_are_folded() {
        let text: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        let mut new = text.clone();
        new[10] = "x".to_owned();
        let near = near_changes(&unified(&text.join("\n"), &new.join("\n")));
        let shown: Vec<usize> = (0..near.len()).filter(|&at| near[at]).collect();
        assert_eq!(shown, (7..=14).collect::<Vec<_>>());
        assert!(near_changes(&unified("a\nb\nc", "a\nb\nc")).iter().all(|n| *n), "a short gap stays");
    }

    #[test]
    fn merge_joins_changes_in_different_places_and_counts_conflicts() {
        let check = |base: &str, theirs: &str, yours: &str, expected: Result<&str, usize>| {
            assert_eq!(merge(base, theirs, yours), expected.map(str::to_owned), "{base:?} {theirs:?} {yours:?}");
        };
        check("a\nb\nc", "A\nb\nc", "a\nb\nC", Ok("A\nb\nC"));
        check("a\nb\nc", "a\nX\nc", "a\nY\nc", Err(1));
        check("a\nb\nc", "a\nX\nc", "a\nX\nc", Ok("a\nX\nc"));
        check("a\nb", "a\nb\nc", "z\nb", Ok("z\nb\nc"));
        check("a", "a", "b", Ok("b"));
        check("a\nb\nc\nd", "a\nc\nd", "a\nb\nc\nd\ne", Ok("a\nc\nd\ne"));
        check("", "x", "y", Err(1));
    }
}
