//! Pages of rows: search words, order, counts. Pure.
//!
//! Only the rows of the page are built; everything else about a list works on what the store keeps ready.

use std::cmp::Ordering;

use shared::{
    health::{Counts, Health},
    page::{LIMIT_DEFAULT, LIMIT_MAX, Page, PageQuery},
};

use crate::rpc::Error;

/// Where a word of the search is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Anywhere,
    Tag,
    Node,
    Meta(String),
}

/// What a row offers to the search.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text<'a> {
    /// Name, address, id, output.
    Plain(&'a str),
    /// A tag.
    Tag(&'a str),
    /// A node's name.
    Node(&'a str),
    /// A pair of metadata.
    Meta(&'a str, &'a str),
}

/// The words of a search, all of which must be found.
#[derive(Clone, Debug, Default)]
pub(super) struct Search(Vec<(Place, String)>);

impl Search {
    pub(super) fn parse(text: &str) -> Self {
        let word = |word: &str| {
            let word = word.to_lowercase();
            if let Some(tag) = word.strip_prefix("tag:") {
                (Place::Tag, tag.to_owned())
            } else if let Some(node) = word.strip_prefix("node:") {
                (Place::Node, node.to_owned())
            } else if let Some((key, value)) = word.strip_prefix("meta.").and_then(|pair| pair.split_once('=')) {
                (Place::Meta(key.to_owned()), value.to_owned())
            } else {
                (Place::Anywhere, word)
            }
        };
        Self(text.split_whitespace().map(word).collect())
    }

    /// Whether every word is found. `texts` are called for each word and may be many: they come lazily.
    pub(super) fn finds<'a, T: Iterator<Item = Text<'a>>>(&self, texts: impl Fn() -> T) -> bool {
        self.0.iter().all(|(place, word)| texts().any(|text| found(place, word, text)))
    }
}

fn found(place: &Place, word: &str, text: Text<'_>) -> bool {
    match (place, text) {
        (Place::Anywhere, Text::Plain(text) | Text::Tag(text) | Text::Node(text)) => occurs(word, text),
        (Place::Anywhere, Text::Meta(key, value)) => occurs(word, value) || occurs(word, key),
        (Place::Tag, Text::Tag(text)) | (Place::Node, Text::Node(text)) => matches(word, text),
        (Place::Meta(wanted), Text::Meta(key, value)) => key.eq_ignore_ascii_case(wanted) && matches(word, value),
        _ => false,
    }
}

/// Whether the word, in lower case, occurs in the text; `*` in it stands for any text.
fn occurs(word: &str, text: &str) -> bool {
    if word.contains('*') {
        return matches(&format!("*{word}*"), text);
    }
    if !text.is_ascii() {
        return text.to_lowercase().contains(word);
    }
    word.is_empty() || text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether the whole text is the word, in lower case; `*` in it stands for any text.
fn matches(word: &str, text: &str) -> bool {
    let text = text.to_lowercase();
    let Some((first, rest)) = word.split_once('*') else { return word == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

/// The order asked for.
pub(super) struct Sort<'a> {
    /// Which field; empty for the default order.
    pub(super) field: &'a str,
    descending: bool,
}

impl<'a> Sort<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Error> {
        let (field, direction) = text.split_once(':').unwrap_or((text, "asc"));
        let descending = match direction {
            "asc" | "" => false,
            "desc" => true,
            other => return Err(Error::BadRequest(format!("Invalid sort direction: \"{other}\""))),
        };
        Ok(Self { field, descending })
    }

    pub(super) fn unknown(&self) -> Error {
        Error::BadRequest(format!("Invalid sort field: \"{}\"", self.field))
    }
}

/// Compares two items of a list.
pub(super) type Compare<'a, I> = &'a dyn Fn(&I, &I) -> Ordering;

/// How the rows of one list are judged, ordered and built.
pub(super) struct List<'a, I, R> {
    pub(super) health: &'a dyn Fn(&I) -> Health,
    pub(super) matches: &'a dyn Fn(&I) -> bool,
    /// By the field asked for; `None` for the default order, worst health first.
    pub(super) order: Option<Compare<'a, I>>,
    /// Breaks ties.
    pub(super) name: Compare<'a, I>,
    pub(super) row: &'a dyn Fn(&I) -> R,
}

impl<I, R> List<'_, I, R> {
    /// One page of what the caller may see. Time stays to be filled in.
    pub(super) fn page(&self, query: &PageQuery, sort: &Sort<'_>, items: impl Iterator<Item = I>) -> Page<R> {
        let (mut totals, mut counts) = (Counts::default(), Counts::default());
        let mut kept = Vec::new();
        for item in items {
            let health = (self.health)(&item);
            totals.add(health);
            if (self.matches)(&item) {
                counts.add(health);
                if query.status.is_empty() || query.status.contains(&health) {
                    kept.push((health, item));
                }
            }
        }
        kept.sort_by(|(a_health, a), (b_health, b)| {
            let by_field = match self.order {
                Some(order) if sort.descending => order(b, a),
                Some(order) => order(a, b),
                None if sort.descending => urgency(*a_health).cmp(&urgency(*b_health)),
                None => urgency(*b_health).cmp(&urgency(*a_health)),
            };
            by_field.then_with(|| (self.name)(a, b))
        });
        let limit = if query.limit == 0 { LIMIT_DEFAULT } else { query.limit.min(LIMIT_MAX) };
        let rows = kept.iter().skip(query.offset as usize).take(limit as usize).map(|(_, item)| (self.row)(item)).collect();
        let matched = u32::try_from(kept.len()).unwrap_or(u32::MAX);
        Page { rows, offset: query.offset, matched, counts, totals, took_us: 0, now_ms: 0 }
    }
}

/// What a list shows first. Maintenance was meant to be, so it comes after what is not; without checks there is nothing to
/// worry about more than about passing.
fn urgency(health: Health) -> u8 {
    match health {
        Health::Critical => 3,
        Health::Warning => 2,
        Health::Maintenance => 1,
        Health::Passing | Health::None => 0,
    }
}

/// Compares texts without regard to case.
pub(super) fn by_name(a: &str, b: &str) -> Ordering {
    let fold = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
    let folded = if a.is_ascii() && b.is_ascii() {
        a.bytes().map(|b| b.to_ascii_lowercase()).cmp(b.bytes().map(|b| b.to_ascii_lowercase()))
    } else {
        fold(a).cmp(&fold(b))
    };
    folded.then_with(|| a.cmp(b))
}

/// The first line that says something, cut to what a row can show.
pub(super) fn one_line(output: &str) -> String {
    let line = output.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().take(240).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_anywhere_and_a_place_is_matched_whole() {
        let check = |search: &str, expected: bool| {
            let texts = [Text::Plain("Web-Frontend"), Text::Tag("v1"), Text::Tag("eu"), Text::Node("node-7"), Text::Meta("team", "Shop")];
            assert_eq!(Search::parse(search).finds(|| texts.into_iter()), expected, "{search}");
        };
        check("", true);
        check("front", true);
        check("FRONT v1", true);
        check("front v2", false);
        check("web*end", true);
        check("web*x", false);
        check("tag:v1", true);
        check("tag:v", false);
        check("tag:v*", true);
        check("tag:v1 tag:eu", true);
        check("node:node-7", true);
        check("node:node", false);
        check("node:*7", true);
        check("meta.team=shop", true);
        check("meta.team=s*p", true);
        check("meta.team=sho", false);
        check("meta.other=shop", false);
        check("shop", true);
    }

    #[test]
    fn trouble_comes_before_maintenance_and_the_rest_by_name() {
        let items = [(1, Health::Passing), (2, Health::None), (3, Health::Maintenance), (4, Health::Critical), (5, Health::Warning)];
        let list = List {
            health: &|item: &(u32, Health)| item.1,
            matches: &|_| true,
            order: None,
            name: &|a, b| a.0.cmp(&b.0),
            row: &|item| item.0,
        };
        let page = list.page(&PageQuery::default(), &Sort::parse("").expect("valid"), items.into_iter());
        assert_eq!(page.rows, [4, 5, 3, 1, 2]);
    }

    #[test]
    fn a_page_counts_everything_and_cuts_after_sorting() {
        let items = (0..250_u32).map(|n| (n, if n % 10 == 0 { Health::Critical } else { Health::Passing }));
        let list = List {
            health: &|item: &(u32, Health)| item.1,
            matches: &|item| item.0 < 200,
            order: None,
            name: &|a, b| a.0.cmp(&b.0),
            row: &|item| item.0,
        };
        let query = PageQuery { offset: 15, limit: 10, ..PageQuery::default() };
        let sort = Sort::parse("").expect("valid");
        let page = list.page(&query, &sort, items.clone());
        assert_eq!(page.rows, [150, 160, 170, 180, 190, 1, 2, 3, 4, 5]);
        assert_eq!((page.matched, page.counts.critical, page.totals.total), (200, 20, 250));
        let critical = PageQuery { status: vec![Health::Critical], ..query };
        assert_eq!(list.page(&critical, &sort, items).matched, 20);
    }
}
