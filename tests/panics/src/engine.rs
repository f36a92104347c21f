//! Everything that the engine offers to a firmware, and the device by which a guest finds it, linked as the firmware
//! is. It is not run: `cargo xtask panics` looks at what is in it.
#![no_std]
#![no_main]

mod handler;
mod platform;

use core::sync::atomic::AtomicBool;
use platform::Platform;
use tpm_core::{AkTemplate, EkTemplate, Hooks, Locality, StateForm, Tpm};
use tpm_crb::{Config, CrbDevice, TpmEngine, Written};

/// A device, and what might be given to it.
struct Crb {
    device: CrbDevice,
    config: Config,
    address: u64,
}

/// Each call of engine and device, with arguments that could be anything.
#[unsafe(no_mangle)]
extern "C" fn _start(
    call: u32,
    tpm: &mut Tpm,
    number: u8,
    input: &&[u8],
    out: &mut &mut [u8],
    result: &mut usize,
    crb: &mut Crb,
) {
    let (mut entropy, mut clock) = (Platform, Platform);
    let hooks = &mut Hooks { entropy: &mut entropy, clock: &mut clock };
    *result = match call.checked_sub(OF_DEVICE) {
        None => call_on(tpm, hooks, call, number, input, out),
        Some(call) => access(crb, tpm, hooks, call, input, out),
    };
}

/// The first call of the device.
const OF_DEVICE: u32 = 100;

/// Whatever state the device is in, and however it was made.
fn access(crb: &mut Crb, tpm: &mut Tpm, hooks: &mut Hooks<'_>, call: u32, input: &[u8], out: &mut [u8]) -> usize {
    let canceled = AtomicBool::new(false);
    let engine = &mut TpmEngine::new(tpm, hooks, &canceled, platform::keeps);
    let Crb { device, config, address } = crb;
    let memory = &mut Platform;
    match call {
        0 => device.read(*address, out),
        1 => return (device.write(engine, memory, *address, input) == Written::Pending).into(),
        2 => device.poll(engine, memory),
        3 => return device.begin().map_or(0, |pending| pending.command.len()),
        4 => device.finish(memory, input),
        5 => device.hash_start(engine),
        6 => device.hash_data(engine, input),
        7 => device.hash_end(engine),
        8 => device.reset(engine),
        9 => return device.save(out).unwrap_or(0),
        10 => return device.restore(input, engine).is_ok().into(),
        11 => return device.is_at(*address).into(),
        12 => return device.active_locality().map_or(0, |locality| locality.get().into()),
        13 => return CrbDevice::new(*config).map(|new| *device = new).is_ok().into(),
        _ => {}
    }
    0
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
        30 => return tpm.endorsement_key(EkTemplate::EccP521, out).unwrap_or(0),
        31 => return tpm.endorsement_key(EkTemplate::Rsa4096, out).unwrap_or(0),
        32 => return tpm.endorsement_key(EkTemplate::MlKem1024, out).unwrap_or(0),
        33 => return EkTemplate::MlKem512.is_offered().into(),
        19 => return tpm.attestation_key(AkTemplate::Rsa2048, out).unwrap_or(0),
        20 => return tpm.attestation_key(AkTemplate::EccP256, out).unwrap_or(0),
        21 => return AkTemplate::EccP256.marshal(out).unwrap_or(0),
        22 => tpm.remove_platform_index(u32::from(number)),
        26 => return tpm.provide_index(u32::from(number) << 17, u16::from(number)).is_ok().into(),
        27 => tpm.remove_provided_index(u32::from(number) << 17),
        28 => return tpm.has_provided_index(u32::from(number) << 17).into(),
        29 => {
            let locality = Locality::new(number).unwrap_or_default();
            return tpm.execute_with(hooks, &platform::Given(input), locality, input, out);
        }
        25 => tpm.omit_later_properties(),
        24 => return tpm.index_contents(u32::from(number)).map_or(0, <[u8]>::len),
        23 => return tpm.has_platform_index(u32::from(number)).into(),
        17 => *tpm = Tpm::blank(),
        18 => return tpm.endorsement_seed_id().map_or(0, |[first, ..]| first.into()),
        _ => {}
    }
    0
}
