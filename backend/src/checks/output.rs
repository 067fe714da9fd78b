//! Bounded capture of what a check said. Pure.
//!
//! Contract: health checks, sections "HTTP details", "Script details" and "TTL details".

use shared::text;

/// Keeps the last bytes written to it.
#[derive(Debug)]
pub(super) struct Ring {
    kept: std::collections::VecDeque<u8>,
    size_max: usize,
    total: u64,
}

impl Ring {
    /// Keeps at most so many bytes.
    pub(super) fn new(size_max: usize) -> Self {
        Self { kept: std::collections::VecDeque::new(), size_max, total: 0 }
    }

    /// Takes more output.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let tail = &bytes[bytes.len().saturating_sub(self.size_max)..];
        let surplus = (self.kept.len() + tail.len()).saturating_sub(self.size_max);
        self.kept.drain(..surplus);
        self.kept.extend(tail);
    }

    /// What was kept; bytes that are not UTF-8 are replaced.
    pub(super) fn text(&self) -> String {
        let (front, back) = self.kept.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }

    /// What was kept, as it came.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.kept.into()
    }

    /// What was kept, and in front of it how much there was, if some of it was lost.
    pub(super) fn text_with_size(&self) -> String {
        if self.total > self.kept.len() as u64 {
            format!("Captured {} of {} bytes\n...\n{}", self.kept.len(), self.total, self.text())
        } else {
            self.text()
        }
    }
}

/// Cuts a TTL report to its first bytes and says so.
#[must_use]
pub fn cut_report(output: &str, size_max: usize) -> String {
    if output.len() <= size_max {
        return output.to_owned();
    }
    format!("{}… (captured {size_max} of {} bytes)", text::head(output, size_max), output.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_the_last_bytes() {
        for writes in [vec!["abcdef", "ghij"], vec!["abc", "def", "ghij"], vec!["abcdefghij"], vec!["abcdefgh", "", "ij"]] {
            let mut ring = Ring::new(4);
            writes.iter().for_each(|w| ring.write(w.as_bytes()));
            assert_eq!(ring.text(), "ghij");
            assert_eq!(ring.text_with_size(), "Captured 4 of 10 bytes\n...\nghij");
        }
    }

    #[test]
    fn a_ring_with_room_left_says_nothing_about_its_size() {
        let mut ring = Ring::new(4);
        ring.write(b"abcd");
        assert_eq!(ring.text_with_size(), "abcd");
    }

    #[test]
    fn a_long_report_keeps_its_first_bytes() {
        assert_eq!(cut_report("abcdef", 6), "abcdef");
        assert_eq!(cut_report("abcdef", 4), "abcd… (captured 4 of 6 bytes)");
        assert_eq!(cut_report("aéb", 2), "a… (captured 2 of 4 bytes)");
    }
}
