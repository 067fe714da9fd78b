//! Lanes: how states followed each other in a stretch of time, one lane a thing.
//!
//! The geometry is pure. Never draws a state for a time nobody recorded: that stretch is hatched.

use crate::prelude::*;
use shared::health::Health;

use super::health::class;
use crate::format::{self, decimal};

/// The ranges offered: name in the address, label, title, milliseconds.
pub(crate) const RANGES: [(&str, &str, &str, u64); 3] =
    [("1h", "1 h", "Last hour", 3_600_000), ("24h", "24 h", "Last 24 hours", 86_400_000), ("7d", "7 d", "Last 7 days", 604_800_000)];

/// A range: name in the address, label, title, milliseconds.
pub(crate) type Range = (&'static str, &'static str, &'static str, u64);

/// The range an address names; without one a day, or an hour while nothing older is recorded.
pub(crate) fn range(word: &str, oldest_ms: Option<u64>, now_ms: u64) -> Range {
    let young = oldest_ms.is_some_and(|oldest| now_ms.saturating_sub(oldest) < RANGES[0].3);
    RANGES.into_iter().find(|r| r.0 == word).unwrap_or(RANGES[if young { 0 } else { 1 }])
}

/// One lane.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lane {
    /// What it is about.
    pub(crate) name: String,
    /// What was recorded.
    pub(crate) record: Record,
}

/// A time axis and a lane for each thing below it.
#[component]
pub(crate) fn Lanes(
    #[prop(into)] lanes: Signal<Vec<Lane>>,
    /// The right end, milliseconds since 1970.
    #[prop(into)]
    now_ms: Signal<u64>,
    #[prop(into)] length_ms: Signal<u64>,
) -> impl IntoView {
    // A picture of a day needs no redraw every second.
    let now = Memo::new(move |_| {
        let step = (length_ms.get() / 1440).max(1000);
        now_ms.get().div_ceil(step) * step
    });
    let zone = format::zone_min();
    let axis = move || {
        let ticks = ticks(now.get().saturating_sub(length_ms.get()), now.get(), zone);
        let ticks = ticks.into_iter().map(|(left, text)| view! { <span style:left=decimal(left, 2) + "%">{text}</span> });
        view! { {ticks.collect_view()} <span style:right="0">"now"</span> }
    };
    let lane = move |lane: Lane| {
        let (to, length) = (now.get(), length_ms.get());
        let from = to.saturating_sub(length);
        let stretches = lane.record.stretches(from, to);
        let words = words(&lane.name, &stretches, zone);
        let percent = move |ms: u64| ms as f64 * 100.0 / length.max(1) as f64;
        let marks = stretches.into_iter().map(|s| {
            let (left, width) = (percent(s.from_ms - from), percent(s.to_ms - s.from_ms));
            let end = if s.to_ms == to && s.state.is_some_and(|h| h > Health::Passing) { " end" } else { Default::default() };
            let class = format!("{}{end}", s.state.map_or("unk", class));
            // What touches the right end keeps its least width by growing to the left.
            if end.is_empty() {
                view! { <i class=class style:left=format!("min({}%,100% - 6px)", decimal(left, 2)) style:width=decimal(width, 2) + "%"></i> }.into_any()
            } else {
                view! { <i class=class style:right="0" style:width=decimal(width, 2) + "%"></i> }.into_any()
            }
        });
        let title = lane.name.clone();
        view! { <div class="ln"><span title=title>{lane.name}</span><div role="img" aria-label=words>{marks.collect_view()}</div></div> }
    };
    view! {
        <div class="lanes">
            <div class="ln ax" aria-hidden="true"><span></span><div>{axis}</div></div>
            {move || lanes.get().into_iter().map(lane).collect_view()}
        </div>
    }
    .into_any()
}

/// What was recorded of one thing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    /// Time and the state from then on, oldest first; `None` from when the thing was gone.
    pub(crate) points: Vec<(u64, Option<Health>)>,
    /// When recording began, milliseconds since 1970.
    pub(crate) since_ms: u64,
    /// The state between `since_ms` and the first point, if known.
    pub(crate) before: Option<Health>,
}

/// A stretch of one state, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Begin.
    pub(crate) from_ms: u64,
    /// End.
    pub(crate) to_ms: u64,
    /// `None`: not recorded.
    pub(crate) state: Option<Health>,
}

impl Record {
    /// The stretches that fill `from_ms..to_ms` without a gap.
    pub(crate) fn stretches(&self, from_ms: u64, to_ms: u64) -> Vec<Stretch> {
        let mut out: Vec<Stretch> = Vec::new();
        let mut add = |begin: u64, end: u64, state: Option<Health>| {
            let (begin, end) = (begin.max(from_ms), end.min(to_ms));
            if begin >= end {
                return;
            }
            match out.last_mut() {
                Some(last) if last.state == state => last.to_ms = end,
                _ => out.push(Stretch { from_ms: begin, to_ms: end, state }),
            }
        };
        let first = self.points.first().map_or(to_ms, |p| p.0);
        let known = if self.since_ms == 0 { first } else { self.since_ms.min(first) };
        add(from_ms, known, None);
        add(known, first, self.before);
        for (at, (begin, state)) in self.points.iter().enumerate() {
            add(*begin, self.points.get(at + 1).map_or(to_ms, |p| p.0), *state);
        }
        out
    }

    /// Share of the recorded part of the range in which the state was usable; `None` when nothing was recorded.
    pub(crate) fn availability(&self, from_ms: u64, to_ms: u64) -> Option<f64> {
        let (mut good, mut all) = (0, 0);
        for stretch in self.stretches(from_ms, to_ms) {
            if let Some(state) = stretch.state {
                let length = stretch.to_ms - stretch.from_ms;
                all += length;
                good += if state.is_usable() { length } else { 0 };
            }
        }
        (all > 0).then(|| good as f64 / all as f64)
    }
}

/// The lane in words: what is not passing, oldest first.
pub(crate) fn words(name: &str, stretches: &[Stretch], offset_min: i32) -> String {
    let clock = |ms| format::clock(ms, offset_min, false);
    let last = stretches.last().map_or(0, |s| s.to_ms);
    let odd: Vec<String> = stretches
        .iter()
        .filter(|s| s.state != Some(Health::Passing))
        .map(|s| {
            let word = s.state.map_or("not recorded", Health::as_str);
            if s.to_ms == last {
                format!("{word} since {}", clock(s.from_ms))
            } else {
                format!("{word} {} to {}", clock(s.from_ms), clock(s.to_ms))
            }
        })
        .collect();
    if odd.is_empty() { format!("{name}: passing all the time") } else { format!("{name}: {}", odd.join(", ")) }
}

/// Ticks of a time axis: place in percent, and its text.
pub(crate) fn ticks(from_ms: u64, to_ms: u64, offset_min: i32) -> Vec<(f64, String)> {
    const PARTS: u64 = 6;
    let step = (to_ms - from_ms) / PARTS;
    (0..PARTS)
        .map(|part| {
            let at = from_ms + part * step;
            let text = if step >= 86_400_000 { date(at, offset_min) } else { format::clock(at, offset_min, false) };
            (part as f64 * 100.0 / PARTS as f64, text)
        })
        .collect()
}

/// Day and month in the browser's zone: `22 Nov`.
pub(crate) fn date(at_ms: u64, offset_min: i32) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // Days to civil date, counting years from March so that the leap day comes last.
    let days = ((at_ms / 1000) as i64 + i64::from(offset_min) * 60).div_euclid(86_400) + 719_468;
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    format!("{day} {}", MONTHS[((month + 2) % 12) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use Health::{Critical, Passing, Warning};

    fn record(since_ms: u64, before: Option<Health>, points: &[(u64, Option<Health>)]) -> Record {
        Record { points: points.to_vec(), since_ms, before }
    }

    #[test]
    fn stretches_fill_the_range_and_say_what_is_not_known() {
        let check = |record: &Record, expected: &[(u64, u64, Option<Health>)]| {
            let got: Vec<_> = record.stretches(100, 200).iter().map(|s| (s.from_ms, s.to_ms, s.state)).collect();
            assert_eq!(got, expected, "{record:?}");
        };
        check(&record(0, None, &[]), &[(100, 200, None)]);
        check(&record(150, None, &[(150, Some(Passing))]), &[(100, 150, None), (150, 200, Some(Passing))]);
        check(&record(50, None, &[(50, Some(Passing)), (180, Some(Critical))]), &[(100, 180, Some(Passing)), (180, 200, Some(Critical))]);
        check(&record(20, Some(Warning), &[(120, Some(Passing))]), &[(100, 120, Some(Warning)), (120, 200, Some(Passing))]);
        check(&record(20, None, &[(20, Some(Passing)), (150, None)]), &[(100, 150, Some(Passing)), (150, 200, None)]);
        check(&record(20, None, &[(20, Some(Passing)), (250, Some(Critical))]), &[(100, 200, Some(Passing))]);
        check(&record(20, None, &[(20, Some(Passing)), (130, Some(Passing))]), &[(100, 200, Some(Passing))]);
        check(&record(300, None, &[(300, Some(Passing))]), &[(100, 200, None)]);
    }

    #[test]
    fn availability_counts_only_what_was_recorded() {
        let half = record(150, None, &[(150, Some(Passing)), (175, Some(Critical))]);
        assert_eq!(half.availability(100, 200), Some(0.5));
        assert_eq!(record(0, None, &[]).availability(100, 200), None);
    }

    #[test]
    fn words_name_what_is_not_passing() {
        let h = 3_600_000;
        let lane = record(h, None, &[(h, Some(Passing)), (2 * h, Some(Warning)), (3 * h, Some(Passing)), (4 * h, Some(Critical))]);
        assert_eq!(words("ping", &lane.stretches(h, 5 * h), 0), "ping: warning 02:00 to 03:00, critical since 04:00");
        assert_eq!(words("ping", &lane.stretches(h, 2 * h), 0), "ping: passing all the time");
    }

    #[test]
    fn dates_and_ticks_follow_the_zone() {
        let check = |days: u64, expected: &str| assert_eq!(date(days * 86_400_000, 0), expected);
        check(0, "1 Jan");
        check(59, "1 Mar");
        check(19_782, "29 Feb");
        check(20_453, "31 Dec");
        assert_eq!(date(0, -60), "31 Dec");
        let texts: Vec<_> = ticks(0, 6 * 3_600_000, 60).into_iter().map(|t| t.1).collect();
        assert_eq!(texts, ["01:00", "02:00", "03:00", "04:00", "05:00", "06:00"]);
    }
}
