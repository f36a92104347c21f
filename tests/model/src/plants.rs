//! Faults that are planted in copies of the decision code, each of which the exploration must find.

/// The module of the code as it is.
pub const AS_IT_IS: &str = "as_it_is";

/// A fault.
#[derive(Clone, Copy, Debug)]
pub struct Plant {
    /// The module that has it.
    pub module: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// The scene that shows it.
    pub scene: &'static str,
    /// How it differs from the code as it is.
    pub changes: &'static [Change],
}

/// A change of a file, in which `from` stands once.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Below kernel/src, or tests/model/src/version.
    pub file: &'static str,
    /// What is there.
    pub from: &'static str,
    /// What takes its place.
    pub to: &'static str,
}

/// All of them.
pub const PLANTS: &[Plant] = &[
    Plant {
        module: "no_flush",
        what: "rights are taken and nobody is told to forget them",
        scene: "CREATE_VCPU beside writes to the register state",
        changes: &[Change { file: "mm/validate.rs", from: "    pages.flush();\n    revoked\n", to: "    revoked\n" }],
    },
    Plant {
        module: "own_flush",
        what: "only the own processor forgets",
        scene: "CREATE_VCPU beside writes to the register state",
        changes: &[Change { file: "cpu.rs", from: "world.flush_everywhere();", to: "world.flush(self.number);" }],
    },
    Plant {
        module: "judged_first",
        what: "CREATE_VCPU judges the register state before the guest loses it",
        scene: "CREATE_VCPU beside writes to the register state",
        changes: &[
            Change {
                file: "svsm/core_protocol.rs",
                from: "    revoke(machine.pages, vmsa, PageSize::Size4K).map_err(ResultCode::from_rmp)?;\n    let memory",
                to: "    let mut judged = Vmsa::new_zeroed();\n    \
                     machine.pages.read(vmsa, judged.as_mut_bytes()).map_err(inaccessible)?;\n    \
                     judged.check_offered(GUEST_VMPL, caller.sev_features).map_err(|_| ResultCode::INVALID_PARAMETER)?;\n    \
                     revoke(machine.pages, vmsa, PageSize::Size4K).map_err(ResultCode::from_rmp)?;\n    let memory",
            },
            Change {
                file: "svsm/core_protocol.rs",
                from: "    let mut vmsa = Vmsa::new_zeroed();\n    \
                       memory.pages.read(gpa, vmsa.as_mut_bytes()).map_err(inaccessible)?;\n    \
                       vmsa.check_offered(GUEST_VMPL, sev_features).map_err(|_| ResultCode::INVALID_PARAMETER)?;\n",
                to: "    let _ = sev_features;\n",
            },
        ],
    },
    Plant {
        module: "delete_served",
        what: "DELETE_VCPU does not look whether a call is being served",
        scene: "DELETE_VCPU beside a call of that vCPU",
        changes: &[Change {
            file: "svsm/core_protocol.rs",
            from: "if guest.is_served(vmsa) {",
            to: "if guest.is_served(0) {",
        }],
    },
    Plant {
        module: "create_served",
        what: "CREATE_VCPU gives a processor away while it serves a call",
        scene: "CREATE_VCPU in the place of a vCPU, which is deleted",
        changes: &[Change {
            file: "svsm/vcpus.rs",
            from: "            Some(processor) if processor.serving => Err(NoPlace::Serving),\n",
            to: "",
        }],
    },
    Plant {
        module: "delete_unzeroed",
        what: "DELETE_VCPU gives the page back with the registers in it",
        scene: "DELETE_VCPU and CREATE_VCPU anew beside calls",
        changes: &[Change {
            file: "svsm/core_protocol.rs",
            from: "    guest.drop_vcpu(vmsa);\n    machine.pages.zero(vmsa, PageSize::Size4K).map_err(inaccessible)?;\n",
            to: "    guest.drop_vcpu(vmsa);\n",
        }],
    },
    Plant {
        module: "copied_out_unchecked",
        what: "a TPM's response goes to where the buffer was when the command came",
        scene: "PVALIDATE beside a TPM command in that page",
        changes: &[Change {
            file: "svsm/vtpm.rs",
            from: "    buffer.check(&machine.guest.lock().map).and_then(|buffer| buffer.write(machine.pages, written)).map_err(refused)\n",
            to: "    machine.pages.write(gpa, written).map_err(|_| ResultCode::INVALID_PARAMETER)\n",
        }],
    },
    Plant {
        module: "pages_unchecked",
        what: "a TPM's response goes to where the pages of a list were when the command came",
        scene: "PVALIDATE beside a TPM command in a list with that page",
        changes: &[Change {
            file: "svsm/vtpm.rs",
            from: "    claims(pages).try_for_each(|claim| claim.check_aligned(&guest.map).map(drop))?;\n    let said",
            to: "    for (gpa, part) in pages.iter().zip(response.chunks(PAGE)) {\n        \
                 machine.pages.write(gpa.get(), part)?;\n    }\n    let said",
        }],
    },
    Plant {
        module: "reported_unchecked",
        what: "a report goes to where the buffers were before the PSP was asked",
        scene: "PVALIDATE beside a report to that page",
        changes: &[Change {
            file: "svsm/attestation.rs",
            from: "    let buffers = Buffers::check(&guest.map, operation)?;\n    \
                   buffers.write(machine.pages, report.as_bytes(), &manifest, certificates.bytes()).map_err(refused)\n",
            to: "    drop(guest);\n    \
                 machine.pages.write(operation.report_gpa.get(), report.as_bytes()).map_err(|_| ResultCode::INVALID_PARAMETER)\n",
        }],
    },
    Plant {
        module: "remapped_unlocked",
        what: "REMAP_CA frees the lock between check and access",
        scene: "REMAP_CA beside PVALIDATE of that page",
        changes: &[
            Change {
                file: "svsm/core_protocol.rs",
                from: "    let mut guest = machine.guest.lock();\n    let page = page_of_the_guest(&guest.map, gpa)?;\n",
                to: "    let page = page_of_the_guest(&machine.guest.lock().map, gpa)?;\n",
            },
            Change {
                file: "svsm/core_protocol.rs",
                from: "    guest.calling(machine.apic_id).ok_or(ResultCode::INVALID_REQUEST)?.calling_area = page;\n",
                to: "    machine.guest.lock().calling(machine.apic_id).ok_or(ResultCode::INVALID_REQUEST)?.calling_area = page;\n",
            },
        ],
    },
    Plant {
        module: "pending_unlocked",
        what: "the pending byte is exchanged after the lock was freed",
        scene: "PVALIDATE of another vCPU's calling area",
        changes: &[Change {
            file: "svsm/request.rs",
            from: "        && machine.pages.exchange(",
            to: "        && { drop(guest); true }\n        && machine.pages.exchange(",
        }],
    },
    Plant {
        module: "revoked_late",
        what: "a page is taken from the guest after it was invalidated",
        scene: "PVALIDATE of one page from all vCPUs",
        changes: &[Change {
            file: "svsm/core_protocol.rs",
            from: "    let refused = match revoke(memory.pages, gpa, size) {\n        \
                   Ok(()) => match memory.pages.pvalidate(gpa, size, false) {\n            \
                   Ok(Pvalidated::Changed) => return",
            to: "    let refused = match Ok(()) {\n        \
                 Ok(()) => match memory.pages.pvalidate(gpa, size, false) {\n            \
                 Ok(Pvalidated::Changed) => return",
        }],
    },
    Plant {
        module: "deposited_unflushed",
        what: "DEPOSIT_MEM takes rights and nobody is told to forget them",
        scene: "DEPOSIT_MEM and WITHDRAW_MEM beside writes to the page",
        changes: &[Change {
            file: "svsm/deposit.rs",
            from: "    pages.flush();\n    if let Err(error) = rescinded {\n",
            to: "    if let Err(error) = rescinded {\n",
        }],
    },
    Plant {
        module: "withdrawn_unzeroed",
        what: "WITHDRAW_MEM gives back what the firmware has had",
        scene: "DEPOSIT_MEM and WITHDRAW_MEM beside writes to the page",
        changes: &[Change {
            file: "svsm/deposit.rs",
            from: "    let zeroed = pages.zero(page, PageSize::Size4K).is_ok();\n",
            to: "    let zeroed = true;\n",
        }],
    },
    Plant {
        module: "deposited_area",
        what: "DEPOSIT_MEM does not look whether a vCPU calls through the page",
        scene: "DEPOSIT_MEM of another vCPU's calling area",
        changes: &[Change { file: "svsm/deposit.rs", from: " || guest.has_calling_area(region)", to: "" }],
    },
    Plant {
        module: "deposited_unasked",
        what: "DEPOSIT_MEM does not ask the map whose the page is",
        scene: "DEPOSIT_MEM beside PVALIDATE of that page",
        changes: &[Change {
            file: "svsm/deposit.rs",
            from: "    if !guest.map.all(region, Owner::Guest) || guest.has_calling_area(region) {\n",
            to: "    if guest.has_calling_area(region) {\n",
        }],
    },
    Plant {
        module: "runnable_while_served",
        what: "EFER.SVME stays set while a call is served",
        scene: "DELETE_VCPU beside a call of that vCPU",
        changes: &[Change {
            file: "svsm/request.rs",
            from: "    set_runnable(machine.pages, vcpu.vmsa, false)?;\n",
            to: "    set_runnable(machine.pages, vcpu.vmsa, true)?;\n",
        }],
    },
    Plant {
        module: "still_running",
        what: "a register state is looked at while a CPU runs it",
        scene: "VMPL0 is run while its VMPL2 runs",
        changes: &[Change {
            file: "svsm/request.rs",
            from: "let has_stopped = !still_runs(machine.pages, vcpu.vmsa)?;",
            to: "let has_stopped = true;",
        }],
    },
    Plant {
        module: "just_stopped",
        what: "a register state is looked at that a CPU has left since EFER.SVME was cleared",
        scene: "VMPL0 is run while its VMPL2 runs",
        changes: &[Change {
            file: "svsm/request.rs",
            from: "        Ok(()) => Ok(read_u64(pages, vmsa + offset_of!(Vmsa, efer) as u64)? & EFER_SVME != 0),\n",
            to: "        Ok(()) => Ok(false),\n",
        }],
    },
    Plant {
        module: "guest_locked_for_start",
        what: "the guest's lock is held while a processor is waited for",
        scene: "two CREATE_VCPU for a processor that is to be started",
        changes: &[Change {
            file: "svsm/core_protocol.rs",
            from: "        drop(guest);\n        let is_up = machine.pages.start_processor(place.apic_id, &block);\n        \
                   guest = machine.guest.lock();\n",
            to: "        let is_up = machine.pages.start_processor(place.apic_id, &block);\n",
        }],
    },
    Plant {
        module: "started_twice",
        what: "a processor that is being started counts as one that is to be",
        scene: "two CREATE_VCPU for a processor that is to be started",
        changes: &[Change {
            file: "svsm/vcpus.rs",
            from: "                State::Starting => Err(NoPlace::Starting),\n",
            to: "                State::Starting => Err(NoPlace::Later),\n",
        }],
    },
    Plant {
        module: "started_unchecked",
        what: "CREATE_VCPU goes by what it has seen before it waited for a processor",
        scene: "CREATE_VCPU that starts a processor beside PVALIDATE of the register state",
        changes: &[Change {
            file: "svsm/core_protocol.rs",
            from: "        place = check_new_vcpu(&mut guest, machine.apic_id, registers)?;\n",
            to: "        place.runs = true;\n",
        }],
    },
    Plant {
        module: "withdrawn_in_use",
        what: "a processor's pages are taken and stay deposits",
        scene: "CREATE_VCPU that starts a processor beside WITHDRAW_MEM",
        changes: &[Change {
            file: "svsm/processors.rs",
            from: "(0..count).map_while(|_| guest.map.use_deposited()).collect();",
            to: "{\n        let mut all = Block::new();\n        guest.map.each_to_withdraw(&mut |page| all.len() < count && all.push(page).is_ok());\n        all\n    };",
        }],
    },
    Plant {
        module: "tpm_waited_for",
        what: "a second caller waits for the TPM",
        scene: "TPM commands from all vCPUs",
        changes: &[Change {
            file: "svsm/vtpm.rs",
            from: "let mut tpm = machine.tpm.try_lock().ok_or(ResultCode::BUSY)?;\n    tpm.prepare",
            to: "let mut tpm = machine.tpm.lock();\n    tpm.prepare",
        }],
    },
    Plant {
        module: "guest_locked_for_tpm",
        what: "the guest's lock is held while the TPM works",
        scene: "TPM commands from all vCPUs",
        changes: &[
            Change {
                file: "svsm/vtpm.rs",
                from: "    buffer\n        .check(&machine.guest.lock().map)\n",
                to: "    let guest = machine.guest.lock();\n    buffer\n        .check(&guest.map)\n",
            },
            Change {
                file: "svsm/vtpm.rs",
                from: "buffer.check(&machine.guest.lock().map).and_then(|buffer| buffer.write(",
                to: "buffer.check(&guest.map).and_then(|buffer| buffer.write(",
            },
        ],
    },
    Plant {
        module: "guest_locked_for_key",
        what: "the guest's lock is held while the TPM makes its key",
        scene: "a report beside a TPM command",
        changes: &[Change {
            file: "svsm/attestation.rs",
            from: "    let nonce = read_nonce(machine.pages, &machine.guest.lock().map, operation)?;\n",
            to: "    let guest = machine.guest.lock();\n    \
                 let nonce = read_nonce(machine.pages, &guest.map, operation)?;\n",
        }],
    },
];
