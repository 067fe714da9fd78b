//! What the service page says, as pure functions: instances in order, sentences about time and runs.
//!
//! Never decides what is healthy: that is `shared::health`. Never reads a clock: the server's time is an argument.

use shared::{
    check::{Check, CheckDefinition, History, Run, SERF_HEALTH, Transition},
    go,
    health::{Counts, Health, ServiceNode, Status},
};

use crate::{components::lanes::Record, format};

/// One instance in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// Its node.
    pub(crate) node: String,
    /// Its id.
    pub(crate) id: String,
    /// `address:port` as clients reach it.
    pub(crate) address: String,
    /// Its health.
    pub(crate) health: Health,
}

/// Worst first: what needs a person comes on top.
pub(crate) fn rank(health: Health) -> u8 {
    match health {
        Health::Critical => 0,
        Health::Warning => 1,
        Health::Maintenance => 2,
        Health::None => 3,
        Health::Passing => 4,
    }
}

/// The instances, worst first, then by id and node.
pub(crate) fn instances(rows: &[ServiceNode]) -> Vec<Instance> {
    let mut out: Vec<_> = rows
        .iter()
        .map(|row| Instance { node: row.node.name.clone(), id: row.service.id.clone(), address: address(row), health: row.health() })
        .collect();
    crate::order::sort_by(&mut out, |a, b| (rank(a.health), &a.id, &a.node).cmp(&(rank(b.health), &b.id, &b.node)));
    out
}

/// Where clients reach an instance.
pub(crate) fn address(row: &ServiceNode) -> String {
    let host = if row.service.address.is_empty() { &row.node.address } else { &row.service.address };
    join(host, row.service.port)
}

/// Host and port; IPv6 in brackets; no port when there is none.
pub(crate) fn join(host: &str, port: i64) -> String {
    match (port, host.contains(':')) {
        (0, _) => host.to_owned(),
        (_, true) => format!("[{host}]:{port}"),
        (_, false) => format!("{host}:{port}"),
    }
}

/// The service in a few words: its health and what to say.
pub(crate) fn headline(counts: &Counts) -> (Health, String) {
    let of = |bad: u32, what: &str| {
        if counts.total == 1 {
            format!("The only instance is {what}")
        } else {
            format!("{bad} of {} instances {what}", format::count(counts.total))
        }
    };
    match counts {
        c if c.total == 0 => (Health::None, "No instances".to_owned()),
        c if c.critical > 0 => (Health::Critical, of(c.critical, "failing")),
        c if c.warning > 0 => (Health::Warning, of(c.warning, "warning")),
        c if c.maintenance == c.total => (Health::Maintenance, "In maintenance".to_owned()),
        c if c.maintenance > 0 => (Health::Maintenance, of(c.maintenance, "in maintenance")),
        c if c.none == c.total => (Health::None, "No checks".to_owned()),
        c if c.passing + c.none == c.total && c.none > 0 => (Health::Passing, format!("{} passing, {} without checks", c.passing, c.none)),
        c => (Health::Passing, if c.total == 1 { "Passing".to_owned() } else { format!("All {} passing", format::count(c.total)) }),
    }
}

/// A length of time in its two largest units where that says more: `5 h 33 min`, `14 min`, `6 d`.
pub(crate) fn span(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        60..1_440 if !minutes.is_multiple_of(60) => format!("{} h {} min", minutes / 60, minutes % 60),
        1_440..4_320 if !(minutes / 60).is_multiple_of(24) => format!("{} d {} h", minutes / 1_440, minutes / 60 % 24),
        _ => format::span(ms),
    }
}

/// `failing for 14 min`; nothing when the time is not recorded.
pub(crate) fn lasting(health: Health, since_ms: u64, now_ms: u64) -> Option<String> {
    let word = match health {
        Health::Critical => "failing",
        Health::Maintenance => "in maintenance",
        Health::None => return None,
        other => other.as_str(),
    };
    (since_ms > 0).then(|| format!("{word} for {}", span(now_ms.saturating_sub(since_ms))))
}

/// A configured duration for people: `10 s`, `1 min 30 s`, `500 ms`.
pub(crate) fn setting(value: go::Duration) -> String {
    let nanos = value.0.max(0);
    if nanos % 1_000_000_000 != 0 {
        return format::duration(nanos as f64 / 1e6);
    }
    let seconds = nanos / 1_000_000_000;
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let text: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    if text.is_empty() { "0 s".to_owned() } else { text.join(" ") }
}

/// What a check does, in short parts.
pub(crate) fn definition(kind: &str, d: &CheckDefinition) -> Vec<String> {
    let mut out = Vec::new();
    let target = [("", &d.http), ("", &d.tcp), ("UDP ", &d.udp), ("gRPC ", &d.grpc), ("HTTP/2 ping ", &d.h2ping)];
    if let Some((what, target)) = target.iter().find(|(_, t)| !t.is_empty()) {
        let method = if d.method.is_empty() || d.method == "GET" { String::new() } else { format!("{} ", d.method) };
        out.push(format!("{what}{method}{target}"));
    } else if !d.args.is_empty() {
        out.push(format!("script {}", d.args.join(" ")));
    } else if !d.alias_service.is_empty() || !d.alias_node.is_empty() {
        out.push(format!("follows {}", if d.alias_service.is_empty() { &d.alias_node } else { &d.alias_service }));
    }
    if !d.ttl.is_zero() {
        out.push(format!("must report every {}", setting(d.ttl)));
    }
    if !d.interval.is_zero() {
        let timeout = if d.timeout.is_zero() { String::new() } else { format!(", timeout {}", setting(d.timeout)) };
        out.push(format!("every {}{timeout}", setting(d.interval)));
    }
    if out.is_empty() && kind == "ttl" {
        out.push("reported by the service".to_owned());
    }
    out
}

/// Why a check has no "run" button, said briefly.
pub(crate) fn not_runnable(check: &Check, has_agent: bool) -> Option<&'static str> {
    match check.kind.as_str() {
        _ if check.id == SERF_HEALTH => Some("runs by itself"),
        _ if check.is_maintenance() => Some("set by hand"),
        "ttl" => Some("the service reports"),
        "alias" => Some("follows another check"),
        _ if !has_agent || !check.is_runnable() => Some("no agent runs it"),
        _ => None,
    }
}

/// What a run found, as a sentence in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Colour and icon.
    pub(crate) health: Health,
    /// `Still failing.`
    pub(crate) lead: String,
    /// `You ran this 4 s ago: 503 in 212 ms.`
    pub(crate) text: String,
}

/// The sentence about a run: `before` is the status it met.
pub(crate) fn outcome(run: &Run, before: &Status, ago_ms: u64) -> Outcome {
    let health = of_status(&run.result).unwrap_or(Health::Critical);
    let word = match health {
        Health::Passing => "passing",
        Health::Warning => "warning",
        _ => "failing",
    };
    let lead = if run.result != run.status && !run.status.is_empty() {
        format!("This run is {word}, the check stays {} until more runs agree.", run.status)
    } else if run.result == *before {
        format!("Still {word}.")
    } else {
        format!("Now {word}.")
    };
    let when = if ago_ms < 1000 { "just now".to_owned() } else { format!("{} ago", format::span(ago_ms)) };
    let took = if run.duration_ms == 0 { "under 1 ms".to_owned() } else { format::duration(run.duration_ms as f64) };
    let text = match gist(&run.output) {
        Some(gist) => format!("You ran this {when}: {gist} in {took}."),
        None => format!("You ran this {when}, it took {took}."),
    };
    Outcome { health, lead, text }
}

/// The health a status word stands for; `None` for no status.
pub(crate) fn of_status(status: &Status) -> Option<Health> {
    match status.as_str() {
        "" => None,
        "passing" => Some(Health::Passing),
        "warning" => Some(Health::Warning),
        _ => Some(Health::Critical),
    }
}

const TROUBLE: [&str; 9] = [
    "connection refused",
    "no route to host",
    "network is unreachable",
    "connection reset by peer",
    "no such host",
    "timed out",
    "deadline exceeded",
    "i/o timeout",
    "certificate has expired",
];

/// The shortest useful thing an output says: `503`, `connection refused`.
pub(crate) fn gist(output: &str) -> Option<String> {
    if let Some((at, end)) = http_status(output) {
        return Some(output[at..end].chars().take(3).collect());
    }
    TROUBLE.iter().find(|t| output.contains(**t)).map(|t| (*t).to_owned())
}

/// Where an HTTP check's output names the answer: `503 Service Unavailable`.
fn http_status(output: &str) -> Option<(usize, usize)> {
    if !output.starts_with("HTTP ") {
        return None;
    }
    let line = output.lines().next().unwrap_or_default();
    let at = line.match_indices(": ").map(|(at, _)| at + 2).find(|&at| {
        let word = line[at..].split(' ').next().unwrap_or_default();
        word.len() == 3 && word.bytes().all(|b| b.is_ascii_digit())
    })?;
    let end = line[at..].find(" Output:").map_or(line.len(), |end| at + end);
    Some((at, end))
}

/// An output in pieces; `true` marks what went wrong. An HTTP body starts on a line of its own.
pub(crate) fn marked(output: &str, bad: bool) -> Vec<(bool, String)> {
    let text = match http_status(output) {
        Some((_, end)) => match output[end..].strip_prefix(" Output: ") {
            Some("") => output[..end].to_owned(),
            Some(body) => format!("{}\n{body}", &output[..end]),
            None => output.to_owned(),
        },
        None => output.to_owned(),
    };
    let text = text.trim_end();
    let hit = if bad { http_status(text).or_else(|| TROUBLE.iter().find_map(|t| text.find(t).map(|at| (at, at + t.len())))) } else { None };
    let parts = match hit {
        Some((at, end)) => vec![(false, &text[..at]), (true, &text[at..end]), (false, &text[end..])],
        None => vec![(false, text)],
    };
    parts.into_iter().filter(|p| !p.1.is_empty()).map(|(hit, t)| (hit, t.to_owned())).collect()
}

/// An output as it is shown, in one piece.
pub(crate) fn marked_text(output: &str) -> String {
    marked(output, false).into_iter().map(|(_, text)| text).collect()
}

/// The shell command that does what a check does; `None` for those that have none.
pub(crate) fn command(d: &CheckDefinition) -> Option<String> {
    let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    if !d.http.is_empty() {
        let mut out = "curl -i".to_owned();
        if !d.method.is_empty() && d.method != "GET" {
            out.push_str(&format!(" -X {}", d.method));
        }
        if d.tls_skip_verify {
            out.push_str(" -k");
        }
        for (name, values) in &d.header {
            values.iter().for_each(|value| out.push_str(&format!(" -H {}", quote(&format!("{name}: {value}")))));
        }
        if !d.body.is_empty() {
            out.push_str(&format!(" --data {}", quote(&d.body)));
        }
        if !d.timeout.is_zero() {
            out.push_str(&format!(
                " --max-time {}",
                format::decimal(d.timeout.as_std().as_secs_f64(), 3).trim_end_matches('0').trim_end_matches('.')
            ));
        }
        return Some(format!("{out} {}", quote(&d.http)));
    }
    if let Some((host, port)) = d.tcp.rsplit_once(':') {
        return Some(format!("nc -vz {} {port}", host.trim_matches(['[', ']'])));
    }
    let words = d.args.iter().map(|a| if a.chars().all(|c| c.is_alphanumeric() || "/._-=:".contains(c)) { a.clone() } else { quote(a) });
    (!d.args.is_empty()).then(|| words.collect::<Vec<_>>().join(" "))
}

/// A check's history as a lane.
pub(crate) fn record(history: &History) -> Record {
    Record {
        points: history.transitions.iter().map(|t| (t.at_ms, of_status(&t.to))).collect(),
        since_ms: history.since_ms,
        before: history.transitions.first().and_then(|t| of_status(&t.from)),
    }
}

/// When the check last passed and what it said then: the output to compare with.
pub(crate) fn last_pass(history: &History) -> Option<(u64, &str)> {
    let at = history.transitions.iter().rposition(|t| t.to == Status::PASSING)?;
    let until = history.transitions.get(at + 1)?.at_ms;
    Some((until, &history.transitions[at].output))
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// When, milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// Icon: the state it changed to; `None` when something went away.
    pub(crate) to: Option<Health>,
    /// What happened.
    pub(crate) text: String,
    /// On which instance or node.
    pub(crate) place: String,
    /// Output of the run that saw it.
    pub(crate) output: String,
}

/// The transitions of several checks, newest first. `named` gives a check's name and place.
pub(crate) fn changes<'a>(histories: impl IntoIterator<Item = (&'a History, &'a str, &'a str)>, most: usize) -> Vec<Change> {
    let mut out: Vec<Change> =
        histories.into_iter().flat_map(|(history, name, place)| history.transitions.iter().map(move |t| change(t, name, place))).collect();
    crate::order::sort_by(&mut out, |a, b| b.at_ms.cmp(&a.at_ms).then_with(|| a.text.cmp(&b.text)));
    out.truncate(most);
    out
}

fn change(t: &Transition, name: &str, place: &str) -> Change {
    let text = match (t.from.as_str(), t.to.as_str()) {
        ("", to) => format!("{name} registered, {to}"),
        (_, "") => format!("{name} deregistered"),
        (from, to) => format!("{name} {from} to {to}"),
    };
    Change { at_ms: t.at_ms, to: of_status(&t.to), text, place: place.to_owned(), output: t.output.clone() }
}

/// Who has to be asked to remove or change something on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The node's agent, which is alive.
    Agent,
    /// The node's agent does not answer: only the catalog can be changed.
    Gone,
    /// Nobody: the node was registered from outside.
    External,
}

/// Who owns what is on a node, told from the node's checks.
pub(crate) fn owner(checks: &[Check]) -> Owner {
    match checks.iter().find(|c| c.id == SERF_HEALTH) {
        None => Owner::External,
        Some(c) if c.status == Status::PASSING => Owner::Agent,
        Some(_) => Owner::Gone,
    }
}

/// Why nothing can be asked of the agent of [`Owner::Gone`].
pub(crate) const GONE: &str = "The agent of this node does not answer.";

/// Why a node or its instances cannot be put into maintenance; empty when they can.
pub(crate) fn no_maintenance(owner: Owner) -> String {
    match owner {
        Owner::Agent => String::new(),
        Owner::Gone => GONE.to_owned(),
        Owner::External => "This node has no agent, and maintenance needs one.".to_owned(),
    }
}

/// What deregistering will do, said before it is done.
pub(crate) fn consequence(owner: Owner, node: &str, id: &str) -> String {
    match owner {
        Owner::Agent => format!(
            "The agent on {node} forgets {id} and stops its checks; DNS and queries stop handing it out at once. \
             If it comes from a configuration file or a scheduler, that registers it again."
        ),
        Owner::Gone => format!(
            "The agent on {node} does not answer, so {id} is removed from the catalog only. \
             If that agent comes back, it registers {id} again."
        ),
        Owner::External => format!("{node} has no agent: the entry goes from the catalog, and nothing brings it back by itself."),
    }
}

#[cfg(test)]
mod tests {
    use shared::{node::Node, service::Service};

    use super::*;

    fn check_of(id: &str, status: Status) -> Check {
        Check { id: id.to_owned(), status, ..Check::default() }
    }

    fn row(node: &str, id: &str, status: Status) -> ServiceNode {
        ServiceNode {
            node: Node { name: node.to_owned(), address: "10.0.0.1".to_owned(), ..Node::default() },
            service: Service { id: id.to_owned(), port: 80, ..Service::default() },
            checks: vec![check_of("c", status)],
        }
    }

    #[test]
    fn instances_come_worst_first_then_by_id_and_node() {
        let rows = [
            row("n2", "a", Status::PASSING),
            row("n1", "a", Status::PASSING),
            row("n1", "z", Status::CRITICAL),
            row("n1", "b", Status::WARNING),
        ];
        let order: Vec<_> = instances(&rows).into_iter().map(|i| format!("{} {} {}", i.id, i.node, i.address)).collect();
        assert_eq!(order, ["z n1 10.0.0.1:80", "b n1 10.0.0.1:80", "a n1 10.0.0.1:80", "a n2 10.0.0.1:80"]);
    }

    #[test]
    fn addresses_join_host_and_port() {
        for (host, port, expected) in [("10.0.0.1", 80, "10.0.0.1:80"), ("::1", 80, "[::1]:80"), ("db.local", 0, "db.local")] {
            assert_eq!(join(host, port), expected);
        }
    }

    #[test]
    fn headline_names_the_worst_thing() {
        let check = |healths: &[Health], expected: &str| {
            let mut counts = Counts::default();
            healths.iter().for_each(|h| counts.add(*h));
            assert_eq!(headline(&counts).1, expected);
        };
        use Health::*;
        check(&[], "No instances");
        check(&[Passing], "Passing");
        check(&[Passing, Passing], "All 2 passing");
        check(&[Critical, Passing, Critical], "2 of 3 instances failing");
        check(&[Critical], "The only instance is failing");
        check(&[Warning, Passing], "1 of 2 instances warning");
        check(&[Maintenance, Maintenance], "In maintenance");
        check(&[Maintenance, Passing], "1 of 2 instances in maintenance");
        check(&[None, None], "No checks");
        check(&[None, Passing], "1 passing, 1 without checks");
    }

    #[test]
    fn times_are_said_in_at_most_two_units() {
        let minute = 60_000;
        for (ms, expected) in [
            (4_000, "4 s"),
            (14 * minute, "14 min"),
            (60 * minute, "1 h"),
            (333 * minute, "5 h 33 min"),
            (26 * 60 * minute, "1 d 2 h"),
            (6 * 1440 * minute + 5, "6 d"),
        ] {
            assert_eq!(span(ms), expected);
        }
        assert_eq!(lasting(Health::Critical, 1, 1 + 14 * minute).as_deref(), Some("failing for 14 min"));
        assert_eq!(lasting(Health::Passing, 0, 5), None, "not recorded");
        assert_eq!(lasting(Health::Passing, 10, 5).as_deref(), Some("passing for 0 s"), "the clocks differ");
    }

    #[test]
    fn definitions_are_said_in_short_parts() {
        let secs = go::Duration::from_secs;
        let check = |kind: &str, d: CheckDefinition, expected: &[&str]| assert_eq!(definition(kind, &d), expected);
        check(
            "http",
            CheckDefinition { http: "http://a/h".into(), interval: secs(10), timeout: secs(3), ..CheckDefinition::default() },
            &["http://a/h", "every 10 s, timeout 3 s"],
        );
        check(
            "http",
            CheckDefinition { http: "http://a/h".into(), method: "POST".into(), interval: secs(90), ..CheckDefinition::default() },
            &["POST http://a/h", "every 1 min 30 s"],
        );
        check(
            "script",
            CheckDefinition {
                args: vec!["/opt/q.sh".into(), "-v".into()],
                interval: go::Duration::from_millis(500),
                ..CheckDefinition::default()
            },
            &["script /opt/q.sh -v", "every 500 ms"],
        );
        check("ttl", CheckDefinition { ttl: secs(30), ..CheckDefinition::default() }, &["must report every 30 s"]);
        check("ttl", CheckDefinition::default(), &["reported by the service"]);
        check("", CheckDefinition::default(), &[]);
    }

    #[test]
    fn a_run_is_told_in_a_sentence() {
        let run = |result: Status, status: Status, output: &str| Run {
            result,
            status,
            output: output.to_owned(),
            duration_ms: 212,
            ..Run::default()
        };
        let check = |run: &Run, before: Status, ago, lead: &str, text: &str| {
            let outcome = outcome(run, &before, ago);
            assert_eq!((outcome.lead.as_str(), outcome.text.as_str()), (lead, text));
        };
        let fail = "HTTP GET http://a:1/h: 503 Service Unavailable Output: {\"db\":\"x\"}";
        check(
            &run(Status::CRITICAL, Status::CRITICAL, fail),
            Status::CRITICAL,
            4_200,
            "Still failing.",
            "You ran this 4 s ago: 503 in 212 ms.",
        );
        check(
            &run(Status::PASSING, Status::PASSING, "HTTP GET http://a: 200 OK Output: ok"),
            Status::CRITICAL,
            0,
            "Now passing.",
            "You ran this just now: 200 in 212 ms.",
        );
        check(
            &run(Status::PASSING, Status::CRITICAL, "TCP connect a:1: Success"),
            Status::CRITICAL,
            0,
            "This run is passing, the check stays critical until more runs agree.",
            "You ran this just now, it took 212 ms.",
        );
        check(
            &run(Status::CRITICAL, Status::CRITICAL, "dial tcp 127.0.0.1:1: connect: connection refused"),
            Status::PASSING,
            61_000,
            "Now failing.",
            "You ran this 1 min ago: connection refused in 212 ms.",
        );
    }

    #[test]
    fn outputs_are_marked_where_they_say_what_is_wrong() {
        let check = |output: &str, bad, expected: &str| {
            let got: String = marked(output, bad).into_iter().map(|(hit, t)| if hit { format!("<{t}>") } else { t }).collect();
            assert_eq!(got, expected);
        };
        check(
            "HTTP GET http://a:1/h: 503 Service Unavailable Output: {\"db\":1}\n",
            true,
            "HTTP GET http://a:1/h: <503 Service Unavailable>\n{\"db\":1}",
        );
        check("HTTP GET http://a:1/h: 200 OK Output: ok", false, "HTTP GET http://a:1/h: 200 OK\nok");
        check("HTTP GET http://a:1/h: 404 Not Found Output: ", true, "HTTP GET http://a:1/h: <404 Not Found>");
        check("dial tcp 1.2.3.4:80: connect: connection refused", true, "dial tcp 1.2.3.4:80: connect: <connection refused>");
        check("plain", true, "plain");
        check("", true, "");
        check("HTTP GET über: 5ü3 x", true, "HTTP GET über: 5ü3 x");
    }

    #[test]
    fn a_check_can_be_repeated_in_a_shell() {
        let check = |d: CheckDefinition, expected: Option<&str>| assert_eq!(command(&d).as_deref(), expected);
        let http = CheckDefinition { http: "http://a/it's".into(), ..CheckDefinition::default() };
        check(http.clone(), Some(r"curl -i 'http://a/it'\''s'"));
        let header = [("A".to_owned(), vec!["b c".to_owned()])].into();
        let timeout = go::Duration::from_millis(2_500);
        check(
            CheckDefinition {
                http: "https://a".into(),
                method: "PUT".into(),
                tls_skip_verify: true,
                header,
                body: "x".into(),
                timeout,
                ..http
            },
            Some("curl -i -X PUT -k -H 'A: b c' --data 'x' --max-time 2.5 'https://a'"),
        );
        check(CheckDefinition { tcp: "[::1]:80".into(), ..CheckDefinition::default() }, Some("nc -vz ::1 80"));
        check(CheckDefinition { args: vec!["/bin/q".into(), "a b".into()], ..CheckDefinition::default() }, Some("/bin/q 'a b'"));
        check(CheckDefinition { ttl: timeout, ..CheckDefinition::default() }, None);
    }

    #[test]
    fn history_becomes_lane_last_pass_and_changes() {
        let t = |at_ms, from: &str, to: &str, output: &str| Transition {
            at_ms,
            from: from.into(),
            to: to.into(),
            output: output.into(),
            ..Transition::default()
        };
        let history = History {
            transitions: vec![
                t(10, "", "critical", ""),
                t(20, "critical", "passing", "good"),
                t(30, "passing", "warning", ""),
                t(40, "warning", "", ""),
            ],
            since_ms: 5,
            ..History::default()
        };
        assert_eq!(last_pass(&history), Some((30, "good")));
        let lane = record(&history);
        assert_eq!((lane.since_ms, lane.before, lane.points.len(), lane.points[3].1), (5, None, 4, None));
        let texts: Vec<_> = changes([(&history, "ping", "web-1")], 3).into_iter().map(|c| c.text).collect();
        assert_eq!(texts, ["ping deregistered", "ping passing to warning", "ping critical to passing"]);
    }

    #[test]
    fn the_owner_is_told_from_the_gossip_check() {
        assert_eq!(owner(&[]), Owner::External);
        assert_eq!(owner(&[check_of(SERF_HEALTH, Status::PASSING)]), Owner::Agent);
        assert_eq!(owner(&[check_of(SERF_HEALTH, Status::CRITICAL)]), Owner::Gone);
        for owner in [Owner::Agent, Owner::Gone, Owner::External] {
            assert!(consequence(owner, "n1", "web-1").contains("n1"));
        }
    }
}
