//! Text of any length where only so much has room.

/// The beginning of a text, at most so many bytes of it, without a torn character at its end.
#[must_use]
pub fn head(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::head;

    #[test]
    fn a_character_is_never_torn() {
        let check = |bytes_max, expected| assert_eq!(head("aé日", bytes_max), expected, "{bytes_max}");
        check(0, "");
        check(1, "a");
        check(2, "a");
        check(3, "aé");
        check(5, "aé");
        check(6, "aé日");
        check(100, "aé日");
    }
}
