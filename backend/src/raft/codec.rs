//! Bytes of log records, snapshot heads and messages: a version byte, then msgpack with field names, so that
//! fields can be added. Never writes anything that depends on the machine.

use std::io;

use serde::{Serialize, de::DeserializeOwned};

/// The only version so far.
const VERSION: u8 = 1;

/// A value as bytes.
///
/// # Errors
/// `InvalidData` when the value has no msgpack form.
pub(super) fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    // Room for most entries, so that they are not copied while they are written.
    let mut bytes = Vec::with_capacity(1024);
    bytes.push(VERSION);
    rmp_serde::encode::write_named(&mut bytes, value).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(bytes)
}

/// A value from its bytes.
///
/// # Errors
/// `InvalidData` for a version from the future or damaged bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    match bytes.split_first() {
        Some((&VERSION, rest)) => rmp_serde::from_slice(rest).map_err(|error| invalid(error.to_string())),
        Some((version, _)) => Err(invalid(format!("format version {version} is not known to this release"))),
        None => Err(invalid("no bytes".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use openraft::{EntryPayload, entry::RaftEntry as _, vote::RaftLeaderId as _};
    use shared::{catalog, kv};

    use super::{
        super::{logged::Logged, types},
        *,
    };
    use crate::store::Command;

    fn check(command: Command) {
        let id = types::LogId::new(openraft::impls::leader_id_std::LeaderId::new(3, types::NodeId::from(1)).to_committed(), 7);
        let entry = types::Entry::new(id, EntryPayload::Normal(Logged::Known(command)));
        let bytes = encode(&entry).expect("encodes");
        let back: types::Entry = decode(&bytes).expect("decodes");
        assert_eq!(format!("{entry:?}"), format!("{back:?}"));
    }

    #[test]
    fn commands_survive_their_encoding() {
        for op in [kv::Op::Set, kv::Op::Cas(9), kv::Op::Lock("s".into()), kv::Op::Delete, kv::Op::DeleteTree] {
            check(Command::Kv { write: kv::Write { op, key: "a/b".into(), flags: u64::MAX, value: vec![0, 255, 10] }, at_ms: 5 });
        }
        let registration = catalog::Registration { node: "n".into(), ..Default::default() };
        check(Command::Register { registration: Box::new(registration), transitions: Vec::new(), at_ms: 1 });
        check(Command::Deregister { deregistration: catalog::Deregistration { node: "n".into(), ..Default::default() }, at_ms: 1 });
    }

    #[test]
    fn a_version_from_the_future_is_refused() {
        let error = decode::<u8>(&[9, 1]).expect_err("refused");
        assert_eq!(error.to_string(), "format version 9 is not known to this release");
        assert!(decode::<u8>(&[]).is_err());
    }
}
