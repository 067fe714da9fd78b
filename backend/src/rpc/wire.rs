//! Bytes between agents: a version byte, then msgpack with field names, so that fields can be added; and frames of such bytes
//! on a stream. Never trusts a length it was told.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::rt::{
    Tasks,
    chunks::{self, Chunks},
};

/// The only version so far.
const VERSION: u8 = 1;
/// Bytes of one message, at most: the longest list there can be.
pub(super) const MESSAGE_MAX: usize = 256 << 20;
/// Bytes of one frame of a stream, at most.
pub(super) const FRAME_MAX: usize = 64 << 20;

/// What a change stream begins with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opening {
    /// Index it starts at: what happened later comes over the stream.
    pub(super) index: u64,
}

/// The name of an enum's variant, whatever it holds.
#[derive(Debug)]
pub(super) struct Tag(pub(super) String);

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Tag;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a variant")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Tag, E> {
                Ok(Tag(name.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Tag, A::Error> {
                let name = map.next_entry::<String, de::IgnoredAny>()?;
                name.map(|(name, _)| Tag(name)).ok_or_else(|| de::Error::custom("no variant"))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// A value as bytes.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Bytes, String> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write_named(&mut bytes, value).map_err(|error| error.to_string())?;
    Ok(bytes.into())
}

/// A value from its bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => rmp_serde::from_slice(rest).map_err(|error| error.to_string()),
        Some((version, _)) => Err(format!("message version {version} is not known to this release")),
        None => Err("no bytes".to_owned()),
    }
}

/// A value as a frame: its length in four bytes, then its bytes.
pub(super) fn frame<T: Serialize>(value: &T) -> Result<Bytes, String> {
    framed(&encode(value)?)
}

/// Bytes as a frame.
pub(super) fn framed(bytes: &[u8]) -> Result<Bytes, String> {
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length as usize <= FRAME_MAX).ok_or("frame too long")?;
    let mut framed = BytesMut::with_capacity(4 + bytes.len());
    framed.put_u32(length);
    framed.put_slice(bytes);
    Ok(framed.freeze())
}

/// Takes frames off a body as it arrives.
#[derive(Debug)]
pub(super) struct Frames<B> {
    body: B,
    kept: BytesMut,
    longest: usize,
}

impl<B> Frames<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// Frames of at most so many bytes.
    pub(super) fn new(body: B, longest: usize) -> Self {
        Self { body, kept: BytesMut::new(), longest: longest.min(FRAME_MAX) }
    }

    /// The next value; `None` at the end of the body. May be dropped while it waits without losing anything.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, String> {
        match self.next_bytes().await? {
            Some(bytes) => decode(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// The bytes of the next frame; as [`Frames::next`].
    pub(super) async fn next_bytes(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(bytes) = self.take()? {
                return Ok(Some(bytes));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.kept.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(error.to_string()),
                None if self.kept.is_empty() => return Ok(None),
                None => return Err("the stream ended within a frame".to_owned()),
            }
        }
    }

    /// What follows the frames taken so far, as it comes. Ends with the body or with its error, or once nobody wants it. `held` is
    /// kept until then.
    pub(super) fn rest<H: Send + 'static>(self, tasks: &Tasks, held: H) -> Chunks
    where
        B: Send + 'static,
        B::Error: Send,
    {
        let (to, chunks) = chunks::channel();
        let Self { mut body, kept, .. } = self;
        tasks.spawn_until_shutdown("rpc bytes", async move {
            let _held = held;
            if !kept.is_empty() && to.send(Ok(kept.freeze())).await.is_err() {
                return;
            }
            loop {
                let frame = tokio::select! {
                    biased;
                    () = to.closed() => return,
                    frame = body.frame() => frame,
                };
                let piece = match frame {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => Ok(data),
                        Err(_) => continue,
                    },
                    Some(Err(error)) => Err(std::io::Error::other(error.to_string())),
                    None => return,
                };
                if to.send(piece).await.is_err() {
                    return;
                }
            }
        });
        chunks
    }

    fn take(&mut self) -> Result<Option<Bytes>, String> {
        let Some(head) = self.kept.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length > self.longest {
            return Err(format!("a frame of {length} bytes is too long"));
        }
        if self.kept.len() < 4 + length {
            return Ok(None);
        }
        self.kept.advance(4);
        Ok(Some(self.kept.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use proptest::prelude::*;

    use super::*;

    fn body(parts: Vec<Vec<u8>>) -> impl hyper::body::Body<Data = Bytes, Error = std::convert::Infallible> + Unpin {
        StreamBody::new(stream::iter(parts.into_iter().map(|part| Ok(Frame::data(Bytes::from(part))))))
    }

    #[tokio::test]
    async fn frames_survive_any_cut() {
        let whole = [frame(&"one".to_owned()), frame(&"two".to_owned())].map(|frame| frame.expect("short")).concat();
        for cut in 0..=whole.len() {
            let mut frames = Frames::new(body(vec![whole[..cut].to_vec(), whole[cut..].to_vec()]), 100);
            for expected in [Some("one"), Some("two"), None] {
                assert_eq!(frames.next::<String>().await.expect("whole").as_deref(), expected, "cut at {cut}");
            }
        }
    }

    #[tokio::test]
    async fn bytes_after_the_frames_come_as_they_are() {
        let whole = [framed(b"head").expect("short"), Bytes::from_static(b"some bytes")].concat();
        for cut in 0..=whole.len() {
            let mut frames = Frames::new(body(vec![whole[..cut].to_vec(), whole[cut..].to_vec()]), FRAME_MAX);
            assert_eq!(frames.next_bytes().await.expect("whole").as_deref(), Some(&b"head"[..]), "cut at {cut}");
            let (mut rest, mut read) = (frames.rest(&Tasks::new(), ()), Vec::new());
            while let Some(piece) = rest.recv().await {
                read.extend(piece.expect("nothing breaks"));
            }
            assert_eq!(read, b"some bytes", "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_length_out_of_bounds_and_a_cut_end_are_told() {
        let mut long = Frames::new(body(vec![u32::MAX.to_be_bytes().to_vec()]), FRAME_MAX);
        assert!(long.next::<String>().await.expect_err("refused").contains("too long"));
        let mut cut = Frames::new(body(vec![vec![0, 0, 0, 9, 1]]), 9);
        assert!(cut.next::<String>().await.expect_err("refused").contains("within a frame"));
        assert!(decode::<u8>(&[9, 1]).expect_err("refused").contains("version 9"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<(super::super::Request, super::super::Operation)>(&bytes);
            let _ = decode::<Result<super::super::Answer<super::super::OperationReply>, super::super::Error>>(&bytes);
        }
    }
}
