//! The program as a process. With the URL of an etcd in `QUOIN_ANCHOR_ETCD` databases are
//! there, and `file` is to be skipped.
//!
//! | module | is about |
//! |---|---|
//! | `server` | servers, TPMs, and what they say |
//! | `file` | what is so with a database in a file only: a full disk, a database that is lost |
//! | `kept` | what survives: restarts, kill -9 |
//! | `limits` | strangers |
//! | `operator` | key, show, forget, hold, enrol |
//! | `quorum` | TPMs that ask several anchors |

mod file;
mod kept;
mod limits;
mod operator;
mod quorum;
mod server;
