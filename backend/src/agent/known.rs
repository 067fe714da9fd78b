//! Members of the last run, kept in the agent's own store and tried at the next start.
//!
//! An agent that had left stays away unless it is told to rejoin. Contract: cluster, "Snapshot file".

use std::{net::SocketAddr, sync::Arc, time::Duration};

use shared::agent::{Member, status::ALIVE};
use tokio::sync::watch;

use crate::{
    localdb::{Change, Error, LocalDb},
    rt::clock,
};

const TABLE: &str = "members";
/// Present while the agent has left.
const LEFT: &str = "left";
/// Prefix of a member's address.
const AT: &str = "at:";
/// The shortest time between two writes: joins come in crowds.
const PAUSE: Duration = Duration::from_millis(500);

/// Addresses to try, none after a leave unless `rejoin`.
///
/// # Errors
/// The disk.
pub(super) fn load(db: &LocalDb, rejoin: bool) -> Result<Vec<SocketAddr>, Error> {
    let rows = db.scan(TABLE)?;
    if rows.iter().any(|(key, _)| key == LEFT) && !rejoin {
        return Ok(Vec::new());
    }
    Ok(rows.iter().filter_map(|(key, _)| key.strip_prefix(AT)?.parse().ok()).collect())
}

/// Notes that the agent has left.
///
/// # Errors
/// The disk.
pub(super) async fn note_left(db: &LocalDb) -> Result<(), Error> {
    db.commit(vec![Change::Put { table: TABLE, key: LEFT.to_owned(), value: Vec::new() }]).await
}

/// Keeps the store in step with the living members, until the pool ends.
pub(super) async fn follow(db: LocalDb, mut members: watch::Receiver<Arc<Vec<Member>>>, own_name: String) {
    // The agent is back: whatever it did last time, it has not left now.
    let mut batch = vec![Change::Delete { table: TABLE, key: LEFT.to_owned() }];
    loop {
        let alive = members.borrow_and_update().clone();
        let keys: Vec<String> = alive.iter().filter(|member| member.status == ALIVE && member.name != own_name).map(key).collect();
        let kept: Vec<String> = db.scan(TABLE).unwrap_or_default().into_iter().map(|(key, _)| key).filter(|key| key != LEFT).collect();
        let new = keys.iter().filter(|key| !kept.contains(key)).cloned();
        batch.extend(new.map(|key| Change::Put { table: TABLE, key, value: Vec::new() }));
        // Somebody has to be left to try: after a lost network everybody looks failed.
        if !keys.is_empty() {
            let gone = kept.iter().filter(|key| !keys.contains(key)).cloned();
            batch.extend(gone.map(|key| Change::Delete { table: TABLE, key }));
        }
        if !batch.is_empty()
            && let Err(error) = db.commit(std::mem::take(&mut batch)).await
        {
            tracing::warn!(target: "agent", %error, "known members are not kept");
        }
        clock::sleep(PAUSE).await;
        if members.changed().await.is_err() {
            return;
        }
    }
}

fn key(member: &Member) -> String {
    let host = if member.addr.contains(':') { format!("[{}]", member.addr) } else { member.addr.clone() };
    format!("{AT}{host}:{}", member.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, addr: &str, status: u8) -> Member {
        Member { name: name.to_owned(), addr: addr.to_owned(), port: 8301, status, ..Member::default() }
    }

    async fn followed(db: &LocalDb, members: Vec<Member>) -> Vec<String> {
        let (sender, receiver) = watch::channel(Arc::new(members));
        drop(sender);
        follow(db.clone(), receiver, "me".to_owned()).await;
        load(db, false).expect("memory").iter().map(ToString::to_string).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn living_members_are_tried_again() {
        let db = LocalDb::open(None).expect("memory");
        let first = vec![member("me", "10.0.0.9", 1), member("a", "10.0.0.1", 1), member("b", "::1", 1), member("c", "10.0.0.3", 4)];
        assert_eq!(followed(&db, first).await, ["10.0.0.1:8301", "[::1]:8301"]);
        assert_eq!(followed(&db, vec![member("b", "::1", 1)]).await, ["[::1]:8301"]);
        assert_eq!(followed(&db, vec![member("b", "::1", 4)]).await, ["[::1]:8301"], "the last ones known are kept");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_left_stays_away_unless_told() {
        let db = LocalDb::open(None).expect("memory");
        followed(&db, vec![member("a", "10.0.0.1", 1)]).await;
        note_left(&db).await.expect("memory");
        assert!(load(&db, false).expect("memory").is_empty());
        assert_eq!(load(&db, true).expect("memory").len(), 1);
        assert_eq!(followed(&db, vec![member("a", "10.0.0.1", 1)]).await.len(), 1, "a start without leaving counts again");
    }
}
