//! States that are kept, lost, set by a client.

use super::{Backend, Engine, FAILURE, StateBlob};
use std::fs;
use std::path::{Path, PathBuf};

const STARTUP: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
/// Extends PCR 16.
const EVENT: &[u8] = b"\x80\x02\0\0\0\x1f\0\0\x01\x3c\0\0\0\x10\0\0\0\x09\x40\0\0\x09\0\0\0\0\0\0\x02hi";
const READ: &[u8] = &[0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, 0xb, 3, 0, 0, 1];
const RANDOM: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];
/// TPM2_SetAlgorithmSet changes what lasts.
fn set(number: u8) -> Vec<u8> {
    let mut command = b"\x80\x02\0\0\0\x1f\0\0\x01\x3f\x40\0\0\x0c\0\0\0\x09\x40\0\0\x09\0\0\0\0\0\0\0\0".to_vec();
    command.push(number);
    command
}

/// What it changes.
fn number(engine: &mut Engine) -> u8 {
    let command = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 6, 0, 0, 2, 12, 0, 0, 0, 1];
    let answer = engine.execute(0, &command).unwrap();
    answer[answer.len() - 1]
}

fn engine(path: &Path) -> Engine {
    Engine::new(None, Some(path)).unwrap()
}

fn refused(path: &Path) -> String {
    match Engine::new(None, Some(path)) {
        Ok(_) => panic!("a TPM"),
        Err(error) => format!("{error:#}"),
    }
}

/// With the stack that a connection has.
fn roomy(test: fn()) {
    std::thread::Builder::new().stack_size(16 << 20).spawn(test).unwrap().join().unwrap();
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("tpm");
    (place, path)
}

#[test]
fn a_migrated_tpm_goes_on_and_a_kept_one_starts_again() {
    roomy(|| {
        let mut first = Engine::new(Some("one"), None).unwrap();
        first.execute(0, STARTUP).unwrap();
        first.execute(0, EVENT).unwrap();
        let value = first.execute(0, READ).unwrap();
        let volatile = first.state(StateBlob::Volatile).unwrap();
        let permanent = first.state(StateBlob::Permanent).unwrap();
        assert!(first.state(StateBlob::Saved).unwrap().is_empty());

        let mut second = Engine::new(Some("two"), None).unwrap();
        second.set_state(StateBlob::Permanent, &permanent).unwrap();
        second.set_state(StateBlob::Volatile, &volatile).unwrap();
        second.set_state(StateBlob::Saved, b"").unwrap();
        assert!(second.reset());
        assert_eq!(second.execute(0, READ).unwrap(), value, "it goes on");
        assert!(second.reset());
        assert_eq!(second.execute(0, RANDOM).unwrap()[6..], [0, 0, 1, 0], "TPM2_Startup is to come");

        second.set_state(StateBlob::Permanent, &permanent).unwrap();
        assert!(second.reset());
        assert_eq!(second.execute(0, STARTUP).unwrap()[6..], [0; 4]);
        assert!(second.set_state(StateBlob::Permanent, &permanent[1..]).is_err());
        assert!(second.reset());
        assert_eq!(second.execute(0, STARTUP).unwrap()[6..], [0; 4], "a state that is refused changes nothing");
    });
}

#[test]
fn the_state_is_in_its_folder_before_the_response_and_only_if_it_changed() {
    roomy(|| {
        let (_place, path) = place();
        let mut tpm = engine(&path);
        tpm.execute(0, STARTUP).unwrap();
        let started = fs::read(path.join("state")).unwrap();
        for command in [RANDOM, EVENT, READ] {
            assert_eq!(tpm.execute(0, command).unwrap()[6..10], [0; 4]);
        }
        assert!(fs::read(path.join("state")).unwrap() == started);
        for n in 1..5 {
            assert_eq!(tpm.execute(0, &set(n)).unwrap()[6..10], [0; 4]);
            // As if the server were killed here.
            let copy = path.with_file_name(format!("copy {n}"));
            fs::create_dir(&copy).unwrap();
            for name in ["state", "README"] {
                fs::copy(path.join(name), copy.join(name)).unwrap();
            }
            let mut tpm = engine(&copy);
            tpm.execute(0, STARTUP).unwrap();
            assert_eq!(number(&mut tpm), n);
        }
    });
}

#[test]
fn a_state_that_cannot_be_saved_fails_the_command_and_the_tpm_until_its_reset() {
    roomy(|| {
        let (_place, path) = place();
        let mut tpm = engine(&path);
        tpm.execute(0, STARTUP).unwrap();
        assert_eq!(tpm.execute(0, &set(1)).unwrap()[6..10], [0; 4]);
        fs::create_dir(path.join("state.new")).unwrap();
        assert_eq!(tpm.execute(0, RANDOM).unwrap()[6..10], [0; 4], "nothing is to be saved");
        assert_eq!(tpm.execute(0, &set(2)).unwrap(), FAILURE);
        fs::remove_dir(path.join("state.new")).unwrap();
        assert_eq!(tpm.execute(0, RANDOM).unwrap(), FAILURE);
        assert!(tpm.reset());
        tpm.execute(0, STARTUP).unwrap();
        assert_eq!(number(&mut tpm), 1, "as before the command");
        assert_eq!(tpm.execute(0, &set(3)).unwrap()[6..10], [0; 4]);
        drop(tpm);
        let mut tpm = engine(&path);
        tpm.execute(0, STARTUP).unwrap();
        assert_eq!(number(&mut tpm), 3);
        // What has failed is not loaded from a folder that has lost it.
        tpm.fail();
        fs::remove_file(path.join("state")).unwrap();
        assert!(!tpm.reset());
    });
}

#[test]
fn what_was_lost_is_not_made_anew() {
    roomy(|| {
        let (_place, path) = place();
        drop(engine(&path));
        let state = fs::read(path.join("state")).unwrap();
        for length in (1..state.len()).step_by(101) {
            fs::write(path.join("state"), &state[..length]).unwrap();
            assert!(refused(&path).contains("damaged"));
        }
        for bit in (0..8 * state.len()).step_by(997) {
            let mut flipped = state.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(path.join("state"), flipped).unwrap();
            assert!(refused(&path).contains("damaged"), "bit {bit}");
        }
        fs::write(path.join("state"), b"").unwrap();
        assert!(refused(&path).contains("empty"));
        fs::remove_file(path.join("state")).unwrap();
        assert!(refused(&path).contains("no state"));
        fs::write(path.join("state.new"), &state).unwrap();
        assert!(refused(&path).contains("no state"), "what was never renamed does not count");
        // Whose folder this is, nobody knows.
        fs::remove_file(path.join("README")).unwrap();
        fs::write(path.join("letter.txt"), b"").unwrap();
        assert!(refused(&path).contains("none is made there"));
        fs::remove_file(path.join("letter.txt")).unwrap();
        drop(engine(&path));
        // The server was killed before it could mark the folder.
        fs::remove_file(path.join("README")).unwrap();
        drop(engine(&path));
        assert!(path.join("README").exists());
    });
}

/// Defines an index with authValue "pw" under dictionary-attack protection, and uses it.
fn use_protected(engine: &mut Engine) {
    let define = b"\x80\x02\0\0\0\x2f\0\0\x01\x2a\x40\0\0\x01\0\0\0\x09\x40\0\0\x09\0\0\0\0\0\0\x02pw\0\x0e\x01\x50\0\0\0\x0b\0\x04\0\x04\0\0\0\x01";
    let write =
        b"\x80\x02\0\0\0\x26\0\0\x01\x37\x01\x50\0\0\x01\x50\0\0\0\0\0\x0b\x40\0\0\x09\0\0\0\0\x02pw\0\x01x\0\0";
    engine.execute(0, define).unwrap();
    assert_eq!(engine.execute(0, write).unwrap()[6..10], [0; 4]);
}

/// TPM_PT_LOCKOUT_COUNTER.
fn failed_tries(engine: &mut Engine) -> u8 {
    let command = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 6, 0, 0, 2, 14, 0, 0, 0, 1];
    let answer = engine.execute(0, &command).unwrap();
    answer[answer.len() - 1]
}

#[test]
fn an_orderly_end_of_the_platform_costs_no_try_unless_it_is_turned_off() {
    roomy(|| {
        let (_place, path) = place();
        let mut tries = 0;
        for (shuts_down, ends) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut tpm = engine(&path);
            tpm = if shuts_down { tpm } else { tpm.without_shutdown() };
            tpm.execute(0, STARTUP).unwrap();
            assert_eq!(failed_tries(&mut tpm), tries);
            use_protected(&mut tpm);
            if ends {
                tpm.shut_down();
            }
            tries += u8::from(!(shuts_down && ends));
        }
        let mut tpm = engine(&path);
        tpm.execute(0, STARTUP).unwrap();
        assert_eq!(failed_tries(&mut tpm), 3);
        // The same server goes on, as after swtpm's INIT.
        use_protected(&mut tpm);
        tpm.shut_down();
        assert!(tpm.reset());
        tpm.execute(0, STARTUP).unwrap();
        assert_eq!(failed_tries(&mut tpm), 3);
    });
}

#[test]
fn a_state_that_is_brought_is_kept() {
    roomy(|| {
        let (_place, path) = place();
        let mut other = Engine::new(None, None).unwrap();
        other.execute(0, STARTUP).unwrap();
        other.execute(0, &set(7)).unwrap();
        let permanent = other.state(StateBlob::Permanent).unwrap();
        let mut tpm = engine(&path);
        tpm.set_state(StateBlob::Permanent, &permanent).unwrap();
        assert!(tpm.reset());
        drop(tpm);
        let mut tpm = engine(&path);
        tpm.execute(0, STARTUP).unwrap();
        assert_eq!(number(&mut tpm), 7);
    });
}
