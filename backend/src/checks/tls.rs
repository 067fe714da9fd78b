//! TLS for checks: which certificates are accepted, and failures in Go's words.
//!
//! Contract: health checks, section "HTTP details". Without `TLSSkipVerify` the machine's roots decide.

use std::{io, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::sync::OnceCell;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::definition::Tls;
use crate::rt::{Tasks, net::TcpStream};

/// Makes TLS connections. The machine's roots are read once, when first needed.
#[derive(Debug, Default)]
pub(super) struct Connector {
    verifying: OnceCell<ClientConfig>,
}

impl Connector {
    /// Speaks TLS over a fresh connection to `host`, offering these application protocols.
    ///
    /// # Errors
    /// Go's text.
    pub(super) async fn connect(
        &self,
        tasks: &Tasks,
        options: &Tls,
        host: &str,
        alpn: &[&[u8]],
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = if options.server_name.is_empty() { host } else { &options.server_name };
        let server_name = ServerName::try_from(name.to_owned()).map_err(|_| format!("tls: invalid server name {name:?}"))?;
        let mut config = if options.skip_verify { accepting_anything() } else { self.verifying(tasks).await };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        TlsConnector::from(Arc::new(config)).connect(server_name, stream).await.map_err(|error| reason(&error, name))
    }

    async fn verifying(&self, tasks: &Tasks) -> ClientConfig {
        let load = || async {
            let roots = tasks.spawn_blocking(|| {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            });
            let roots = roots.await.unwrap_or_else(|_| RootCertStore::empty());
            builder().with_root_certificates(roots).with_no_client_auth()
        };
        self.verifying.get_or_init(load).await.clone()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().expect("ring has the default versions")
}

fn accepting_anything() -> ClientConfig {
    builder().dangerous().with_custom_certificate_verifier(Arc::new(AcceptAnything(provider()))).with_no_client_auth()
}

/// Accepts any certificate, as `TLSSkipVerify` asks; still checks that the server holds its key.
#[derive(Debug)]
struct AcceptAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn reason(error: &io::Error, name: &str) -> String {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return if error.kind() == io::ErrorKind::UnexpectedEof { "EOF".to_owned() } else { super::dial::reason(error) };
    };
    match tls {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => "x509: certificate signed by unknown authority".to_owned(),
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "x509: certificate has expired or is not yet valid".to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            format!("x509: certificate is not valid for {name}")
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "tls: first record does not look like a TLS handshake".to_owned()
        }
        other => format!("tls: {other}"),
    }
}
