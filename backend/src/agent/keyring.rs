//! The gossip keys on disk: `<data_dir>/serf/local.keyring`, a JSON list of base64 keys, the primary first.
//!
//! Once the file is there `encrypt` is only its first content. Contract: cluster, section "Keyring".

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::identity::write_durably;
use crate::config::Config;

/// The keys as they are and where they are kept.
#[derive(Debug)]
pub(super) struct Keyring {
    /// Primary first; empty when gossip is not encrypted.
    pub(super) keys: Vec<Vec<u8>>,
    file: Option<PathBuf>,
}

fn invalid(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().filter(|key| [16, 24, 32].contains(&key.len()))
}

impl Keyring {
    /// From the file, or from the configuration when there is none.
    ///
    /// # Errors
    /// The file cannot be read or holds anything else.
    pub(super) fn load(config: &Config) -> io::Result<Self> {
        let kept = config.data_dir.as_ref().filter(|_| !config.cluster.disable_keyring_file);
        let file = kept.map(|dir| dir.join("serf").join("local.keyring"));
        let configured = || decode(&config.encrypt.0).into_iter().collect::<Vec<_>>();
        let Some(path) = &file else { return Ok(Self { keys: configured(), file }) };
        match fs::read(path) {
            Ok(bytes) => {
                let texts: Vec<String> = serde_json::from_slice(&bytes).map_err(|e| invalid(path, &format!("not a list of keys: {e}")))?;
                let keys = texts.iter().map(|text| decode(text).ok_or_else(|| invalid(path, "a key is not base64 of 16, 24 or 32 bytes")));
                Ok(Self { keys: keys.collect::<io::Result<_>>()?, file })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let keyring = Self { keys: configured(), file };
                if !keyring.keys.is_empty() {
                    keyring.save(&keyring.keys)?;
                }
                Ok(keyring)
            }
            Err(error) => Err(error),
        }
    }

    /// Puts other keys into the file, if there is to be one.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn save(&self, keys: &[Vec<u8>]) -> io::Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        let texts: Vec<String> = keys.iter().map(|key| STANDARD.encode(key)).collect();
        write_durably(path, &serde_json::to_string(&texts)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Invocation, Secret};

    fn config(dir: &Path, key: &str) -> Config {
        let mut invocation = Invocation { dev: true, ..Invocation::default() };
        invocation.flags.insert("node_name".to_owned(), "n".into());
        let config = invocation.load().expect("the defaults are valid");
        Config { data_dir: Some(dir.to_owned()), encrypt: Secret(key.to_owned()), ..config }
    }

    #[test]
    fn the_file_wins_over_the_configuration_once_it_is_there() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (one, two) = (vec![1; 16], vec![2; 32]);
        let first = Keyring::load(&config(dir.path(), &STANDARD.encode(&one))).expect("no file yet");
        assert_eq!(first.keys, std::slice::from_ref(&one));
        first.save(&[two.clone(), one.clone()]).expect("saved");
        let second = Keyring::load(&config(dir.path(), &STANDARD.encode([3; 16]))).expect("read");
        assert_eq!(second.keys, [two, one]);
    }

    #[test]
    fn a_damaged_file_is_refused_and_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("serf").join("local.keyring");
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        for bad in ["", "{}", "[\"!!\"]", "[\"aGVsbG8=\"]"] {
            fs::write(&path, bad).expect("written");
            let error = Keyring::load(&config(dir.path(), "")).expect_err("refused");
            assert!(error.to_string().contains("local.keyring"), "{error}");
            assert_eq!(fs::read_to_string(&path).expect("kept"), bad);
        }
    }

    #[test]
    fn without_a_key_nothing_is_written() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(Keyring::load(&config(dir.path(), "")).expect("empty").keys.is_empty());
        assert!(!dir.path().join("serf").exists());
    }
}
