//! A scene for each command: what it needs is made, then it is executed at its most expensive: with the largest key,
//! the longest buffer, all PCR. A new TPM executes them all; what it cannot execute is in [`NEVER`].

mod ciphers;
mod keys;
mod nv;
mod objects;
mod policy;
mod signing;
mod state;

use crate::Peer;
use crate::tpm::{Tpm, command};
use client::codes::{OWNER, PLATFORM, PP, SELECTOR, param, session};
use client::command::{Rest, response_code};
use client::names::cap;
use client::{cc, tpm2b};

/// A command, and how it is brought about.
#[derive(Clone, Copy)]
pub struct Scene {
    /// its code
    pub code: u32,
    play: fn(&mut Tpm<'_>),
}

const fn scene(code: u32, play: fn(&mut Tpm<'_>)) -> Scene {
    Scene { code, play }
}

/// All but the last one, in the order in which they are played.
fn scenes() -> impl Iterator<Item = &'static Scene> {
    let groups =
        [state::FIRST, objects::SCENES, ciphers::SCENES, signing::SCENES, policy::SCENES, nv::SCENES, state::SCENES];
    groups.into_iter().flatten()
}

/// A command that this TPM never executes.
pub struct Never {
    /// its code
    pub code: u32,
    /// in words
    pub why: &'static str,
    /// the response code
    rc: u32,
    refused: fn() -> Vec<u8>,
}

/// Every command that is never executed. Another one may stand here only if no guest can have it executed.
pub const NEVER: &[Never] = &[
    Never {
        code: cc::PP_COMMANDS,
        why: "it always wants physical presence, which nobody asserts to the firmware's TPM (`TPM_RC_PP`)",
        rc: session(1, PP),
        refused: || command(cc::PP_COMMANDS, &[PLATFORM], ONE, &[&[0; 8]]),
    },
    Never {
        code: cc::SET_CAPABILITY,
        why: "there is no capability that can be set (`TPM_RC_SELECTOR`)",
        rc: param(1, SELECTOR),
        refused: || command(cc::SET_CAPABILITY, &[OWNER], ONE, &[&tpm2b(&cap::ALGS.to_be_bytes())]),
    },
];

/// Plays every scene but the last one on a new TPM. What cannot be executed is refused as [`NEVER`] says.
///
/// # Panics
/// If the TPM refuses what must succeed, or executes what is listed as never executed.
pub fn play(peer: &mut dyn Peer) {
    peer.manufacture();
    let tpm = &mut Tpm::running(peer);
    for scene in scenes() {
        (scene.play)(tpm);
        sweep(tpm);
    }
    for Never { code, rc, refused, .. } in NEVER {
        assert_eq!(response_code(tpm.execute(&refused())), *rc, "the response code of {code:#x}");
    }
}

/// Plays the last scene, behind which nothing comes: the end.
///
/// # Panics
/// If the TPM refuses it.
pub fn play_last(peer: &mut dyn Peer) {
    (state::LAST.play)(&mut Tpm::running(peer));
}

/// Flushes what a scene has left.
fn sweep(tpm: &mut Tpm<'_>) {
    for first in [0x8000_0000_u32, 0x0200_0000] {
        let answer =
            tpm.run(cc::GET_CAPABILITY, &[], &[], &[&[cap::HANDLES, first, 64].map(u32::to_be_bytes).concat()]);
        let mut rest = Rest(&answer[9..]);
        while let Some(handle) = rest.u32() {
            tpm.flush(handle);
        }
    }
}

/// Passwords: none needs more than the empty one.
const ONE: &[&[u8]] = &[b""];
const TWO: &[&[u8]] = &[b"", b""];
/// The longest TPM2B_MAX_BUFFER.
const LONG: [u8; 1024] = [7; 1024];
/// A digest of SHA-512.
const DIGEST: [u8; 64] = [7; 64];
const SHA512: &[u8] = &[0, 0xd];
/// All PCR of four banks.
const ALL_PCR: &[u8] =
    &[0, 0, 0, 4, 0, 4, 3, 255, 255, 255, 0, 0xb, 3, 255, 255, 255, 0, 0xc, 3, 255, 255, 255, 0, 0xd, 3, 255, 255, 255];

#[cfg(test)]
mod tests {
    use super::{NEVER, Peer, cc, play, play_last, scenes, state};
    use crate::Quoin;
    use client::command::{command_code, response_code};
    use std::collections::BTreeSet;

    /// Octets of a command or an answer that a page of the vTPM protocol carries at least (docs/boot.md).
    const PAGE: usize = 4087;

    /// What is played to it, with the codes of what was executed and could be answered.
    struct Noted(Quoin, Vec<u32>);

    impl Peer for Noted {
        fn manufacture(&mut self) {
            self.0.manufacture();
        }

        fn execute(&mut self, request: &[u8], locality: u8, response: &mut Vec<u8>) {
            assert!(request.len() <= PAGE, "a page has it");
            self.0.execute(request, locality, response);
            if response_code(response) == 0 && response.len() <= PAGE {
                self.1.push(command_code(request));
            }
        }

        fn power_cycle(&mut self) {}

        fn set_physical_presence(&mut self, _asserted: bool) {}

        fn hash(&mut self, _parts: &[&[u8]]) {}
    }

    #[test]
    fn every_command_is_executed_but_those_that_never_are() {
        let mut noted = Noted(Quoin::new(true), vec![]);
        play(&mut noted);
        play_last(&mut noted);
        assert_eq!(noted.1.last(), Some(&cc::SHUTDOWN));
        let executed = BTreeSet::from_iter(noted.1);
        let missing: Vec<_> = cc::ALL.iter().filter(|(code, _)| !executed.contains(code)).collect();
        assert_eq!(missing, [&(cc::PP_COMMANDS, "PP_COMMANDS"), &(cc::SET_CAPABILITY, "SET_CAPABILITY")]);
        assert_eq!(NEVER.iter().map(|never| never.code).collect::<Vec<_>>(), [cc::PP_COMMANDS, cc::SET_CAPABILITY]);
    }

    #[test]
    fn every_command_has_a_scene_of_its_own_that_executes_it() {
        let mut tpm = Noted(Quoin::new(false), vec![]);
        tpm.manufacture();
        let (mut played, mut others) = (BTreeSet::new(), vec![]);
        for scene in scenes().chain([&state::LAST]) {
            tpm.1.clear();
            let mut asked = crate::tpm::Tpm::running(&mut tpm);
            (scene.play)(&mut asked);
            super::sweep(&mut asked);
            assert!(played.insert(scene.code), "{:#x} has two scenes", scene.code);
            if !tpm.1.contains(&scene.code) {
                others.push(scene.code);
            }
        }
        assert_eq!(others, [0; 0], "scenes of other commands");
        let without = cc::ALL.iter().filter(|(code, _)| !played.contains(code)).count();
        assert_eq!(without, NEVER.len());
    }

    /// Executes whatever is never executed.
    struct Yes(Noted);

    impl Peer for Yes {
        fn manufacture(&mut self) {
            self.0.manufacture();
        }

        fn execute(&mut self, request: &[u8], locality: u8, response: &mut Vec<u8>) {
            self.0.execute(request, locality, response);
            if NEVER.iter().any(|never| never.code == command_code(request)) {
                response[6..10].fill(0);
            }
        }

        fn power_cycle(&mut self) {}

        fn set_physical_presence(&mut self, _asserted: bool) {}

        fn hash(&mut self, _parts: &[&[u8]]) {}
    }

    #[test]
    #[should_panic(expected = "the response code of 0x12d")]
    fn whoever_executes_what_is_never_executed_is_told() {
        play(&mut Yes(Noted(Quoin::new(false), vec![])));
    }
}
