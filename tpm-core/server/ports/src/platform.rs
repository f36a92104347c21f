//! The platform port: the simulator's platform messages, and swtpm's control channel ([`super::control`]).
//!
//! Both number their messages from 1. Whose a connection is, is told by its first message, and by what only one of them
//! has: a Unix socket (swtpm), a number. Where nothing tells, it is the simulator's if its client has just connected to
//! the command port and waits there, and otherwise that of those who spoke last at the command port, at first swtpm's.
//! When octets come decides nothing. `--protocol` settles it from the start.

use crate::control;
use crate::dialect::Dialect;
use crate::machine::Machine;
use crate::wire::{Listen, first_word, word};
use anyhow::{Result, bail};

/// TCG simulator: messages at the platform port.
mod mssim {
    pub(super) const POWER_ON: u32 = 1;
    pub(super) const POWER_OFF: u32 = 2;
    pub(super) const PHYS_PRES_ON: u32 = 3;
    pub(super) const PHYS_PRES_OFF: u32 = 4;
    pub(super) const CANCEL_ON: u32 = 9;
    pub(super) const CANCEL_OFF: u32 = 10;
    pub(super) const NV_ON: u32 = 11;
    pub(super) const NV_OFF: u32 = 12;
    pub(super) const KEY_CACHE_ON: u32 = 13;
    pub(super) const KEY_CACHE_OFF: u32 = 14;
    pub(super) const RESET: u32 = 17;
    pub(super) const RESTART: u32 = 18;
    pub(super) const SESSION_END: u32 = 20;
    pub(super) const STOP: u32 = 21;
    pub(super) const GET_COMMAND_RESPONSE_SIZES: u32 = 25;
    pub(super) const ACT_GET_SIGNALED: u32 = 26;
    pub(super) const TEST_FAILURE_MODE: u32 = 30;
}

/// What ends a connection.
enum Answer {
    Bytes(Vec<u8>),
    End,
}

/// Serves one client to its end; data channels that it sends are served by `adopt`.
pub(super) fn serve(mut channel: impl Listen, machine: &Machine, adopt: &dyn Fn(std::os::fd::OwnedFd)) -> Result<()> {
    let mut known = if channel.is_unix() { Some(Dialect::Swtpm) } else { machine.settled() };
    let mut padded = false;
    while let Some(number) = if padded { control::after_octet(&mut channel)? } else { first_word(&mut channel)? } {
        let dialect = *known.get_or_insert_with(|| tell(number, machine));
        padded = dialect == Dialect::Swtpm && control::ends_in_octet(number);
        let answer = match dialect {
            Dialect::Swtpm => Answer::Bytes(control::answer(number, &mut channel, machine, adopt)?),
            Dialect::Simulator => simulator(number, &mut channel, machine)?,
        };
        let Answer::Bytes(bytes) = answer else { return Ok(()) };
        let written = channel.write_all(&bytes);
        if dialect == Dialect::Swtpm && control::shuts_down(number) {
            machine.is_shut_down();
        }
        written?;
    }
    Ok(())
}

/// Whose message the first of a connection is; all that follow are of the same.
fn tell(number: u32, machine: &Machine) -> Dialect {
    match number {
        // What both have.
        mssim::POWER_ON
        | mssim::POWER_OFF
        | mssim::PHYS_PRES_ON
        | mssim::PHYS_PRES_OFF
        | mssim::CANCEL_ON
        | mssim::CANCEL_OFF
        | mssim::NV_ON
        | mssim::NV_OFF
        | mssim::KEY_CACHE_ON
        | mssim::KEY_CACHE_OFF
        | mssim::RESET
        | mssim::RESTART => machine.dialect(),
        5..=8 | 15 | 16 | 19 => Dialect::Swtpm,
        _ => Dialect::Simulator,
    }
}

fn simulator(number: u32, channel: &mut impl Listen, machine: &Machine) -> Result<Answer> {
    let mut answer = Vec::new();
    let done = match number {
        mssim::SESSION_END => return Ok(Answer::End),
        mssim::STOP => {
            machine.stop();
            return Ok(Answer::End);
        }
        mssim::POWER_ON => machine.power_on(),
        mssim::POWER_OFF => machine.power_off(),
        mssim::CANCEL_ON | mssim::CANCEL_OFF => {
            machine.set_cancels(number == mssim::CANCEL_ON);
            true
        }
        mssim::RESET | mssim::RESTART => machine.init(),
        mssim::PHYS_PRES_ON => machine.set_physical_presence(true),
        mssim::PHYS_PRES_OFF => machine.set_physical_presence(false),
        // NV is always there, and keys come from no cache.
        mssim::NV_ON | mssim::NV_OFF | mssim::KEY_CACHE_ON | mssim::KEY_CACHE_OFF => true,
        mssim::GET_COMMAND_RESPONSE_SIZES => {
            answer.extend(16_u32.to_be_bytes());
            for (size, code) in machine.take_longest() {
                answer.extend([size.to_be_bytes(), code.to_be_bytes()].concat());
            }
            true
        }
        mssim::ACT_GET_SIGNALED => {
            let signaled = machine.act_signaled(word(channel)?);
            answer.extend(u32::from(signaled).to_be_bytes());
            true
        }
        mssim::TEST_FAILURE_MODE => machine.fail(),
        other => bail!("no message of a platform channel: {other:#010x}"),
    };
    answer.extend(u32::from(!done).to_be_bytes());
    Ok(Answer::Bytes(answer))
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Listen, serve};
    use crate::command::tests::Client;
    use crate::dialect::Dialect;
    use crate::machine::Machine;
    use crate::machine::tests::{Seen, execute, machine, machine_of, without_switch};
    use anyhow::Result;
    use std::io::{Cursor, Read, Write};
    use std::os::fd::OwnedFd;

    /// A client of TCP or Unix kind that says messages one by one: each is there in one piece.
    pub(crate) struct Talker {
        messages: Vec<Vec<u8>>,
        current: Cursor<Vec<u8>>,
        heard: Vec<u8>,
        unix: bool,
    }

    impl Read for &mut Talker {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.current.position() == self.current.get_ref().len() as u64 && !self.messages.is_empty() {
                self.current = Cursor::new(self.messages.remove(0));
            }
            self.current.read(buffer)
        }
    }

    impl Write for &mut Talker {
        fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
            self.heard.write(buffer)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Listen for &mut Talker {
        fn is_unix(&self) -> bool {
            self.unix
        }

        fn descriptor(&mut self) -> Option<OwnedFd> {
            None
        }
    }

    /// What a client hears that says these messages, each in one piece.
    pub(crate) fn say(machine: &Machine, unix: bool, messages: &[&[u8]]) -> (Result<()>, Vec<u8>) {
        let messages = messages.iter().map(|message| message.to_vec()).collect();
        let mut talker = Talker { messages, current: Cursor::default(), heard: Vec::new(), unix };
        let outcome = serve(&mut talker, machine, &|_| {});
        (outcome, talker.heard)
    }

    fn number(number: u32) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    /// Messages of the simulator one by one, their answers, and what was done. Its client waits at the command port.
    fn simulator(numbers: &[u32]) -> (Vec<u8>, Vec<Seen>) {
        let (machine, seen) = machine();
        machine.enter(true);
        let messages: Vec<Vec<u8>> = numbers.iter().map(|n| number(*n)).collect();
        let (outcome, heard) = say(&machine, false, &messages.iter().map(Vec::as_slice).collect::<Vec<_>>());
        outcome.unwrap();
        (heard, seen.take())
    }

    #[test]
    fn power_on_resets_nothing_that_is_on() {
        assert_eq!(simulator(&[1, 11]), (vec![0; 8], vec![]));
        assert_eq!(simulator(&[2, 1, 11]).1, [Seen::Reset]);
        assert_eq!(simulator(&[2, 2, 1, 1]).1, [Seen::Reset]);
    }

    #[test]
    fn what_tcti_mssim_says_is_answered_by_a_zero_each() {
        for session in [&[1, 11, 20][..], &[9], &[10], &[1, 11, 9, 10, 20]] {
            let (heard, seen) = simulator(session);
            let answered = session.iter().filter(|number| **number != 20).count();
            assert_eq!(heard, vec![0; 4 * answered], "{session:?}");
            assert!(seen.is_empty());
        }
    }

    #[test]
    fn reset_and_restart_are_power_cycles() {
        assert_eq!(simulator(&[17]), (vec![0; 4], vec![Seen::Reset]));
        assert_eq!(simulator(&[18]), (vec![0; 4], vec![Seen::Reset]));
        let (machine, seen) = machine();
        machine.enter(true);
        for number in [2, 1, 17, 18] {
            say(&machine, false, &[&[0, 0, 0, number]]).0.unwrap();
        }
        assert_eq!(seen.take_shut_downs(), 0, "the simulator's power goes without warning");
    }

    #[test]
    fn physical_presence_and_failure_mode_reach_the_tpm() {
        let wanted = [Seen::PhysicalPresence(true), Seen::PhysicalPresence(false), Seen::Fail];
        assert_eq!(simulator(&[3, 4, 30]), (vec![0; 12], wanted.to_vec()));
    }

    #[test]
    fn the_key_cache_and_nv_are_acknowledged() {
        assert_eq!(simulator(&[12, 13, 14]), (vec![0; 12], vec![]));
    }

    #[test]
    fn an_act_is_asked_for_by_its_handle() {
        let (machine, _) = machine();
        let ask = |handle: u32| [number(26), number(handle)].concat();
        let (outcome, heard) = say(&machine, false, &[&ask(0x4000_0110), &ask(0x4000_0111)]);
        outcome.unwrap();
        assert_eq!(heard, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_longest_command_and_response_are_told_once() {
        let (machine, _) = machine();
        let command = b"\x80\x01\0\0\0\x0C\0\0\x01\x7B\0\x08";
        crate::command::tests::serve(Client::saying(command), &machine).unwrap();
        let (_, heard) = say(&machine, false, &[&number(25), &number(25)]);
        let wanted = [16, 12, 0x17b, 2, 0x17b, 0, 16, 0, 0, 0, 0, 0].map(u32::to_be_bytes);
        assert_eq!(heard, wanted.concat());
    }

    #[test]
    fn stop_ends_the_server_and_session_end_the_connection() {
        let (machine, _) = machine();
        assert!(say(&machine, false, &[&number(20), &number(30)]).1.is_empty());
        assert!(!machine.stops().is_set());
        say(&machine, false, &[&number(21)]).0.unwrap();
        assert!(machine.stops().is_set());
    }

    /// Section 3, row 6: an INIT whose flags came later was taken for POWER_OFF.
    #[test]
    fn a_message_is_the_same_however_it_comes() {
        for pieces in
            [&[&b"\0\0\0\x02\0\0\0\x01"[..]][..], &[b"\0\0\0\x02", b"\0\0\0\x01"], &[b"\0\0\0\x02\0", b"\0\0\x01"]]
        {
            let (machine, seen) = machine();
            let (outcome, heard) = say(&machine, false, pieces);
            outcome.unwrap();
            assert_eq!((heard, seen.take()), (vec![0; 4], vec![Seen::Reset]));
            assert!(machine.is_powered());
        }
        // A locality, which some fill up to four octets, whatever is in them; then swtpm's STOP, and its INIT.
        for padding in [&b""[..], b"\0\0\0", b"\xAB\xCD\xEF"] {
            let said =
                [b"\0\0\0\x05\x03", padding, b"\0\0\0\x0E", b"\0\0\0\x02\0\0\0\0", b"\0\0\0\x05\x01", padding].concat();
            let octets: Vec<&[u8]> = said.chunks(1).collect();
            for pieces in [&[&said[..]][..], &octets] {
                let (machine, seen) = machine();
                let (outcome, heard) = say(&machine, false, pieces);
                outcome.unwrap();
                assert_eq!((heard, seen.take()), (vec![0; 16], vec![Seen::Reset]), "{padding:?}");
            }
        }
    }

    /// `swtpm_ioctl --tcp … -c` printed 0x0 while someone was at the command port.
    #[test]
    fn who_has_spoken_as_swtpms_client_stays_one() {
        let (machine, _) = machine();
        let capabilities = super::control::capabilities(&machine);
        assert_eq!(say(&machine, false, &[&number(1)]).1, capabilities);
        let client = machine.enter(true);
        machine.heard(client, Dialect::Swtpm);
        assert_eq!(say(&machine, false, &[&number(1)]).1, capabilities);
        // And a connection is what its first message was.
        let (_, heard) = say(&machine, false, &[b"\0\0\0\x05\x03", &number(1)]);
        assert_eq!(heard, [&[0; 4][..], &capabilities].concat());
        machine.heard(client, Dialect::Simulator);
        assert_eq!(say(&machine, false, &[&number(1)]).1, [0; 4]);
        machine.heard(client, Dialect::Swtpm);
        machine.enter(true);
        assert_eq!(say(&machine, false, &[&number(1), &number(11)]).1, [0; 8], "tcti-mssim");
    }

    #[test]
    fn the_dialect_can_be_settled() {
        let (machine, seen) = machine_of(Some(Dialect::Swtpm));
        assert_eq!(say(&machine, false, &[&number(1)]).1, super::control::capabilities(&machine));
        assert_eq!(say(&machine, false, &[&number(3)]).1, [0; 4]);
        assert!(!machine.is_powered() && seen.take().is_empty());
        let (machine, _) = machine_of(Some(Dialect::Simulator));
        assert_eq!(say(&machine, false, &[&number(1)]).1, [0; 4]);
    }

    /// Section 3, row 5: `cargo xtask run` has no power switch, and after a refused INIT, RESET or STOP its TPM was
    /// without power for good.
    #[test]
    fn what_is_refused_at_the_port_changes_nothing() {
        let swtpm = [&b"\0\0\0\x02\0\0\0\0"[..], b"\0\0\0\x03", b"\0\0\0\x0E"];
        let simulators = [&b"\0\0\0\x02"[..], b"\0\0\0\x11", b"\0\0\0\x12"];
        for (dialect, messages) in [(Dialect::Swtpm, swtpm), (Dialect::Simulator, simulators)] {
            for message in messages {
                let machine = without_switch(dialect);
                let (outcome, heard) = say(&machine, false, &[message]);
                outcome.unwrap();
                assert_ne!(heard[heard.len() - 4..], [0; 4], "{message:?}");
                assert!(machine.is_powered());
                assert_eq!(execute(&machine, b"x"), Some(b"ok".to_vec()), "{message:?}");
            }
        }
    }

    #[test]
    fn what_is_no_message_ends_the_connection() {
        let (machine, seen) = machine();
        for said in [&b"GET / HTTP/1.1"[..], b"\0\0\0\0", b"\0\0\0\x1F", b"\0\0", b"\0\0\0\x1A\0", b"\xFF\xFF\xFF\xFF"]
        {
            let (outcome, heard) = say(&machine, false, &[said]);
            assert!(outcome.is_err() && heard.is_empty(), "{said:x?}");
        }
        assert!(seen.take().is_empty());
    }
}
