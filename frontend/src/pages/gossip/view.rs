//! What the gossip page says. Pure.

use shared::{
    gossip::{Member, Pool},
    page::Page,
};

use crate::{
    components::{
        Choice,
        hero::{Fact, Sentence},
        rows::Row,
    },
    format::{self, count, plural},
};

impl Row for Member {
    fn key(&self) -> &str {
        &self.name
    }
}

/// Icon, its class, and the word for a member's status.
pub(super) fn mark(status: &str) -> (&'static str, &'static str, &'static str) {
    match status {
        "alive" => ("passing", "ok", "Alive"),
        "suspect" => ("warning", "warn", "Suspect"),
        "failed" => ("critical", "crit", "Failed"),
        "leaving" => ("none", "none", "Leaving"),
        _ => ("none", "none", "Left"),
    }
}

/// The states a list can be narrowed to.
const STATES: [&str; 4] = ["alive", "suspect", "failed", "left"];

/// How many members have a status.
pub(crate) fn number(pool: &Pool, status: &str) -> u32 {
    pool.members.iter().filter(|member| is(member, status)).count() as u32
}

/// Who is leaving counts as left.
fn is(member: &Member, status: &str) -> bool {
    member.status == status || (status == "left" && member.status == "leaving")
}

/// The state of the pool.
pub(super) fn sentence(pool: &Pool) -> Sentence {
    let (failed, suspect, left) = (number(pool, "failed"), number(pool, "suspect"), number(pool, "left"));
    let total = pool.members.len() as u32;
    let verb = |number: u32, one: &'static str, many: &'static str| if number == 1 { one } else { many };
    let keys = match (pool.encrypted, pool.keys) {
        (false, _) => "Packets are not encrypted.".to_owned(),
        (true, 1) => "Packets are encrypted.".to_owned(),
        (true, many) => format!("Packets are encrypted; {many} keys are installed."),
    };
    let patience = format!("Who is suspected has {} to refute it.", format::duration(pool.suspicion_ms as f64));
    let left = if left == 0 { String::new() } else { format!("{} {} left. ", count(left), verb(left, "has", "have")) };
    let more = format!("{left}{keys} {patience}");
    let says = |loud: String, class: &'static str, rest: &str| Sentence { loud, class, rest: rest.to_owned(), more: more.clone() };
    match (total, failed, suspect) {
        (0 | 1, _, _) => says(String::new(), "", "This agent is alone."),
        (_, 0, 0) => says(String::new(), "", &format!("{}, all of them well.", plural(total, "member", "members"))),
        (_, 0, _) => says(plural(suspect, "member", "members"), "warn", verb(suspect, " is suspected.", " are suspected.")),
        _ => says(plural(failed, "member", "members"), "crit", verb(failed, " has failed.", " have failed.")),
    }
}

/// The numbers beside it.
pub(super) fn facts(pool: &Pool) -> Vec<Fact> {
    let servers = pool.members.iter().filter(|member| member.role == "server" && !is(member, "left")).count();
    let clients = pool.members.iter().filter(|member| member.role != "server" && !is(member, "left")).count();
    let health = if pool.health == 0 { "on time".to_owned() } else { format!("late, {}", pool.health) };
    let mut facts = vec![
        Fact::new("Servers", count(servers as u64), String::new()),
        Fact::new("Clients", count(clients as u64), String::new()),
        Fact::new("This agent's timers", health, String::new()),
    ];
    let trip = median_trip(pool);
    if !trip.is_empty() {
        facts.push(Fact::new("Median round trip", trip, String::new()));
    }
    facts
}

/// How long an exchange takes with half of the members; empty when none was measured.
pub(crate) fn median_trip(pool: &Pool) -> String {
    let mut trips: Vec<u64> = pool.members.iter().filter_map(|member| member.round_trip_us).collect();
    crate::order::sort_by(&mut trips, Ord::cmp);
    trips.get(trips.len() / 2).map_or_else(String::new, |median| format::duration(*median as f64 / 1000.0))
}

/// All, and every state.
pub(super) fn segments(pool: &Pool) -> Vec<Choice> {
    let mut out = vec![Choice::new("", "All").count(count(pool.members.len() as u64))];
    for status in STATES {
        let (icon, class, word) = mark(status);
        out.push(Choice::new(status, word).icon(icon, class).count(count(number(pool, status))));
    }
    out
}

/// The members that match, those in trouble first, then by name.
pub(super) fn page(pool: &Pool, filter: &str, status: &str) -> Page<Member> {
    let words: Vec<String> = filter.split_whitespace().map(str::to_lowercase).collect();
    let matches = |member: &&Member| {
        let text = format!("{} {} {} {} {}", member.name, member.address, member.role, member.version, member.id).to_lowercase();
        (status.is_empty() || is(member, status)) && words.iter().all(|word| text.contains(word.as_str()))
    };
    let rank = |member: &Member| match member.status.as_str() {
        "failed" => 0_u8,
        "suspect" => 1,
        "leaving" => 2,
        "left" => 4,
        _ => 3,
    };
    let mut rows: Vec<Member> = pool.members.iter().filter(matches).cloned().collect();
    crate::order::sort_by(&mut rows, |a, b| (rank(a), &a.name).cmp(&(rank(b), &b.name)));
    Page { matched: rows.len() as u32, rows, ..Page::default() }
}

/// When a member that is gone will be forgotten; empty for the others.
pub(super) fn forgotten(pool: &Pool, member: &Member) -> String {
    let kept = match member.status.as_str() {
        "failed" => pool.failed_kept_ms,
        "left" => pool.left_kept_ms,
        _ => return String::new(),
    };
    match kept.saturating_sub(member.since_ms) {
        _ if kept == 0 => String::new(),
        0 => "forgotten any moment".to_owned(),
        left => format!("forgotten in {}", format::span(left)),
    }
}

/// How long an exchange with a member takes.
pub(super) fn trip(pool: &Pool, member: &Member) -> String {
    match member.round_trip_us {
        _ if member.name == pool.node => "itself".to_owned(),
        Some(us) => format::duration(us as f64 / 1000.0),
        None => String::new(),
    }
}

/// Members somebody accuses or that are gone without having left, at most so many.
pub(super) fn accused(pool: &Pool, most: usize) -> Vec<String> {
    let mut names: Vec<String> =
        page(pool, "", "failed").rows.into_iter().chain(page(pool, "", "suspect").rows).map(|member| member.name).collect();
    names.truncate(most);
    names
}

/// Who accused a member, in words; empty when nobody is known.
pub(super) fn accusers(pool: &Pool, name: &str) -> String {
    let accused = pool.members.iter().find(|member| member.name == name && !member.accused_by.is_empty());
    accused.map_or_else(String::new, |member| format!("accused by {}", member.accused_by.join(", ")))
}

/// Whether one member accuses another, or did when that was declared failed.
pub(super) fn accuses(pool: &Pool, by: &str, name: &str) -> bool {
    pool.members.iter().any(|member| member.name == name && member.accused_by.iter().any(|accuser| accuser == by))
}

/// Whom to ask what they think: accusers first, then servers, at most so many; and how many could be asked.
pub(super) fn witnesses(pool: &Pool, most: usize) -> (Vec<String>, usize) {
    let accuser = |name: &String| pool.members.iter().any(|member| member.accused_by.contains(name));
    let alive = pool.members.iter().filter(|member| member.status == "alive");
    let mut names: Vec<(u8, String)> = alive
        .map(|member| {
            let rank = if accuser(&member.name) { 0 } else { 1 + u8::from(member.role != "server") };
            (rank, member.name.clone())
        })
        .collect();
    crate::order::sort_by(&mut names, Ord::cmp);
    let total = names.len();
    (names.into_iter().map(|(_, name)| name).take(most).collect(), total)
}

/// What a witness thinks of somebody: the status, and for how long.
pub(super) fn opinion(pool: &Pool, name: &str) -> (&'static str, &'static str, String) {
    match pool.members.iter().find(|member| member.name == name) {
        Some(member) => {
            let (icon, class, word) = mark(&member.status);
            (icon, class, format!("{word} for {}", format::span(member.since_ms)))
        }
        None => ("none", "none", "Does not know it".to_owned()),
    }
}

/// Eight digits that tell keys apart and nothing about them.
pub(super) fn fingerprint(key: &str) -> String {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let text = format!("{hash:08x}");
    format!("{} {}", &text[..4], &text[4..])
}

/// Why a text cannot be a key; `None` when it can.
pub(super) fn bad_key(text: &str) -> Option<&'static str> {
    let text = text.trim();
    let alphabet = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    let bytes = (text.len() / 4 * 3).saturating_sub(padding);
    match (alphabet && text.len().is_multiple_of(4) && padding < 3, bytes) {
        (true, 16 | 24 | 32) => None,
        _ => Some("Use 16, 24 or 32 bytes in base64, such as muster keygen prints."),
    }
}

/// Random bytes as base64.
pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let letter = if at > three.len() { '=' } else { char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]) };
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, status: &str, role: &str) -> Member {
        let address = format!("10.0.0.{}:8301", name.len());
        Member {
            name: name.to_owned(),
            status: status.to_owned(),
            role: role.to_owned(),
            address,
            since_ms: 3_600_000,
            ..Member::default()
        }
    }

    fn pool(members: Vec<Member>) -> Pool {
        Pool {
            node: "a".to_owned(),
            suspicion_ms: 4_500,
            failed_kept_ms: 72 * 3_600_000,
            left_kept_ms: 3_600_000,
            members,
            ..Pool::default()
        }
    }

    #[test]
    fn the_title_says_the_worst() {
        let said = |members: Vec<Member>| {
            let sentence = sentence(&pool(members));
            format!("{}|{}", sentence.loud, sentence.rest)
        };
        let well = || vec![member("a", "alive", "server"), member("b", "alive", "client")];
        let with = |status: &str| well().into_iter().chain([member("c", status, "client")]).collect::<Vec<_>>();
        assert_eq!(said(vec![member("a", "alive", "server")]), "|This agent is alone.");
        assert_eq!(said(well()), "|2 members, all of them well.");
        assert_eq!(said(with("suspect")), "1 member| is suspected.");
        assert_eq!(said(with("failed")), "1 member| has failed.");
        let left = sentence(&pool(with("left")));
        assert_eq!(left.more, "1 has left. Packets are not encrypted. Who is suspected has 4.5 s to refute it.");
    }

    #[test]
    fn trouble_comes_first_and_the_filter_looks_everywhere() {
        let pool = pool(vec![
            member("b", "alive", "client"),
            member("a", "alive", "server"),
            member("z", "failed", "client"),
            member("y", "left", "client"),
        ]);
        let names = |filter: &str, status: &str| page(&pool, filter, status).rows.into_iter().map(|row| row.name).collect::<Vec<_>>();
        assert_eq!(names("", ""), ["z", "a", "b", "y"]);
        assert_eq!((names("SERV", ""), names("", "left"), names("10.0 nobody", "")), (vec!["a".to_owned()], vec!["y".to_owned()], vec![]));
        assert_eq!((accused(&pool, 8), witnesses(&pool, 1)), (vec!["z".to_owned()], (vec!["a".to_owned()], 2)));
        let mut accused = pool.clone();
        accused.members[2].accused_by = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!((accusers(&accused, "z").as_str(), accusers(&pool, "z").as_str()), ("accused by a, b", ""));
        assert!(accuses(&accused, "a", "z") && !accuses(&accused, "z", "a") && !accuses(&pool, "a", "z"));
        accused.members[2].accused_by = vec!["b".to_owned()];
        assert_eq!(witnesses(&accused, 9).0, ["b", "a"], "who accuses is asked first, also a client");
        assert_eq!((opinion(&pool, "z").2, opinion(&pool, "q").2), ("Failed for 1 h".to_owned(), "Does not know it".to_owned()));
    }

    #[test]
    fn round_trips_are_told_for_each_and_in_the_middle() {
        let trips = |trips: &[Option<u64>]| {
            let members = trips
                .iter()
                .enumerate()
                .map(|(at, trip)| Member { round_trip_us: *trip, ..member(["a", "b", "c", "d"][at], "alive", "server") });
            pool(members.collect())
        };
        let measured = trips(&[None, Some(1_540), Some(212_000), Some(360)]);
        let told: Vec<String> = measured.members.iter().map(|member| trip(&measured, member)).collect();
        assert_eq!(told, ["itself", "1.5 ms", "212 ms", "0.4 ms"]);
        assert_eq!(median_trip(&measured), "1.5 ms");
        let median = |pool: &Pool| facts(pool).into_iter().find(|fact| fact.name == "Median round trip").map(|fact| fact.value);
        assert_eq!(median(&measured).as_deref(), Some("1.5 ms"));
        let unknown = trips(&[None, None]);
        assert_eq!((trip(&unknown, &unknown.members[1]).as_str(), median(&unknown)), ("", None), "nothing is made up");
    }

    #[test]
    fn who_is_gone_is_forgotten_after_a_while() {
        let pool = pool(Vec::new());
        let told = |status: &str| forgotten(&pool, &member("a", status, "client"));
        assert_eq!(
            (told("failed").as_str(), told("left").as_str(), told("alive").as_str()),
            ("forgotten in 2 d", "forgotten any moment", "")
        );
    }

    #[test]
    fn keys_are_told_apart_without_being_shown() {
        let key = base64(&[7; 32]);
        assert_eq!(bad_key(&key), None);
        assert_eq!(base64(b"hello"), "aGVsbG8=");
        assert_eq!(base64(&[0, 255, 128]), "AP+A");
        assert!(fingerprint(&key) != fingerprint(&base64(&[8; 32])) && fingerprint(&key).len() == 9);
        for bad in ["", "aGVsbG8=", "not base64 at all", "AAAA"] {
            assert!(bad_key(bad).is_some(), "{bad}");
        }
    }
}
