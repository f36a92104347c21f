//! Transactions of etcd's, over its JSON gateway (`/v3/kv/txn`, from version 3.4 on).
//!
//! Everything is a transaction, also what only reads: one that has a read in it which is not `serializable` waits until
//! the member that is asked knows all that a majority has. Nothing is answered from what was read before.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use ureq::Agent;

/// How long one member is waited for. etcd itself gives up later, so that what it was told may be done after this.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);
/// Octets of an answer: a page of entries is some 300 KiB.
const MOST: u64 = 16 << 20;

/// A transaction: if all of this is so, do that, else that.
#[derive(Debug, Default)]
pub(super) struct Txn {
    compare: Vec<Value>,
    then: Vec<Value>,
    otherwise: Vec<Value>,
}

impl Txn {
    /// If the key was changed last by this revision; 0 if it is not there.
    pub(super) fn if_changed_by(mut self, key: &str, revision: u64) -> Self {
        let revision = revision.to_string();
        self.compare.push(json!({ "target": "MOD", "result": "EQUAL", "key": coded(key), "mod_revision": revision }));
        self
    }

    /// If no key that begins so was made after this revision.
    pub(super) fn if_none_made_since(mut self, prefix: &str, revision: u64) -> Self {
        self.compare.push(json!({ "target": "CREATE", "result": "LESS", "key": coded(prefix), "range_end":
            coded(end(prefix)), "create_revision": (revision + 1).to_string() }));
        self
    }

    /// If this is the key's value.
    pub(super) fn if_value(mut self, key: &str, value: &[u8]) -> Self {
        self.compare.push(json!({ "target": "VALUE", "result": "EQUAL", "key": coded(key), "value": coded(value) }));
        self
    }

    pub(super) fn put(mut self, key: &str, value: &[u8]) -> Self {
        self.then.push(json!({ "request_put": { "key": coded(key), "value": coded(value) } }));
        self
    }

    /// Deletes all that begins so.
    pub(super) fn delete_all(mut self, prefix: &str) -> Self {
        let range = json!({ "key": coded(prefix), "range_end": coded(end(prefix)) });
        self.then.push(json!({ "request_delete_range": range }));
        self
    }

    pub(super) fn get(mut self, key: &str) -> Self {
        self.then.push(json!({ "request_range": { "key": coded(key), "serializable": false } }));
        self
    }

    /// Reads the key if not all is so.
    pub(super) fn else_get(mut self, key: &str) -> Self {
        self.otherwise.push(json!({ "request_range": { "key": coded(key), "serializable": false } }));
        self
    }

    /// Counts the keys that begin so.
    pub(super) fn count(mut self, prefix: &str) -> Self {
        self.then.push(json!({ "request_range": { "key": coded(prefix), "range_end": coded(end(prefix)),
            "count_only": true, "serializable": false } }));
        self
    }

    /// Reads so many of the keys that begin with `prefix`, from `first` on, as they were at `revision` (0: are).
    pub(super) fn page(mut self, prefix: &str, first: &[u8], most: u32, revision: u64) -> Self {
        self.then.push(json!({ "request_range": { "key": coded(first), "range_end": coded(end(prefix)),
            "limit": most.to_string(), "revision": revision.to_string(), "serializable": false } }));
        self
    }

    fn body(&self) -> Vec<u8> {
        json!({ "compare": self.compare, "success": self.then, "failure": self.otherwise }).to_string().into_bytes()
    }
}

fn coded(octets: impl AsRef<[u8]>) -> String {
    STANDARD.encode(octets)
}

/// The first key behind all that begin so: prefixes end with a slash, so that there is one.
fn end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// What a transaction has come to.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    header: Header,
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    responses: Vec<Response>,
}

#[derive(Debug, Deserialize)]
struct Header {
    #[serde(deserialize_with = "number")]
    cluster_id: u64,
    #[serde(deserialize_with = "number")]
    revision: u64,
}

#[derive(Debug, Deserialize)]
struct Response {
    response_range: Option<Found>,
}

/// What a read has found.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    #[serde(default)]
    pub(super) kvs: Vec<Pair>,
    #[serde(default)]
    pub(super) more: bool,
    #[serde(default, deserialize_with = "number")]
    pub(super) count: u64,
}

/// A key, its value, and which revisions have made and changed it.
#[derive(Debug, Deserialize)]
pub(super) struct Pair {
    #[serde(deserialize_with = "octets")]
    pub(super) key: Vec<u8>,
    #[serde(default, deserialize_with = "octets")]
    pub(super) value: Vec<u8>,
    #[serde(deserialize_with = "number")]
    pub(super) create_revision: u64,
    #[serde(deserialize_with = "number")]
    pub(super) mod_revision: u64,
}

/// The gateway writes numbers of 64 bits as text, and leaves out zeros.
fn number<'a, D: Deserializer<'a>>(from: D) -> Result<u64, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

fn octets<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
}

impl Answer {
    /// The revision at which all was read, or which it has made.
    pub(super) const fn revision(&self) -> u64 {
        self.header.revision
    }

    /// What the reads have found, in their order.
    pub(super) fn found<const N: usize>(self) -> Result<[Found; N]> {
        let found: Vec<Found> = self.responses.into_iter().filter_map(|one| one.response_range).collect();
        found.try_into().ok().context("etcd answers other reads than it was asked for")
    }
}

/// The members of one cluster.
#[derive(Debug)]
pub(super) struct Gateway {
    agent: Agent,
    members: Vec<String>,
    /// Who has answered last.
    last: AtomicUsize,
    seen: Mutex<Seen>,
}

/// What has been heard of the cluster.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    cluster: Option<u64>,
    revision: u64,
}

impl Gateway {
    pub(super) fn new(agent: Agent, members: Vec<String>) -> Self {
        Self { agent, members, last: AtomicUsize::new(0), seen: Mutex::default() }
    }

    /// Has a transaction carried out by the first member that answers. With an error it may be carried out, now or
    /// later, or not; where a member's answer was lost and another was asked then, it may be the first that did it.
    pub(super) fn ask(&self, txn: &Txn, until: Instant) -> Result<Answer> {
        let (body, first) = (txn.body(), self.last.load(Ordering::Relaxed));
        let before = self.seen();
        let mut why = None;
        for number in (0..self.members.len()).map(|more| (first + more) % self.members.len()) {
            let left = until.saturating_duration_since(Instant::now());
            let Some(member) = self.members.get(number).filter(|_| !left.is_zero()) else { break };
            match self.ask_one(member, &body, left.min(PATIENCE)) {
                Ok(answer) => {
                    self.compare(before, &answer.header)?;
                    self.last.store(number, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => {
                    let error = error.context(format!("etcd at {member}"));
                    if let Some(earlier) = why.replace(error) {
                        log::warn!("{earlier:#}");
                    }
                }
            }
        }
        Err(why.context("etcd was not answering in time")?)
    }

    fn ask_one(&self, member: &str, body: &[u8], patience: Duration) -> Result<Answer> {
        let request = self.agent.post(format!("{member}/v3/kv/txn")).content_type("application/json");
        let mut response = request.config().timeout_global(Some(patience)).build().send(body)?;
        let text = response.body_mut().with_config().limit(MOST).read_to_string()?;
        if response.status() != 200 {
            let short: String = text.chars().take(300).collect();
            bail!("{}: {}", response.status(), short.trim());
        }
        serde_json::from_str(&text).context("no answer of etcd's")
    }

    fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what is of another cluster, or older than what was known when it was asked for: etcd's data was put back
    /// then while this program ran.
    fn compare(&self, before: Seen, header: &Header) -> Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = *seen.cluster.get_or_insert(header.cluster_id);
        ensure!(
            cluster == header.cluster_id,
            "these are members of two clusters: {cluster:x}, {:x}",
            header.cluster_id
        );
        let (known, is) = (before.revision, header.revision);
        ensure!(is >= known, "etcd has gone back: it was at revision {known}, and is at {is}");
        seen.revision = seen.revision.max(is);
        Ok(())
    }
}
