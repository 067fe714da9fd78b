//! What the service list asks for and says. Pure.

use shared::{
    health::{Counts, Health},
    page::{Page, PageQuery},
    service::ServiceRow,
};

use crate::{
    components::{
        Choice, health,
        rows::{Row, WINDOW},
    },
    format::count,
};

impl Row for ServiceRow {
    fn key(&self) -> &str {
        &self.name
    }
}

/// What the address says about the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) filter: String,
    /// States, separated by commas; empty keeps all.
    pub(crate) status: String,
    /// `Name:asc`, as in Consul's addresses.
    pub(crate) sort: String,
    pub(crate) group: String,
}

impl Asked {
    pub(crate) fn query(&self, offset: u32) -> PageQuery {
        PageQuery {
            offset,
            limit: WINDOW,
            sort: self.sort.to_lowercase(),
            status: self.status.split(',').filter_map(state).collect(),
            search: self.filter.trim().to_owned(),
            of: self.group.clone(),
        }
    }

    /// Whether rows are left out.
    pub(crate) fn narrows(&self) -> bool {
        !self.filter.trim().is_empty() || !self.status.is_empty() || !self.group.is_empty()
    }

    pub(crate) fn scope(&self) -> String {
        [&self.filter, &self.status, &self.sort, &self.group].map(String::as_str).join("\n")
    }

    /// The order after a press on a column: ascending, then descending, then the default.
    pub(crate) fn sorted_by(&self, field: &str) -> String {
        match self.direction(field) {
            None => format!("{field}:asc"),
            Some("ascending") => format!("{field}:desc"),
            Some(_) => String::new(),
        }
    }

    /// How the list is sorted by a column, in the word of `aria-sort`. Worst first is the default.
    pub(crate) fn direction(&self, field: &str) -> Option<&'static str> {
        let (sorted, direction) = self.sort.split_once(':').unwrap_or((&self.sort, "asc"));
        let sorted = if sorted.is_empty() { "Status" } else { sorted };
        sorted.eq_ignore_ascii_case(field).then_some(if direction == "desc" { "descending" } else { "ascending" })
    }
}

fn state(word: &str) -> Option<Health> {
    Health::ALL.into_iter().find(|health| health.as_str() == word)
}

/// The segments over the list: all, and each state that is not the normal one.
pub(crate) fn segments(counts: &Counts, states: &[Health]) -> Vec<Choice> {
    let mut out = vec![Choice::new("", "All").count(count(counts.total))];
    for health in states {
        let choice = Choice::new(health.as_str(), health::word(*health)).icon(health::icon(*health), health::class(*health));
        out.push(choice.count(count(counts.of(*health))));
    }
    out
}

/// `1 to 19 of 1,284`.
pub(crate) fn place<R>(sight: Option<(u32, u32)>, page: &Page<R>) -> String {
    match sight {
        Some((first, last)) => format!("{} to {} of {}", count(first), count(last), count(page.matched)),
        None => "none".to_owned(),
    }
}

/// How long the agent took.
pub(crate) fn took(us: u64) -> String {
    format!("filtered in {}", crate::format::duration(us as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(sort: &str) -> Asked {
        Asked { sort: sort.to_owned(), ..Asked::default() }
    }

    #[test]
    fn the_address_becomes_a_query() {
        let asked = Asked {
            filter: " pay ".to_owned(),
            status: "critical,warning,x".to_owned(),
            sort: "Name:desc".to_owned(),
            group: "edge".to_owned(),
        };
        let query = asked.query(50);
        assert_eq!((query.offset, query.sort.as_str(), query.search.as_str(), query.of.as_str()), (50, "name:desc", "pay", "edge"));
        assert_eq!(query.status, [Health::Critical, Health::Warning]);
        assert!(asked.narrows() && !Asked::default().narrows());
    }

    #[test]
    fn a_column_is_sorted_up_then_down_then_not() {
        let steps = [("", "Name:asc"), ("Name:asc", "Name:desc"), ("Name:desc", ""), ("Changed:asc", "Name:asc")];
        for (now, next) in steps {
            assert_eq!(asked(now).sorted_by("Name"), next, "{now}");
        }
        assert_eq!(asked("").direction("Status"), Some("ascending"));
        assert_eq!(asked("name:desc").direction("Name"), Some("descending"));
        assert_eq!(asked("Name:asc").direction("Status"), None);
    }

    #[test]
    fn the_foot_says_what_is_in_sight() {
        let page = Page::<ServiceRow> { matched: 1284, ..Page::default() };
        assert_eq!(place(Some((1, 19)), &page), "1 to 19 of 1,284");
        assert_eq!(place(None, &page), "none");
        assert_eq!(took(600), "filtered in 0.6 ms");
    }
}
