//! What is done when etcd's answers are lost, late, or of another.

use super::super::tests::{all, kept};
use super::fake::{Store, Turn, member};
use super::{Backend, Etcd, Kept, Note, Options, octets};
use std::sync::{Arc, Mutex, MutexGuard};

const ANCHOR: [u8; 49] = [2; 49];
const TPM: &str = "a/tpms/0101010101010101010101010101010101010101010101010101010101010101";

fn value(share: u8) -> Vec<u8> {
    [&octets(&kept(share))[..], &[0; 16]].concat()
}

struct Fake {
    store: Arc<Mutex<Store>>,
    options: Options,
    etcd: Etcd,
}

impl Fake {
    /// An anchor's, with so many members.
    fn new(members: usize) -> Self {
        let store = Store::new();
        let etcd = (0..members).map(|_| member(&store)).collect();
        let options = Options { etcd, etcd_prefix: Some(String::from("a")), ..Options::default() };
        let etcd = Etcd::create(&options, &ANCHOR).unwrap();
        Self { store, options, etcd }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    fn turns(&self, turns: impl IntoIterator<Item = Turn>) {
        self.store().turns.extend(turns);
    }

    fn put(&self, share: u8) -> Result<(), String> {
        self.etcd.update(&[1; 32], &mut |_, _| Some(kept(share)), None).map_err(|why| format!("{why:#}"))
    }

    fn note(&self) -> Result<(), String> {
        let note = Note { time: 3, deed: "held".into(), subject: "01".into(), epoch: None, reason: "why".into() };
        let mut change = |before: Option<Kept>, _| Some(Kept { changed: before.unwrap().changed + 1, ..kept(1) });
        self.etcd.update(&[1; 32], &mut change, Some(&note)).map_err(|why| format!("{why:#}"))
    }
}

#[test]
fn another_that_writes_between_reading_and_writing_is_not_written_over() {
    let fake = Fake::new(1);
    fake.put(1).unwrap();
    let other = |store: &mut Store| store.put(TPM.as_bytes(), &value(9));
    fake.turns([Turn::Well, Turn::After(Box::new(other))]);
    let mut seen = Vec::new();
    let mut change = |before: Option<Kept>, _| {
        seen.push(before.unwrap());
        before.filter(|before| *before == kept(1)).map(|_| kept(2))
    };
    fake.etcd.update(&[1; 32], &mut change, None).unwrap();
    assert_eq!(seen, [kept(1), kept(9)]);
    assert_eq!(all(&fake.etcd), [([1; 32], kept(9))]);
}

#[test]
fn of_two_that_make_the_same_entry_the_second_sees_the_firsts() {
    let fake = Fake::new(1);
    let other = |store: &mut Store| store.put(TPM.as_bytes(), &value(9));
    fake.turns([Turn::Well, Turn::After(Box::new(other))]);
    let mut change = |before: Option<Kept>, _| before.is_none().then(|| kept(1));
    fake.etcd.update(&[1; 32], &mut change, None).unwrap();
    assert_eq!(all(&fake.etcd), [([1; 32], kept(9))]);
}

/// Room for one more, and two that come at once.
#[test]
fn the_count_is_of_the_moment_at_which_an_entry_is_made() {
    let fake = Fake::new(1);
    let other = |store: &mut Store| store.put(TPM.replace("01", "02").as_bytes(), &value(9));
    fake.turns([Turn::Well, Turn::After(Box::new(other))]);
    let mut change = |_, count| (count == 0).then(|| kept(1));
    fake.etcd.update(&[1; 32], &mut change, None).unwrap();
    assert_eq!(all(&fake.etcd), [([2; 32], kept(9))]);
}

#[test]
fn a_put_whose_answer_is_lost_is_an_error_and_may_be_done() {
    let fake = Fake::new(1);
    fake.turns([Turn::Well, Turn::LosesAnswer]);
    assert!(fake.put(1).unwrap_err().contains("etcd at http://127.0.0.1"));
    assert_eq!(all(&fake.etcd), [([1; 32], kept(1))]);
}

#[test]
fn a_put_whose_answer_is_lost_is_known_again_by_the_next_member_and_done_once() {
    let fake = Fake::new(2);
    fake.put(1).unwrap();
    fake.turns([Turn::Well, Turn::LosesAnswer]);
    let mut calls = 0;
    fake.etcd.update(&[1; 32], &mut |_, _| (calls += 1, Some(kept(1))).1, None).unwrap();
    assert_eq!(calls, 1);
    fake.turns([Turn::Well, Turn::LosesAnswer]);
    fake.note().unwrap();
    assert_eq!(all(&fake.etcd), [([1; 32], Kept { changed: 3, ..kept(1) })]);
    assert_eq!(fake.etcd.notes().unwrap().len(), 1);
}

#[test]
fn a_database_whose_making_was_not_answered_is_made_once() {
    let fake = Fake::new(2);
    let options = Options { etcd_prefix: Some(String::from("b")), ..fake.options.clone() };
    fake.turns([Turn::LosesAnswer]);
    Etcd::create(&options, &ANCHOR).unwrap();
    Etcd::open(&options, &ANCHOR).unwrap();
    assert!(Etcd::create(&options, &[3; 49]).unwrap_err().to_string().contains("something at b/ already"));
}

#[test]
fn without_a_quorum_nothing_is_answered_and_nothing_is_changed() {
    let fake = Fake::new(2);
    fake.put(1).unwrap();
    fake.turns([Turn::Fails, Turn::Fails]);
    let mut asked = false;
    let read = fake.etcd.update(&[1; 32], &mut |_, _| (asked = true, None).1, None);
    assert!(format!("{:#}", read.unwrap_err()).contains("503") && !asked);
    fake.turns([Turn::Well, Turn::Fails, Turn::Fails]);
    assert!(fake.put(2).unwrap_err().contains("no leader"));
    assert_eq!(all(&fake.etcd), [([1; 32], kept(1))]);
}

#[test]
fn one_member_that_is_away_stops_nothing() {
    let fake = Fake::new(1);
    let mut options = fake.options.clone();
    options.etcd.insert(0, String::from("http://127.0.0.1:1"));
    let etcd = Etcd::open(&options, &ANCHOR).unwrap();
    etcd.update(&[1; 32], &mut |_, _| Some(kept(1)), None).unwrap();
    assert_eq!(all(&fake.etcd), [([1; 32], kept(1))]);
}

#[test]
fn a_value_that_is_damaged_is_an_error_and_is_never_written_over() {
    let fake = Fake::new(1);
    fake.put(1).unwrap();
    for damaged in [&b""[..], &value(1)[1..], &[&[0x80][..], &value(1)[1..]].concat()] {
        fake.store().put(TPM.as_bytes(), damaged);
        assert!(fake.put(2).unwrap_err().contains("an entry that is none"));
        assert!(fake.etcd.each(&mut |_, _| ()).is_err());
        assert_eq!(fake.store().rows[TPM.as_bytes()].value, damaged);
    }
    fake.store().rows.clear();
    fake.store().put(b"a/tpms/01", &value(1));
    fake.store().put(b"a/notes/1", b"{");
    assert!(fake.etcd.each(&mut |_, _| ()).unwrap_err().to_string().contains("a key that is none: a/tpms/01"));
    assert!(fake.etcd.notes().unwrap_err().to_string().contains("a note that is none"));
}

#[test]
fn what_is_no_answer_of_etcds_is_an_error() {
    let fake = Fake::new(1);
    let header = r#"{"header":{"cluster_id":"7","revision":"9"}"#;
    for says in ["", "{}", &format!("{header}}}"), &format!(r#"{header},"responses":[{{"response_range":{{}}}}]}}"#)] {
        fake.turns([Turn::Says(says.to_owned())]);
        let said = fake.put(1).unwrap_err();
        assert!(said.contains("no answer of etcd's") || said.contains("other reads"), "{said}");
    }
}

#[test]
fn etcd_that_is_put_back_while_the_anchor_runs_is_found_out() {
    let fake = Fake::new(1);
    fake.put(1).unwrap();
    fake.store().revision -= 1;
    assert!(fake.put(2).unwrap_err().contains("etcd has gone back: it was at revision 3, and is at 2"));
}

#[test]
fn members_of_two_clusters_are_found_out() {
    let fake = Fake::new(1);
    fake.store().cluster = 8;
    assert!(fake.put(1).unwrap_err().contains("members of two clusters: 7, 8"));
}

#[test]
fn more_entries_than_a_page_are_all_seen() {
    let fake = Fake::new(1);
    for number in 0..600_u32 {
        let name = format!("a/tpms/{}{}", "00".repeat(28), hex::encode(number.to_be_bytes()));
        fake.store().put(name.as_bytes(), &value(1));
    }
    let subjects: Vec<[u8; 32]> = all(&fake.etcd).into_iter().map(|(subject, _)| subject).collect();
    assert!(subjects.len() == 600 && subjects.is_sorted_by(|a, b| a < b));
}

#[test]
fn what_could_not_be_filled_is_removed_and_nothing_else() {
    let fake = Fake::new(1);
    fake.put(1).unwrap();
    let about = fake.store().rows[&b"a/about"[..]].value.clone();
    fake.store().put(b"a/about", &[&about[..49], &[0; 17]].concat());
    assert!(fake.etcd.remove().unwrap_err().to_string().contains("another database"));
    assert_eq!(fake.store().rows.len(), 2);
    fake.store().put(b"a/about", &about);
    fake.etcd.remove().unwrap();
    assert!(fake.store().rows.is_empty());
}
