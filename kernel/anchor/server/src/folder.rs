//! An anchor's folder.
//!
//! | file | is |
//! |---|---|
//! | `key.pem` | its signing key (PKCS #8), for nobody else to read |
//! | `anchor.redb` | its database |
//! | `control` | the socket of a server that runs, for the operator |
//!
//! A key without its database is no anchor any more: it would break promises that it has forgotten. So the database is
//! made with the key, knows it, and is never made again by itself.

use crate::backend::{Backend, Redb};
use anchor::keys::{Keys, P384};
use anchor::wire::Key;
use anyhow::{Context, Result, ensure};
use p384::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const KEY: &str = "key.pem";
const DATABASE: &str = "anchor.redb";
const CONTROL: &str = "control";

/// The folder of an anchor whose key is there.
pub(crate) struct Folder {
    path: PathBuf,
    pub(crate) keys: P384,
}

impl Folder {
    /// Makes key and database where there is no key; says the public key.
    pub(crate) fn make(path: &Path) -> Result<Key> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot make the folder {}", path.display()));
            }
            _ => {}
        }
        if path.join(KEY).exists() {
            return Ok(*Self::open(path)?.keys.public());
        }
        let database = path.join(DATABASE);
        ensure!(!database.exists(), "{} is there without a key: not this program's work", database.display());
        let (scalar, keys) = fresh()?;
        // The database first: a key that is there has always had one.
        let made = Redb::create(&database, keys.public()).and_then(|_| write_key(path, &scalar));
        if made.is_err() {
            // Nothing half made stays.
            let _ = fs::remove_file(&database);
        }
        made?;
        Ok(*keys.public())
    }

    /// Opens it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = path.join(KEY);
        let pem = fs::read_to_string(&file).map(Zeroizing::new);
        let pem = pem.with_context(|| format!("cannot read {}: `quoin-anchor key` makes a folder", file.display()))?;
        let secret = p384::SecretKey::from_pkcs8_pem(&pem)
            .map_err(|why| anyhow::anyhow!("{} has no key of P-384: {why}", file.display()))?;
        let scalar: [u8; 48] = secret.to_bytes().as_slice().try_into().context("a scalar of another size")?;
        let keys = P384::new(&Zeroizing::new(scalar)).context("a key that is none")?;
        Ok(Self { path: path.to_owned(), keys })
    }

    /// Opens the database of this key.
    pub(crate) fn database(&self) -> Result<Redb> {
        let file = self.path.join(DATABASE);
        ensure!(
            file.exists(),
            "{} is gone: an anchor that has forgotten what it promised would let old states start. `quoin-anchor adopt` \
             makes a new one from what other anchors know; or take another folder, with another key",
            file.display()
        );
        Redb::open(&file, self.keys.public())
    }

    /// Makes a database where there is none.
    pub(crate) fn new_database(&self) -> Result<Redb> {
        let file = self.path.join(DATABASE);
        ensure!(!file.exists(), "{} is there: nothing is lost", file.display());
        Redb::create(&file, self.keys.public())
    }

    /// Removes a database that could not be filled.
    pub(crate) fn remove_database(&self) {
        let _ = fs::remove_file(self.path.join(DATABASE));
    }

    pub(crate) fn control(path: &Path) -> PathBuf {
        path.join(CONTROL)
    }
}

/// A key pair of fresh octets, and its scalar.
fn fresh() -> Result<(Zeroizing<[u8; 48]>, P384)> {
    let mut scalar = Zeroizing::new([0; 48]);
    loop {
        getrandom::fill(&mut *scalar).map_err(|why| anyhow::anyhow!("no random octets: {why}"))?;
        if let Some(keys) = P384::new(&scalar) {
            return Ok((scalar, keys));
        }
    }
}

fn write_key(path: &Path, scalar: &[u8; 48]) -> Result<()> {
    let secret = p384::SecretKey::from_slice(scalar).map_err(|why| anyhow::anyhow!("{why}"))?;
    let pem = secret.to_pkcs8_pem(LineEnding::LF).map_err(|why| anyhow::anyhow!("the key cannot be written: {why}"))?;
    let file = path.join(KEY);
    let cannot = || format!("cannot write {}", file.display());
    let mut out = File::options().write(true).create_new(true).mode(0o600).open(&file).with_context(cannot)?;
    let written = out.write_all(pem.as_bytes()).and_then(|()| out.sync_all());
    let written = written.and_then(|()| File::open(path)?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&file);
    }
    written.with_context(cannot)
}

/// Says which TPMs a backend has, for those who look.
pub(crate) fn count(backend: &dyn Backend) -> Result<u64> {
    let mut count = 0;
    backend.each(&mut |_, _| count += 1)?;
    Ok(count)
}
