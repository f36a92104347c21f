//! Both TPMs answer, keep what is in NV over the loss of power, and forget it when they are manufactured.

use peer::{Libtpms, Peer, Quoin};

fn ask(peer: &mut dyn Peer, request: &[u8]) -> u32 {
    let mut response = Vec::new();
    peer.execute(request, 0, &mut response);
    u32::from_be_bytes(response[6..10].try_into().unwrap())
}

const STARTUP: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
/// TPM2_HierarchyChangeAuth of the owner from the empty authValue to "x".
const CHANGE_AUTH: &[u8] =
    &[0x80, 2, 0, 0, 0, 30, 0, 0, 1, 0x29, 0x40, 0, 0, 1, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 1, b'x'];

fn lives(peer: &mut dyn Peer) {
    peer.manufacture();
    assert_eq!(ask(peer, CHANGE_AUTH), 0x100, "before TPM2_Startup");
    assert_eq!(ask(peer, STARTUP), 0);
    assert_eq!(ask(peer, CHANGE_AUTH), 0);
    assert_eq!(ask(peer, CHANGE_AUTH), 0x9a2, "the authValue is another now");
    peer.power_cycle();
    assert_eq!(ask(peer, STARTUP), 0);
    assert_eq!(ask(peer, CHANGE_AUTH), 0x9a2, "and remains so");
    peer.manufacture();
    assert_eq!(ask(peer, STARTUP), 0);
    assert_eq!(ask(peer, CHANGE_AUTH), 0, "of a new TPM it is empty");
}

#[test]
fn both_tpms_live() {
    lives(&mut Quoin::new(true));
    let mut libtpms = Libtpms::new().unwrap();
    assert!(Libtpms::new().is_err(), "there is one in a process");
    lives(&mut libtpms);
}
