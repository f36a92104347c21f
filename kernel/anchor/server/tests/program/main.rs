//! The program as a process.
//!
//! | module | is about |
//! |---|---|
//! | `server` | servers, TPMs, and what they say |
//! | `kept` | what survives: restarts, kill -9, a full disk |
//! | `limits` | strangers |
//! | `operator` | key, show, forget, hold, enrol, export, adopt |
//! | `quorum` | TPMs that ask several anchors |

mod kept;
mod limits;
mod operator;
mod quorum;
mod server;
