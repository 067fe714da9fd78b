//! Server-sent events, read from bytes as they come. Pure.

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
}

/// Collects bytes into events.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    event: Event,
}

impl Parser {
    /// The events that these bytes complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut done = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            self.line(line.trim_end_matches('\r'), &mut done);
        }
        done
    }

    fn line(&mut self, line: &str, done: &mut Vec<Event>) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if !event.name.is_empty() || !event.data.is_empty() {
                done.push(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // `id`, `retry` and comments: the index is in the data, and the reader decides itself when to come back.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let text = ": hi\nevent: hello\ndata: {\"Index\":4}\n\nid: 5\nevent: changes\r\ndata: [1,\r\ndata: 2]\r\n\r\ndata:ü\n\n\n\n";
        let expected = vec![event("hello", "{\"Index\":4}"), event("changes", "[1,\n2]"), event("", "ü")];
        for size in 1..=text.len() {
            let mut parser = Parser::default();
            let found: Vec<Event> = text.as_bytes().chunks(size).flat_map(|chunk| parser.push(chunk)).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_unfinished_event_waits() {
        let mut parser = Parser::default();
        assert_eq!(parser.push(b"event: beat\ndata: {}"), []);
        assert_eq!(parser.push(b"\n\n"), [event("beat", "{}")]);
    }
}
