//! How long this server was away: `server_metadata.json` in the data directory tells when it was last alive.
//!
//! A server that comes back after too long would bring back what the others have long forgotten, so it refuses to start.
//! Contract: agent configuration, `server_rejoin_age_max`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::identity::write_durably;
use crate::rt::{Clock, Tasks, clock};

const FILE: &str = "server_metadata.json";
/// How often the time is written: a crash makes a server seem to have been away for so much longer.
const EVERY: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Metadata {
    /// Seconds since 1970.
    last_seen_unix: u64,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// Refuses a server that was away for longer than `longest`. One that never ran may start.
///
/// # Errors
/// It was away for too long; the file cannot be read.
pub(super) fn check(data_dir: &Path, longest: shared::go::Duration, clock: Clock) -> io::Result<()> {
    let path = path(data_dir);
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(invalid(error.to_string())),
    };
    let seen: Metadata = serde_json::from_str(&text)
        .map_err(|why| invalid(format!("it does not tell when this server was last alive ({why}); remove it to start all the same")))?;
    // A clock that went backwards proves nothing.
    let away = Duration::from_secs((clock.wall_ms() / 1000).saturating_sub(seen.last_seen_unix));
    if away <= longest.as_std() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "refusing to rejoin the cluster: this server was away for {}, longer than server_rejoin_age_max ({longest}). Wipe its data \
             directory and let it join as a new server, or raise server_rejoin_age_max if you know that nothing was forgotten meanwhile",
            shared::go::Duration::from(away)
        ),
    ))
}

/// Notes again and again that this server is alive.
pub(super) async fn keep(data_dir: PathBuf, clock: Clock, tasks: Tasks) {
    let mut told = false;
    loop {
        let (now, path) = (Metadata { last_seen_unix: clock.wall_ms() / 1000 }, path(&data_dir));
        let text = serde_json::to_string(&now).expect("a number, which JSON can write");
        // A disk that stands still holds up a thread of its own.
        let written = tasks.spawn_blocking(move || write_durably(&path, &text)).await.map_err(io::Error::other).flatten();
        if let Err(error) = &written
            && !told
        {
            tracing::warn!(target: "agent", %error, "the time this server was last alive is not written");
        }
        told = written.is_err();
        clock::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use shared::go;

    use super::*;
    use crate::rt::Runtime;

    const HOUR: i64 = 3_600_000_000_000;

    fn check_after(text: &str, now_s: u64) -> Result<(), String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(path(directory.path()), text).expect("written");
        check(directory.path(), go::Duration(168 * HOUR), Clock::starting_at(now_s * 1000)).map_err(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_away_for_too_long_is_refused() {
        assert_eq!(check_after("{\"last_seen_unix\": 1000}", 1000 + 168 * 3600), Ok(()));
        assert_eq!(check_after("{\"last_seen_unix\": 1000, \"later\": 1}", 10), Ok(()), "the clock went backwards");
        let error = check_after("{\"last_seen_unix\": 1000}", 1001 + 168 * 3600).expect_err("refused");
        assert!(error.contains("was away for 168h0m1s, longer than server_rejoin_age_max (168h0m0s)"), "{error}");
        let error = check_after("{}", 1000).expect_err("refused");
        assert!(error.contains("server_metadata.json: it does not tell when this server was last alive"), "{error}");
        let nothing = tempfile::tempdir().expect("a temporary directory");
        assert!(check(nothing.path(), go::Duration(HOUR), Clock::system()).is_ok(), "a new server");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_is_written_again_and_again() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = Clock::starting_at(5_000_000);
        let keeping = clock::timeout(Duration::from_secs(130), keep(directory.path().to_owned(), clock, Runtime::seeded(1, 0).tasks)).await;
        assert!(keeping.is_err(), "it goes on until it is dropped");
        assert_eq!(fs::read_to_string(path(directory.path())).expect("is there"), "{\"last_seen_unix\":5120}");
    }
}
