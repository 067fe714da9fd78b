//! A snapshot on its way from one server to another: in pieces, never as a whole in memory beside the state it becomes.
//!
//! The receiver writes what comes to a file beside the archive and reads the state off it as it comes. Only once the checksum at
//! its end is right and the file is flushed can it take the place of anything; until then every failure leaves no trace.

use std::{
    fs::File,
    io::{self, Read, Write as _},
    path::PathBuf,
    sync::Arc,
};

use super::{Archive, Contents, Head, Image, archive};
use crate::{
    rt::{
        Tasks,
        chunks::{self, Chunks},
    },
    store::{self, State},
};

/// A snapshot that came whole. Its file goes when nobody wanted it.
#[derive(Debug)]
pub(in crate::raft) struct Received {
    pub(super) state: Arc<State>,
    /// The directory of the archive it was written to; none in memory.
    unfinished: Option<(Archive, PathBuf)>,
}

impl Received {
    /// Takes it into the archive, if there is one.
    pub(in crate::raft) fn keep(&self, head: Head) -> io::Result<Image> {
        match &self.unfinished {
            Some((archive, path)) => archive.keep(path, head),
            None => Ok(Image { head, contents: Contents::State(self.state.clone()) }),
        }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.unfinished
            && let Err(error) = archive::remove_if_there(path)
        {
            tracing::warn!(%error, path = %path.display(), "a snapshot nobody wanted stays on disk until the next start");
        }
    }
}

/// The contents of an image in pieces.
pub(in crate::raft) fn send(image: &Image, tasks: &Tasks) -> Chunks {
    let contents = image.contents.clone();
    chunks::produce(tasks, move |out| match contents {
        Contents::State(state) => store::snapshot::write(&state, out),
        Contents::Received(received) => store::snapshot::write(&received.state, out),
        Contents::File(path) => {
            let mut file = File::open(path)?;
            io::copy(&mut file, out)?;
            Ok(())
        }
    })
}

/// Reads what another server sends, whole and checked, or fails and leaves nothing behind. Blocks.
///
/// # Errors
/// The transfer broke, the contents are damaged or of an unknown format, or the disk.
pub(in crate::raft) fn receive(archive: Option<&Archive>, head: &Head, from: impl Read) -> io::Result<Received> {
    let Some(archive) = archive else {
        return Ok(Received { state: Arc::new(store::snapshot::read(from)?), unfinished: None });
    };
    let path = archive.begin()?;
    // From here on the directory goes with it.
    let mut received = Received { state: Arc::default(), unfinished: Some((archive.clone(), path.clone())) };
    let mut copy = Copy { from, to: Archive::contents(&path)? };
    received.state = Arc::new(store::snapshot::read(&mut copy)?);
    let size = copy.to.finish()?;
    if head.size_bytes != 0 && head.size_bytes != size {
        let reason = format!("snapshot: {size} bytes came where {} were announced", head.size_bytes);
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(received)
}

/// Writes down what is read.
struct Copy<R> {
    from: R,
    to: archive::Steps,
}

impl<R: Read> Read for Copy<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        self.to.write_all(&into[..count])?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::{Command, Store};

    fn state() -> State {
        let store = Store::new();
        let put = |at: u64| {
            let write = shared::kv::Write { op: shared::kv::Op::Set, key: format!("k{at}"), flags: 0, value: vec![7; 300] };
            (at, Command::Kv { write, at_ms: at })
        };
        store.commit(&(1..=2000).map(put).collect::<Vec<_>>());
        State::clone(&store.state())
    }

    fn entries(archive: &Archive, dir: &std::path::Path) -> (usize, usize) {
        (archive.heads().expect("lists").len(), fs::read_dir(dir).expect("lists").count())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_snapshot_arrives_as_it_was_and_takes_its_place_only_when_told() {
        let (there, here) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
        let (theirs, ours) = (Archive::open(there.path()).expect("opens"), Archive::open(here.path()).expect("opens"));
        let image = theirs.save(Head { taken_at_ms: 5, ..Head::default() }, &state()).expect("saves");
        let tasks = Tasks::new();
        let (chunks, archive, head) = (send(&image, &tasks), ours.clone(), image.head.clone());
        let received = tasks.spawn_blocking(move || receive(Some(&archive), &head, chunks::Reader::new(chunks)));
        let received = received.await.expect("no panic").expect("whole");
        assert_eq!(entries(&ours, here.path()), (0, 1));
        assert_eq!(received.state.kv("k2000").map(|entry| entry.value.len()), Some(300));
        let kept = received.keep(image.head.clone()).expect("keeps");
        drop(received);
        assert_eq!(entries(&ours, here.path()), (1, 1));
        assert_eq!(kept.state().expect("reads").index, 2000);
    }

    #[test]
    fn a_damaged_or_broken_transfer_leaves_nothing_behind() {
        let here = tempfile::tempdir().expect("temp dir");
        let ours = Archive::open(here.path()).expect("opens");
        ours.save(Head::default(), &State::default()).expect("saves");
        let mut bytes = Vec::new();
        store::snapshot::write(&state(), &mut bytes).expect("memory");
        let head = Head { size_bytes: bytes.len() as u64, ..Head::default() };
        let check = |bytes: &[u8], head: &Head, expected: &str| {
            let error = receive(Some(&ours), head, bytes).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(entries(&ours, here.path()), (1, 1), "{expected}");
        };
        check(&bytes[..bytes.len() / 2], &head, "snapshot: row");
        check(&bytes[..bytes.len() - 2], &head, "truncated before its checksum");
        check(&[99, 1, 2], &head, "format 99 is not known");
        check(&bytes, &Head { size_bytes: 9, ..Head::default() }, "bytes came where 9 were announced");
        let at = bytes.len() / 2;
        bytes[at] ^= 4;
        check(&bytes, &head, "snapshot: ");
        // Nobody wanted it.
        bytes[at] ^= 4;
        drop(receive(Some(&ours), &head, &bytes[..]).expect("whole"));
        assert_eq!(entries(&ours, here.path()), (1, 1));
    }
}
