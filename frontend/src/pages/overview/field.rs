//! Every service as one mark, in rows of its group. Quiet dots are passing; shapes are not.

use crate::prelude::*;
use shared::ui::{Group, Overview};

use crate::{
    api::Query,
    format::count,
    router::{Page, link, use_router},
};

/// A mark's cell, in the drawing's units.
const CELL: usize = 10;
/// Marks a row at most, for few services and for many; all groups have the same, so that marks are of one size.
const COLUMNS: [usize; 3] = [40, 72, 144];
/// A drawing does not get more rows than this by being wider instead.
const ROWS_MAX: usize = 9;

/// Marks a row; on a phone half as many, so that they can be seen.
fn columns(groups: &[Group], narrow: bool) -> usize {
    let longest = groups.iter().map(|group| group.marks.len()).max().unwrap_or_default();
    let longest = if narrow { longest * 2 } else { longest };
    let most = |columns: usize| if columns == COLUMNS[0] { columns } else { columns * ROWS_MAX };
    let columns = COLUMNS.into_iter().find(|columns| longest <= most(*columns)).unwrap_or(COLUMNS[2]);
    if narrow { columns / 2 } else { columns }
}

fn narrow() -> bool {
    window().inner_width().ok().and_then(|width| width.as_f64()).is_some_and(|width| width < 760.0)
}

/// The drawing of a group: one path a kind, so that ten thousand services are five elements.
#[derive(Clone, Debug, Default, PartialEq)]
struct Drawing {
    rows: usize,
    quiet: String,
    warning: String,
    critical: String,
    maintenance: String,
    none: String,
    label: String,
}

fn draw(group: &Group, columns: usize) -> Drawing {
    let mut drawing = Drawing { rows: group.marks.len().div_ceil(columns), ..Drawing::default() };
    let [mut critical, mut warning, mut maintenance] = [0_usize; 3];
    for (at, mark) in group.marks.bytes().enumerate() {
        let (x, y) = (at % columns * CELL, at / columns * CELL);
        match mark {
            b'c' => {
                critical += 1;
                drawing.critical.push_str(&format!("M{x} {y}h10v10h-10z"));
            }
            b'w' => {
                warning += 1;
                drawing.warning.push_str(&format!("M{} {y}l5 9.5h-10z", x + 5));
            }
            b'm' => {
                maintenance += 1;
                drawing.maintenance.push_str(&format!("M{}.5 {}.5h7v7h-7z", x + 1, y + 1));
            }
            b'n' => drawing.none.push_str(&format!("M{} {}h4v4h-4z", x + 3, y + 3)),
            _ => drawing.quiet.push_str(&format!("M{} {}h4v4h-4z", x + 3, y + 3)),
        }
    }
    let name = if group.name.is_empty() { "no group" } else { &group.name };
    drawing.label =
        format!("{name}: {} services, {critical} critical, {warning} with warnings, {maintenance} in maintenance", group.marks.len());
    drawing
}

/// The panel.
#[component]
pub(super) fn EveryService(numbers: Query<Overview>) -> impl IntoView {
    let groups = Memo::new(move |_| numbers.data.with(|data| data.as_ref().map(|data| data.groups.clone()).unwrap_or_default()));
    let wide = Memo::new(move |_| groups.with(|groups| columns(groups, narrow())));
    let of = move |pick: fn(&shared::health::Counts) -> u32| numbers.data.with(|data| data.as_ref().map_or(0, |data| pick(&data.services)));
    view! {
        <Show when=move || !groups.with(Vec::is_empty)>
            <section class="panel" aria-labelledby="h-map">
                <header>
                    <h2 id="h-map">"Every service"</h2>
                    <span class="dim hide-m">"one mark each, by group"</span>
                    <div class="r legend hide-m">
                        <span class="crit"><svg width="10" height="10" class="key" aria-hidden="true"><path class="x" d="M0 0h10v10h-10z"></path></svg>"critical "{move || count(of(|counts| counts.critical))}</span>
                        <span class="warn"><svg width="10" height="10" class="key" aria-hidden="true"><path class="w" d="M5 .5l5 9H0z"></path></svg>"warning "{move || count(of(|counts| counts.warning))}</span>
                        <span class="maint"><svg width="10" height="10" class="key" aria-hidden="true"><path class="m" d="M1.5 1.5h7v7h-7z"></path></svg>"maintenance "{move || count(of(|counts| counts.maintenance))}</span>
                        <span><svg width="10" height="10" class="key" aria-hidden="true"><path class="d" d="M3 3h4v4h-4z"></path></svg>"passing"</span>
                    </div>
                </header>
                <div class="map">
                    <For each=move || groups.get() key=move |group| (wide.get_untracked(), group.name.clone(), group.marks.clone()) let:group>
                        <Row group columns=wide.get_untracked()/>
                    </For>
                </div>
            </section>
        </Show>
    }
}

#[component]
fn Row(group: Group, columns: usize) -> impl IntoView {
    let drawing = draw(&group, columns);
    let total = count(group.marks.len() as u64);
    let name = if group.name.is_empty() { "no group".to_owned() } else { group.name.clone() };
    let href = format!("{}?group={}", link(Page::Services), shared::endpoint::segment(&group.name));
    let named: Vec<_> = group.named.iter().map(|(at, name)| spot(*at as usize, columns, name)).collect();
    view! {
        <div class="g">
            {if group.name.is_empty() {
                view! { <span class="nm">{name}</span> }.into_any()
            } else {
                view! { <a class="nm" href=href>{name}</a> }.into_any()
            }}
            <svg viewBox=format!("0 0 {} {}", columns * CELL, drawing.rows * CELL) role="img" aria-label=drawing.label>
                <path class="d" d=drawing.quiet></path>
                <path class="n" d=drawing.none></path>
                <path class="w" d=drawing.warning></path>
                <path class="x" d=drawing.critical></path>
                <path class="m" d=drawing.maintenance></path>
                {named}
            </svg>
            <span>{total}</span>
        </div>
    }
}

/// A press and a tooltip over one mark that is not passing, for the pointer; the list above has the links.
fn spot(at: usize, columns: usize, name: &str) -> impl IntoView + use<> {
    let (x, y) = (at % columns * CELL, at / columns * CELL);
    let (router, service) = (use_router(), name.to_owned());
    let go = move |_| router.go(Page::service(&service, "instances"));
    view! {
        <rect class="spot" x=x.to_string() y=y.to_string() width="10" height="10" on:click=go><title>{name.to_owned()}</title></rect>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_services_are_drawn_larger() {
        let group = |size: usize| Group { marks: "p".repeat(size), ..Group::default() };
        for (size, expected) in [(0, 40), (40, 40), (41, 72), (648, 72), (649, 144), (100_000, 144)] {
            assert_eq!(columns(&[group(2), group(size)], false), expected, "{size}");
        }
        for (size, expected) in [(20, 20), (21, 36), (100_000, 72)] {
            assert_eq!(columns(&[group(size)], true), expected, "{size}");
        }
    }

    #[test]
    fn each_state_has_its_own_shape_in_its_own_place() {
        let marks = format!("{}cwmn", "p".repeat(71));
        let drawing = draw(&Group { name: "edge".to_owned(), marks, named: Vec::new() }, 72);
        assert_eq!(drawing.rows, 2);
        assert_eq!(drawing.quiet.matches('M').count(), 71);
        assert_eq!(drawing.critical, "M710 0h10v10h-10z");
        assert_eq!(drawing.warning, "M5 10l5 9.5h-10z");
        assert_eq!(drawing.maintenance, "M11.5 11.5h7v7h-7z");
        assert_eq!(drawing.none, "M23 13h4v4h-4z");
        assert_eq!(drawing.label, "edge: 75 services, 1 critical, 1 with warnings, 1 in maintenance");
    }
}
