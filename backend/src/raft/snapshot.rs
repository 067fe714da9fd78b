//! Snapshots of the state: a pointer copy in memory.

use std::sync::Arc;

use crate::store::State;

/// The contents of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Image(pub(super) Arc<State>);

/// The contents as bytes, for another server.
pub(super) fn pack(image: &Image) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    crate::store::snapshot::write(&image.0, &mut bytes)?;
    Ok(bytes)
}

/// The contents from another server's bytes.
pub(super) fn unpack(bytes: &[u8]) -> std::io::Result<Image> {
    Ok(Image(Arc::new(crate::store::snapshot::read(bytes)?)))
}
