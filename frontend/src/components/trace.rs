//! Trace: the last hour of something's health as a line. Flat is passing, half is warning, full is critical.

use crate::prelude::*;
use shared::{health::Health, service::TracePoint};

use super::health::class;
use crate::format::decimal;

const WIDTH: f64 = 150.0;
const HEIGHT: f64 = 18.0;
const HOUR_MS: u64 = 3_600_000;
/// A short trouble must still be seen.
const TROUBLE_MIN: f64 = 2.5;

/// A stretch of one health, in the drawing's units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stretch {
    pub(crate) health: Health,
    pub(crate) x: f64,
    pub(crate) width: f64,
}

/// Cuts the points to the hour before `now_ms`. Nothing is known of the time before the first point.
pub(crate) fn stretches(points: &[TracePoint], now_ms: u64) -> Vec<Stretch> {
    let from = now_ms.saturating_sub(HOUR_MS);
    let place = |at_ms: u64| at_ms.clamp(from, now_ms).saturating_sub(from) as f64 / HOUR_MS as f64 * WIDTH;
    let ends = points.iter().skip(1).map(|point| point.at_ms).chain([now_ms]);
    let mut out: Vec<Stretch> = Vec::new();
    for (point, end) in points.iter().zip(ends) {
        if end < from || end < point.at_ms {
            continue;
        }
        let (x, to) = (place(point.at_ms), place(end));
        match out.last_mut() {
            Some(last) if last.health == point.health => last.width = to - last.x,
            _ => out.push(Stretch { health: point.health, x, width: to - x }),
        }
    }
    for stretch in &mut out {
        if stretch.health > Health::Passing && stretch.width < TROUBLE_MIN {
            stretch.width = TROUBLE_MIN;
            stretch.x = stretch.x.min(WIDTH - TROUBLE_MIN);
        }
    }
    out
}

fn height(health: Health) -> f64 {
    match health {
        Health::None => 1.0,
        Health::Passing => 2.0,
        Health::Warning | Health::Maintenance => 9.0,
        Health::Critical => HEIGHT,
    }
}

/// The last hour. Decorative: the row says the state and since when in words.
#[component]
pub(crate) fn Trace(#[prop(into)] points: Signal<Vec<TracePoint>>, #[prop(into)] now_ms: Signal<u64>) -> impl IntoView {
    let draw = move |stretch: Stretch| {
        let (class, height) = (class(stretch.health), height(stretch.health));
        let (x, y, width) = (stretch.x, HEIGHT - height, stretch.width);
        // Long trouble is an outline with a tint, short trouble a solid bar.
        let long = stretch.health > Health::Passing && width > 8.0;
        let fill = if long { format!("{class} f") } else { class.to_owned() };
        let outline = long.then(|| {
            let path =
                format!("M{} {tall}V{}H{}V{tall}", decimal(x, 1), decimal(y + 0.75, 1), decimal(x + width, 1), tall = decimal(HEIGHT, 0));
            view! { <path class=format!("{class} e") d=path></path> }
        });
        view! {
            <rect class=fill x=decimal(x, 1) y=decimal(y, 1) width=decimal(width, 1) height=decimal(height, 1)></rect>
            {outline}
        }
    };
    view! {
        <svg class="trace" width="150" height="18" viewBox="0 0 150 18" aria-hidden="true">
            {move || {
                let stretches = points.with(|points| stretches(points, now_ms.get()));
                let unknown = stretches.first().map_or(WIDTH, |first| first.x);
                let blank = (unknown > 0.5).then(|| view! { <rect class="none" x="0" y="17" width=decimal(unknown, 1) height="1"></rect> });
                view! { {blank} {stretches.into_iter().map(draw).collect_view()} }
            }}
        </svg>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 100 * HOUR_MS;

    fn point(minutes_ago: u64, health: Health) -> TracePoint {
        TracePoint { at_ms: NOW - minutes_ago * 60_000, health }
    }

    fn check(points: &[TracePoint], expected: &[(Health, f64, f64)]) {
        let found: Vec<_> = stretches(points, NOW).into_iter().map(|found| (found.health, found.x, found.width)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_hour_is_filled_from_what_is_known() {
        check(&[], &[]);
        check(&[point(600, Health::Passing)], &[(Health::Passing, 0.0, 150.0)]);
        check(&[point(600, Health::Passing), point(30, Health::Critical)], &[(Health::Passing, 0.0, 75.0), (Health::Critical, 75.0, 75.0)]);
        check(&[point(12, Health::Warning)], &[(Health::Warning, 120.0, 30.0)]);
    }

    #[test]
    fn the_same_state_twice_is_one_stretch_and_short_trouble_is_widened() {
        check(&[point(600, Health::Passing), point(40, Health::Passing)], &[(Health::Passing, 0.0, 150.0)]);
        check(&[point(90, Health::Passing), point(0, Health::Critical)], &[(Health::Passing, 0.0, 150.0), (Health::Critical, 147.5, 2.5)]);
    }
}
