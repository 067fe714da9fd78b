//! This node's UUID: configured, or kept in `<data_dir>/node-id`, or drawn once.
//!
//! Contract: persistence in the data directory.

use std::{fs, io, os::unix::fs::OpenOptionsExt as _, path::Path};

use shared::name;

use crate::rt::{
    Rng,
    durable::{create_dir, sync_all, sync_dir},
};

/// The node's id. A new one is on disk before it is used.
///
/// # Errors
/// The file cannot be read or written, or does not hold a UUID.
pub(super) fn node_id(configured: &str, data_dir: Option<&Path>, rng: &Rng) -> io::Result<String> {
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    if !configured.is_empty() {
        let id = configured.to_lowercase();
        return if name::is_uuid(&id) { Ok(id) } else { Err(invalid(&format!("specified NodeID is invalid: {configured:?} is no UUID"))) };
    }
    let Some(directory) = data_dir else { return Ok(rng.uuid()) };
    let path = directory.join("node-id");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let id = text.trim().to_lowercase();
            if name::is_uuid(&id) { Ok(id) } else { Err(invalid(&format!("{} holds no UUID: {:?}", path.display(), text.trim()))) }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = rng.uuid();
            write_durably(&path, &id)?;
            Ok(id)
        }
        Err(error) => Err(error),
    }
}

/// Writes a small file so that it is whole or absent whatever happens.
pub(super) fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let partial = path.with_extension("tmp");
    // An operator's directory may lie in one that is not ours to read.
    if !directory.is_dir() {
        create_dir(directory)?;
    }
    // The keys of gossip are kept this way too: nobody else's business.
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    sync_all(&file)?;
    fs::rename(&partial, path)?;
    sync_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::{fs, node_id, write_durably};
    use crate::rt::{Rng, flushed::Flushed};

    #[test]
    fn a_power_cut_leaves_a_small_file_as_it_was_before_or_after() {
        let (directory, rng) = (tempfile::tempdir().expect("a temporary directory"), Rng::from_seed(1));
        let flushed = Flushed::watch(directory.path()).recording();
        // The data directory and the one above it are made, too.
        let read = |directory: &tempfile::TempDir| fs::read_to_string(directory.path().join("muster/data/node-id")).ok();
        let mut before = None;
        for text in ["first", "second and longer", "third"] {
            write_durably(&directory.path().join("muster/data/node-id"), text).expect("written");
            for moment in flushed.moments() {
                for found in [moment.worst(), moment.any(&rng), moment.any(&rng)] {
                    let found = read(&found);
                    assert!(found == before || found.as_deref() == Some(text), "{found:?}");
                }
            }
            let moment = flushed.now();
            before = Some(text.to_owned());
            assert_eq!([read(&moment.worst()), read(&moment.any(&rng))], [before.clone(), before.clone()]);
        }
    }

    #[test]
    fn an_id_is_drawn_once_and_kept() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let first = node_id("", Some(directory.path()), &Rng::from_seed(1)).expect("drawn");
        assert_eq!(node_id("", Some(directory.path()), &Rng::from_seed(2)).expect("kept"), first);
    }

    #[test]
    fn a_configured_id_wins_and_must_be_a_uuid() {
        let id = "AAAAAAAA-2222-4333-8444-555555555555";
        assert_eq!(node_id(id, None, &Rng::from_seed(1)).expect("valid"), id.to_lowercase());
        assert!(node_id("short", None, &Rng::from_seed(1)).is_err());
    }

    #[test]
    fn a_damaged_file_is_told_and_kept() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("node-id"), "garbage").expect("written");
        let error = node_id("", Some(directory.path()), &Rng::from_seed(1)).expect_err("refused");
        assert!(error.to_string().contains("holds no UUID"), "{error}");
        assert_eq!(fs::read_to_string(directory.path().join("node-id")).expect("kept"), "garbage");
    }
}
