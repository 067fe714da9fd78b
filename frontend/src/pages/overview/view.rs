//! What the overview says. Pure.

use shared::{
    health::{Counts, Health},
    service::ServiceRow,
    ui::{Overview, Recent},
};

use crate::{
    actions::Outcome,
    components::hero::{Fact, Sentence},
    format::{self, count, plural},
    router::Page,
};

pub(super) fn sentence(numbers: &Overview) -> Sentence {
    let of = &numbers.services;
    let verb = |number: u32, one: &'static str, many: &'static str| if number == 1 { one } else { many };
    let others = [
        (of.warning, Health::Warning, verb(of.warning, "has a warning", "have warnings")),
        (of.maintenance, Health::Maintenance, verb(of.maintenance, "is in maintenance", "are in maintenance")),
        (of.none, Health::None, verb(of.none, "has no checks", "have no checks")),
    ];
    let more = |skip: Option<Health>| {
        let parts: Vec<String> = others
            .iter()
            .filter(|(number, health, _)| *number > 0 && Some(*health) != skip)
            .enumerate()
            .map(|(at, (number, _, words))| {
                format!("{}{} {words}", count(*number), if at == 0 && skip.is_none() && of.critical > 0 { " more" } else { "" })
            })
            .collect();
        let passing = match (of.passing, parts.is_empty() && of.critical == 0 && skip.is_none()) {
            (0, _) | (_, true) => String::new(),
            (1, _) => "The other one is passing.".to_owned(),
            (number, _) => format!("The other {} are passing.", count(number)),
        };
        match (listed(&parts), passing) {
            (None, passing) => passing,
            (Some(parts), passing) if passing.is_empty() => format!("{parts}."),
            (Some(parts), passing) => format!("{parts}. {passing}"),
        }
    };
    let says = |loud: String, class: &'static str, rest: &str, more: String| Sentence { loud, class, rest: rest.to_owned(), more };
    if of.total == 0 {
        return says(String::new(), "", "No services yet.", "This cluster is up and waits for its first registration.".to_owned());
    }
    if of.critical > 0 {
        return says(plural(of.critical, "service", "services"), "crit", verb(of.critical, " is failing.", " are failing."), more(None));
    }
    if of.warning > 0 {
        let rest = verb(of.warning, " has a warning.", " have warnings.");
        return says(plural(of.warning, "service", "services"), "warn", rest, more(Some(Health::Warning)));
    }
    let checked = of.passing > 0;
    let rest = if checked { "All services are passing." } else { "Nothing is failing." };
    let calm = more(None);
    let calm = if calm.is_empty() { all_well(&numbers.services, &numbers.instances) } else { calm };
    says(String::new(), "", rest, calm)
}

fn all_well(services: &Counts, instances: &Counts) -> String {
    format!("{}, {}.", plural(services.total, "service", "services"), plural(instances.total, "instance", "instances"))
}

/// `a, b and c`.
fn listed(parts: &[String]) -> Option<String> {
    match parts {
        [] => None,
        [one] => Some(one.clone()),
        [first @ .., last] => Some(format!("{} and {last}", first.join(", "))),
    }
}

pub(super) fn facts(numbers: &Overview) -> Vec<Fact> {
    let note = |counts: &Counts, word: &str| if counts.critical > 0 { format!("{} {word}", count(counts.critical)) } else { String::new() };
    vec![
        Fact { name: "Instances", value: count(numbers.instances.total), note: note(&numbers.instances, "critical") },
        Fact { name: "Nodes", value: count(numbers.nodes.total), note: note(&numbers.nodes, "critical") },
        Fact { name: "Changes, last hour", value: count(numbers.changes_last_hour), note: String::new() },
    ]
}

/// Why a service is not passing.
pub(super) fn reason(row: &ServiceRow) -> String {
    let line = row.output.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    match (line, row.health) {
        ("", Health::Maintenance) => "In maintenance, no reason given".to_owned(),
        ("", _) => "No output".to_owned(),
        (line, _) => line.to_owned(),
    }
}

/// For how long; empty when that is not recorded.
pub(super) fn since(row: &ServiceRow, now_ms: u64) -> String {
    if row.changed_at_ms == 0 { String::new() } else { format::span(now_ms.saturating_sub(row.changed_at_ms)) }
}

/// One line of the feed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) at_ms: u64,
    pub(super) time: String,
    pub(super) health: Health,
    pub(super) name: String,
    pub(super) text: String,
    pub(super) page: Page,
}

impl Line {
    pub(super) fn key(&self) -> (u64, String, String) {
        (self.at_ms, self.name.clone(), self.text.clone())
    }
}

/// Lines of the feed at most.
const LINES_MAX: usize = 9;

pub(super) fn feed(numbers: &Overview, zone_min: i32) -> Vec<Line> {
    numbers.recent.iter().take(LINES_MAX).map(|recent| line(recent, numbers.now_ms, zone_min)).collect()
}

fn line(recent: &Recent, now_ms: u64, zone_min: i32) -> Line {
    let transition = &recent.transition;
    let health = match transition.to.as_str() {
        "passing" => Health::Passing,
        "warning" => Health::Warning,
        "" => Health::None,
        _ => Health::Critical,
    };
    let health = if recent.check_id.starts_with("_service_maintenance:") || recent.check_id == "_node_maintenance" {
        Health::Maintenance
    } else {
        health
    };
    let output = transition.output.lines().next().unwrap_or_default().trim();
    let text = match (health, transition.to.is_empty()) {
        (Health::Maintenance, false) if output.is_empty() => "put into maintenance".to_owned(),
        (Health::Maintenance, false) => format!("put into maintenance: {output}"),
        (Health::Maintenance, true) => "left maintenance".to_owned(),
        (_, true) => format!("{} was removed", recent.check_name),
        (Health::Passing, _) if transition.from.is_empty() => format!("{} began passing", recent.check_name),
        (Health::Passing, _) => format!("{} passing again", recent.check_name),
        _ if output.is_empty() => format!("{} {}", recent.check_name, transition.to),
        _ => format!("{}: {output}", transition.to),
    };
    let (name, page) = if recent.service_name.is_empty() {
        (recent.node.clone(), Page::node(&recent.node, "health-checks"))
    } else {
        (recent.service_name.clone(), Page::service(&recent.service_name, "instances"))
    };
    let old = now_ms.saturating_sub(transition.at_ms) > 86_400_000;
    let time = if old { format::span(now_ms - transition.at_ms) } else { format::clock(transition.at_ms, zone_min, false) };
    Line { at_ms: transition.at_ms, time, health, name, text, page }
}

/// What running some checks came to: whether it could be done, a title, a text.
pub(crate) fn summary(of: &str, outcomes: &[Outcome]) -> (bool, String, String) {
    if outcomes.is_empty() {
        return (false, format!("{of} has no check that can be run"), "TTL and alias checks wait for others to report.".to_owned());
    }
    if let Some(failed) = outcomes.iter().find(|outcome| outcome.result.is_err()) {
        let many = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
        let why = failed.result.clone().err().unwrap_or_default();
        return (false, format!("{many} of {} checks could not be run", outcomes.len()), format!("{}: {why}", failed.object));
    }
    if let [one] = outcomes {
        return (true, one.object.clone(), one.result.clone().unwrap_or_default());
    }
    let passing = outcomes.iter().filter(|outcome| outcome.result.as_ref().is_ok_and(|text| text.contains(" passing"))).count();
    (true, format!("Ran {} checks of {of}", outcomes.len()), format!("{passing} passing, {} not.", outcomes.len() - passing))
}

#[cfg(test)]
mod tests {
    use shared::check::Transition;

    use super::*;

    fn counts(passing: u32, warning: u32, critical: u32, maintenance: u32, none: u32) -> Counts {
        Counts { total: passing + warning + critical + maintenance + none, passing, warning, critical, maintenance, none }
    }

    fn said(services: Counts) -> String {
        let instances = Counts { total: 9, ..Counts::default() };
        let sentence = sentence(&Overview { services, instances, ..Overview::default() });
        format!("{}|{}|{}", sentence.loud, sentence.rest, sentence.more)
    }

    #[test]
    fn the_title_says_the_worst_and_the_line_below_the_rest() {
        let cases = [
            (counts(0, 0, 0, 0, 0), "|No services yet.|This cluster is up and waits for its first registration."),
            (counts(4, 0, 0, 0, 0), "|All services are passing.|4 services, 9 instances."),
            (
                counts(1262, 9, 3, 4, 6),
                "3 services| are failing.|9 more have warnings, 4 are in maintenance and 6 have no checks. The other 1,262 are passing.",
            ),
            (counts(1, 1, 1, 0, 0), "1 service| is failing.|1 more has a warning. The other one is passing."),
            (counts(0, 0, 2, 0, 0), "2 services| are failing.|"),
            (counts(5, 2, 0, 1, 0), "2 services| have warnings.|1 is in maintenance. The other 5 are passing."),
            (counts(5, 0, 0, 0, 2), "|All services are passing.|2 have no checks. The other 5 are passing."),
            (counts(0, 0, 0, 0, 2), "|Nothing is failing.|2 have no checks."),
        ];
        for (services, expected) in cases {
            assert_eq!(said(services), expected);
        }
    }

    #[test]
    fn the_feed_says_what_changed_and_leads_there() {
        let recent = |service: &str, from: &str, to: &str, output: &str| Recent {
            node: "n1".to_owned(),
            check_id: "c".to_owned(),
            check_name: "HTTP".to_owned(),
            service_name: service.to_owned(),
            transition: Transition {
                at_ms: 36_000_000,
                from: from.into(),
                to: to.into(),
                output: output.to_owned(),
                ..Transition::default()
            },
        };
        let check = |recent: Recent, text: &str| assert_eq!(line(&recent, 40_000_000, 0).text, text);
        check(recent("web", "passing", "critical", "refused\nmore"), "critical: refused");
        check(recent("web", "critical", "passing", "ok"), "HTTP passing again");
        check(recent("web", "", "passing", ""), "HTTP began passing");
        check(recent("web", "passing", "", ""), "HTTP was removed");
        check(recent("web", "passing", "warning", ""), "HTTP warning");
        let node = line(&recent("", "passing", "critical", "full"), 36_000_000, 0);
        assert_eq!((node.name.as_str(), node.page, node.time.as_str()), ("n1", Page::node("n1", "health-checks"), "10:00"));
        let maintenance = Recent { check_id: "_service_maintenance:web".to_owned(), ..recent("web", "", "critical", "by ops") };
        assert_eq!(line(&maintenance, 0, 0).text, "put into maintenance: by ops");
    }

    #[test]
    fn a_run_is_summed_up_once() {
        let outcome = |object: &str, result: Result<&str, &str>| Outcome {
            object: object.to_owned(),
            result: result.map(str::to_owned).map_err(str::to_owned),
        };
        assert!(!summary("web", &[]).0);
        assert_eq!(summary("web", &[outcome("HTTP on web-1", Ok("Still critical, in 2 ms"))]).1, "HTTP on web-1");
        let mixed = [outcome("a", Ok("Now passing, in 2 ms")), outcome("b", Ok("Still critical, in 2 ms"))];
        assert_eq!(summary("web", &mixed), (true, "Ran 2 checks of web".to_owned(), "1 passing, 1 not.".to_owned()));
        assert_eq!(summary("web", &[outcome("a", Err("gone")), mixed[0].clone()]).1, "1 of 2 checks could not be run");
    }
}
