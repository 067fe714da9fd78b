//! Rate limits: how many calls a client agent sends, and how many reads and writes a server answers.
//!
//! [`Limited`] stands in front of whatever answers calls, so HTTP, DNS and other agents' calls all pass it; Raft and the leader's
//! own duties never do, and anti-entropy and calls that another server has counted pass uncounted. Never waits: a call over the
//! limit fails at once. Contract: cluster, section "Rate limiting", and HTTP API, section "Error mapping".

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shared::snapshot::Inspection;

use super::{Answer, Changes, Error, Handler, Load, Operation, OperationReply, Request};
use crate::{
    rt::{Clock, chunks::Chunks, clock::Instant},
    telemetry,
};

/// A burst of server requests is this many seconds' worth.
const BURST_SECONDS: f64 = 10.0;
/// The log is told of refused calls no more often.
const QUIET: Duration = Duration::from_secs(10);

/// A token bucket. Pure: the caller says what time it is.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Tokens a second; infinite lets everything pass.
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Option<Instant>,
}

impl Bucket {
    /// A full bucket: `rate` tokens a second (negative: no limit), at most `burst` at once.
    #[must_use]
    pub fn new(rate: f64, burst: f64) -> Self {
        let burst = burst.max(0.0);
        Self { rate: if rate < 0.0 || rate.is_nan() { f64::INFINITY } else { rate }, burst, tokens: burst, at: None }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        if self.rate.is_infinite() {
            return true;
        }
        let elapsed = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.at = Some(now);
        self.tokens = (self.tokens + elapsed * self.rate).min(self.burst);
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }
}

/// What happens to requests over a server's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is counted.
    #[default]
    Disabled,
    /// They are counted and logged, and answered all the same.
    Permissive,
    /// They are refused.
    Enforcing,
}

/// The limits of one agent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limits {
    /// Of a client agent, for the calls it sends.
    Client {
        /// Calls a second; negative for any number.
        rate: f64,
        /// Calls at once.
        burst: f64,
    },
    /// Of a server, for the calls it answers.
    Server {
        /// What happens over the limit.
        mode: Mode,
        /// Reads a second; negative for any number.
        read_rate: f64,
        /// Writes a second; negative for any number.
        write_rate: f64,
    },
}

/// Reads and writes apart; a client has one bucket for both.
#[derive(Debug)]
struct Buckets {
    limits: Limits,
    reads: Bucket,
    writes: Bucket,
    /// When the log was last told.
    told: Option<Instant>,
}

impl Buckets {
    fn new(limits: Limits) -> Self {
        let (reads, writes) = match limits {
            Limits::Client { rate, burst } => (Bucket::new(rate, burst), Bucket::new(rate, burst)),
            Limits::Server { read_rate, write_rate, .. } => {
                (Bucket::new(read_rate, read_rate * BURST_SECONDS), Bucket::new(write_rate, write_rate * BURST_SECONDS))
            }
        };
        Self { limits, reads, writes, told: None }
    }

    /// Whether a call may pass; the error to answer when not. `leads` is asked only when it matters.
    fn admit(&mut self, is_write: bool, now: Instant, leads: &dyn Fn() -> bool) -> Result<(), Error> {
        let Limits::Server { mode, .. } = self.limits else {
            telemetry::metrics().incr("client.rpc");
            if self.reads.take(now) {
                return Ok(());
            }
            telemetry::metrics().incr("client.rpc.exceeded");
            return Err(Error::RateLimited);
        };
        let bucket = if is_write { &mut self.writes } else { &mut self.reads };
        if mode == Mode::Disabled || bucket.take(now) {
            return Ok(());
        }
        telemetry::metrics().incr("rpc.rate_limit.exceeded");
        let kind = if is_write { "global/write" } else { "global/read" };
        if self.told.is_none_or(|told| now.saturating_duration_since(told) >= QUIET) {
            self.told = Some(now);
            tracing::warn!(limit_type = kind, limit_enforced = mode == Mode::Enforcing, "RPC exceeded allowed rate limit");
        }
        match mode {
            Mode::Enforcing if is_write && leads() => Err(Error::RetryLater),
            Mode::Enforcing => Err(Error::RetryElsewhere),
            _ => Ok(()),
        }
    }
}

/// Sets an agent's limits anew while it runs.
#[derive(Clone, Debug)]
pub struct LimitsHandle(Arc<Mutex<Buckets>>);

impl LimitsHandle {
    /// From now on these limits hold. The same ones again change nothing, so that a reload fills no bucket.
    pub fn set(&self, limits: Limits) {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.limits != limits {
            *buckets = Buckets::new(limits);
        }
    }
}

/// Lets calls through to `inner` as far as the limits allow.
pub struct Limited {
    inner: Arc<dyn Handler>,
    buckets: Arc<Mutex<Buckets>>,
    leads: Box<dyn Fn() -> bool + Send + Sync>,
    clock: Clock,
}

impl std::fmt::Debug for Limited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Limited")
    }
}

impl Limited {
    /// Limits the calls `inner` gets. `leads` tells whether this agent leads its datacenter; a client answers false.
    pub fn new(inner: Arc<dyn Handler>, limits: Limits, leads: impl Fn() -> bool + Send + Sync + 'static, clock: Clock) -> Self {
        Self { inner, buckets: Arc::new(Mutex::new(Buckets::new(limits))), leads: Box::new(leads), clock }
    }

    /// To change the limits later.
    #[must_use]
    pub fn limits(&self) -> LimitsHandle {
        LimitsHandle(self.buckets.clone())
    }

    fn admit(&self, is_write: bool) -> Result<(), Error> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner).admit(is_write, self.clock.now(), &*self.leads)
    }
}

#[async_trait::async_trait]
impl Handler for Limited {
    async fn handle(&self, request: Request, operation: Operation) -> Result<Answer<OperationReply>, Error> {
        if !is_exempt(&request, &operation) {
            self.admit(operation.writes() && !matches!(operation, Operation::AgentCall(_)))?;
        }
        self.inner.handle(request, operation).await
    }

    async fn changes(&self, request: Request, since: u64) -> Result<Changes, Error> {
        self.admit(false)?;
        self.inner.changes(request, since).await
    }

    // Backups and their return are for when something is wrong: no limit counts them.
    async fn save(&self, request: Request) -> Result<Answer<Chunks>, Error> {
        self.inner.save(request).await
    }

    async fn load(&self, request: Request, purpose: Load, file: Chunks) -> Result<Answer<Inspection>, Error> {
        self.inner.load(request, purpose, file).await
    }
}

/// What no limit may stop: finding out who leads, forming a cluster, keeping the catalog true. What another server passed on was
/// counted there.
fn is_exempt(request: &Request, operation: &Operation) -> bool {
    use Operation as O;
    match operation {
        O::Leader(_) | O::Peers(_) | O::RaftState(_) => true,
        O::Register(_) | O::Deregister(_) | O::NodeServices(_) | O::NodeChecks(_) if request.anti_entropy => true,
        _ => request.forwarded,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::kv::{Op, Write};

    use super::*;
    use crate::rpc::{KvGet, KvWrite, Leader};

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2.0, 3.0);
        let mut taken = |after_ms: u64| (0..10).filter(|_| bucket.take(start + Duration::from_millis(after_ms))).count();
        assert_eq!(taken(0), 3);
        assert_eq!(taken(499), 0);
        assert_eq!(taken(1000), 2);
        // It never holds more than its burst.
        assert_eq!(taken(60_000), 3);
        // Time that goes backwards gives nothing and breaks nothing.
        assert_eq!(taken(0), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn no_rate_is_no_limit_and_rate_zero_is_the_burst_alone() {
        let now = Instant::now();
        for rate in [-1.0, f64::INFINITY, f64::NAN] {
            let mut bucket = Bucket::new(rate, 0.0);
            assert!((0..1000).all(|_| bucket.take(now)), "{rate}");
        }
        let mut bucket = Bucket::new(0.0, 2.0);
        assert_eq!((0..10).filter(|_| bucket.take(now + Duration::from_secs(9))).count(), 2);
    }

    struct Answers;

    #[async_trait::async_trait]
    impl Handler for Answers {
        async fn handle(&self, _: Request, operation: Operation) -> Result<Answer<OperationReply>, Error> {
            let value = match operation {
                Operation::KvGet(_) => OperationReply::KvGet(None),
                Operation::KvWrite(_) => OperationReply::KvWrite(true),
                _ => OperationReply::Leader(String::new()),
            };
            Ok(Answer { meta: Default::default(), value })
        }

        async fn changes(&self, _: Request, _: u64) -> Result<Changes, Error> {
            Err(Error::Stopping)
        }
    }

    fn read() -> Operation {
        KvGet { key: "a".to_owned() }.into()
    }

    fn write() -> Operation {
        KvWrite { write: Write { op: Op::Set, key: "a".to_owned(), flags: 0, value: Vec::new() } }.into()
    }

    async fn refused(limited: &Limited, operation: fn() -> Operation, times: usize) -> Vec<Error> {
        let mut errors = Vec::new();
        for _ in 0..times {
            errors.extend(limited.handle(Request::default(), operation()).await.err());
        }
        errors
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_refuses_what_exceeds_its_rate() {
        let limited = Limited::new(Arc::new(Answers), Limits::Client { rate: 1.0, burst: 2.0 }, || false, Clock::system());
        assert_eq!(refused(&limited, write, 3).await, [Error::RateLimited]);
        assert_eq!(refused(&limited, || Leader {}.into(), 3).await, []);
        limited.limits().set(Limits::Client { rate: -1.0, burst: 0.0 });
        assert_eq!(refused(&limited, read, 3).await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_server_counted_and_what_keeps_the_catalog_true_is_not_counted() {
        let limits = Limits::Server { mode: Mode::Enforcing, read_rate: 0.0, write_rate: 0.0 };
        let limited = Limited::new(Arc::new(Answers), limits, || true, Clock::system());
        let asked = async |request: Request, operation: Operation| limited.handle(request, operation).await.err();
        let (forwarded, syncing) =
            (Request { forwarded: true, ..Request::default() }, Request { anti_entropy: true, ..Request::default() });
        let register = || crate::rpc::Register { registration: Default::default(), transitions: Vec::new() };
        assert_eq!(asked(Request::default(), write()).await, Some(Error::RetryLater));
        assert_eq!(asked(forwarded.clone(), write()).await, None);
        assert_eq!(asked(forwarded, read()).await, None);
        assert_eq!(asked(syncing.clone(), register().into()).await, None);
        assert_eq!(asked(Request::default(), register().into()).await, Some(Error::RetryLater));
        assert_eq!(asked(syncing, write()).await, Some(Error::RetryLater), "anti-entropy writes no keys");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_says_where_to_try_again() {
        let check = |mode, leads: bool| {
            let limits = Limits::Server { mode, read_rate: 0.1, write_rate: 0.1 };
            Limited::new(Arc::new(Answers), limits, move || leads, Clock::system())
        };
        let enforcing = check(Mode::Enforcing, true);
        assert_eq!(refused(&enforcing, read, 2).await, [Error::RetryElsewhere]);
        assert_eq!(refused(&enforcing, write, 2).await, [Error::RetryLater]);
        assert_eq!(refused(&check(Mode::Enforcing, false), write, 2).await, [Error::RetryElsewhere]);
        assert_eq!(refused(&check(Mode::Permissive, true), write, 5).await, []);
        assert_eq!(refused(&check(Mode::Disabled, true), write, 5).await, []);
    }
}
