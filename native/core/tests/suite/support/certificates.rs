//! Certificates of every kind, made on the spot, and a TLS server that shows them.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sluice_core::transport::TransportConfig;
use sluice_core::{Agent, AgentConfig, ClientIdentity, TlsOptions};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::raw_server::RawServer;

/// A chain, leaf first, and the leaf's key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pem: String,
    key_pem: String,
}

/// An authority whose certificate clients may be told to trust.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn issue(&self, host: &str) -> Identity {
        self.sign(leaf(host))
    }

    pub fn issue_expired(&self, host: &str) -> Identity {
        let mut params = leaf(host);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(params)
    }

    /// The same with the authority's own certificate behind the leaf.
    pub fn issue_with_chain(&self, host: &str) -> Identity {
        let mut identity = self.issue(host);
        identity.chain.push(self.0.der().clone());
        identity
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity::new(certificate.der().clone(), certificate.pem(), &key)
    }
}

fn leaf(host: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    // A name that no trusted root has: Debian's snake oil is called localhost.
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, format!("sluice test {host}"));
    params
}

impl Identity {
    fn new(certificate: CertificateDer<'static>, pem: String, key: &KeyPair) -> Self {
        Self {
            chain: vec![certificate],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            pem,
            key_pem: key.serialize_pem(),
        }
    }

    pub fn self_signed(host: &str) -> Self {
        Self::sign_itself(leaf(host))
    }

    /// As `openssl req -x509` makes it by default.
    pub fn self_signed_marked_as_authority(host: &str) -> Self {
        let mut params = leaf(host);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self::sign_itself(params)
    }

    pub fn self_signed_expired(host: &str) -> Self {
        let mut params = leaf(host);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        Self::sign_itself(params)
    }

    fn sign_itself(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self::new(certificate.der().clone(), certificate.pem(), &key)
    }

    pub fn pem(&self) -> String {
        self.pem.clone()
    }

    pub fn acceptor(&self, alpn: &[&[u8]]) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Wants a certificate of `clients` from whoever connects.
    pub fn mutual_acceptor(&self, clients: &Authority) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(clients.0.der().clone()).unwrap();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// The same for a client, PEM.
    pub fn as_client(&self) -> ClientIdentity {
        ClientIdentity {
            chain: self.pem(),
            key: self.key_pem.clone(),
        }
    }

    /// The next connection, after its handshake.
    pub async fn accept(
        &self,
        server: &RawServer,
        alpn: &[&[u8]],
    ) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
        self.acceptor(alpn).accept(server.accept().await.stream).await
    }
}

pub fn trusting(ca: String) -> AgentConfig {
    let tls = TlsOptions {
        ca: Some(ca),
        ..TlsOptions::default()
    };
    AgentConfig {
        transport: TransportConfig {
            tls,
            ..TransportConfig::default()
        },
        ..AgentConfig::default()
    }
}

pub fn agent_trusting(ca: String) -> Agent {
    super::agent_with(trusting(ca))
}
