//! Certificates, made by openssl(1): a machine that can build this has it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::options::ClusterOptions;

/// As long as no cluster lives.
const DAYS: &str = "30";
const KEY: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
];

/// All that anybody here needs, and the kubeconfigs that go with it.
pub(super) fn make(state: &Path, options: ClusterOptions) -> anyhow::Result<()> {
    let pki = Pki::new(&state.join("pki"))?;
    let server = options.server();
    let mut names: Vec<String> = ["", ".default", ".default.svc", ".default.svc.cluster.local"]
        .map(|suffix| format!("DNS:kubernetes{suffix}"))
        .to_vec();
    names.extend([options.control().v4.to_string(), "10.96.0.1".to_owned()].map(|ip| format!("IP:{ip}")));
    pki.issue("ca", "apiserver", "/CN=kube-apiserver", &names)?;
    pki.issue("front-ca", "front", "/CN=front-proxy", &[])?;
    pki.issue(
        "ca",
        "apiserver-kubelet",
        "/O=system:masters/CN=kube-apiserver-kubelet-client",
        &[],
    )?;
    let mut users = vec![
        ("admin".to_owned(), "/O=system:masters/CN=admin".to_owned()),
        (
            "manager".to_owned(),
            "/CN=system:kube-controller-manager".to_owned(),
        ),
        ("scheduler".to_owned(), "/CN=system:kube-scheduler".to_owned()),
        ("proxy".to_owned(), "/CN=system:kube-proxy".to_owned()),
    ];
    for number in 1..=options.nodes {
        let (name, address) = (format!("node{number}"), options.node(number).v4);
        let subject = format!("/O=system:nodes/CN=system:node:{name}");
        let names = [format!("IP:{address}"), format!("DNS:{name}")];
        pki.issue("ca", &format!("{name}-serving"), &subject, &names)?;
        users.push((name, subject));
    }
    for (name, subject) in users {
        pki.issue("ca", &name, &subject, &[])?;
        fs::write(
            state.join(format!("{name}.conf")),
            pki.kubeconfig(&name, &server)?,
        )?;
    }
    Ok(())
}

/// A folder of keys and certificates.
struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// With the cluster's authority, that of the front proxy (who may speak for users), and the key of service accounts.
    fn new(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let pki = Self {
            folder: folder.to_owned(),
        };
        for name in ["ca", "front-ca"] {
            let subject = format!("/CN={name}");
            let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
            let mut arguments = vec!["req", "-x509", "-days", DAYS, "-subj", &subject];
            arguments.extend(KEY);
            arguments.extend(["-keyout", &key, "-out", &certificate]);
            pki.openssl(&arguments)?;
        }
        pki.openssl(&["genrsa", "-out", "service-accounts.key", "2048"])?;
        Ok(pki)
    }

    /// A key and a certificate, `NAME.key` and `NAME.crt`. `names` as OpenSSL writes them: `IP:…` and `DNS:…`.
    fn issue(&self, authority: &str, name: &str, subject: &str, names: &[String]) -> anyhow::Result<()> {
        let file = |suffix: &str| format!("{name}.{suffix}");
        let mut extensions = vec!["extendedKeyUsage=serverAuth,clientAuth".to_owned()];
        if !names.is_empty() {
            extensions.push(format!("subjectAltName={}", names.join(",")));
        }
        fs::write(self.folder.join(file("ext")), extensions.join("\n"))?;
        let (key, request, certificate, extensions) = (file("key"), file("csr"), file("crt"), file("ext"));
        let mut arguments = vec!["req", "-subj", subject];
        arguments.extend(KEY);
        arguments.extend(["-keyout", &key, "-out", &request]);
        self.openssl(&arguments)?;
        let (ca, ca_key) = (format!("{authority}.crt"), format!("{authority}.key"));
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-days",
            DAYS,
            "-extfile",
            &extensions,
            "-out",
            &certificate,
        ])
    }

    /// A kubeconfig for somebody to whom a certificate was issued.
    fn kubeconfig(&self, name: &str, server: &str) -> anyhow::Result<String> {
        let read = |file: String| -> anyhow::Result<String> {
            let path = self.folder.join(file);
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(base64(&bytes))
        };
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": {
                "server": server,
                "certificate-authority-data": read("ca.crt".to_owned())?,
            }}],
            "users": [{"name": name, "user": {
                "client-certificate-data": read(format!("{name}.crt"))?,
                "client-key-data": read(format!("{name}.key"))?,
            }}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
            "current-context": "e2e",
        });
        Ok(config.to_string())
    }

    fn openssl(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.folder)
            .output()
            .context("cannot run openssl")?;
        ensure!(
            output.status.success(),
            "openssl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| -> [char; 4] {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        std::array::from_fn(|digit| {
            if digit <= group.len() {
                char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize])
            } else {
                '='
            }
        })
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::base64;

    /// RFC 4648, section 10.
    #[test]
    fn the_vectors_of_the_rfc() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(
            texts,
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]
        );
    }
}
