//! Both kinds of store: order, tables, grouping, reopening, failure.

use std::{path::Path, time::Duration};

use super::*;
use crate::rt::flushed::{Flushed, is_of_sled};

fn put(table: &'static str, key: &str, value: &str) -> Change {
    Change::Put { table, key: key.to_owned(), value: value.as_bytes().to_vec() }
}

fn rows(db: &LocalDb, table: &'static str) -> Vec<(String, String)> {
    let text = |value| String::from_utf8(value).expect("utf-8");
    db.scan(table).expect("scans").into_iter().map(|(key, value)| (key, text(value))).collect()
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

async fn check_tables(db: LocalDb) {
    db.commit(vec![put("services", "web", "1"), put("services", "db", "2"), put("service", "x", "3")]).await.expect("stores");
    assert_eq!(rows(&db, "services"), [pair("db", "2"), pair("web", "1")]);
    assert_eq!(rows(&db, "service"), [pair("x", "3")]);
    // Later changes of one batch win.
    let delete = Change::Delete { table: "services", key: "web".to_owned() };
    db.commit(vec![put("services", "web", "4"), delete, put("services", "db", "5"), put("services", "db", "6")]).await.expect("stores");
    assert_eq!(rows(&db, "services"), [pair("db", "6")]);
    assert_eq!(rows(&db, "nothing"), []);
}

#[tokio::test]
async fn tables_are_apart_and_changes_apply_in_order() {
    check_tables(LocalDb::open(None).expect("opens")).await;
    let dir = tempfile::tempdir().expect("temp dir");
    check_tables(LocalDb::open(Some(dir.path())).expect("opens")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_many_callers_are_all_there_after_reopening() {
    let dir = tempfile::tempdir().expect("temp dir");
    let db = LocalDb::open(Some(dir.path())).expect("opens");
    let commits = (0..500).map(|i| {
        let db = db.clone();
        async move { db.commit(vec![put("checks", &format!("{i:03}"), "up")]).await }
    });
    for result in futures_util::future::join_all(commits).await {
        result.expect("stores");
    }
    drop(db);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let db = loop {
        // The writer may hold the lock for a moment longer.
        match LocalDb::open(Some(dir.path())) {
            Ok(db) => break db,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(rows(&db, "checks").len(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_there_after_a_power_cut() {
    let dir = tempfile::tempdir().expect("temp dir");
    let flushed = Flushed::watch(dir.path()).beside(is_of_sled);
    let db = LocalDb::open(Some(dir.path())).expect("opens");
    // The last one lies in a file of its own.
    for (number, size) in [1, 2000, 700 << 10].into_iter().enumerate() {
        db.commit(vec![put("services", &number.to_string(), &"x".repeat(size))]).await.expect("stores");
        let found = flushed.now().worst();
        let found = LocalDb::open(Some(found.path())).expect("opens");
        assert_eq!(rows(&found, "services"), rows(&db, "services"));
        assert_eq!(rows(&db, "services").len(), number + 1);
    }
}

/// The database file of a directory, without the blank end that it is created with.
fn trimmed(dir: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(dir.join("local/db")).expect("reads");
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1));
    bytes
}

/// How samples are written and what may change is said in [`crate::samples`].
#[tokio::test]
async fn a_store_of_this_release_stays_readable() {
    const SAMPLES: crate::samples::Samples = crate::samples::Samples { module: "localdb", versioned: false };
    let now = tempfile::tempdir().expect("temp dir");
    let db = LocalDb::open(Some(now.path())).expect("opens");
    let blank = std::fs::metadata(now.path().join("local/db")).expect("is there").len();
    db.commit(vec![put("services", "web", "1"), put("members", "at:10.0.0.1:8301", "")]).await.expect("stores");
    db.commit(vec![put("services", "web", "2"), put("members", "left", "")]).await.expect("stores");
    drop(db);
    // Where things lie in the file is up to its library: only the kept one is read.
    let kept = SAMPLES.sample("db", &trimmed(now.path()));
    let conf = SAMPLES.sample("conf", &std::fs::read(now.path().join("local/conf")).expect("reads"));
    let old = tempfile::tempdir().expect("temp dir");
    std::fs::create_dir_all(old.path().join("local/blobs")).expect("creates");
    std::fs::write(old.path().join("local/conf"), conf).expect("writes");
    let mut whole = kept;
    whole.resize(usize::try_from(blank).expect("small").max(whole.len()), 0);
    std::fs::write(old.path().join("local/db"), whole).expect("writes");
    let db = LocalDb::open(Some(old.path())).expect("an old store opens");
    assert_eq!(rows(&db, "services"), [pair("web", "2")]);
    assert_eq!(rows(&db, "members"), [pair("at:10.0.0.1:8301", ""), pair("left", "")]);
    db.commit(vec![put("services", "web", "3")]).await.expect("goes on");
    assert_eq!(rows(&db, "services"), [pair("web", "3")]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().expect("temp dir");
    std::fs::write(dir.path().join("local"), "a file").expect("writes");
    let error = LocalDb::open(Some(dir.path())).expect_err("refused");
    assert!(error.to_string().contains(&dir.path().join("local").display().to_string()), "{error}");
}

#[tokio::test]
async fn after_a_disk_error_nothing_is_stored_any_more() {
    let db = LocalDb(Arc::new(group::Group::new(table::Tables::Failing)));
    let first = db.commit(vec![put("checks", "a", "up")]).await.expect_err("fails");
    assert_eq!(first, Error("disk on fire".to_owned()));
    assert_eq!(db.commit(vec![put("checks", "b", "up")]).await, Err(first));
}
