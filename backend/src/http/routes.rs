//! The route table: exact paths, and prefixes that end in a slash; the longest prefix wins. Never runs a handler.
//!
//! A table of our own since Consul's clients rely on how Go's mux matches: keys may contain anything after the prefix, a
//! prefix without its slash redirects, `HEAD` is refused, and `Allow` lists methods in the endpoint's own order.

use std::{collections::HashMap, pin::Pin};

use axum::{http::Method, response::Response};

use super::{error::Error, extract::Call};

type Answering = Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>;
type Handler = Box<dyn Fn(Call) -> Answering + Send + Sync>;

/// What a path leads to.
pub(super) struct Endpoint {
    methods: Vec<(Method, String, Handler)>,
}

impl Endpoint {
    /// Value of the `Allow` header.
    pub(super) fn allow(&self) -> String {
        self.methods.iter().fold("OPTIONS".to_owned(), |list, (method, ..)| format!("{list},{method}"))
    }

    /// What answers this method, if it is allowed, and the name of the metric that times it.
    pub(super) fn handler(&self, method: &Method) -> Option<(&str, &Handler)> {
        self.methods.iter().find(|(known, ..)| known == method).map(|(_, metric, handler)| (metric.as_str(), handler))
    }
}

/// What a path matches.
pub(super) enum Match<'a> {
    /// An endpoint, and where its prefix ends.
    Found(&'a Endpoint, usize),
    /// A prefix without its slash.
    AddSlash,
    /// Nothing.
    Nothing,
}

/// All routes.
#[derive(Default)]
pub(super) struct Table {
    routes: HashMap<&'static str, Endpoint>,
}

impl Table {
    /// Adds a method to a path; a path that ends in `/` stands for everything below it.
    pub(super) fn on<F, Answer>(mut self, method: Method, path: &'static str, handler: F) -> Self
    where
        F: Fn(Call) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<Response, Error>> + Send + 'static,
    {
        let handler: Handler = Box::new(move |call| Box::pin(handler(call)));
        let metric = metric_name(&method, path);
        self.routes.entry(path).or_insert_with(|| Endpoint { methods: Vec::new() }).methods.push((method, metric, handler));
        self
    }

    /// Adds `GET`.
    pub(super) fn get<F, Answer>(self, path: &'static str, handler: F) -> Self
    where
        F: Fn(Call) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<Response, Error>> + Send + 'static,
    {
        self.on(Method::GET, path, handler)
    }

    /// Adds `PUT`.
    pub(super) fn put<F, Answer>(self, path: &'static str, handler: F) -> Self
    where
        F: Fn(Call) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<Response, Error>> + Send + 'static,
    {
        self.on(Method::PUT, path, handler)
    }

    /// Looks a decoded, cleaned path up.
    pub(super) fn find(&self, path: &str) -> Match<'_> {
        if let Some(endpoint) = self.routes.get(path) {
            return Match::Found(endpoint, path.len());
        }
        if self.routes.contains_key(format!("{path}/").as_str()) {
            return Match::AddSlash;
        }
        let ends = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at + 1);
        let mut prefixes: Vec<usize> = ends.take(16).collect();
        prefixes.reverse();
        let found = prefixes.into_iter().find_map(|end| Some((self.routes.get(&path[..end])?, end)));
        found.map_or(Match::Nothing, |(endpoint, end)| Match::Found(endpoint, end))
    }
}

/// `http.GET.v1.kv._`: the variable end of a path is one underscore, so that there is one series an endpoint.
fn metric_name(method: &Method, path: &str) -> String {
    let path = path.trim_start_matches('/').replace('/', ".");
    let variable = if path.ends_with('.') { "_" } else { "" };
    format!("http.{method}.{path}{variable}")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn handler(_call: Call) -> Result<Response, Error> {
        Ok(super::super::respond::empty())
    }

    #[test]
    fn the_longest_match_wins() {
        let table = Table::default()
            .get("/v1/kv/", handler)
            .put("/v1/kv/", handler)
            .get("/v1/agent/self", handler)
            .get("/v1/agent/health/service/id/", handler)
            .get("/v1/agent/health/", handler);
        let check = |path: &str, expected: Option<&str>| {
            let rest = match table.find(path) {
                Match::Found(_, end) => Some(&path[end..]),
                Match::AddSlash => Some("add a slash"),
                Match::Nothing => None,
            };
            assert_eq!(rest, expected, "{path}");
        };
        check("/v1/kv/", Some(""));
        check("/v1/kv/a/b/c", Some("a/b/c"));
        check("/v1/kv", Some("add a slash"));
        check("/v1/agent/self", Some(""));
        check("/v1/agent/self/", None);
        check("/v1/agent/health/service/id/x/y", Some("x/y"));
        check("/v1/agent/health/other", Some("other"));
        check("/v1/nothing", None);
        check("/v1/kv/é/日", Some("é/日"));
    }

    #[test]
    fn metrics_are_named_as_consul_names_them() {
        assert_eq!(metric_name(&Method::GET, "/v1/kv/"), "http.GET.v1.kv._");
        assert_eq!(metric_name(&Method::PUT, "/v1/agent/service/register"), "http.PUT.v1.agent.service.register");
    }

    #[test]
    fn allow_keeps_the_order_of_the_endpoint() {
        let table = Table::default().get("/a", handler).put("/a", handler).on(Method::DELETE, "/a", handler);
        let Match::Found(endpoint, _) = table.find("/a") else { panic!("no match") };
        assert_eq!(endpoint.allow(), "OPTIONS,GET,PUT,DELETE");
        assert!(endpoint.handler(&Method::PUT).is_some() && endpoint.handler(&Method::HEAD).is_none());
    }
}
