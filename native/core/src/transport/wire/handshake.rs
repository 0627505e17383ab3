//! TLS over a stream.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::stream::Stream;
use crate::error::CoreError;
use crate::origin::Origin;
use crate::tls::{TlsOptions, client_config};
use crate::transport::failure::{Peer, Phase, classify};

/// TLS with one offer of protocols.
#[derive(Debug)]
pub struct Tls {
    options: TlsOptions,
    alpn: Vec<&'static [u8]>,
    /// Made at the first HTTPS request: loading the platform's roots takes milliseconds.
    config: OnceCell<Result<Arc<ClientConfig>, CoreError>>,
}

impl Tls {
    pub fn new(options: TlsOptions, alpn: Vec<&'static [u8]>) -> Self {
        Self {
            options,
            alpn,
            config: OnceCell::new(),
        }
    }

    pub fn offers_http2(&self) -> bool {
        self.alpn.contains(&(b"h2" as &[u8]))
    }

    /// `origin` is who is at the other end, `host` the name to ask for and to find in the certificate.
    pub async fn handshake(&self, origin: &Origin, host: &str, stream: Stream) -> Result<Stream, CoreError> {
        let make = async || client_config(&self.options, &self.alpn).await.map(Arc::new);
        let config = self.config.get_or_init(make).await.clone()?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| CoreError::InvalidArgument(format!("invalid servername {host}")))?;
        match TlsConnector::from(config).connect(name, stream).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => Err(classify(
                &error,
                Phase::Connect,
                &Peer {
                    origin,
                    address: None,
                    connect_timeout: None,
                },
            )),
        }
    }
}
