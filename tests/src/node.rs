//! One agent process: the real binary, its own loopback address with the standard ports, its own directory.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{http::Client, wait};

/// Which product runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Product {
    /// The binary under test.
    Muster,
    /// A real Consul, at this path.
    Consul(PathBuf),
}

/// The name every test agent has, so that recorded answers compare.
pub const NAME: &str = "n1";
/// The UUID every test agent has.
pub const ID: &str = "11111111-2222-4333-8444-555555555555";

/// A running agent. Killed when dropped.
#[derive(Debug)]
pub struct Node {
    /// Its address; ports are the standard ones.
    pub ip: Ipv4Addr,
    /// Its HTTP API.
    pub http: Client,
    /// Start of the process to the first elected leader.
    pub time_to_leader: Duration,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

/// Path of the binary under test, from `MUSTER_BIN`, which `cargo xtask test` sets.
///
/// # Panics
/// It is not set or not there.
#[must_use]
pub fn muster() -> PathBuf {
    let path = std::env::var_os("MUSTER_BIN").map_or_else(|| crate::root().join("target/release/muster"), PathBuf::from);
    assert!(path.exists(), "no binary at {}: run `cargo xtask test`, or `cargo build --release` first", path.display());
    path
}

/// An address of 127.0.0.0/8 nobody uses: every test agent takes its own, with the standard ports.
#[must_use]
pub fn free_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(2_654_435_761) >> 12;
    loop {
        let at = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let [_, b, c, d] = at.to_be_bytes();
        let ip = Ipv4Addr::new(127, b.clamp(1, 254), c, d);
        // Every number stands for another address, also for those that nobody listens on yet.
        if (1..=254).contains(&d)
            && [8300, 8301, 8500, 8600].iter().all(|port| TcpListener::bind(SocketAddr::new(IpAddr::V4(ip), *port)).is_ok())
        {
            return ip;
        }
    }
}

/// How to start an agent.
#[derive(Clone, Debug)]
pub struct Start {
    /// Which product.
    pub product: Product,
    /// Arguments after the common ones.
    pub arguments: Vec<String>,
    /// Where to listen.
    pub ip: Ipv4Addr,
    /// Its node name.
    pub name: String,
    /// Its UUID.
    pub id: String,
    /// The address told to others, when it is another one than `ip`.
    pub advertise: Option<Ipv4Addr>,
    /// The network namespace it runs in, when it is not the test's.
    pub within: Option<String>,
}

impl Start {
    fn new(product: Product, arguments: Vec<String>) -> Self {
        let (name, id) = (NAME.to_owned(), ID.to_owned());
        Self { product, arguments, ip: free_address(), name, id, advertise: None, within: None }
    }

    /// The address others know it by.
    #[must_use]
    pub fn known_as(&self) -> Ipv4Addr {
        self.advertise.unwrap_or(self.ip)
    }

    /// One of several agents, by number: with a name and UUID of its own.
    #[must_use]
    pub fn numbered(product: Product, number: u8, arguments: Vec<String>) -> Self {
        let id = format!("{number:08x}-2222-4333-8444-555555555555");
        Self { name: format!("n{number}"), id, ..Self::new(product, arguments) }
    }

    /// A dev agent in memory.
    #[must_use]
    pub fn dev(product: Product) -> Self {
        Self::new(product, vec!["-dev".to_owned()])
    }

    /// A durable single server.
    #[must_use]
    pub fn server(product: Product, data_dir: &Path) -> Self {
        let data_dir = format!("-data-dir={}", data_dir.display());
        Self::new(product, vec!["-server".into(), "-bootstrap-expect=1".into(), "-ui".into(), data_dir])
    }

    /// With one more argument.
    #[must_use]
    pub fn with(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// With a configuration file of this name and text in `directory`.
    ///
    /// # Panics
    /// The file cannot be written.
    #[must_use]
    pub fn with_config(self, directory: &Path, name: &str, text: &str) -> Self {
        let path = directory.join(name);
        fs::write(&path, text).expect("the test's directory is writable");
        self.with(format!("-config-file={}", path.display()))
    }

    /// Starts the process without waiting for anything.
    #[must_use]
    pub fn spawn(&self) -> Node {
        let program = match &self.product {
            Product::Muster => muster(),
            Product::Consul(path) => path.clone(),
        };
        // `ip netns exec` becomes the program: its process id is the agent's.
        let mut command = Command::new(if self.within.is_some() { Path::new("ip") } else { &program });
        if let Some(namespace) = &self.within {
            command.args(["netns", "exec", namespace]).arg(&program);
        }
        let mut child = command
            .arg("agent")
            .args([
                format!("-bind={}", self.ip),
                format!("-client={}", self.ip),
                format!("-node={}", self.name),
                format!("-node-id={}", self.id),
            ])
            .args(self.advertise.map(|address| format!("-advertise={address}")))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take().expect("piped"), &log);
        collect(child.stderr.take().expect("piped"), &log);
        Node { ip: self.ip, http: Client::new(IpAddr::V4(self.ip)), time_to_leader: Duration::ZERO, child, log }
    }

    /// Starts the process and waits until the API answers, somebody leads and the agent has synced itself.
    ///
    /// # Panics
    /// That does not happen within the usual deadline.
    #[must_use]
    pub fn start(&self) -> Node {
        let started = Instant::now();
        let mut node = self.spawn();
        wait::wait_until("a leader", || {
            node.assert_running();
            let answer = node.http.request("GET", "/v1/status/leader", &[], &[]).ok()?;
            (answer.status == 200 && answer.text().contains(':')).then_some(())
        });
        node.time_to_leader = started.elapsed();
        wait::wait_until("the agent to be in its own catalog", || {
            let answer = node.http.request("GET", &format!("/v1/health/node/{}", self.name), &[], &[]).ok()?;
            (answer.status == 200 && answer.text().contains("serfHealth")).then_some(())
        });
        node
    }
}

fn collect(from: impl std::io::Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            log.lock().expect("no panic while holding it").push(line);
        }
    });
}

impl Node {
    /// A dev agent of the binary under test, ready.
    #[must_use]
    pub fn dev() -> Self {
        Start::dev(Product::Muster).start()
    }

    /// Everything it has printed.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic while holding it").join("\n")
    }

    /// Fails the test with the log when the process has ended.
    ///
    /// # Panics
    /// It has.
    pub fn assert_running(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("the agent ended with {status}:\n{}", self.log());
        }
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, now.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by name.
    ///
    /// # Panics
    /// It cannot be sent.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{signal}");
    }

    /// Sends a signal by name and waits for the end; answers the exit code, if it ended by itself.
    ///
    /// # Panics
    /// It does not end within the usual deadline.
    pub fn end_by(&mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        self.end()
    }

    /// Waits for the process to end by itself; answers the exit code.
    ///
    /// # Panics
    /// It does not end within the usual deadline.
    pub fn end(&mut self) -> Option<i32> {
        wait::wait_until("the agent to end", || self.child.try_wait().ok().flatten()).code()
    }

    /// Resident memory, bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory there was while something was done, bytes more than before.
    ///
    /// # Panics
    /// The kernel does not let the peak be forgotten.
    pub fn growth_bytes(&self, act: impl FnOnce()) -> u64 {
        // 5: the peak is what is resident now.
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("the peak is forgotten");
        let before = self.memory("VmRSS:");
        act();
        self.memory("VmHWM:").saturating_sub(before)
    }

    fn memory(&self, which: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(which)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// Processor time used so far, microseconds.
    #[must_use]
    pub fn cpu_us(&self) -> u64 {
        cpu_us(&self.child.id().to_string())
    }
}

/// Processor time a process used so far, microseconds.
pub(crate) fn cpu_us(process: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * 10_000
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
