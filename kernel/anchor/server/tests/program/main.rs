//! The program as a process. But for `file`, `tests/etcd` runs it all with databases in etcd.
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
