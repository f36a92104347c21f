//! The failing control of `cargo xtask panics`: a call of the engine whose result indexes an array without a check.
#![no_std]
#![no_main]

mod handler;

use tpm_core::Tpm;

#[unsafe(no_mangle)]
extern "C" fn _start(tpm: &Tpm, table: &[u8; 1], timer: u8) -> u8 {
    table[usize::from(tpm.act_signaled(timer))] // the panic
}
