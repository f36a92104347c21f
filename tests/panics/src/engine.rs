//! Everything that the engine offers to a firmware, linked as the firmware is. It is not run: `cargo xtask panics`
//! looks at what is in it.
#![no_std]
#![no_main]

mod handler;
mod platform;

use platform::Platform;
use tpm_core::{AkTemplate, EkTemplate, Hooks, Locality, StateForm, Tpm};

/// Each call of the engine, with arguments that could be anything.
#[unsafe(no_mangle)]
extern "C" fn _start(call: u32, tpm: &mut Tpm, number: u8, input: &&[u8], out: &mut &mut [u8], result: &mut usize) {
    let (mut entropy, mut clock) = (Platform, Platform);
    let hooks = &mut Hooks { entropy: &mut entropy, clock: &mut clock };
    *result = call_on(tpm, hooks, call, number, input, out);
}

fn call_on(tpm: &mut Tpm, hooks: &mut Hooks<'_>, call: u32, number: u8, input: &[u8], out: &mut [u8]) -> usize {
    match call {
        0 => return tpm.manufacture(hooks).is_ok().into(),
        1 => return tpm.import(input, hooks).is_ok().into(),
        2 => tpm.init(hooks),
        3 => return tpm.execute(hooks, Locality::new(number).unwrap_or_default(), input, out),
        4 => tpm.set_physical_presence(number != 0),
        5 => tpm.enter_failure_mode(),
        6 => return tpm.act_signaled(number).into(),
        7 => return tpm.check().is_ok().into(),
        8 => return tpm.export(StateForm::Whole, out).unwrap_or(0),
        9 => return tpm.export(StateForm::PoweredOff, out).unwrap_or(0),
        10 => tpm.advance_time(hooks),
        11 => tpm.hash_start(),
        12 => tpm.hash_data(input),
        13 => return tpm.hash_end().into(),
        14 => return tpm.endorsement_key(EkTemplate::Rsa2048, out).unwrap_or(0),
        15 => return tpm.endorsement_key(EkTemplate::EccP256, out).unwrap_or(0),
        16 => return tpm.endorsement_key(EkTemplate::EccP384, out).unwrap_or(0),
        19 => return tpm.attestation_key(AkTemplate::Rsa2048, out).unwrap_or(0),
        20 => return tpm.attestation_key(AkTemplate::EccP256, out).unwrap_or(0),
        21 => return AkTemplate::EccP256.marshal(out).unwrap_or(0),
        22 => tpm.remove_platform_index(u32::from(number)),
        25 => tpm.omit_later_properties(),
        24 => return tpm.index_contents(u32::from(number)).map_or(0, <[u8]>::len),
        23 => return tpm.has_platform_index(u32::from(number)).into(),
        17 => *tpm = Tpm::blank(),
        18 => return tpm.endorsement_seed_id().map_or(0, |[first, ..]| first.into()),
        _ => {}
    }
    0
}
