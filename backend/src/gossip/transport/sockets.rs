//! UDP for packets, TCP on the same port for exchanges: four bytes of length, then the bytes, one each way.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Mutex, Semaphore, mpsc, oneshot},
};

use super::{Exchange, Transport};
use crate::{
    rt::{Tasks, clock, net},
    telemetry,
};

/// More than any packet of ours has: a larger one is cut, and then not understood.
const PACKET_MAX: usize = 2048;
/// The largest exchange: some 10,000 members with full tags.
const EXCHANGE_MAX: u32 = 16 << 20;
/// How long one exchange that somebody else began may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Exchanges that others may have under way at once; more wait in the kernel.
const INBOUND_MAX: usize = 64;

/// Sockets of one pool.
pub(in crate::gossip) struct Sockets {
    udp: net::UdpSocket,
    /// Where packets are received; each is then copied to its own size.
    inbox: Mutex<Box<[u8; PACKET_MAX]>>,
    begun: Mutex<mpsc::Receiver<Exchange>>,
}

impl Sockets {
    /// Listens on UDP and TCP.
    ///
    /// # Errors
    /// The address cannot be used.
    pub(in crate::gossip) async fn open(address: SocketAddr, tasks: &Tasks) -> io::Result<Self> {
        let tcp = net::listen(address).await?;
        // With port 0 both have to get the same one.
        let udp = net::udp(SocketAddr::new(address.ip(), tcp.local_addr()?.port())).await?;
        let (begun, queue) = mpsc::channel(INBOUND_MAX);
        tasks.spawn_until_shutdown("gossip listener", serve(tcp, begun, tasks.clone()));
        Ok(Self { udp, inbox: Mutex::new(Box::new([0; PACKET_MAX])), begun: Mutex::new(queue) })
    }
}

async fn serve(listener: net::TcpListener, begun: mpsc::Sender<Exchange>, tasks: Tasks) {
    let places = Arc::new(Semaphore::new(INBOUND_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let begun = begun.clone();
                tasks.spawn_until_shutdown("gossip exchange", async move {
                    let _place = place;
                    let served = clock::timeout(DEADLINE, serve_one(stream, from, begun)).await;
                    if let Ok(Err(error)) = served {
                        tracing::debug!(%error, %from, "gossip exchange broke");
                    }
                });
            }
            Err(error) => {
                // Out of file handles, most likely: wait for some to come back.
                tracing::warn!(%error, "gossip listener");
                clock::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_one(mut stream: net::TcpStream, from: SocketAddr, begun: mpsc::Sender<Exchange>) -> io::Result<()> {
    let stopped = || io::Error::other("refused");
    telemetry::metrics().incr("memberlist.tcp.accept");
    let theirs = read(&mut stream).await?;
    let (answer, ours) = oneshot::channel();
    begun.send(Exchange { from, theirs, answer }).await.map_err(|_| stopped())?;
    write(&mut stream, &ours.await.map_err(|_| stopped())?).await
}

async fn read(stream: &mut net::TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    if length > EXCHANGE_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an exchange of {length} bytes is too large")));
    }
    // Grows with what really comes, not with what is claimed.
    let mut bytes = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut bytes).await?;
    if bytes.len() == length as usize { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

async fn write(stream: &mut net::TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    telemetry::metrics().add("memberlist.tcp.sent", &[], f64::from(length));
    stream.write_u32(length).await?;
    stream.write_all(bytes).await?;
    stream.flush().await
}

#[async_trait::async_trait]
impl Transport for Sockets {
    async fn send(&self, to: SocketAddr, packet: &[u8]) -> io::Result<()> {
        let sent = self.udp.send_to(packet, to).await?;
        telemetry::metrics().add("memberlist.udp.sent", &[], sent as f64);
        Ok(())
    }

    async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut inbox = self.inbox.lock().await;
        loop {
            match self.udp.recv_from(&mut inbox[..]).await {
                Ok((length, from)) => {
                    telemetry::metrics().add("memberlist.udp.received", &[], length as f64);
                    return (inbox[..length].to_vec(), from);
                }
                // Somebody's port is closed: the kernel tells it here. Never spin on it.
                Err(error) => {
                    tracing::debug!(%error, "gossip socket");
                    clock::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    async fn exchange(&self, with: SocketAddr, ours: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut stream = net::TcpStream::connect(with).await?;
        telemetry::metrics().incr("memberlist.tcp.connect");
        write(&mut stream, &ours).await?;
        read(&mut stream).await
    }

    async fn accept(&self) -> Exchange {
        match self.begun.lock().await.recv().await {
            Some(exchange) => exchange,
            None => std::future::pending().await,
        }
    }
}
