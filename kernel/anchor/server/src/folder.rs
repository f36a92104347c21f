//! An anchor's folder.
//!
//! | file | is |
//! |---|---|
//! | `key.pem` | its signing key (PKCS #8), for nobody else to read |
//! | `anchor.redb` | its database, where that is not in etcd |
//! | `control` | the socket of a server that runs, for the operator |
//!
//! A key without its database is no anchor any more: it would break promises that it has forgotten. So the database is
//! made with the key, knows it, and is never made again by itself.

use crate::backend::etcd::{Etcd, Options};
use crate::backend::{Backend, Redb};
use anchor::keys::{Keys, P384};
use anchor::wire::Key;
use anyhow::{Context, Result, ensure};
use p384::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    pub(crate) fn make(path: &Path, etcd: &Options) -> Result<Key> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot make the folder {}", path.display()));
            }
            _ => {}
        }
        if path.join(KEY).exists() {
            return Ok(*Self::open(path)?.keys.public());
        }
        let (scalar, keys) = fresh()?;
        let folder = Self { path: path.to_owned(), keys };
        // The database first: a key that is there has always had one.
        let database = folder.new_database(etcd)?;
        if let Err(why) = write_key(path, &scalar) {
            database.remove();
            return Err(why);
        }
        Ok(*folder.keys.public())
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
    pub(crate) fn database(&self, etcd: &Options) -> Result<Arc<dyn Backend>> {
        let file = self.path.join(DATABASE);
        if etcd.is_wanted() {
            ensure!(!file.exists(), "{} is there: this anchor's database is not in etcd", file.display());
            return Ok(Arc::new(Etcd::open(etcd, self.keys.public())?));
        }
        ensure!(
            file.exists(),
            "{} is gone: an anchor that has forgotten what it promised would let old states start. `quoin-anchor adopt` \
             makes a new one from what other anchors know; or take another folder, with another key. (Is it in etcd? \
             Then --etcd is missing)",
            file.display()
        );
        Ok(Arc::new(Redb::open(&file, self.keys.public())?))
    }

    /// Makes a database where there is none.
    pub(crate) fn new_database(&self, etcd: &Options) -> Result<Made> {
        let file = self.path.join(DATABASE);
        ensure!(!file.exists(), "{} is there: nothing is lost", file.display());
        let anchor = *self.keys.public();
        Ok(if etcd.is_wanted() {
            Made::InEtcd(Etcd::create(etcd, &anchor)?)
        } else {
            match Redb::create(&file, &anchor) {
                Ok(made) => Made::InFile(made, file),
                Err(why) => {
                    let _ = fs::remove_file(&file);
                    return Err(why);
                }
            }
        })
    }

    pub(crate) fn control(path: &Path) -> PathBuf {
        path.join(CONTROL)
    }
}

/// A database that was made now, and goes again if it cannot be filled.
pub(crate) enum Made {
    InFile(Redb, PathBuf),
    InEtcd(Etcd),
}

impl Made {
    pub(crate) fn backend(&self) -> &dyn Backend {
        match self {
            Self::InFile(made, _) => made,
            Self::InEtcd(made) => made,
        }
    }

    /// Nothing half made stays.
    pub(crate) fn remove(&self) {
        let removed = match self {
            Self::InFile(_, file) => fs::remove_file(file).map_err(Into::into),
            Self::InEtcd(made) => made.remove(),
        };
        if let Err(why) = removed {
            log::error!("what was half made stays: {why:#}");
        }
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
