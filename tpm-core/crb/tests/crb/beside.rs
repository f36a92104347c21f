//! Accesses of several processors, whose embedder lets one exit at a time reach the device, in every order; and those
//! that come amid a command.

use crate::rig::{Rig, message};
use tpm_crb::registers::{
    CMD_READY, CTRL_CANCEL, CTRL_REQ, CTRL_START, DATA_BUFFER, GO_IDLE, LOC_CTRL, NEXT_CHUNK, PAGE, RELINQUISH,
    REQUEST_ACCESS, RSP_RETRY, START,
};
use tpm_crb::{Config, Localities, State};

/// What a driver writes for one command, in its order.
fn steps(body: &[u8]) -> [(u16, Vec<u8>); 6] {
    [
        (LOC_CTRL, REQUEST_ACCESS.to_le_bytes().to_vec()),
        (CTRL_REQ, CMD_READY.to_le_bytes().to_vec()),
        (DATA_BUFFER, message(1, body)),
        (CTRL_START, START.to_le_bytes().to_vec()),
        (CTRL_REQ, GO_IDLE.to_le_bytes().to_vec()),
        (LOC_CTRL, RELINQUISH.to_le_bytes().to_vec()),
    ]
}

/// Each order of two drivers' accesses: a bit set is the second one's turn.
fn orders() -> Vec<u16> {
    let orders: Vec<u16> = (0..1 << 12).filter(|order: &u16| order.count_ones() == 6).collect();
    assert_eq!(orders.len(), 924);
    orders
}

/// Two drivers of these localities in this order; after each of a driver's accesses, what its data buffer reads.
fn interleaved(localities: [u8; 2], order: u16, mut seen: impl FnMut(usize, Vec<u8>)) -> Rig {
    let mut rig = Rig::new(Config { localities: Localities::ZeroToThree, ..Config::default() });
    let drivers = [steps(b"first."), steps(b"second")];
    let mut next = [0, 0];
    for turn in 0..12 {
        let who = usize::from(order >> turn & 1);
        let (register, data) = &drivers[who][next[who]];
        next[who] += 1;
        let _ = rig.write(localities[who], *register, data);
        seen(who, rig.read(localities[who], DATA_BUFFER, 16));
    }
    rig
}

#[test]
fn whatever_the_order_of_two_localities_each_executes_and_reads_its_own_command() {
    let mut executed = [0, 0];
    for order in orders() {
        let others: [&[u8]; 2] = [b"second", b"first."];
        let rig = interleaved([0, 1], order, |who, read| {
            assert_ne!(&read[10..], others[who], "{order:#x}: locality {who} reads what is the other's");
        });
        for (locality, command) in &rig.engine.commands {
            let own: [&[u8]; 2] = [b"first.", b"second"];
            assert_eq!(&command[10..], own[usize::from(*locality)], "{order:#x}");
            executed[usize::from(*locality)] += 1;
        }
        assert_eq!((rig.active(), rig.device.state()), (None, State::Idle), "{order:#x}");
    }
    assert!(executed.iter().all(|count| *count > 100), "{executed:?}");
}

#[test]
fn whatever_the_order_of_two_processors_in_one_locality_no_command_is_of_both() {
    let mut executed = 0;
    for order in orders() {
        let rig = interleaved([0, 0], order, |_, _| ());
        for (_, command) in &rig.engine.commands {
            assert!([&message(1, b"first."), &message(1, b"second")].contains(&command), "{order:#x}: {command:x?}");
        }
        executed += rig.engine.commands.len();
    }
    assert!(executed > 924, "{executed}");
}

#[test]
fn amid_a_command_nothing_but_cancel_and_the_loss_of_the_locality_has_an_effect() {
    for (register, width) in (0..DATA_BUFFER + 64).flat_map(|register| [1, 2, 4, 8, 64].map(|width| (register, width)))
    {
        for value in [CMD_READY, GO_IDLE, START, RSP_RETRY, NEXT_CHUNK, u32::MAX, 0] {
            let octets: Vec<u8> = value.to_le_bytes().into_iter().chain([0; 60]).take(width).collect();
            let range = usize::from(register)..usize::from(register) + width;
            if range.contains(&usize::from(CTRL_CANCEL)) || range.contains(&usize::from(LOC_CTRL)) {
                continue;
            }
            let mut rig = Rig::deferred(Localities::ZeroToThree);
            rig.bring(State::Execution, b"body");
            assert!(rig.device.begin().is_some());
            let before = rig.read(0, 0, PAGE);
            let _ = rig.write(0, register, &octets);
            let at = format!("{value:#x} at {register:#x}, {width} octets");
            assert_eq!((rig.device.state(), rig.engine.cancels), (State::Execution, 0), "{at}");
            assert!(rig.read(0, 0, PAGE) == before, "{at}");
            rig.device.finish(&mut rig.ram, &message(0, b"answer"));
            assert_eq!(rig.read(0, DATA_BUFFER, 16), message(0, b"answer"), "{at}");
        }
    }
}
