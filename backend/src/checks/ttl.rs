//! The TTL check: waits to be told, and turns critical when nobody does in time. Pure.
//!
//! Contract: health checks, section "TTL details".

/// What an expired check says.
#[must_use]
pub(super) fn expired(last_output: &str) -> String {
    if last_output.is_empty() {
        "TTL expired".to_owned()
    } else {
        format!("TTL expired (last output before timeout follows): {last_output}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_check_repeats_its_last_report() {
        assert_eq!(expired(""), "TTL expired");
        assert_eq!(expired("all fine"), "TTL expired (last output before timeout follows): all fine");
    }
}
