//! Saved files between agents, in both directions as streams of bytes of any length, on a connection of their own.
//!
//! Contract: cluster, section "Forwarding and consistency". Neither is ever sent twice.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use hyper::{Response, body::Incoming};
use shared::{query::QueryMeta, snapshot::Inspection};

use super::{
    Answer, Error, Failure, Handler, Load, Pool, Request,
    call::{collect, full, streamed},
    link::{Body, Waits},
    pool::Lane,
    wire::{self, Frames},
};
use crate::rt::{Tasks, chunks::Chunks, clock};

/// How long saving may take until the first byte, beside waiting for a leader.
const BEGIN: Duration = Duration::from_secs(60);
/// How long restoring may take altogether.
const RESTORE: Duration = Duration::from_secs(650);
/// Bytes of what a stream begins with, at most.
const HEAD_MAX: usize = 64 << 10;
/// How long a stream may take to say what it is.
const HEAD: Duration = Duration::from_secs(10);

impl Pool {
    /// Has another agent save the state.
    ///
    /// # Errors
    /// What the other side answers, or why it has not.
    pub async fn save(&self, to: SocketAddr, request: &Request) -> Result<Answer<Chunks>, Failure> {
        let bytes = wire::encode(request).map_err(Failure::NotSent)?;
        let opening = async {
            let opened = self.send(to, Lane::Bulk, Waits::Bulk, "/v1/snapshot/save", full(bytes)).await?;
            let mut frames = Frames::new(opened.response.into_body(), wire::FRAME_MAX);
            match frames.next::<Result<QueryMeta, Error>>().await {
                Ok(Some(Ok(meta))) => Ok(Answer { meta, value: frames.rest(self.tasks(), opened.seat) }),
                Ok(Some(Err(error))) => Err(Failure::Answered(error)),
                Ok(None) => Err(Failure::Lost("EOF".to_owned())),
                Err(why) => Err(Failure::Lost(why)),
            }
        };
        clock::timeout(self.options().hold_timeout + BEGIN, opening).await.unwrap_or(Err(Failure::Timeout))
    }

    /// Has another agent inspect or restore a file.
    ///
    /// # Errors
    /// As for [`Pool::save`].
    pub async fn load(&self, to: SocketAddr, request: &Request, purpose: Load, file: Chunks) -> Result<Answer<Inspection>, Failure> {
        let head = wire::frame(&(request, purpose)).map_err(Failure::NotSent)?;
        let loading = async {
            let bytes = collect(self.send(to, Lane::Bulk, Waits::Bulk, "/v1/snapshot/load", streamed(head, file)).await?).await?;
            wire::decode::<Result<Answer<Inspection>, Error>>(&bytes).map_err(Failure::Lost)?.map_err(Failure::Answered)
        };
        clock::timeout(RESTORE, loading).await.unwrap_or(Err(Failure::Timeout))
    }
}

fn unreadable(why: &str) -> Error {
    Error::Refused(format!("rpc error making call: unreadable request: {why}"))
}

/// Answers [`Pool::save`].
pub(super) async fn save(handler: &dyn Handler, body: &[u8]) -> Response<Body> {
    let saving = match wire::decode::<Request>(body) {
        Ok(request) => handler.save(request).await,
        Err(why) => Err(unreadable(&why)),
    };
    let head = saving.as_ref().map(|answer| answer.meta.clone());
    let head = wire::frame(&head).unwrap_or_default();
    Response::new(match saving {
        Ok(answer) => streamed(head, answer.value),
        Err(_) => full(head),
    })
}

/// Answers [`Pool::load`].
pub(super) async fn load(handler: &dyn Handler, body: Incoming, tasks: &Tasks) -> Response<Body> {
    let mut frames = Frames::new(body, HEAD_MAX);
    let loaded = match clock::timeout(HEAD, frames.next::<(Request, Load)>()).await {
        Ok(Ok(Some((request, purpose)))) => handler.load(request, purpose, frames.rest(tasks, ())).await,
        Ok(Ok(None)) => Err(unreadable("no bytes")),
        Ok(Err(why)) => Err(unreadable(&why)),
        Err(_) => Err(Error::Timeout),
    };
    Response::new(full(wire::encode(&loaded).unwrap_or_else(|_| Bytes::new())))
}
