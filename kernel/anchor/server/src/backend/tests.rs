//! What a backend must do.

use super::etcd::{Etcd, Options, fake};
use super::{Backend, Kept, Note, Redb};
use anchor::keeper::Entry;
use std::path::Path;
use tempfile::tempdir;

const ANCHOR: [u8; 49] = [2; 49];

pub(super) fn kept(share: u8) -> Kept {
    Kept { entry: Entry::new([share; 32]), since: 1, changed: 2 }
}

pub(super) fn all(backend: &dyn Backend) -> Vec<([u8; 32], Kept)> {
    let mut all = Vec::new();
    backend.each(&mut |subject, kept| all.push((subject, kept))).unwrap();
    all
}

/// With each backend: how it is opened again.
fn with_each(test: impl Fn(&dyn Fn() -> Box<dyn Backend>)) {
    let folder = tempdir().unwrap();
    let file = folder.path().join("x.redb");
    drop(Redb::create(&file, &ANCHOR).unwrap());
    test(&|| Box::new(Redb::open(&file, &ANCHOR).unwrap()));
    let member = fake::member(&fake::Store::new());
    let options = Options { etcd: vec![member], ..Options::default() };
    Etcd::create(&options, &ANCHOR).unwrap();
    test(&|| Box::new(Etcd::open(&options, &ANCHOR).unwrap()));
}

#[test]
fn an_entry_that_was_written_is_there_when_the_database_is_opened_again() {
    with_each(|open| {
        let database = open();
        let note = Note { time: 3, deed: "held".into(), subject: "00".into(), epoch: None, reason: "why".into() };
        database.update(&[1; 32], &mut |_, _| Some(kept(7)), Some(&note)).unwrap();
        let mut seen = None;
        database.update(&[1; 32], &mut |before, count| (seen.replace((before, count)), None).1, None).unwrap();
        assert_eq!(seen, Some((Some(kept(7)), 1)));
        drop(database);
        let database = open();
        assert_eq!((all(&*database), database.notes().unwrap()), (vec![([1; 32], kept(7))], vec![note]));
    });
}

#[test]
fn a_database_of_another_anchor_or_of_nobody_is_refused() {
    let folder = tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let store = fake::Store::new();
    let member = fake::member(&store);
    drop(Redb::create(&file("a"), &ANCHOR).unwrap());
    let refused = |path: &Path| format!("{:#}", Redb::open(path, &[3; 49]).err().unwrap());
    assert!(refused(&file("a")).contains("another key"), "{}", refused(&file("a")));
    assert!(refused(&file("none")).contains("cannot open"));
    std::fs::write(file("text"), "no database").unwrap();
    assert!(refused(&file("text")).contains("cannot open"));
    drop(redb::Database::create(file("other")).unwrap());
    assert!(refused(&file("other")).contains("no anchor's"));
    assert!(Redb::create(&file("a"), &ANCHOR).is_err());
    let etcd = |prefix: &str| Options {
        etcd: vec![member.clone()],
        etcd_prefix: Some(prefix.to_owned()),
        ..Options::default()
    };
    Etcd::create(&etcd("a"), &ANCHOR).unwrap();
    let refused = |prefix: &str| format!("{:#}", Etcd::open(&etcd(prefix), &[3; 49]).err().unwrap());
    assert!(refused("a").contains("another key"), "{}", refused("a"));
    assert!(refused("none").contains("etcd has nothing at none/"), "{}", refused("none"));
    store.lock().unwrap().put(b"text/about", b"no database, but some text");
    assert!(refused("text").contains("another version"), "{}", refused("text"));
    assert!(Etcd::create(&etcd("a"), &ANCHOR).is_err());
}

#[test]
fn changes_of_one_entry_do_not_come_between_one_another() {
    fn add(before: Option<Kept>, _: u64) -> Option<Kept> {
        let before = before.unwrap_or_else(|| kept(0));
        Some(Kept { changed: before.changed + 1, ..before })
    }
    with_each(|open| {
        let database = open();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|_| database.update(&[1; 32], &mut add, None).unwrap()));
            }
        });
        assert_eq!(all(&*database), [([1; 32], Kept { changed: 102, ..kept(0) })]);
    });
}
