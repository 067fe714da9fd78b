//! A relay that holds every byte and datagram back for a while: the kernel here cannot delay packets. It listens on an address of its
//! own for TCP and UDP and passes everything on to another one, and answers back over TCP.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream, UdpSocket,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    task::{LocalSet, spawn_local},
    time::sleep_until,
};

/// Pieces under way on one connection.
const UNDER_WAY: usize = 4096;

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    _running: oneshot::Sender<()>,
}

/// One address in front of another.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Where the relay listens.
    pub from: Ipv4Addr,
    /// Who it stands for.
    pub to: Ipv4Addr,
}

impl Relay {
    /// Relays these ports on all ways, each direction delayed by so much.
    #[must_use]
    pub fn start(ways: Vec<Way>, ports: Vec<u16>, delay: Duration) -> Self {
        let (running, mut ended) = oneshot::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let tasks = LocalSet::new();
            for (way, port) in ways.iter().flat_map(|way| ports.iter().map(move |port| (*way, *port))) {
                let (from, to) = (SocketAddr::new(IpAddr::V4(way.from), port), SocketAddr::new(IpAddr::V4(way.to), port));
                tasks.spawn_local(streams(from, to, delay));
                tasks.spawn_local(datagrams(from, to, delay));
            }
            // Resolves with an error once the owner drops the other end.
            runtime.block_on(tasks.run_until(async { (&mut ended).await.unwrap_or_default() }));
        });
        Self { _running: running }
    }
}

async fn streams(from: SocketAddr, to: SocketAddr, delay: Duration) {
    let listener = TcpListener::bind(from).await.expect("the relay's address is free");
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        spawn_local(async move {
            let Ok(far) = TcpStream::connect(to).await else { return };
            // A connection that is gone already tells so when it is read.
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
            spawn_local(pump(near_read, far_write, delay));
            pump(far_read, near_write, delay).await;
        });
    }
}

/// One direction of a connection; its end is delayed too.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    spawn_local(async move {
        let mut piece = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            if sender.send((Instant::now() + delay, piece[..length].to_vec())).await.is_err() {
                return;
            }
        }
    });
    while let Some((due, piece)) = receiver.recv().await {
        sleep_until(due.into()).await;
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

async fn datagrams(from: SocketAddr, to: SocketAddr, delay: Duration) {
    let socket = Rc::new(UdpSocket::bind(from).await.expect("the relay's address is free"));
    let mut packet = vec![0; 64 << 10];
    loop {
        let Ok((length, _)) = socket.recv_from(&mut packet).await else { continue };
        let (socket, packet, due) = (socket.clone(), packet[..length].to_vec(), Instant::now() + delay);
        spawn_local(async move {
            sleep_until(due.into()).await;
            // A datagram may be lost.
            let _ = socket.send_to(&packet, to).await;
        });
    }
}
