/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Quoin's TPM 2.0 engine (Library specification 1.85) for programs in C and C++.
 *
 *   quoin_tpm *tpm;
 *   quoin_platform platform = { context, my_entropy, my_clock };
 *   if (quoin_create(&platform, &tpm) == QUOIN_OK && quoin_manufacture(tpm) == QUOIN_OK) {
 *       ... quoin_execute(tpm, 0, command, length, response, room, &answered) ...
 *       quoin_shut_down(tpm);
 *       ... quoin_save(tpm, QUOIN_POWERED_OFF, state, quoin_max_state_size(), &saved) ...
 *   }
 *   quoin_destroy(tpm);
 *
 * Threads
 *   There is no global state. Each TPM is used by one thread at a time; several TPMs are used by several threads, with
 *   nothing between them. A TPM may go from thread to thread. A second call for a TPM that is in a call, from another
 *   thread or from a callback, is QUOIN_BUSY and changes nothing. But for two functions:
 *     quoin_cancel   may be called at any time between quoin_create and quoin_destroy, by any thread and any callback;
 *     quoin_destroy  may not be called while any call for that TPM is going on.
 *   A thread that makes calls has 256 KiB of stack for each, beside what its own frames and the callbacks need (1 MiB
 *   where the library was built without optimisation). No signal handler makes any.
 *
 * Callbacks
 *   They are called in the thread of the call, during the call, and return: they do not throw, nor longjmp. They call
 *   nothing of this library for this TPM but quoin_cancel. A TPM may be in any thread, so their context may be, too.
 *
 * Memory
 *   A TPM has some 240 KiB of heap from quoin_create on, and wipes it at quoin_destroy. Buffers are the caller's; none
 *   is kept beyond a call. Where there is no memory, the process is aborted.
 *
 * Failure
 *   A TPM that finds itself at fault answers TPM_RC_FAILURE to commands: quoin_fault tells why. Such a TPM is not
 *   saved: the platform goes back to the last state that it has, or calls quoin_init.
 */
#ifndef QUOIN_H
#define QUOIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A TPM. */
typedef struct quoin_tpm quoin_tpm;

/* What a call comes to. Numbers stay what they are; there may be more of them. */
typedef enum quoin_error {
    QUOIN_OK = 0,
    /* a pointer is NULL, buffers overlap, or a value has no meaning */
    QUOIN_ARGUMENT = 1,
    /* the TPM is in another call */
    QUOIN_BUSY = 2,
    /* a buffer is too short; nothing has been done */
    QUOIN_ROOM = 3,
    /* the entropy callback gave nothing */
    QUOIN_ENTROPY = 4,
    /* a mistake of this library was caught: the TPM is in failure mode */
    QUOIN_FAULT = 5,
    /* these octets are not a state of this engine */
    QUOIN_STATE_FOREIGN = 6,
    /* the state is of a version that is unknown */
    QUOIN_STATE_VERSION = 7,
    /* the state is longer or shorter than it says */
    QUOIN_STATE_LENGTH = 8,
    /* the state's digest is another: it is damaged */
    QUOIN_STATE_DIGEST = 9,
    /* something in the state cannot be in a state */
    QUOIN_STATE_CONTENTS = 10,
    /* the state is of a TPM of another profile than that of this build */
    QUOIN_STATE_PROFILE = 11,
    /* the parts of the state do not go together */
    QUOIN_STATE_INCONSISTENT = 12
} quoin_error;

/* What of a TPM is saved. */
typedef enum quoin_form {
    /* what survives the loss of power: TPM2_Startup is to come */
    QUOIN_POWERED_OFF = 0,
    /* everything: the TPM goes on where it was */
    QUOIN_WHOLE = 1
} quoin_form;

/* What a TPM needs from its platform. It is copied; what `context` points to outlives the TPM. */
typedef struct quoin_platform {
    void *context;
    /* Fills `out` with `length` octets of full entropy and returns 0, or returns another number. */
    int (*entropy)(void *context, uint8_t *out, size_t length);
    /* Milliseconds since the platform's start; never goes back. */
    uint64_t (*now_ms)(void *context);
} quoin_platform;

/* The library's version, such as "0.1.0"; and what is said of an error (also of none, and of numbers that are none). */
const char *quoin_version(void);
const char *quoin_error_words(int error);

/* Octets of the largest command, the largest response and the largest state: of buffers that are always long enough. */
size_t quoin_max_command_size(void);
size_t quoin_max_response_size(void);
size_t quoin_max_state_size(void);

/* A place for a TPM, in failure mode until quoin_manufacture or quoin_restore has made one there. `*out` is NULL unless
 * QUOIN_OK. QUOIN_ARGUMENT: a pointer or a callback is NULL. */
quoin_error quoin_create(const quoin_platform *platform, quoin_tpm **out);

/* Wipes a TPM and gives its memory back. NULL is nothing. */
void quoin_destroy(quoin_tpm *tpm);

/* Makes a new TPM with new seeds, as after _TPM_Init. What was there is wiped. QUOIN_ENTROPY: there is none now. */
quoin_error quoin_manufacture(quoin_tpm *tpm);

/* Makes the TPM of a state. What was there is wiped, also when the state is refused: QUOIN_STATE_..., QUOIN_ENTROPY. */
quoin_error quoin_restore(quoin_tpm *tpm, const uint8_t *state, size_t length);

/* Writes the state, with all secrets of the TPM in it, and its length to `*length`. QUOIN_ROOM: `*length` is what it
 * needs. */
quoin_error quoin_save(quoin_tpm *tpm, quoin_form form, uint8_t *out, size_t room, size_t *length);

/* Whether what survives the loss of power is as it was when it was saved or restored last: `*answer` is 1 or 0. Who
 * asks after each command, and saves where it is 0 before anybody gets the response, loses nothing with the power. */
quoin_error quoin_is_saved(quoin_tpm *tpm, int *answer);

/* Executes a command from a locality (0 to 4, or 32 to 255). The response is always well-formed; its length is written
 * to `*answered`. `room` is at least quoin_max_response_size(): QUOIN_ROOM. QUOIN_ARGUMENT: there is no such locality,
 * or the buffers overlap. */
quoin_error quoin_execute(quoin_tpm *tpm, uint8_t locality, const uint8_t *command, size_t length, uint8_t *response,
                          size_t room, size_t *answered);

/* The command that is being executed is to end: a search for an RSA key, the one thing that may take seconds, ends with
 * TPM_RC_CANCELED. Others go on to their end. Where none is being executed, nothing happens. */
void quoin_cancel(quoin_tpm *tpm);

/* _TPM_Init: the platform was reset, or has power again. */
quoin_error quoin_init(quoin_tpm *tpm);

/* The platform ends in order: as TPM2_Shutdown(CLEAR), unless its software has sent one. To be called before the last
 * quoin_save. */
quoin_error quoin_shut_down(quoin_tpm *tpm);

/* Asserts (not 0) or withdraws (0) physical presence. */
quoin_error quoin_set_physical_presence(quoin_tpm *tpm, int asserted);

/* How many octets commands and responses can have on their way; others are cut or raised to what is possible. */
quoin_error quoin_set_buffer_size(quoin_tpm *tpm, size_t octets);

/* _TPM_Hash_Start, _TPM_Hash_Data, _TPM_Hash_End: a D-RTM event. `*ended` is 0 where there was no start. */
quoin_error quoin_hash_start(quoin_tpm *tpm);
quoin_error quoin_hash_data(quoin_tpm *tpm, const uint8_t *data, size_t length);
quoin_error quoin_hash_end(quoin_tpm *tpm, int *ended);

/* Why the TPM is in failure mode: a number, or 0 if it is not. */
quoin_error quoin_fault(quoin_tpm *tpm, uint16_t *number);

/* What is said of such a number: as much as there is room for, ended by a NUL. The length of all of it is returned,
 * without the NUL; 0 if no fault has the number. */
size_t quoin_fault_words(uint16_t number, char *out, size_t room);

#ifdef __cplusplus
}
#endif

#endif
