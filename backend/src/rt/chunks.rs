//! Long runs of bytes in pieces, between code that blocks and code that waits: a bounded channel with a writer and a reader.
//!
//! An error ends the run. The end of the channel is the end of the bytes, also when the other side just went away: what is
//! carried has to tell by itself whether it is whole.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tokio::{sync::mpsc, task::JoinHandle};

use super::Tasks;

/// Bytes of one piece, at most.
pub const PIECE: usize = 256 << 10;
/// Pieces under way before the producer waits.
const DEPTH: usize = 4;

/// The receiving end.
pub type Chunks = mpsc::Receiver<io::Result<Bytes>>;
/// The sending end.
pub type Sender = mpsc::Sender<io::Result<Bytes>>;

/// An empty run and its sending end.
#[must_use]
pub fn channel() -> (Sender, Chunks) {
    mpsc::channel(DEPTH)
}

/// What `write` writes, as it writes it, on a thread that may block. Its error becomes the last piece.
pub fn produce(tasks: &Tasks, write: impl FnOnce(&mut Writer) -> io::Result<()> + Send + 'static) -> Chunks {
    let (sender, chunks) = channel();
    if tasks.are_simulated() {
        drop(tasks.spawn("chunks", produce_in_steps(write, sender)));
        return chunks;
    }
    tasks.spawn_blocking(move || {
        let mut writer = Writer { to: To::Channel(sender), buffer: BytesMut::with_capacity(PIECE) };
        if let Err(error) = write(&mut writer).and_then(|()| writer.flush()) {
            // Whoever would hear of it has gone already when this fails.
            let _ = writer.to.send(Err(error));
        }
    });
    chunks
}

/// As [`produce`] without a thread: writes everything first.
async fn produce_in_steps(write: impl FnOnce(&mut Writer) -> io::Result<()> + Send + 'static, sender: Sender) {
    let mut writer = Writer { to: To::Memory(Vec::new()), buffer: BytesMut::new() };
    let end = write(&mut writer).and_then(|()| writer.flush()).err();
    let To::Memory(pieces) = writer.to else { return };
    for piece in pieces.into_iter().map(Ok).chain(end.map(Err)) {
        if sender.send(piece).await.is_err() {
            return;
        }
    }
}

/// Reads pieces as they come, on a thread that may block, and answers what `read` makes of them.
pub fn consume<T: Send + 'static>(tasks: &Tasks, mut chunks: Chunks, read: impl FnOnce(Reader) -> T + Send + 'static) -> JoinHandle<T> {
    if !tasks.are_simulated() {
        return tasks.spawn_blocking(move || read(Reader::new(chunks)));
    }
    // Without a thread: waits for everything first.
    tasks.spawn("chunks", async move {
        let mut pieces = VecDeque::new();
        while let Some(piece) = chunks.recv().await {
            let ended = piece.is_err();
            pieces.push_back(piece);
            if ended {
                break;
            }
        }
        read(Reader { from: From::Memory(pieces), piece: Bytes::new() })
    })
}

/// The pieces as a stream.
pub fn into_stream(chunks: Chunks) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold(chunks, |mut chunks| async move { Some((chunks.recv().await?, chunks)) })
}

/// Cuts what is written into pieces. Blocks while the other side is slow; fails once it has gone.
#[derive(Debug)]
pub struct Writer {
    to: To,
    buffer: BytesMut,
}

/// Where pieces go.
#[derive(Debug)]
enum To {
    Channel(Sender),
    /// In a simulation.
    Memory(Vec<Bytes>),
}

impl To {
    fn send(&mut self, piece: io::Result<Bytes>) -> io::Result<()> {
        match self {
            Self::Channel(sender) => {
                sender.blocking_send(piece).map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads any more"))
            }
            Self::Memory(pieces) => {
                pieces.push(piece?);
                Ok(())
            }
        }
    }
}

impl Writer {
    fn send(&mut self) -> io::Result<()> {
        let piece = self.buffer.split().freeze();
        self.buffer.reserve(PIECE);
        self.to.send(Ok(piece))
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PIECE {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.send() }
    }
}

/// Reads the pieces on a thread that may block.
#[derive(Debug)]
pub struct Reader {
    from: From,
    piece: Bytes,
}

/// Where pieces come from.
#[derive(Debug)]
enum From {
    Channel(Chunks),
    /// In a simulation.
    Memory(VecDeque<io::Result<Bytes>>),
}

impl Reader {
    /// From the beginning.
    #[must_use]
    pub fn new(chunks: Chunks) -> Self {
        Self { from: From::Channel(chunks), piece: Bytes::new() }
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = match &mut self.from {
                From::Channel(chunks) => chunks.blocking_recv(),
                From::Memory(pieces) => pieces.pop_front(),
            };
            match next {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let taken = self.piece.split_to(into.len().min(self.piece.len()));
        into[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn bytes_arrive_as_written_in_pieces_of_a_bounded_size() {
        let tasks = Tasks::new();
        let written: Vec<u8> = (0..PIECE * 3 + 17).map(|at| u8::try_from(at % 251).expect("small")).collect();
        let expected = written.clone();
        let chunks = produce(&tasks, move |out| written.chunks(1000).try_for_each(|part| out.write_all(part)));
        let read = tasks.spawn_blocking(move || {
            let mut read = Vec::new();
            Reader::new(chunks).read_to_end(&mut read).map(|_| read)
        });
        assert_eq!(read.await.expect("no panic").expect("whole"), expected);
        let mut chunks = produce(&tasks, |out| out.write_all(&[1; PIECE + 1]));
        assert_eq!(chunks.recv().await.expect("a piece").expect("whole").len(), PIECE);
        assert_eq!(chunks.recv().await.expect("a piece").expect("whole").len(), 1);
        assert!(chunks.recv().await.is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_error_of_the_producer_reaches_the_reader_and_a_reader_that_goes_ends_the_producer() {
        let tasks = Tasks::new();
        let chunks = produce(&tasks, |out| {
            out.write_all(b"begun")?;
            out.flush()?;
            Err(io::Error::other("broke"))
        });
        let read = tasks.spawn_blocking(move || Reader::new(chunks).read_to_end(&mut Vec::new()));
        assert_eq!(read.await.expect("no panic").expect_err("broke").to_string(), "broke");
        let (told, heard) = tokio::sync::oneshot::channel();
        let chunks = produce(&tasks, move |out| {
            let result = std::iter::repeat_n([0; 1000], 1 << 20).try_for_each(|part| out.write_all(&part));
            let _ = told.send(result.map_err(|error| error.kind()));
            Ok(())
        });
        drop(chunks);
        assert_eq!(heard.await, Ok(Err(io::ErrorKind::BrokenPipe)));
    }
}
