//! The indices through which a guest and its paravisor speak of attestation.

use crate::helper::{AK_CERT, Helper, MISSING, Machine, PLATFORMS, REPORT, UNWRITTEN, USER_DATA};
use client::attributes::nv;
use client::cc;
use client::codes::{LOCKOUT_HIERARCHY, OWNER, PLATFORM};
use embedders::openhcl::shape::TpmEngine;

const AUTH: &[u8] = &[0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00];
/// TPMA_NV of the guest's own index, by the clients that define it.
const GUESTS: [u32; 2] =
    [nv::OWNERWRITE | nv::OWNERREAD, nv::OWNERWRITE | nv::AUTHWRITE | nv::OWNERREAD | nv::AUTHREAD];

#[test]
fn the_platforms_indices_have_the_sizes_and_attributes_of_azures() {
    let (mut tpm, _) = Helper::new();
    assert_eq!((PLATFORMS, GUESTS), (0x4206_0004, [0x0002_0002, 0x0006_0006]));
    tpm.define_platforms(AUTH);
    assert_eq!(tpm.index(REPORT), Ok((0x4206_0004, 2900)));
    assert_eq!(tpm.index(AK_CERT), Ok((0x4206_0004, 4096)));
    tpm.write(AK_CERT, AK_CERT, AUTH, &[7; 512]).unwrap();
    tpm.write(REPORT, REPORT, AUTH, &[6; 256]).unwrap();
    assert_eq!(tpm.index(REPORT), Ok((0x6206_0004, 2900)));
    assert_eq!(tpm.read(AK_CERT), Ok([vec![7; 512], vec![0; 4096 - 512]].concat()));
    assert_eq!(tpm.read(REPORT), Ok([vec![6; 256], vec![0; 2900 - 256]].concat()));
    // Of the report's former size, and of the largest that there is.
    let most = tpm.engine.max_nv_index_size();
    assert!(most >= 4096);
    assert_eq!(tpm.define(PLATFORM, 0x0140_0010, PLATFORMS, AUTH, 2600), Ok(vec![]));
    assert_eq!(tpm.define(PLATFORM, 0x0140_0011, PLATFORMS, AUTH, most), Ok(vec![]));
    assert_eq!(tpm.define(PLATFORM, 0x0140_0012, PLATFORMS, AUTH, most + 1), Err(0x2d5), "TPM_RC_SIZE");
}

#[test]
fn what_is_missing_and_what_was_never_written_have_their_codes() {
    let (mut tpm, _) = Helper::new();
    assert_eq!((tpm.index(REPORT), tpm.read(AK_CERT)), (Err(MISSING), Err(MISSING)));
    assert_eq!(tpm.with(cc::NV_UNDEFINE_SPACE, &[PLATFORM, REPORT], &[b""], &[]), Err(0x28b), "the second handle");
    tpm.define_platforms(AUTH);
    assert_eq!((tpm.read(REPORT), tpm.read(AK_CERT)), (Err(UNWRITTEN), Err(UNWRITTEN)));
    assert_eq!(tpm.define(PLATFORM, REPORT, PLATFORMS, AUTH, 2900), Err(0x14c), "TPM_RC_NV_DEFINED");
    tpm.restart();
    assert_eq!((tpm.read(REPORT), tpm.read(AK_CERT)), (Err(UNWRITTEN), Err(UNWRITTEN)));
}

#[test]
fn only_the_password_writes_the_platforms_indices_and_only_the_platform_undefines_them() {
    let (mut tpm, _) = Helper::new();
    tpm.define_platforms(AUTH);
    assert_eq!(tpm.write(REPORT, REPORT, b"guess", b"x"), Err(0x9a2), "TPM_RC_BAD_AUTH: no lockout");
    assert_eq!(tpm.write(OWNER, REPORT, b"", b"x"), Err(0x149), "TPM_RC_NV_AUTHORIZATION");
    assert_eq!(tpm.with(cc::NV_UNDEFINE_SPACE, &[OWNER, REPORT], &[b""], &[]), Err(0x149));
    tpm.write(REPORT, REPORT, AUTH, b"one").unwrap();
    // At each boot, with another password: what was in it is gone.
    tpm.with(cc::NV_UNDEFINE_SPACE, &[PLATFORM, REPORT], &[b""], &[]).unwrap();
    tpm.define(PLATFORM, REPORT, PLATFORMS, b"another", 2900).unwrap();
    assert_eq!(tpm.read(REPORT), Err(UNWRITTEN));
    assert_eq!(tpm.write(REPORT, REPORT, AUTH, b"x"), Err(0x9a2));
    tpm.write(REPORT, REPORT, b"another", b"two").unwrap();
    assert_eq!(tpm.read(REPORT).unwrap()[..4], *b"two\0");
}

#[test]
fn the_guest_defines_its_own_index_beside_them_and_the_paravisor_reads_it() {
    for attributes in GUESTS {
        let (mut tpm, _) = Helper::new();
        tpm.define_platforms(AUTH);
        for size in [64, 48] {
            tpm.define(OWNER, USER_DATA, attributes, b"", size).unwrap();
            assert_eq!(tpm.read(USER_DATA), Err(UNWRITTEN));
            tpm.write(OWNER, USER_DATA, b"", &[0xab; 40]).unwrap();
            assert_eq!(tpm.index(USER_DATA), Ok((attributes | nv::WRITTEN, size)));
            assert_eq!(tpm.read(USER_DATA).unwrap()[..41], [&[0xab; 40][..], &[0]].concat());
            tpm.with(cc::NV_UNDEFINE_SPACE, &[OWNER, USER_DATA], &[b""], &[]).unwrap();
            assert_eq!(tpm.read(USER_DATA), Err(MISSING));
        }
    }
}

#[test]
fn clear_takes_the_owners_indices_and_leaves_the_platforms() {
    let (mut tpm, _) = Helper::new();
    tpm.define_platforms(AUTH);
    tpm.write(AK_CERT, AK_CERT, AUTH, b"certificate").unwrap();
    tpm.define(OWNER, USER_DATA, GUESTS[0], b"", 64).unwrap();
    // The guest may forbid Clear to itself, not to the platform.
    tpm.with(cc::CLEAR_CONTROL, &[LOCKOUT_HIERARCHY], &[b""], &[1]).unwrap();
    assert_eq!(tpm.with(cc::CLEAR, &[LOCKOUT_HIERARCHY], &[b""], &[]), Err(0x120), "TPM_RC_DISABLED");
    assert_eq!(tpm.with(cc::CLEAR, &[PLATFORM], &[b""], &[]), Err(0x120), "TPM_RC_DISABLED");
    tpm.with(cc::CLEAR_CONTROL, &[PLATFORM], &[b""], &[0]).unwrap();
    tpm.with(cc::CLEAR, &[PLATFORM], &[b""], &[]).unwrap();
    assert_eq!(tpm.index(USER_DATA), Err(MISSING));
    assert_eq!(tpm.read(AK_CERT).unwrap()[..11], *b"certificate");
}

#[test]
fn indices_that_the_owner_has_defined_come_back_from_the_blob() {
    let (mut tpm, machine) = Helper::new();
    tpm.define_platforms(AUTH);
    tpm.define(OWNER, USER_DATA, GUESTS[1], b"", 64).unwrap();
    tpm.write(OWNER, USER_DATA, b"", b"mine").unwrap();
    // The owner's own certificate, where the platform has none.
    tpm.with(cc::NV_UNDEFINE_SPACE, &[PLATFORM, AK_CERT], &[b""], &[]).unwrap();
    tpm.define(OWNER, AK_CERT, GUESTS[1], b"", 1500).unwrap();
    tpm.write(OWNER, AK_CERT, b"", b"theirs").unwrap();
    drop(tpm);
    let mut tpm = Helper::of(machine.new_engine_of_blob());
    tpm.start();
    assert_eq!(tpm.read(USER_DATA).unwrap()[..5], *b"mine\0");
    assert_eq!((tpm.index(AK_CERT).unwrap().1, tpm.read(AK_CERT).unwrap()[..6].to_vec()), (1500, b"theirs".to_vec()));
    assert_eq!(tpm.read(REPORT), Err(UNWRITTEN));
}

/// Every kind of the state is one blob of the size that the device knows it by.
#[test]
fn all_that_azure_keeps_fits_into_the_blob() {
    let machine = Machine::default();
    let mut tpm = Helper::of(machine.new_engine());
    tpm.start();
    tpm.make_ak();
    tpm.define_platforms(AUTH);
    tpm.write(AK_CERT, AK_CERT, AUTH, &[0xff; 4096]).unwrap();
    tpm.write(REPORT, REPORT, AUTH, &[0xff; 2900]).unwrap();
    let blob = machine.blob();
    let used = u32::from_be_bytes(blob[..4].try_into().unwrap());
    assert!((8000..32 * 1024).contains(&used), "{used} of the 32 KiB that a VMGS file has for it");
}
