//! The client role's answer to every call: have a server answer it.
//!
//! Contract: cluster, section "Forwarding and consistency". A call that may have been carried out is never sent twice, unless it
//! only reads.

use std::time::Duration;

use shared::snapshot::Inspection;
use tokio::sync::mpsc;

use super::{Answer, Batch, Changes, Error, Failure, Handler, Leader, Load, Operation, OperationReply, Pool, Request, Servers};
use crate::rt::{Runtime, chunks::Chunks, clock};

/// The pause after every server failed once.
const PAUSE: Duration = Duration::from_millis(250);

/// Forwards to one server after the other.
#[derive(Debug)]
pub struct Forwarder {
    pool: Pool,
    servers: Servers,
    datacenter: String,
    runtime: Runtime,
}

impl Forwarder {
    /// For the agents of one datacenter.
    #[must_use]
    pub fn new(pool: Pool, servers: Servers, datacenter: &str, runtime: Runtime) -> Self {
        Self { pool, servers, datacenter: datacenter.to_owned(), runtime }
    }

    fn is_elsewhere(&self, request: &Request) -> bool {
        !request.datacenter.is_empty() && !request.datacenter.eq_ignore_ascii_case(&self.datacenter)
    }
}

/// What becomes of a failure: another server, or this answer.
fn verdict(failure: Failure, reads: bool) -> Result<Failure, Error> {
    match failure {
        // The server gives up only after having waited for a leader itself; another one would wait as long.
        Failure::Answered(Error::Stopping | Error::Disk(_)) | Failure::NotSent(_) => Ok(failure),
        Failure::Lost(_) if reads => Ok(failure),
        other => Err(other.into()),
    }
}

#[async_trait::async_trait]
impl Handler for Forwarder {
    async fn handle(&self, request: Request, operation: Operation) -> Result<Answer<OperationReply>, Error> {
        if self.is_elsewhere(&request) {
            return Err(Error::NoPathToDatacenter);
        }
        let reads = !operation.writes();
        let hold = self.pool.options().hold_timeout;
        let mut give_up_at = None;
        let mut tried = 0;
        loop {
            let server = self.servers.first().ok_or(Error::NoServers)?;
            let failure = match self.pool.try_call(server.address, &request, &operation).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => verdict(failure, reads)?,
            };
            tracing::debug!(server = server.name, %failure, "a server did not answer, another one is tried");
            if self.runtime.tasks.shutdown().is_requested() {
                return Err(Error::Stopping);
            }
            self.servers.failed(&server.id);
            tried += 1;
            let now = clock::Instant::now();
            // A blocking read may have waited long on a server that was well: the time counts from its failure.
            if now >= *give_up_at.get_or_insert(now + hold) {
                return Err(match failure {
                    Failure::NotSent(_) => Error::Refused(failure.to_string()),
                    other => other.into(),
                });
            }
            if tried % self.servers.list().len().max(1) == 0 {
                clock::sleep(PAUSE + self.runtime.rng.jitter(PAUSE)).await;
            }
        }
    }

    async fn changes(&self, request: Request, since: u64) -> Result<Changes, Error> {
        if self.is_elsewhere(&request) {
            return Err(Error::NoPathToDatacenter);
        }
        let opened = self.open(&request, since).await?;
        let (sender, receiver) = mpsc::channel(16);
        let (pool, servers) = (self.pool.clone(), self.servers.clone());
        let forwarder = Self { pool, servers, datacenter: self.datacenter.clone(), runtime: self.runtime.clone() };
        self.runtime.tasks.spawn_until_shutdown("forwarded change stream", forwarder.keep(request, since, opened, sender));
        Ok(receiver)
    }

    async fn save(&self, request: Request) -> Result<Answer<Chunks>, Error> {
        let server = self.answering(&request).await?;
        Ok(self.pool.save(server, &request).await?)
    }

    async fn load(&self, request: Request, purpose: Load, file: Chunks) -> Result<Answer<Inspection>, Error> {
        let server = self.answering(&request).await?;
        Ok(self.pool.load(server, &request, purpose, file).await?)
    }
}

/// A stream to one server.
pub(super) struct Opened {
    pub(super) changes: Changes,
    /// Index it starts at.
    pub(super) index: u64,
    /// The server's UUID.
    pub(super) from: String,
}

/// Whether another server, or the same one later, may open a stream that this failure kept closed.
fn may_open_later(failure: &Failure) -> bool {
    match failure {
        Failure::NotSent(_) | Failure::Lost(_) | Failure::Timeout => true,
        Failure::Answered(error) => matches!(
            error,
            Error::Stopping | Error::NoLeader | Error::NoServers | Error::Timeout | Error::RetryElsewhere | Error::RetryLater
        ),
    }
}

impl Forwarder {
    /// A server that answers now: a long stream of bytes is begun only once.
    async fn answering(&self, request: &Request) -> Result<std::net::SocketAddr, Error> {
        let asked = Request { datacenter: request.datacenter.clone(), token: request.token.clone(), ..Request::default() };
        self.handle(asked, Leader {}.into()).await?;
        self.servers.first().map(|server| server.address).ok_or(Error::NoServers)
    }

    /// Opens a stream to the first server that lets it be opened; a refusal is final.
    async fn open(&self, request: &Request, since: u64) -> Result<Opened, Failure> {
        let mut last = Failure::Answered(Error::NoServers);
        for _ in 0..self.servers.list().len() {
            let Some(server) = self.servers.first() else { break };
            match self.pool.changes(server.address, request, since).await {
                Ok((index, changes)) => return Ok(Opened { changes, index, from: server.id }),
                Err(failure) if may_open_later(&failure) => {
                    self.servers.failed(&server.id);
                    last = failure;
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(last)
    }

    /// Passes batches on; when a server goes, goes on with another from where the reader is. Ends with the reason when a server
    /// refuses that.
    pub(super) async fn keep(self, request: Request, since: u64, mut opened: Opened, to: mpsc::Sender<Result<Batch, Error>>) {
        // Who asked for everything since an index has nothing of it before the first batch; who asked for what comes has it all.
        let mut told = if since == 0 { opened.index } else { since };
        loop {
            let next = tokio::select! {
                () = to.closed() => return,
                next = opened.changes.recv() => next,
            };
            if let Some(next) = next {
                let Ok((index, _)) = &next else {
                    drop(to.send(next).await);
                    return;
                };
                told = *index;
                if to.send(next).await.is_err() {
                    return;
                }
                continue;
            }
            self.servers.failed(&opened.from);
            opened = loop {
                tokio::select! {
                    () = to.closed() => return,
                    () = clock::sleep(PAUSE + self.runtime.rng.jitter(PAUSE)) => {}
                }
                match self.open(&request, told).await {
                    Ok(opened) => break opened,
                    Err(failure) if may_open_later(&failure) => {}
                    Err(refusal) => {
                        drop(to.send(Err(refusal.into())).await);
                        return;
                    }
                }
            };
        }
    }
}
