//! The certificate of the metrics: from a directory, or made at the start.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring::default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::error_chain;

/// The names of a Secret of the type `kubernetes.io/tls`.
const FILES: [&str; 2] = ["tls.crt", "tls.key"];
/// Time between two checks of the files. The kubelet updates a mounted Secret within a minute or two.
const CHECK: Duration = Duration::from_secs(10);
/// The name in a certificate that the process makes. Clients cannot verify it.
const SELF_SIGNED: &str = "xdp-operator-self-signed";

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read `{}`; mount a Secret of the type kubernetes.io/tls there, or omit --metrics-cert-dir", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file is not in PEM format, or has no certificate or key.
    #[error("`{}` is no PEM file with a certificate chain or a private key; replace it", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not belong together, or have an unknown algorithm.
    #[error("the certificate cannot be used with its private key; replace both")]
    Unusable(#[source] rustls::Error),
    /// The certificate cannot be made.
    #[error("cannot make a self-signed certificate; mount one, and set --metrics-cert-dir")]
    NotMade(#[source] rcgen::Error),
}

/// A certificate that follows its files.
#[derive(Debug)]
pub(super) struct Certificate {
    directory: Option<PathBuf>,
    current: RwLock<LoadedCertificate>,
}

#[derive(Debug, Default)]
struct LoadedCertificate {
    /// The contents of the files.
    files: Vec<Vec<u8>>,
    /// `None`: there is none yet, and handshakes fail.
    key: Option<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Loads the certificate of a directory. Without a directory, makes a certificate. Files that cannot be
    /// used are followed until they can: metrics are not worth more than what the process does.
    pub(super) fn new(directory: Option<PathBuf>) -> Result<Self, CertificateError> {
        let current = match &directory {
            Some(directory) => read(directory)
                .and_then(|files| load(directory, files))
                .unwrap_or_else(|error| {
                    let error = error_chain(&error);
                    warn!(error, "the metrics have no certificate, so they cannot be read");
                    LoadedCertificate::default()
                }),
            None => self_signed()?,
        };
        Ok(Self {
            directory,
            current: RwLock::new(current),
        })
    }

    /// Returns what performs the handshakes.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, CertificateError> {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let mut config = builder
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A scrape has a connection of its own, and is rare: sessions would only take memory.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Follows the files. Never returns.
    pub(super) async fn follow(&self) {
        loop {
            sleep(CHECK).await;
            match self.reload() {
                Ok(false) => {}
                Ok(true) => info!("the certificate of the metrics was replaced"),
                Err(error) => warn!(
                    error = error_chain(&error),
                    "the present certificate stays in use"
                ),
            }
        }
    }

    /// Loads the files if they have changed, and returns whether they have. After an error, the certificate
    /// stays.
    fn reload(&self) -> Result<bool, CertificateError> {
        let Some(directory) = &self.directory else {
            return Ok(false);
        };
        let files = read(directory)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.files == files {
            return Ok(false);
        }
        *current = load(directory, files)?;
        Ok(true)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.key.clone()
    }
}

fn read(directory: &Path) -> Result<Vec<Vec<u8>>, CertificateError> {
    let read = |name| {
        let path = directory.join(name);
        fs::read(&path).map_err(|source| CertificateError::Unreadable { path, source })
    };
    FILES.into_iter().map(read).collect()
}

fn load(directory: &Path, files: Vec<Vec<u8>>) -> Result<LoadedCertificate, CertificateError> {
    let not_pem = |name: &str| {
        let path = directory.join(name);
        |source| CertificateError::NotPem { path, source }
    };
    let [chain, key] = FILES;
    let text = |index: usize| files.get(index).map(Vec::as_slice).unwrap_or_default();
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(text(0))
        .collect::<Result<_, _>>()
        .map_err(not_pem(chain))?;
    let key = PrivateKeyDer::from_pem_slice(text(1)).map_err(not_pem(key))?;
    let key = Some(certified(chain, key)?);
    Ok(LoadedCertificate { files, key })
}

/// A new key for each process: the default validity of rcgen, which has no end, is that of the process.
fn self_signed() -> Result<LoadedCertificate, CertificateError> {
    let made =
        rcgen::generate_simple_self_signed([SELF_SIGNED.to_owned()]).map_err(CertificateError::NotMade)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let key = certified(vec![made.cert.der().clone()], key.into())?;
    Ok(LoadedCertificate {
        files: Vec::new(),
        key: Some(key),
    })
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, CertificateError> {
    let provider: CryptoProvider = default_provider();
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(CertificateError::Unusable)?;
    Ok(Arc::new(certified))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with files that is removed at the end of a test.
    struct Files(PathBuf);

    impl Files {
        fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("xdp-client-{name}-{}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            Self(directory)
        }

        /// Writes a new certificate, and returns it.
        fn write(&self) -> Vec<u8> {
            let made = rcgen::generate_simple_self_signed(["node".to_owned()]).unwrap();
            fs::write(self.0.join("tls.crt"), made.cert.pem()).unwrap();
            fs::write(self.0.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
            made.cert.der().to_vec()
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn shown(certificate: &Certificate) -> Vec<u8> {
        let current = certificate.current.read().unwrap();
        current.key.as_ref().unwrap().cert[0].to_vec()
    }

    #[test]
    fn a_mounted_certificate_is_reloaded_when_it_changes() {
        let files = Files::new("reload");
        let first = files.write();
        let certificate = Certificate::new(Some(files.0.clone())).unwrap();
        assert!(!certificate.reload().unwrap());
        assert_eq!(shown(&certificate), first);
        let second = files.write();
        assert!(certificate.reload().unwrap());
        assert_eq!(shown(&certificate), second);
    }

    #[test]
    fn a_broken_certificate_leaves_the_present_one_in_use() {
        let files = Files::new("broken");
        let first = files.write();
        let certificate = Certificate::new(Some(files.0.clone())).unwrap();
        fs::write(files.0.join("tls.key"), "no key").unwrap();
        let error = certificate.reload().unwrap_err();
        assert!(error.to_string().contains("tls.key"), "{error}");
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        fs::write(files.0.join("tls.key"), other).unwrap();
        let error = certificate.reload().unwrap_err();
        assert!(matches!(error, CertificateError::Unusable(_)), "{error}");
        assert_eq!(shown(&certificate), first);
    }

    #[test]
    fn files_that_are_missing_at_the_start_are_named_with_a_remedy_and_used_once_they_are_there() {
        let files = Files::new("missing");
        let certificate = Certificate::new(Some(files.0.clone())).unwrap();
        assert!(certificate.current.read().unwrap().key.is_none());
        let text = certificate.reload().unwrap_err().to_string();
        assert!(
            text.contains("tls.crt") && text.contains("--metrics-cert-dir"),
            "{text}"
        );
        let first = files.write();
        assert!(certificate.reload().unwrap());
        assert_eq!(shown(&certificate), first);
    }

    #[test]
    fn without_a_directory_each_process_makes_its_own_certificate() {
        let [first, second] = [(); 2].map(|()| shown(&Certificate::new(None).unwrap()));
        assert_ne!(first, second);
    }
}
