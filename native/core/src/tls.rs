//! TLS by rustls, with certificate errors under the names that Node gives them.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, KeyLogFile, OtherError, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::embedder::Embedder;
use crate::error::CoreError;

/// What the caller may say about TLS.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// PEM; replaces the platform's roots, as Node's `ca` does.
    pub ca: Option<String>,
    /// The embedder is asked for certificates to add to the platform's roots, as those of `NODE_EXTRA_CA_CERTS` are.
    pub asks_extra_ca: bool,
    /// Shown to servers that ask; of several the first whose key the server can check.
    pub identities: Vec<ClientIdentity>,
    /// Accepts any certificate when true.
    pub accept_invalid: bool,
    pub versions: TlsVersions,
    /// Asked for extra roots, and for all on a machine without any.
    pub embedder: Option<Arc<dyn Embedder>>,
}

/// A client's certificate.
#[derive(Clone)]
pub struct ClientIdentity {
    /// PEM, leaf first.
    pub chain: String,
    /// PEM, not encrypted.
    pub key: String,
}

/// Without the key.
impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientIdentity").finish_non_exhaustive()
    }
}

/// TLS versions that may be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersions {
    #[default]
    From12,
    Only12,
    Only13,
}

impl TlsVersions {
    fn list(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::From12 => vec![&rustls::version::TLS13, &rustls::version::TLS12],
            Self::Only12 => vec![&rustls::version::TLS12],
            Self::Only13 => vec![&rustls::version::TLS13],
        }
    }
}

/// A certificate refused under the code OpenSSL has for it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CertificateRefused {
    pub code: &'static str,
    pub message: &'static str,
}

/// The rustls configuration of one agent; `alpn` in order of preference. Writes the keys of its sessions into the file
/// that `SSLKEYLOGFILE` names.
///
/// # Errors
/// [`CoreError::InvalidArgument`] for a certificate or key that is none; [`CoreError::Tls`] where nothing is trusted.
pub async fn client_config(options: &TlsOptions, alpn: &[&[u8]]) -> Result<ClientConfig, CoreError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (verifier, anchors) = if options.accept_invalid {
        (None, Vec::new())
    } else {
        let (verifier, anchors) = verifier(options, &provider).await?;
        (Some(verifier), anchors)
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&options.versions.list())
        .map_err(|error| invalid(&error))?;
    let verifier = Arc::new(NodeVerifier {
        verifier,
        anchors,
        provider: Arc::clone(&provider),
    });
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = if options.identities.is_empty() {
        builder.with_no_client_auth()
    } else {
        builder.with_client_cert_resolver(Arc::new(Identities::new(&options.identities, &provider)?))
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    if std::env::var_os("SSLKEYLOGFILE").is_some() {
        config.key_log = Arc::new(KeyLogFile::new());
    }
    Ok(config)
}

#[derive(Debug)]
struct Identities(Vec<Arc<CertifiedKey>>);

impl Identities {
    fn new(identities: &[ClientIdentity], provider: &CryptoProvider) -> Result<Self, CoreError> {
        let read = |identity: &ClientIdentity| {
            let chain = certificates(&identity.chain, "cert")?;
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|error| {
                CoreError::InvalidArgument(format!("connect.key is no PEM key: {}", pem_fault(&error)))
            })?;
            let certified = CertifiedKey::from_der(chain, key, provider)
                .map_err(|error| CoreError::InvalidArgument(format!("connect.cert and connect.key: {error}")))?;
            Ok(Arc::new(certified))
        };
        identities.iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl ResolvesClientCert for Identities {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = |identity: &&Arc<CertifiedKey>| identity.key.choose_scheme(schemes).is_some();
        self.0.iter().find(fits).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

type Verifier = (Arc<dyn ServerCertVerifier>, Vec<CertificateDer<'static>>);

async fn verifier(options: &TlsOptions, provider: &Arc<CryptoProvider>) -> Result<Verifier, CoreError> {
    if let Some(pem) = &options.ca {
        let anchors = certificates(pem, "ca")?;
        return Ok((trusting(&anchors, provider)?, anchors));
    }
    let extra = match options.embedder.as_ref().filter(|_| options.asks_extra_ca) {
        Some(embedder) => embedder.extra_roots().await,
        None => None,
    };
    // Node says itself what is wrong with the file that they come from; none is none.
    let extra = match extra.filter(|pem| !pem.is_empty()) {
        Some(pem) => certificates(&pem, "ca")?,
        None => Vec::new(),
    };
    match platform(extra.clone(), provider).await {
        Ok(verifier) => Ok((verifier, extra)),
        Err(error) => {
            let roots = match &options.embedder {
                Some(embedder) => embedder.roots().await,
                None => None,
            };
            let mut roots = certificates(&roots.ok_or_else(|| invalid(&error))?, "ca")?;
            roots.extend(extra.iter().cloned());
            Ok((trusting(&roots, provider)?, extra))
        }
    }
}

/// The system's verdict; an error where the system trusts nobody. Reads files, so not on the runtime's thread.
async fn platform(
    extra: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    let provider = Arc::clone(provider);
    let loaded = tokio::task::spawn_blocking(move || {
        let own = rustls_platform_verifier::Verifier::new(Arc::clone(&provider))?;
        if extra.is_empty() {
            return Ok(own);
        }
        rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider)
    });
    let verifier = loaded
        .await
        .map_err(|error| rustls::Error::General(error.to_string()))??;
    Ok(Arc::new(verifier))
}

fn trusting(
    roots: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, CoreError> {
    let mut store = RootCertStore::empty();
    for certificate in roots {
        store
            .add(certificate.clone())
            .map_err(|error| CoreError::InvalidArgument(format!("connect.ca holds a bad certificate: {error}")))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .build()
        .map_err(|error| CoreError::InvalidArgument(format!("connect.ca: {error}")))?;
    Ok(verifier)
}

/// At least one; `name` is the option they come from.
fn certificates(pem: &str, name: &str) -> Result<Vec<CertificateDer<'static>>, CoreError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let parsed = parsed.map_err(|error| {
        CoreError::InvalidArgument(format!("connect.{name} is no PEM certificate: {}", pem_fault(&error)))
    })?;
    if parsed.is_empty() {
        return Err(CoreError::InvalidArgument(format!(
            "connect.{name} holds no PEM certificate"
        )));
    }
    Ok(parsed)
}

/// The parser's own texts repeat lines of what it read.
fn pem_fault(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "a section has no beginning",
        pem::Error::Base64Decode(_) => "a section is no base64",
        pem::Error::NoItemsFound => "there is none in it",
        _ => "it cannot be read",
    }
}

fn invalid(error: &rustls::Error) -> CoreError {
    CoreError::Tls {
        code: "ERR_TLS_INVALID_CONTEXT",
        message: format!("TLS cannot be set up: {error}"),
    }
}

/// Tells apart what webpki calls "unknown issuer", as OpenSSL does, and accepts a leaf that was itself given as `ca`,
/// which OpenSSL does and webpki does not.
#[derive(Debug)]
struct NodeVerifier {
    /// `None` accepts any certificate; signatures still have to match the one that was sent.
    verifier: Option<Arc<dyn ServerCertVerifier>>,
    anchors: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(verifier) = &self.verifier else {
            return Ok(ServerCertVerified::assertion());
        };
        match verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(error)) if is_untrusted(&error) => {
                if self.anchors.iter().any(|anchor| anchor.as_ref() == end_entity.as_ref()) {
                    return verify_anchored_leaf(end_entity, server_name, now);
                }
                Err(other(untrusted(end_entity, intermediates)))
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A self-signed leaf that is marked as a CA fails webpki's usage check before its issuer is looked for.
fn is_untrusted(error: &CertificateError) -> bool {
    if matches!(error, CertificateError::UnknownIssuer) {
        return true;
    }
    matches!(error, CertificateError::Other(OtherError(inner)) if inner.to_string().contains("CaUsedAsEndEntity"))
}

fn verify_anchored_leaf(
    leaf: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, rustls::Error> {
    let parsed = rustls::server::ParsedCertificate::try_from(leaf)?;
    rustls::client::verify_server_name(&parsed, server_name)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if now > validity.not_after.timestamp() {
        return Err(rustls::Error::InvalidCertificate(CertificateError::Expired));
    }
    if now < validity.not_before.timestamp() {
        return Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    Ok(ServerCertVerified::assertion())
}

/// OpenSSL's verdict on a chain that leads to no trusted root.
fn untrusted(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> CertificateRefused {
    if is_self_signed(end_entity) {
        return CertificateRefused {
            code: "DEPTH_ZERO_SELF_SIGNED_CERT",
            message: "self-signed certificate",
        };
    }
    match intermediates.last() {
        Some(last) if is_self_signed(last) => CertificateRefused {
            code: "SELF_SIGNED_CERT_IN_CHAIN",
            message: "self-signed certificate in certificate chain",
        },
        Some(_) => CertificateRefused {
            code: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
            message: "unable to get local issuer certificate",
        },
        None => CertificateRefused {
            code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
            message: "unable to verify the first certificate",
        },
    }
}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate).is_ok_and(|(_, parsed)| parsed.issuer() == parsed.subject())
}

fn other(refused: CertificateRefused) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
}
