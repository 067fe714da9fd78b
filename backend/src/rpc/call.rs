//! What is asked of another agent over the [`Pool`]'s connections: calls, change streams, Raft's messages.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::Frame;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

use super::{
    Answer, Changes, Error, Failure, Operation, OperationReply, Pool, Request,
    link::{Body, Waits},
    pool::{Lane, Opened, silent},
    wire::{self, Frames},
};
use crate::rt::{
    chunks::{self, Chunks},
    clock,
};

impl Pool {
    async fn ask<A: Serialize, R: DeserializeOwned>(&self, to: SocketAddr, waits: Waits, path: &str, asked: &A) -> Result<R, Failure> {
        let bytes = wire::encode(asked).map_err(Failure::NotSent)?;
        let bytes = collect(self.send(to, Lane::Calls, waits, path, full(bytes)).await?).await?;
        let unreadable = |why| Failure::Answered(Error::Refused(format!("rpc error making call: unreadable answer of {to}: {why}")));
        wire::decode::<Result<R, Error>>(&bytes).map_err(unreadable)?.map_err(Failure::Answered)
    }

    /// Makes one call of another agent, within its own deadline. Dropping the future cancels it there too.
    ///
    /// # Errors
    /// What the other side answers, or why it has not.
    pub async fn try_call(&self, to: SocketAddr, request: &Request, operation: &Operation) -> Result<Answer<OperationReply>, Failure> {
        let waits = match operation {
            operation if operation.writes() => Waits::Write,
            _ if request.options.index > 0 => Waits::Long,
            _ => Waits::Read,
        };
        let (shutdown, call) = (self.tasks().shutdown(), (request, operation));
        tokio::select! {
            biased;
            // Quick ones still get their answer.
            () = shutdown.requested(), if waits == Waits::Long => Err(Failure::Answered(Error::Stopping)),
            answered = clock::timeout(self.longest(request, operation), self.ask(to, waits, "/v1/call", &call)) => {
                answered.unwrap_or(Err(Failure::Timeout))
            }
        }
    }

    /// As [`Pool::try_call`], with the failure in the words callers know.
    ///
    /// # Errors
    /// As there.
    pub async fn call(&self, to: SocketAddr, request: &Request, operation: Operation) -> Result<Answer<OperationReply>, Error> {
        Ok(self.try_call(to, request, &operation).await?)
    }

    /// How long a call may take: what it waits on purpose, and then some.
    pub(super) fn longest(&self, request: &Request, operation: &Operation) -> Duration {
        let options = self.options();
        let waits = match request.options.index {
            0 => operation.lasts(),
            _ => request.options.waits(options.query_time_default, options.query_time_max),
        };
        waits + waits / 16 + options.hold_timeout + options.call_timeout
    }

    /// Opens another agent's change stream, and tells the index it starts at; it ends when that agent or the connection does.
    ///
    /// # Errors
    /// As for [`Pool::try_call`].
    pub async fn changes(&self, to: SocketAddr, request: &Request, since: u64) -> Result<(u64, Changes), Failure> {
        let bytes = wire::encode(&(request, since)).map_err(Failure::NotSent)?;
        let opening = async {
            // Quick until it is open.
            let link = self.link(to, Lane::Calls).await?;
            let _quick = link.seat(Waits::Read);
            let Opened { response, seat } = self.send(to, Lane::Calls, Waits::Long, "/v1/changes", full(bytes)).await?;
            let mut frames = Frames::new(response.into_body(), wire::FRAME_MAX);
            let first = tokio::select! {
                first = frames.next::<Result<wire::Opening, Error>>() => first,
                () = seat.must_go() => return Err(silent()),
            };
            match first {
                Ok(Some(Ok(opening))) => Ok((opening.index, frames, seat)),
                Ok(Some(Err(error))) => Err(Failure::Answered(error)),
                Ok(None) => Err(Failure::Lost("EOF".to_owned())),
                Err(why) => Err(Failure::Lost(why)),
            }
        };
        let opened = clock::timeout(self.options().hold_timeout, opening).await;
        let (index, mut frames, seat) = opened.unwrap_or(Err(Failure::Timeout))?;
        let (sender, receiver) = mpsc::channel(16);
        self.tasks().spawn_until_shutdown("remote change stream", async move {
            loop {
                let next = tokio::select! {
                    () = sender.closed() => return,
                    () = seat.must_go() => return,
                    next = frames.next() => next,
                };
                match next {
                    Ok(Some(batch)) => {
                        if sender.send(Ok(batch)).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) | Err(_) => return,
                }
            }
        });
        Ok((index, receiver))
    }

    /// Carries one of Raft's messages to the server with this id; each lane has a connection of its own. The caller sets the deadline
    /// by dropping the future.
    ///
    /// # Errors
    /// [`Failure::NotSent`] when nobody listens there, [`Failure::Answered`] when it is another server that does.
    pub async fn raft(&self, to: SocketAddr, lane: u8, id: &str, message: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let (waits, path) = (if lane == 0 { Waits::Urgent } else { Waits::Bulk }, format!("/v1/raft?to={id}"));
        Ok(collect(self.send(to, Lane::Raft(lane), waits, &path, full(message.into())).await?).await?.into())
    }

    /// As [`Pool::raft`], for a snapshot of any size: what it is, then its contents as they come.
    ///
    /// # Errors
    /// As there.
    pub async fn raft_snapshot(&self, to: SocketAddr, lane: u8, id: &str, offer: &[u8], contents: Chunks) -> Result<Vec<u8>, Failure> {
        let (head, path) = (wire::framed(offer).map_err(Failure::NotSent)?, format!("/v1/raft/snapshot?to={id}"));
        let sending = self.send(to, Lane::Raft(lane), Waits::Bulk, &path, streamed(head, contents));
        Ok(collect(sending.await?).await?.into())
    }
}

pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A frame, then bytes as they come; an error among them breaks the stream off.
pub(super) fn streamed(head: Bytes, rest: Chunks) -> Body {
    let all = stream::once(async { Ok(head) }).chain(chunks::into_stream(rest));
    StreamBody::new(Box::pin(all.map(|piece| piece.map(Frame::data)))).boxed_unsync()
}

/// The whole body of an answer.
pub(super) async fn collect(Opened { response, seat }: Opened) -> Result<Bytes, Failure> {
    tokio::select! {
        biased;
        body = Limited::new(response.into_body(), wire::MESSAGE_MAX).collect() => {
            body.map(http_body_util::Collected::to_bytes).map_err(|_| Failure::Lost("EOF".to_owned()))
        }
        () = seat.must_go() => Err(silent()),
    }
}
