//! The only place that prints: data to standard output, talk to standard error. And how tables look.
//!
//! Contract: command line, section "General rules".

use std::io::{self, Write};

/// Where a command writes.
pub(super) struct Print {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
}

impl Print {
    /// The process's own streams.
    pub(super) fn standard() -> Self {
        Self::new(Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Streams of one's own.
    pub(super) fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self { out, err }
    }

    /// A line of data.
    pub(super) fn line(&mut self, text: impl AsRef<[u8]>) {
        self.bytes(text.as_ref());
        self.bytes(b"\n");
    }

    /// Data as it is. A reader that has gone is no error: `muster kv get -recurse | head` ends quietly.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.out.write_all(bytes).and_then(|()| self.out.flush());
    }

    /// A line of talk.
    pub(super) fn say(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.err, "{}", text.as_ref());
    }
}

/// Columns padded with two spaces, without spaces at line ends.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Go's quoting of a text inside a message.
pub(super) fn quoted(text: &str) -> String {
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_without_trailing_spaces() {
        let rows =
            [vec!["Node".to_owned(), "X".to_owned()], vec!["a".to_owned(), String::new()], vec!["länger".to_owned(), "y".to_owned()]];
        assert_eq!(table(&rows), "Node    X\na\nlänger  y");
        assert_eq!(table(&[]), "");
    }
}
