//! The one place where a stream between agents is wrapped, on both sides: plain, or TLS that both sides prove themselves by.
//!
//! Which of them is decided where pool and listener are made; certificates are no part of the configuration yet. Counts the bytes
//! that arrive, so that a silent peer is told from a slow one. Contract: cluster, section "Ports and connection types".

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::rt::net::TcpStream;

/// How streams are wrapped.
#[derive(Clone, Default)]
pub enum Wrap {
    /// Not at all.
    #[default]
    Plain,
    /// In TLS.
    Tls(Box<Tls>),
}

/// Both sides of TLS.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    server_name: ServerName<'static>,
}

impl std::fmt::Debug for Wrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Tls(_) => "Tls",
        })
    }
}

impl Wrap {
    /// TLS: `accepting` says whose certificates callers need, `calling` what this agent shows and trusts, `server_name` what a
    /// server's certificate has to be made out to, as in `server.dc1.consul`.
    #[must_use]
    pub fn tls(accepting: Arc<ServerConfig>, calling: Arc<ClientConfig>, server_name: ServerName<'static>) -> Self {
        Self::Tls(Box::new(Tls { acceptor: accepting.into(), connector: calling.into(), server_name }))
    }

    /// Wraps what was accepted. The caller sets the deadline.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        Ok(Stream::new(match self {
            Self::Plain => Carrier::Plain(stream),
            Self::Tls(tls) => Carrier::Tls(Box::new(tls.acceptor.accept(stream).await?.into())),
        }))
    }

    /// Wraps what was dialled. The caller sets the deadline.
    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<Stream> {
        Ok(Stream::new(match self {
            Self::Plain => Carrier::Plain(stream),
            Self::Tls(tls) => Carrier::Tls(Box::new(tls.connector.connect(tls.server_name.clone(), stream).await?.into())),
        }))
    }
}

enum Carrier {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A wrapped stream.
pub(super) struct Stream {
    carrier: Carrier,
    heard: Arc<AtomicU64>,
}

impl Stream {
    fn new(carrier: Carrier) -> Self {
        Self { carrier, heard: Arc::default() }
    }

    /// How many bytes have arrived; the count goes on while the stream is used elsewhere.
    pub(super) fn heard(&self) -> Arc<AtomicU64> {
        self.heard.clone()
    }
}

macro_rules! carried {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.get_mut().carrier {
            Carrier::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Carrier::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let heard = self.heard.clone();
        let before = buffer.filled().len();
        let polled = carried!(self, stream => stream.poll_read(context, buffer));
        heard.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        carried!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        carried!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        carried!(self, stream => stream.poll_shutdown(context))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        carried!(self, stream => stream.poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.carrier {
            Carrier::Plain(stream) => stream.is_write_vectored(),
            Carrier::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
