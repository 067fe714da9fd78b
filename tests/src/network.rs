//! A network of the test's own: one namespace for each agent, joined by a bridge that the test itself can reach, and faults between
//! them by nftables rules inside the namespaces. Needs root, iproute2 and nftables; `cargo xtask test` installs the latter two. Where
//! namespaces cannot be made the test fails with the reason. Everything is removed when the value is dropped.

use std::{
    io::Write as _,
    net::Ipv4Addr,
    process::{Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
};

/// Namespaces 1 to `count`.
#[derive(Debug)]
pub struct Network {
    /// Part of every name, so that runs beside each other do not meet.
    tag: String,
    /// The first three numbers of every address.
    subnet: [u8; 3],
    count: u8,
}

/// What happens to packets from other namespaces; the test's own are never touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing that others send arrives.
    Deaf,
    /// Nothing that it sends arrives at others.
    Mute,
    /// Neither.
    CutOff,
    /// So many of a hundred packets that others send do not arrive.
    Lossy(u8),
}

fn run(program: &str, arguments: &[&str], input: &str) -> Result<(), String> {
    let shown = format!("{program} {}", arguments.join(" "));
    let failed = |why: String| format!("{shown}: {why}");
    let child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| failed(error.to_string()))?;
    // A program that reads nothing may have ended already.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() { Ok(()) } else { Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())) }
}

fn ip(arguments: &str) -> Result<(), String> {
    run("ip", &arguments.split(' ').collect::<Vec<_>>(), "")
}

impl Network {
    /// Makes the namespaces, with nothing wrong between them.
    ///
    /// # Panics
    /// They cannot be made here.
    #[must_use]
    pub fn new(count: u8) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Sixteen runs beside each other, sixteen networks each, in 10.192.0.0/10.
        let subnet = [10, 192 | (process % 64) as u8, ((process / 64) as u8) << 4 | (number & 15)];
        let network = Self { tag: format!("m{process:x}{number:x}"), subnet, count };
        if let Err(why) = network.make() {
            panic!("no network namespaces here, which these tests need (root, iproute2, nftables): {why}");
        }
        network
    }

    fn make(&self) -> Result<(), String> {
        let (bridge, host) = (self.bridge(), self.address(254));
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {host}/24 dev {bridge}"))?;
        ip(&format!("link set {bridge} up"))?;
        for number in 1..=self.count {
            let (name, address, cable) = (self.namespace(number), self.address(number), format!("{}v{number}", self.tag));
            ip(&format!("netns add {name}"))?;
            ip(&format!("link add {cable} type veth peer name eth0 netns {name}"))?;
            ip(&format!("link set {cable} master {bridge} up"))?;
            ip(&format!("-n {name} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        (1..=self.count).try_for_each(|number| self.rules(number, ""))
    }

    fn bridge(&self) -> String {
        format!("{}br", self.tag)
    }

    /// The name of a namespace.
    #[must_use]
    pub fn namespace(&self, number: u8) -> String {
        format!("{}n{number}", self.tag)
    }

    /// The address in a namespace; the test's own is 254.
    #[must_use]
    pub fn address(&self, number: u8) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, number)
    }

    /// Gives the test one more address of the network, for something that stands between the namespaces.
    ///
    /// # Panics
    /// That fails.
    #[must_use]
    pub fn outside(&self, number: u8) -> Ipv4Addr {
        let address = self.address(number);
        ip(&format!("addr add {address}/24 dev {}", self.bridge())).expect("an address");
        address
    }

    /// Puts a fault between this namespace and all others, instead of the one before.
    ///
    /// # Panics
    /// The rules are refused.
    pub fn fault(&self, number: u8, fault: Fault) {
        let own = self.address(254);
        let (arriving, leaving) = (format!("ip saddr != {own}"), format!("ip daddr != {own}"));
        let rules = match fault {
            Fault::Deaf => format!("add rule inet faults input {arriving} drop"),
            Fault::Mute => format!("add rule inet faults output {leaving} drop"),
            Fault::CutOff => format!("add rule inet faults input {arriving} drop\nadd rule inet faults output {leaving} drop"),
            Fault::Lossy(percent) => format!("add rule inet faults input {arriving} numgen random mod 100 < {percent} drop"),
        };
        self.rules(number, &rules).expect("nftables takes the rules");
    }

    /// Takes the fault of this namespace away.
    ///
    /// # Panics
    /// The rules are refused.
    pub fn heal(&self, number: u8) {
        self.rules(number, "").expect("nftables takes the rules");
    }

    fn rules(&self, number: u8, rules: &str) -> Result<(), String> {
        // Replaced as a whole: there is no moment with half of them. What an agent sends itself goes over `lo`.
        let text = format!(
            "add table inet faults\ndelete table inet faults\nadd table inet faults
add chain inet faults input {{ type filter hook input priority 0; }}
add chain inet faults output {{ type filter hook output priority 0; }}
add rule inet faults input iif lo accept\nadd rule inet faults output oif lo accept\n{rules}\n"
        );
        run("ip", &["netns", "exec", &self.namespace(number), "nft", "-f", "-"], &text)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was never made cannot be removed.
        for number in 1..=self.count {
            let _ = ip(&format!("netns del {}", self.namespace(number)));
        }
        let _ = ip(&format!("link del {}", self.bridge()));
    }
}
