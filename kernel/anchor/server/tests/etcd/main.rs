//! The program with databases in etcd: what it does with them in files, and what only etcd brings. The suite `anchors:
//! etcd` of `cargo xtask test` starts an etcd, whose URL is in `QUOIN_ANCHOR_ETCD`.
//!
//! | module | is about |
//! |---|---|
//! | `cluster` | an etcd of a test's own |
//! | `shared` | an etcd that is away, TLS, several processes of one anchor, folders that are put back |
//! | the others | as in `tests/program` |

mod cluster;
#[path = "../program/kept.rs"]
mod kept;
#[path = "../program/limits.rs"]
mod limits;
#[path = "../program/operator.rs"]
mod operator;
#[path = "../program/quorum.rs"]
mod quorum;
#[path = "../program/server.rs"]
mod server;
mod shared;

/// Else all of this would be about files.
#[test]
fn databases_are_in_etcd() {
    let server = server::Server::new(&[]);
    assert!(std::env::var("QUOIN_ANCHOR_ETCD").is_ok() && !server.path().join("anchor.redb").exists());
}
