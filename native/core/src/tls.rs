//! TLS by rustls, with certificate errors under the names that Node gives them.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use crate::error::CoreError;

/// What the caller may say about TLS.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// PEM; replaces the platform's roots, as Node's `ca` does.
    pub ca: Option<String>,
    /// Accepts any certificate when true.
    pub accept_invalid: bool,
}

/// A certificate refused under the code OpenSSL has for it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CertificateRefused {
    pub code: &'static str,
    pub message: &'static str,
}

/// The rustls configuration of one agent; `alpn` in order of preference.
pub fn client_config(options: &TlsOptions, alpn: &[&[u8]]) -> Result<ClientConfig, CoreError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (verifier, anchors) = verifier(options, &provider)?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(&error))?;
    let verifier = Arc::new(NodeVerifier {
        verifier,
        anchors,
        accepts_any: options.accept_invalid,
    });
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

type Verifier = (Arc<dyn ServerCertVerifier>, Vec<CertificateDer<'static>>);

fn verifier(options: &TlsOptions, provider: &Arc<CryptoProvider>) -> Result<Verifier, CoreError> {
    let Some(pem) = &options.ca else {
        let platform =
            rustls_platform_verifier::Verifier::new(Arc::clone(provider)).map_err(|error| invalid(&error))?;
        return Ok((Arc::new(platform), Vec::new()));
    };
    let mut roots = RootCertStore::empty();
    let mut anchors = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate
            .map_err(|error| CoreError::InvalidArgument(format!("connect.ca is no PEM certificate: {error:?}")))?;
        roots
            .add(certificate.clone())
            .map_err(|error| CoreError::InvalidArgument(format!("connect.ca holds a bad certificate: {error}")))?;
        anchors.push(certificate);
    }
    if anchors.is_empty() {
        return Err(CoreError::InvalidArgument("connect.ca holds no PEM certificate".into()));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| CoreError::InvalidArgument(format!("connect.ca: {error}")))?;
    Ok((verifier, anchors))
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
    verifier: Arc<dyn ServerCertVerifier>,
    anchors: Vec<CertificateDer<'static>>,
    /// `rejectUnauthorized: false`: signatures still have to match the certificate that was sent.
    accepts_any: bool,
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
        if self.accepts_any {
            return Ok(ServerCertVerified::assertion());
        }
        let result = self
            .verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match result {
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
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
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
