//! Every rule whose breaking stops the machine: its name in the log, and what it says.

/// Defines the rules once: name of the variant, name in the log, sentence.
macro_rules! rules {
    ($($variant:ident $name:literal $sentence:literal)*) => {
        /// A rule of the SEV-SNP architecture, of the GHCB or of good sense, that a guest can break.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Rule {
            $(#[doc = $sentence] $variant,)*
        }

        impl Rule {
            /// As the log has it.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the rule demands.
            pub(crate) const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }
        }
    };
}

rules! {
    UnvalidatedAccess "unvalidated-access" "a private page is accessed only after PVALIDATE"
    CBit "c-bit" "a private page is accessed with the C-bit set, a shared page with the C-bit clear"
    PvalidateTwice "pvalidate-twice" "a page that PVALIDATE reported as unchanged (CF=1) may be mapped twice by the host: it is not used, and not validated again"
    VmplPermission "vmpl-permission" "a VMPL accesses only what RMPADJUST has granted to it"
    RmpadjustLevel "rmpadjust-level" "RMPADJUST changes only VMPLs less privileged than the caller's, and grants no more than the caller has"
    PageState "page-state" "a page is invalidated before its state is changed to shared"
    StaleTranslation "stale-translation" "a page changes hands only after the translations by which another VMPL has reached it are flushed"
    VmsaAttribute "vmsa-attribute" "only a validated page with the VMSA attribute can be run"
    VmsaWritable "vmsa-writable" "a VMSA page is not writable by any VMPL but VMPL0"
    VmsaInvalid "vmsa-invalid" "a VMSA that is run has EFER.SVME, its own VMPL, supported SEV features and a state that VMRUN accepts"
    VmsaBusy "vmsa-busy" "a register state that another processor runs, or has just stopped, is not taken for one that has made a call"
    VmsaAlignment "vmsa-alignment" "a VMSA page is not aligned to 2 MiB (hardware erratum)"
    GhcbNotRegistered "ghcb-not-registered" "a GHCB page is used only after it was registered"
    GhcbPrivate "ghcb-private" "a GHCB page is shared memory"
    IvReused "iv-reused" "a guest message never encrypts two plaintexts under one key and IV"
    SecretsLeak "secrets-leak" "no VMPCK of a more privileged VMPL is in memory that VMPL2 can read"
    UnzeroedGrant "unzeroed-grant" "a page is zeroed after its validation and before it is granted"
    OwnPageGranted "own-page-granted" "no other VMPL has rights on a page that VMPL0 has mapped as its own"
    RunVmplBad "run-vmpl-bad" "run-VMPL names another VMPL of this vCPU that has a VMSA"
    TripleFault "triple-fault" "an exception finds a usable IDT, gate and stack"
    Halted "halted" "a vCPU does not halt with interrupts disabled"
    InjectedException "injected-exception" "an exception that the host makes up ends the firmware, and nothing is done after it but to say so"
    RestrictedInjection "restricted-injection" "with restricted injection, a VMPL is interrupted by #HV and by nothing else"
    SignalHandler "signal-handler" "the handler of #HV goes back at once, with every register as it was, and asks nobody for anything"
    SvmInstruction "svm-instruction" "a guest does not execute instructions of a hypervisor"
}
