//! Which etcd, and how it is known.

use super::gateway::PATIENCE;
use anchor::wire::Key;
use anyhow::{Context, Result, ensure};
use core::net::IpAddr;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use zeroize::Zeroizing;

/// Options of every verb that wants the database. Whoever writes there is the anchor.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Where the database is")]
pub struct Options {
    /// Keep the database in etcd (3.4 or later) instead of the folder: the URLs of the members of one cluster.
    ///
    /// The folder still has the key. https, or http to this computer. Whoever can write there, or put back a copy, can
    /// make the anchor lie; whoever can read there has its shares.
    #[arg(long = "etcd", value_name = "URL", value_delimiter = ',')]
    pub etcd: Vec<String>,
    /// Where in etcd: an anchor's own [default: quoin-anchor/ and 16 digits of its key]
    #[arg(long, value_name = "PREFIX", requires = "etcd")]
    pub etcd_prefix: Option<String>,
    /// The certificates (PEM) of who certifies etcd's; wanted with https.
    #[arg(long, value_name = "FILE", requires = "etcd")]
    pub etcd_ca: Option<PathBuf>,
    /// The certificate (PEM) that this program shows to etcd.
    #[arg(long, value_name = "FILE", requires = "etcd_ca", requires = "etcd_key")]
    pub etcd_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, value_name = "FILE", requires = "etcd_cert")]
    pub etcd_key: Option<PathBuf>,
}

impl Options {
    /// Whether the database is in etcd.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        !self.etcd.is_empty()
    }

    /// What all keys begin with; it ends with a slash.
    pub(super) fn prefix(&self, anchor: &Key) -> Result<String> {
        let Some(prefix) = &self.etcd_prefix else {
            return Ok(format!("quoin-anchor/{}/", hex::encode(anchor.get(..8).unwrap_or_default())));
        };
        let prefix = prefix.trim_end_matches('/');
        ensure!(!prefix.is_empty(), "--etcd-prefix says nothing");
        Ok(format!("{prefix}/"))
    }

    /// The members, without slashes at their ends.
    pub(super) fn members(&self) -> Result<Vec<String>> {
        self.etcd.iter().map(|member| self.member(member).with_context(|| format!("--etcd {member}"))).collect()
    }

    fn member(&self, member: &str) -> Result<String> {
        let uri: Uri = member.trim_end_matches('/').parse().context("no URL")?;
        let host = uri.host().context("a URL without a host")?;
        ensure!(uri.path() == "/" && uri.query().is_none(), "a URL with a path");
        match uri.scheme_str() {
            Some("https") => ensure!(self.etcd_ca.is_some(), "https wants --etcd-ca"),
            // What is read on the way would be shares, and what is changed there promises.
            Some("http") => {
                ensure!(is_here(host), "http only to this computer, such as http://127.0.0.1:2379; else https");
                ensure!(self.etcd_ca.is_none(), "--etcd-ca is for https");
            }
            _ => anyhow::bail!("neither https nor http"),
        }
        Ok(member.trim_end_matches('/').to_owned())
    }

    /// What speaks to them: nothing of the environment's, no redirections, and each answer to its end.
    pub(super) fn agent(&self) -> Result<Agent> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(PATIENCE));
        if let Some(ca) = &self.etcd_ca {
            config = config.tls_config(self.tls(ca)?);
        }
        Ok(config.build().new_agent())
    }

    fn tls(&self, ca: &Path) -> Result<TlsConfig> {
        let provider = Arc::new(rustls_graviola::default_provider());
        let client = match (&self.etcd_cert, &self.etcd_key) {
            (Some(cert), Some(key)) => Some(client(cert, key, &provider)?),
            _ => None,
        };
        let roots = RootCerts::new_with_certs(&roots(ca)?);
        let config = TlsConfig::builder().root_certs(roots).client_cert(client);
        Ok(config.unversioned_rustls_crypto_provider(provider).build())
    }
}

fn is_here(host: &str) -> bool {
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>> {
    fs::read(file).map(Zeroizing::new).with_context(|| format!("cannot read {}", file.display()))
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>> {
    let mut all = Vec::new();
    for item in parse_pem(&read(file)?) {
        if let PemItem::Certificate(certificate) = item.with_context(|| format!("{} is no PEM", file.display()))? {
            all.push(certificate);
        }
    }
    ensure!(!all.is_empty(), "{} has no certificate", file.display());
    Ok(all)
}

fn roots(file: &Path) -> Result<Vec<Certificate<'static>>> {
    let all = certificates(file)?;
    for root in &all {
        let added = RootCertStore::empty().add(CertificateDer::from(root.der()).into_owned());
        added.with_context(|| format!("{} has a certificate that is none", file.display()))?;
    }
    Ok(all)
}

/// The client's certificate with its key, which ureq takes for granted: so they are tried before.
fn client(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<ClientCert> {
    let (chain, pem) = (certificates(cert)?, read(key)?);
    let none = || format!("{} has no private key", key.display());
    let ders = chain.iter().map(|one| CertificateDer::from(one.der()).into_owned()).collect();
    CertifiedKey::from_der(ders, PrivateKeyDer::from_pem_slice(&pem).with_context(none)?, provider)
        .with_context(|| format!("{} is not for the certificate in {}", key.display(), cert.display()))?;
    Ok(ClientCert::new_with_certs(&chain, PrivateKey::from_pem(&pem).with_context(none)?))
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn with(members: &[&str], ca: bool) -> Result<Vec<String>, String> {
        let etcd = members.iter().map(|&member| member.to_owned()).collect();
        let options = Options { etcd, etcd_ca: ca.then(|| "ca.pem".into()), ..Options::default() };
        options.members().map_err(|why| format!("{why:#}"))
    }

    #[test]
    fn members_are_urls_of_https_or_of_this_computer() {
        let here = ["http://127.0.0.1:2379/", "http://[::1]:1", "http://localhost:2"];
        assert_eq!(with(&here, false).unwrap(), ["http://127.0.0.1:2379", "http://[::1]:1", "http://localhost:2"]);
        assert_eq!(with(&["https://a:2379"], true).unwrap(), ["https://a:2379"]);
        for (member, ca, why) in [
            ("https://a:2379", false, "https wants --etcd-ca"),
            ("http://a:2379", false, "http only to this computer"),
            ("http://127.0.0.1:2379", true, "--etcd-ca is for https"),
            ("ftp://a", false, "neither https nor http"),
            ("a:2379", false, "URL"),
            ("http://127.0.0.1:1/x", false, "a URL with a path"),
        ] {
            let said = with(&[member], ca).unwrap_err();
            assert!(said.contains(why) && said.contains(member), "{said}");
        }
    }

    #[test]
    fn a_prefix_is_of_the_anchor_and_ends_with_one_slash() {
        let with = |prefix: Option<&str>| {
            let options = Options { etcd_prefix: prefix.map(str::to_owned), ..Options::default() };
            options.prefix(&[2; 49]).map_err(|why| why.to_string())
        };
        assert_eq!(with(None).unwrap(), "quoin-anchor/0202020202020202/");
        assert_eq!(with(Some("a/b//")).unwrap(), "a/b/");
        assert_eq!(with(Some("/")).unwrap_err(), "--etcd-prefix says nothing");
    }

    /// ureq would take these for granted, and panic amid a connection.
    #[test]
    fn files_that_are_no_certificates_or_keys_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let none = file("none.pem", "nothing");
        let bad = file("bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        for (ca, why) in [(none, "none.pem has no certificate"), (bad, "bad.pem has a certificate that is none")] {
            let said = Options { etcd_ca: ca, ..Options::default() }.agent().unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }
}
