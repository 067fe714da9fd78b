//! Load: clients that keep their connection, write one key, wait for the answer and write the next. One thread drives them all, so
//! that on a small machine the servers have the processors, not the measuring.

use std::{
    cell::{Cell, RefCell},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Connections from one address: fewer than an agent takes of one client.
const CONNECTIONS: usize = 128;
/// The longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a client that was refused waits.
const PAUSE: Duration = Duration::from_millis(10);

/// When the clients end.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// After so long.
    For(Duration),
    /// After so many answers.
    Count(u64),
    /// At [`Writers::finish`].
    Stopped,
}

/// What is written.
#[derive(Clone, Debug)]
pub struct Writes {
    /// Clients at a time.
    pub clients: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Keys are `prefix` and a number below `keys`, in turn.
    pub prefix: &'static str,
    /// How many different keys.
    pub keys: u64,
    /// The next number; shared by runs that go on where the last one ended.
    pub next: Arc<AtomicU64>,
    /// When to end.
    pub limit: Limit,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Answers with status 200.
    pub done: u64,
    /// Everything else: other answers, broken connections.
    pub refused: u64,
    /// From begin to end.
    pub seconds: f64,
    /// Time of each write that was done, microseconds, in rising order.
    pub micros: Vec<u32>,
    /// The last refusal.
    pub refusal: String,
}

impl Measured {
    /// Writes a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.done as f64 / self.seconds
    }

    /// The time that this part of the writes did not exceed, milliseconds; `1.0` for the longest.
    #[must_use]
    pub fn quantile_ms(&self, part: f64) -> f64 {
        let last = self.micros.len().saturating_sub(1);
        let at = ((self.micros.len() as f64 * part) as usize).min(last);
        self.micros.get(at).map_or(f64::NAN, |micros| f64::from(*micros) / 1e3)
    }
}

/// Running clients.
#[derive(Debug)]
pub struct Writers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    thread: thread::JoinHandle<Measured>,
}

impl Writers {
    /// Starts the clients; each goes through these agents in turn, beginning with another one.
    ///
    /// # Panics
    /// A thread cannot be started.
    #[must_use]
    pub fn start(agents: Vec<SocketAddr>, writes: Writes) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (stop.clone(), done.clone());
        let thread = thread::spawn(move || drive(&agents, writes, stopped, counted));
        Self { stop, done, thread }
    }

    /// Writes done so far.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends the clients after the write each has under way.
    ///
    /// # Panics
    /// A client panicked.
    #[must_use]
    pub fn finish(self) -> Measured {
        self.stop.store(true, Ordering::Relaxed);
        self.wait()
    }

    /// Waits until the clients have reached their limit.
    ///
    /// # Panics
    /// A client panicked.
    #[must_use]
    pub fn wait(self) -> Measured {
        self.thread.join().expect("the clients end")
    }
}

/// All clients of a run, which share one thread.
struct Run {
    writes: Writes,
    started: Instant,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    begun: Cell<u64>,
    value: Vec<u8>,
    measured: RefCell<Measured>,
}

fn drive(agents: &[SocketAddr], writes: Writes, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tasks = tokio::task::LocalSet::new();
    // Every value a byte can have.
    let value = (0..writes.value_bytes).map(|at| (at.wrapping_mul(31) % 256) as u8).collect();
    let (clients, started) = (writes.clients, Instant::now());
    let run = Rc::new(Run { writes, started, stop, done, begun: Cell::new(0), value, measured: RefCell::default() });
    for client in 0..clients {
        let (run, agents) = (run.clone(), agents.to_vec());
        tasks.spawn_local(async move { run.client(client, &agents).await });
    }
    runtime.block_on(tasks);
    let mut measured = run.measured.take();
    measured.seconds = started.elapsed().as_secs_f64();
    measured.micros.sort_unstable();
    measured
}

impl Run {
    /// Whether another write may begin, which is counted.
    fn goes_on(&self) -> bool {
        let begun = self.begun.get();
        self.begun.set(begun + 1);
        let open = match self.writes.limit {
            Limit::For(longest) => self.started.elapsed() < longest,
            Limit::Count(count) => begun < count,
            Limit::Stopped => true,
        };
        open && !self.stop.load(Ordering::Relaxed)
    }

    async fn client(&self, client: usize, agents: &[SocketAddr]) {
        let (mut connection, mut request, mut agent) = (None, Vec::new(), client);
        while self.goes_on() {
            let key = self.writes.next.fetch_add(1, Ordering::Relaxed) % self.writes.keys;
            request.clear();
            let head =
                format!("PUT /v1/kv/{}{key} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", self.writes.prefix, self.value.len());
            request.extend_from_slice(head.as_bytes());
            request.extend_from_slice(&self.value);
            let begun = Instant::now();
            match self.write(&mut connection, agents[agent % agents.len()], client, &request).await {
                Ok(()) => self.note_done(begun.elapsed()),
                Err(error) => {
                    (connection, agent) = (None, agent + 1);
                    self.note_refused(&error);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn note_done(&self, took: Duration) {
        let mut measured = self.measured.borrow_mut();
        measured.done += 1;
        measured.micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    fn note_refused(&self, error: &io::Error) {
        let mut measured = self.measured.borrow_mut();
        measured.refused += 1;
        measured.refusal = error.to_string();
    }

    async fn write(&self, kept: &mut Option<TcpStream>, agent: SocketAddr, client: usize, request: &[u8]) -> io::Result<()> {
        let exchange = async {
            let stream = match kept {
                Some(stream) => stream,
                None => kept.insert(connect(agent, client).await?),
            };
            stream.write_all(request).await?;
            answer(stream).await
        };
        match timeout(ANSWER, exchange).await? {
            Ok((200, _)) => Ok(()),
            Ok((status, body)) => Err(io::Error::other(format!("status {status}: {}", String::from_utf8_lossy(&body)))),
            Err(error) => Err(error),
        }
    }
}

/// A connection from an address that few others use.
async fn connect(agent: SocketAddr, client: usize) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if agent.ip().is_loopback() {
        let host = u8::try_from(1 + client / CONNECTIONS).map_err(io::Error::other)?;
        socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 1, host)), 0))?;
    }
    let stream = socket.connect(agent).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Status and body of an answer that tells its length.
async fn answer(stream: &mut TcpStream) -> io::Result<(u16, Vec<u8>)> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    let (status, head, length) = loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = std::str::from_utf8(&bytes[..end]).map_err(io::Error::other)?;
            let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| invalid("status line"))?;
            let header = |line: &str| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            };
            break (status, end + 4, head.lines().find_map(header).ok_or_else(|| invalid("no length"))?);
        }
        match stream.read(&mut chunk).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    };
    while bytes.len() < head + length {
        match stream.read(&mut chunk).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
    Ok((status, bytes[head..head + length].to_vec()))
}
