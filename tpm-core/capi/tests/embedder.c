/* A program in C with a TPM of libquoin: what embedders do, right and wrong. It ends with 0 if all is well. */

#include <pthread.h>
#include <quoin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                                                 \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* What the callbacks know. */
struct world {
    uint64_t state;
    uint64_t now;
    quoin_tpm *cancels;
    quoin_tpm *calls;
    int dry;
};

static int entropy(void *context, uint8_t *out, size_t length)
{
    struct world *world = (struct world *)context;
    size_t n;
    if (world->dry)
        return -1;
    for (n = 0; n < length; n++) {
        world->state = world->state * 6364136223846793005u + 1442695040888963407u;
        out[n] = (uint8_t)(world->state >> 56);
    }
    return 0;
}

static uint64_t now_ms(void *context)
{
    struct world *world = (struct world *)context;
    quoin_cancel(world->cancels);
    if (world->calls != NULL)
        CHECK(quoin_init(world->calls) == QUOIN_BUSY);
    return world->now++;
}

static quoin_tpm *create(struct world *world)
{
    quoin_platform platform;
    quoin_tpm *tpm = NULL;
    platform.context = world;
    platform.entropy = entropy;
    platform.now_ms = now_ms;
    CHECK(quoin_create(&platform, &tpm) == QUOIN_OK && tpm != NULL);
    return tpm;
}

static uint32_t number(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Sends a command to the end, and gives its response code; the response is left in `response`. */
static uint32_t execute(quoin_tpm *tpm, const uint8_t *command, size_t length, uint8_t *response)
{
    size_t answered = 0;
    CHECK(quoin_execute(tpm, 0, command, length, response, quoin_max_response_size(), &answered) == QUOIN_OK);
    CHECK(answered >= 10 && answered == number(response + 2));
    return number(response + 6);
}

static const uint8_t startup[] = { 0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0 };
/* Of PCR 16, in the bank of SHA-256. */
static const uint8_t pcr_read[] = { 0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, 11, 3, 0, 0, 1 };
static const uint8_t pcr_extend[] = {
    0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, 16, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 11,
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
    32
};
/* An RSA key, which has to be searched for. */
static const uint8_t create_primary[] = {
    0x80, 2, 0, 0, 0, 63, 0, 0, 1, 0x31, 0x40, 0, 0, 1, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0,
    0, 4, 0, 0, 0, 0,
    0, 22, 0, 1, 0, 11, 0, 6, 4, 0x72, 0, 0, 0, 0x10, 0, 0x10, 8, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0
};

static void lives_and_is_kept(void)
{
    struct world world = { 1, 0, NULL, NULL, 0 };
    quoin_tpm *tpm = create(&world), *other;
    uint8_t *response = (uint8_t *)malloc(quoin_max_response_size()), before[32];
    uint8_t *state = (uint8_t *)malloc(quoin_max_state_size());
    size_t length = 0, needed = 0, n;
    int saved = -1;
    CHECK(response != NULL && state != NULL);

    CHECK(quoin_manufacture(tpm) == QUOIN_OK);
    CHECK(execute(tpm, startup, sizeof startup, response) == 0);
    CHECK(quoin_is_saved(tpm, &saved) == QUOIN_OK && saved == 0);
    CHECK(execute(tpm, pcr_extend, sizeof pcr_extend, response) == 0);
    CHECK(execute(tpm, pcr_read, sizeof pcr_read, response) == 0);
    memcpy(before, response + number(response + 2) - 32, 32);
    for (n = 0; n < 32 && before[n] == 0; n++)
        ;
    CHECK(n < 32);

    /* Everything, in as much room as it needs. */
    CHECK(quoin_save(tpm, QUOIN_WHOLE, state, 0, &needed) == QUOIN_ROOM && needed > 0);
    CHECK(quoin_save(tpm, QUOIN_WHOLE, state, needed - 1, &length) == QUOIN_ROOM && length == needed);
    CHECK(quoin_save(tpm, QUOIN_WHOLE, state, needed, &length) == QUOIN_OK && length == needed);
    CHECK(quoin_is_saved(tpm, &saved) == QUOIN_OK && saved == 1);
    other = create(&world);
    CHECK(quoin_restore(other, state, length) == QUOIN_OK);
    CHECK(execute(other, pcr_read, sizeof pcr_read, response) == 0);
    CHECK(memcmp(before, response + number(response + 2) - 32, 32) == 0);

    /* What survives the loss of power: PCR 16 does not. */
    CHECK(quoin_shut_down(tpm) == QUOIN_OK);
    CHECK(quoin_save(tpm, QUOIN_POWERED_OFF, state, quoin_max_state_size(), &length) == QUOIN_OK);
    CHECK(quoin_restore(other, state, length) == QUOIN_OK);
    CHECK(execute(other, pcr_read, sizeof pcr_read, response) == 0x100);
    CHECK(execute(other, startup, sizeof startup, response) == 0);
    CHECK(execute(other, pcr_read, sizeof pcr_read, response) == 0);
    CHECK(memcmp(before, response + number(response + 2) - 32, 32) != 0);

    /* A state that is damaged, cut, or nothing at all. */
    state[length / 2] ^= 1;
    CHECK(quoin_restore(other, state, length) == QUOIN_STATE_DIGEST);
    state[length / 2] ^= 1;
    CHECK(quoin_restore(other, state, length - 1) == QUOIN_STATE_LENGTH);
    CHECK(quoin_restore(other, NULL, 0) != QUOIN_OK);
    CHECK(quoin_restore(other, pcr_extend, sizeof pcr_extend) == QUOIN_STATE_FOREIGN);
    CHECK(execute(other, startup, sizeof startup, response) == 0x101);

    quoin_destroy(other);
    quoin_destroy(tpm);
    free(state);
    free(response);
}

static void ends_when_it_is_told(void)
{
    struct world world = { 2, 0, NULL, NULL, 0 };
    quoin_tpm *tpm = create(&world);
    uint8_t *response = (uint8_t *)malloc(quoin_max_response_size());
    CHECK(response != NULL);
    CHECK(quoin_manufacture(tpm) == QUOIN_OK);
    CHECK(execute(tpm, startup, sizeof startup, response) == 0);

    world.cancels = tpm;
    CHECK(execute(tpm, create_primary, sizeof create_primary, response) == 0x909);
    world.cancels = NULL;
    /* What comes before a command is not about it. */
    quoin_cancel(tpm);
    CHECK(execute(tpm, create_primary, sizeof create_primary, response) == 0);

    world.calls = tpm;
    CHECK(execute(tpm, pcr_read, sizeof pcr_read, response) == 0);
    world.calls = NULL;
    quoin_destroy(tpm);
    free(response);
}

static void answers_whatever_it_is_sent(void)
{
    struct world world = { 3, 0, NULL, NULL, 0 };
    quoin_tpm *tpm = create(&world);
    size_t room = quoin_max_response_size(), answered = 7, n;
    uint8_t *response = (uint8_t *)malloc(room), *command = (uint8_t *)malloc(2 * room);
    char words[256];
    uint16_t fault = 0;
    int ended = -1;
    CHECK(response != NULL && command != NULL);

    /* Before it is made it is in failure mode. */
    CHECK(execute(tpm, startup, sizeof startup, response) == 0x101);
    CHECK(quoin_fault(tpm, &fault) == QUOIN_OK && fault != 0);
    CHECK(quoin_fault_words(fault, words, sizeof words) == strlen(words) && words[0] != 0);
    world.dry = 1;
    CHECK(quoin_manufacture(tpm) == QUOIN_ENTROPY);
    world.dry = 0;
    CHECK(quoin_manufacture(tpm) == QUOIN_OK);
    CHECK(quoin_fault(tpm, &fault) == QUOIN_OK && fault == 0);
    CHECK(execute(tpm, startup, sizeof startup, response) == 0);

    /* Every length of a command, and octets of every kind. */
    for (n = 0; n <= sizeof pcr_extend; n++)
        CHECK((execute(tpm, pcr_extend, n, response) == 0) == (n == sizeof pcr_extend));
    memset(command, 0xff, 2 * room);
    CHECK(execute(tpm, command, 2 * room, response) != 0);
    for (n = 0; n < 2000; n++) {
        memcpy(command, pcr_extend, sizeof pcr_extend);
        world.state = world.state * 6364136223846793005u + 1442695040888963407u;
        command[(world.state >> 33) % sizeof pcr_extend] = (uint8_t)(world.state >> 24);
        (void)execute(tpm, command, sizeof pcr_extend, response);
        CHECK(quoin_fault(tpm, &fault) == QUOIN_OK && fault == 0);
    }
    CHECK(quoin_execute(tpm, 5, startup, sizeof startup, response, room, &answered) == QUOIN_ARGUMENT && answered == 0);
    CHECK(quoin_execute(tpm, 31, startup, sizeof startup, response, room, &answered) == QUOIN_ARGUMENT);
    CHECK(quoin_execute(tpm, 4, pcr_read, sizeof pcr_read, response, room, &answered) == QUOIN_OK && answered > 10);
    CHECK(quoin_execute(tpm, 0, startup, sizeof startup, response, room - 1, &answered) == QUOIN_ROOM);
    CHECK(quoin_save(tpm, (quoin_form)2, response, room, &answered) == QUOIN_ARGUMENT);

    CHECK(quoin_set_physical_presence(tpm, 1) == QUOIN_OK && quoin_set_buffer_size(tpm, 4096) == QUOIN_OK);
    CHECK(quoin_hash_end(tpm, &ended) == QUOIN_OK && ended == 0);
    CHECK(quoin_hash_start(tpm) == QUOIN_OK && quoin_hash_data(tpm, command, room) == QUOIN_OK);
    CHECK(quoin_hash_end(tpm, &ended) == QUOIN_OK && ended == 1);

    CHECK(quoin_init(tpm) == QUOIN_OK);
    CHECK(execute(tpm, pcr_read, sizeof pcr_read, response) == 0x100);
    quoin_destroy(tpm);
    quoin_destroy(NULL);
    free(command);
    free(response);
}

/* A TPM of a thread's own. */
static void *alone(void *seed)
{
    struct world world = { 0, 0, NULL, NULL, 0 };
    uint8_t *response = (uint8_t *)malloc(quoin_max_response_size());
    quoin_tpm *tpm;
    int n;
    world.state = *(const uint64_t *)seed;
    tpm = create(&world);
    CHECK(response != NULL && quoin_manufacture(tpm) == QUOIN_OK);
    CHECK(execute(tpm, startup, sizeof startup, response) == 0);
    for (n = 0; n < 20; n++)
        CHECK(execute(tpm, pcr_extend, sizeof pcr_extend, response) == 0);
    CHECK(execute(tpm, pcr_read, sizeof pcr_read, response) == 0);
    quoin_destroy(tpm);
    return response;
}

static void several_are_beside_each_other(void)
{
    pthread_t threads[4];
    uint64_t seeds[4] = { 4, 5, 6, 7 };
    void *responses[4];
    int n;
    for (n = 0; n < 4; n++)
        CHECK(pthread_create(&threads[n], NULL, alone, &seeds[n]) == 0);
    for (n = 0; n < 4; n++) {
        CHECK(pthread_join(threads[n], &responses[n]) == 0 && responses[n] != NULL);
        CHECK(memcmp(responses[n], responses[0], number((uint8_t *)responses[0] + 2)) == 0);
    }
    for (n = 0; n < 4; n++)
        free(responses[n]);
}

int main(void)
{
    int n;
    for (n = QUOIN_OK; n <= QUOIN_STATE_INCONSISTENT; n++)
        CHECK(quoin_error_words(n)[0] != 0);
    CHECK(strchr(quoin_version(), '.') != NULL && quoin_max_command_size() >= 4096);
    lives_and_is_kept();
    ends_when_it_is_told();
    answers_whatever_it_is_sent();
    several_are_beside_each_other();
    puts("a TPM in C");
    return 0;
}
