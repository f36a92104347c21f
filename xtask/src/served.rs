//! The firmware's TPM at local ports: for who runs the verb `run`, and for the suite of tpm2-tools.

use crate::server::{self, Firmware, Ports, Reserved, Stop};
use anyhow::{Result, anyhow, bail};
use booted::Totals;
use host::boot;
use host::child::Ending;
use host::qemu::Qemu;
use host::relay::{Relay, SerialRelay};
use std::os::unix::net::UnixStream;
use std::thread;

/// Takes the ports, so that one that is taken is said at once.
pub fn reserve(port: u16) -> Result<Reserved> {
    Ports::reserve(port, None)
}

/// Serves the firmware's TPM until Ctrl-C. It fails when the machine ends.
pub fn until_a_signal(
    ports: Reserved,
    relay: impl Relay + Send + 'static,
    mut qemu: Qemu,
    ending: Ending,
) -> Result<()> {
    let stop = Stop::on_signal()?;
    ending.hand_over();
    let ports = ports.listen()?;
    println!(
        "\nThe firmware's TPM is served until Ctrl-C; TPM2_Startup was sent. Its clients need:\n\n  export TPM2TOOLS_TCTI={}\n",
        ports.tcti()?
    );
    let ended = stop.clone();
    let watch = move || {
        if qemu.has_ended()? && !ended.is_set() {
            bail!("{}", boot::last_words(&mut qemu));
        }
        Ok(())
    };
    let settings = server::Settings { watch: Some(Box::new(watch)), ..server::Settings::default() };
    server::serve_with(ports, Box::new(Firmware(relay)), settings, &stop)
}

/// Serves it as long as `cases` run, which hear where.
pub fn while_cases_run(
    relay: SerialRelay<UnixStream>,
    cases: &mut dyn FnMut(&str) -> Result<Totals>,
) -> Result<Totals> {
    let (ports, stop) = (Ports::reserve(0, None)?.listen()?, Stop::default());
    let tcti = ports.tcti()?;
    thread::scope(|scope| {
        let server = scope.spawn(|| server::serve(ports, Box::new(Firmware(relay)), &stop));
        let totals = cases(&tcti);
        stop.set();
        server.join().map_err(|_| anyhow!("the server has panicked"))??;
        totals
    })
}
