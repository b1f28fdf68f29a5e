//! Certificates, keys and kubeconfigs of a cluster.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;

use super::options::ClusterOptions;

/// First address of the service range: the service `kubernetes`.
const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// Organisation, if any, and common name of a certificate. Kubernetes takes them for group and user.
#[derive(Clone, Debug)]
struct Subject {
    organisation: Option<&'static str>,
    name: String,
}

fn subject(organisation: impl Into<Option<&'static str>>, name: &str) -> Subject {
    Subject {
        organisation: organisation.into(),
        name: name.to_owned(),
    }
}

/// Writes all certificates and keys to `state/pki`, and the kubeconfigs to `state`.
pub(super) fn make(state: &Path, options: ClusterOptions) -> anyhow::Result<()> {
    let folder = state.join("pki");
    fs::create_dir_all(&folder)?;
    write_service_account_keys(&folder)?;
    let cluster = Authority::new(&folder, "ca")?;
    // The front proxy may act on behalf of users, so it has an authority of its own.
    Authority::new(&folder, "front-ca")?.issue("front", subject(None, "front-proxy"), &[])?;
    let names = api_server_names(options)?;
    cluster.issue("apiserver", subject(None, "kube-apiserver"), &names)?;
    let client = subject("system:masters", "kube-apiserver-kubelet-client");
    cluster.issue("apiserver-kubelet", client, &[])?;
    let mut users = vec![
        ("admin".to_owned(), subject("system:masters", "admin")),
        (
            "manager".to_owned(),
            subject(None, "system:kube-controller-manager"),
        ),
        ("scheduler".to_owned(), subject(None, "system:kube-scheduler")),
        ("proxy".to_owned(), subject(None, "system:kube-proxy")),
    ];
    for number in 1..=options.nodes {
        let (name, address) = (format!("node{number}"), options.node(number).v4);
        let user = subject("system:nodes", &format!("system:node:{name}"));
        let names = [SanType::IpAddress(address.into()), dns(&name)?];
        cluster.issue(&format!("{name}-serving"), user.clone(), &names)?;
        users.push((name, user));
    }
    for (name, user) in users {
        let config = cluster.kubeconfig(&name, user, &options.server())?;
        fs::write(state.join(format!("{name}.conf")), config)?;
    }
    Ok(())
}

fn api_server_names(options: ClusterOptions) -> anyhow::Result<Vec<SanType>> {
    let suffixes = ["", ".default", ".default.svc", ".default.svc.cluster.local"];
    let mut names: Vec<SanType> = suffixes
        .iter()
        .map(|suffix| dns(&format!("kubernetes{suffix}")))
        .collect::<anyhow::Result<_>>()?;
    let addresses = [options.control().v4, API_SERVICE];
    names.extend(addresses.map(|address| SanType::IpAddress(IpAddr::V4(address))));
    Ok(names)
}

fn dns(name: &str) -> anyhow::Result<SanType> {
    Ok(SanType::DnsName(name.try_into()?))
}

/// Writes the key that signs the tokens of service accounts. The API server does not find the public key in a
/// PKCS #8 file of an elliptic curve, so it has a file of its own.
fn write_service_account_keys(folder: &Path) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    fs::write(folder.join("service-accounts.key"), key.serialize_pem())?;
    Ok(fs::write(
        folder.join("service-accounts.pub"),
        key.public_key_pem(),
    )?)
}

/// A certificate authority. Its certificates are valid beyond the life of any cluster.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    /// Creates an authority, and writes `NAME.key` and `NAME.crt`.
    fn new(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = parameters.self_signed(&key)?.pem();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
        fs::write(folder.join(format!("{name}.crt")), &certificate)?;
        Ok(Self {
            folder: folder.to_owned(),
            issuer: Issuer::new(parameters, key),
            certificate,
        })
    }

    /// Issues a certificate for clients and servers. Writes `NAME.key` and `NAME.crt`, and returns both
    /// texts.
    fn issue(&self, file: &str, subject: Subject, names: &[SanType]) -> anyhow::Result<[String; 2]> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::default();
        if let Some(organisation) = subject.organisation {
            parameters
                .distinguished_name
                .push(DnType::OrganizationName, organisation);
        }
        parameters
            .distinguished_name
            .push(DnType::CommonName, subject.name);
        parameters.subject_alt_names = names.to_vec();
        parameters.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = parameters
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("cannot issue the certificate `{file}`"))?;
        let texts = [key.serialize_pem(), certificate.pem()];
        for (suffix, text) in ["key", "crt"].into_iter().zip(&texts) {
            fs::write(self.folder.join(format!("{file}.{suffix}")), text)?;
        }
        Ok(texts)
    }

    /// Issues a certificate for a user, and returns a kubeconfig that contains it.
    fn kubeconfig(&self, name: &str, user: Subject, server: &str) -> anyhow::Result<String> {
        let [key, certificate] = self.issue(name, user, &[])?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": {
                "server": server,
                "certificate-authority-data": BASE64_STANDARD.encode(&self.certificate),
            }}],
            "users": [{"name": name, "user": {
                "client-certificate-data": BASE64_STANDARD.encode(certificate),
                "client-key-data": BASE64_STANDARD.encode(key),
            }}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
            "current-context": "e2e",
        });
        Ok(config.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_and_server_has_a_key_and_a_certificate() {
        let state = std::env::temp_dir().join(format!("xdp-pki-{}", std::process::id()));
        make(&state, ClusterOptions::default()).unwrap();
        for name in [
            "ca",
            "front-ca",
            "front",
            "apiserver",
            "apiserver-kubelet",
            "node2-serving",
        ] {
            for (suffix, label) in [("key", "PRIVATE KEY"), ("crt", "CERTIFICATE")] {
                let text = fs::read_to_string(state.join(format!("pki/{name}.{suffix}"))).unwrap();
                assert!(
                    text.starts_with(&format!("-----BEGIN {label}-----")),
                    "{name}: {text}"
                );
            }
        }
        for name in ["admin", "manager", "scheduler", "proxy", "node1", "node2"] {
            let config = fs::read_to_string(state.join(format!("{name}.conf"))).unwrap();
            let config: serde_json::Value = serde_json::from_str(&config).unwrap();
            let key = config["users"][0]["user"]["client-key-data"].as_str().unwrap();
            let key = BASE64_STANDARD.decode(key).unwrap();
            let file = fs::read(state.join(format!("pki/{name}.key"))).unwrap();
            assert_eq!(key, file, "{name}");
        }
        fs::remove_dir_all(&state).unwrap();
    }
}
