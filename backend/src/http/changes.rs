//! `GET /v1/muster/changes`: the change stream as server-sent events. Beyond Consul; see `EXTENSIONS.md`.
//!
//! Never buffers: an event leaves when it is made, uncompressed; a reader that stops reading holds at most one batch.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use shared::changes::{Change, Position, Refusal, Topic, event};

use super::{error::Error, extract::Call, query::Query, respond::Unencoded};
use crate::rt::{Shutdown, clock};

/// Longest silence.
const BEAT: Duration = Duration::from_secs(5);

pub(super) async fn stream(call: Call) -> Result<Response, Error> {
    let filter = Filter::parse(&call.query)?;
    let since = since(&call)?;
    // Long polling options mean nothing here: the position is where to start, not what to wait for.
    let changes = call.context.router.changes(call.write()?, since).await?;
    let reader = Reader { changes, filter, index: since, greeted: false, shutdown: call.context.shutdown.clone() };
    let body = Body::from_stream(stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, std::convert::Infallible>(event), reader))
    }));
    let mut response = Response::new(body);
    response.extensions_mut().insert(Unencoded);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// Where to continue: `Last-Event-ID`, which a browser sends when it reconnects, wins over `?index`.
fn since(call: &Call) -> Result<u64, Error> {
    let last = call.headers.get("last-event-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let text = if last.is_empty() { call.query.get("index") } else { last };
    if text.is_empty() { Ok(0) } else { text.parse().map_err(|_| Error::bad_request("Invalid index")) }
}

/// Which changes the reader wants.
#[derive(Debug, Default)]
struct Filter {
    topics: Vec<Topic>,
    names: Vec<String>,
}

impl Filter {
    fn parse(query: &Query) -> Result<Self, Error> {
        let words = query.all("topic").flat_map(|list| list.split(',')).filter(|word| !word.is_empty());
        let topic = |word: &str| {
            Topic::ALL.into_iter().find(|topic| topic.as_str() == word).ok_or_else(|| {
                let known = Topic::ALL.map(Topic::as_str).join(", ");
                Error::bad_request(format!("Invalid topic: {word:?} is none of {known}"))
            })
        };
        let topics = words.map(topic).collect::<Result<_, _>>()?;
        Ok(Self { topics, names: query.all("name").filter(|name| !name.is_empty()).map(str::to_owned).collect() })
    }

    fn wants(&self, change: &Change) -> bool {
        (self.topics.is_empty() || self.topics.contains(&change.topic))
            && (self.names.is_empty() || self.names.iter().any(|name| *name == change.name || *name == change.node))
    }
}

struct Reader {
    changes: crate::rpc::Changes,
    filter: Filter,
    index: u64,
    greeted: bool,
    shutdown: Shutdown,
}

impl Reader {
    /// The next event; none once the agent stops or the stream behind it ends.
    async fn next(&mut self) -> Option<Bytes> {
        let deadline = clock::Instant::now() + BEAT;
        loop {
            let batch = tokio::select! {
                biased;
                () = self.shutdown.requested() => return None,
                batch = self.changes.recv() => match batch? {
                    Ok(batch) => batch,
                    Err(error) => return Some(encode(event::REFUSED, self.index, &Refusal { reason: error.to_string() })),
                },
                () = clock::sleep_until(deadline) => return Some(self.position(event::BEAT)),
            };
            let (index, changes) = batch;
            let before = std::mem::replace(&mut self.index, index);
            if let Some(event) = self.of_batch(before, changes) {
                return Some(event);
            }
        }
    }

    /// What a batch tells the reader; nothing when its filter keeps nothing of it.
    fn of_batch(&mut self, before: u64, changes: Option<Vec<Change>>) -> Option<Bytes> {
        let greeted = std::mem::replace(&mut self.greeted, true);
        let Some(mut changes) = changes else { return Some(self.position(event::RESET)) };
        changes.retain(|change| self.filter.wants(change));
        let news = (!changes.is_empty()).then(|| encode(event::CHANGES, self.index, &changes));
        if greeted {
            return news;
        }
        // A reader that is cut off between the two comes back for the changes.
        let start = if news.is_some() { before } else { self.index };
        let mut hello = encode(event::HELLO, start, &Position { index: start }).to_vec();
        hello.extend(news.unwrap_or_default());
        Some(hello.into())
    }

    fn position(&self, name: &str) -> Bytes {
        encode(name, self.index, &Position { index: self.index })
    }
}

/// One event. JSON has no line breaks, so one `data` line is enough.
fn encode<T: Serialize>(name: &str, id: u64, data: &T) -> Bytes {
    let data = serde_json::to_string(data).expect("changes have string keys only");
    Bytes::from(format!("event: {name}\nid: {id}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use shared::changes::Kind;
    use tokio::sync::mpsc;

    use super::*;
    use crate::rt::Tasks;

    fn change(topic: Topic, name: &str) -> Change {
        Change { topic, name: name.to_owned(), node: String::new(), index: 7, kind: Kind::Set }
    }

    /// What the reader is fed through.
    type Feed = mpsc::Sender<Result<crate::rpc::Batch, crate::rpc::Error>>;

    fn reader(filter: &str) -> (Feed, Reader) {
        let (sender, changes) = mpsc::channel(8);
        let filter = Filter::parse(&Query::parse(filter)).expect("a filter");
        (sender, Reader { changes, filter, index: 0, greeted: false, shutdown: Tasks::new().shutdown() })
    }

    async fn next(reader: &mut Reader) -> String {
        String::from_utf8(reader.next().await.expect("an event").to_vec()).expect("UTF-8")
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_says_hello_then_changes_beats_and_resets() {
        let (sender, mut reader) = reader("");
        let send = async |batch| sender.send(Ok(batch)).await.expect("the reader is there");
        send((5, Some(Vec::new()))).await;
        assert_eq!(next(&mut reader).await, "event: hello\nid: 5\ndata: {\"Index\":5}\n\n");
        send((7, Some(vec![change(Topic::Kv, "a")]))).await;
        assert_eq!(
            next(&mut reader).await,
            "event: changes\nid: 7\ndata: [{\"Topic\":\"kv\",\"Name\":\"a\",\"Index\":7,\"Kind\":\"set\"}]\n\n"
        );
        assert_eq!(next(&mut reader).await, "event: beat\nid: 7\ndata: {\"Index\":7}\n\n");
        send((9, None)).await;
        assert_eq!(next(&mut reader).await, "event: reset\nid: 9\ndata: {\"Index\":9}\n\n");
        sender.send(Err(crate::rpc::Error::PermissionDenied)).await.expect("the reader is there");
        assert_eq!(next(&mut reader).await, "event: refused\nid: 9\ndata: {\"Reason\":\"Permission denied\"}\n\n");
        drop(sender);
        assert_eq!(reader.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_goes_on_says_hello_from_where_it_was_left() {
        let (sender, mut reader) = reader("topic=kv");
        reader.index = 4;
        sender.send(Ok((7, Some(vec![change(Topic::Kv, "a")])))).await.expect("the reader is there");
        let first = next(&mut reader).await;
        assert!(first.starts_with("event: hello\nid: 4\ndata: {\"Index\":4}\n\nevent: changes\nid: 7\n"), "{first}");
    }

    #[tokio::test(start_paused = true)]
    async fn filtered_changes_move_the_position_but_do_not_wake_the_reader() {
        let (sender, mut reader) = reader("topic=kv,node&name=x");
        let send = async |batch| sender.send(Ok(batch)).await.expect("the reader is there");
        send((5, Some(vec![change(Topic::Kv, "x"), change(Topic::Kv, "y")]))).await;
        let first = next(&mut reader).await;
        assert!(first.starts_with("event: hello\n") && first.contains("\"Name\":\"x\"") && !first.contains("\"Name\":\"y\""), "{first}");
        send((6, Some(vec![change(Topic::Service, "x")]))).await;
        assert_eq!(next(&mut reader).await, "event: beat\nid: 6\ndata: {\"Index\":6}\n\n");
    }

    #[test]
    fn an_unknown_topic_is_refused() {
        let error = Filter::parse(&Query::parse("topic=bogus")).expect_err("refused");
        assert_eq!(error.status(), 400);
    }
}
