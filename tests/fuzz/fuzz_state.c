/* fuzz_state.c: a state file that is damaged: pairs of a place and a byte, over a sound one. Whatever is read
 * from it is rows, or an error. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "dispatch/subscription.h"
#include "net/reactor.h"
#include "state/store_open.h"

static struct clock clock_now;
static char path[64], uri[80];
static char *sound;
static size_t sound_size;

static void write_file(const char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    fwrite(bytes, 1, size, file);
    fclose(file);
}

static void make_sound(void)
{
    struct err err;
    struct reactor *reactor = reactor_new(&clock_now);
    struct log *log = log_new(-1, LOG_JSON, LOG_ERROR, &clock_now);
    struct store *store = store_open(reactor, uri, &(struct store_options){.group = "g", .log = log}, &err);
    if (!store)
        abort();
    struct store_batch *batch = store_batch_new();
    store_put_checkpoint(batch, &(struct store_checkpoint){"h",
                                                           "arn",
                                                           "shard",
                                                           {.kind = POSITION_AFTER, .sequence = "1"},
                                                           "{\"through\":\"5\",\"open\":[]}"});
    store_put_event(batch,
                    &(struct store_event){
                        .kind = "gap", .handler = "h", .stream_arn = "arn", .shard = "shard", .text = "t"});
    store_commit_now(store, reactor, batch, &err);
    store_free(store);
    log_free(log);
    reactor_free(reactor);
    sound = file_read(path, 64 << 20, &sound_size, &err);
    if (!sound)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct err err;
    if (!sound) {
        clock_now = clock_system();
        snprintf(path, sizeof path, "/tmp/tidemill-fuzz-state-%d", (int)getpid());
        snprintf(uri, sizeof uri, "sqlite:%s", path);
        make_sound();
    }
    char *damaged = mem_copy(sound, sound_size);
    for (size_t i = 0; i + 3 < size; i += 4)
        damaged[((size_t)bytes[i] << 16 | (size_t)bytes[i + 1] << 8 | bytes[i + 2]) % sound_size] =
            (char)bytes[i + 3];
    write_file(damaged, sound_size);
    free(damaged);
    struct reactor *reactor = reactor_new(&clock_now);
    struct log *log = log_new(-1, LOG_JSON, LOG_ERROR, &clock_now);
    struct store *store = store_open(reactor, uri, &(struct store_options){.group = "g", .log = log}, &err);
    struct store_snapshot *snapshot =
        store ? store_load_now(store, reactor, &(struct store_query){.what = STORE_ALL}, &err) : NULL;
    for (size_t i = 0; snapshot && i < snapshot->checkpoint_count; i++) {
        struct buf window = BUF_INIT;
        subscription_inherit(snapshot->checkpoints[i].progress, &window);
        buf_fini(&window);
    }
    store_snapshot_free(snapshot);
    store_free(store);
    log_free(log);
    reactor_free(reactor);
    unlink(path);
    char *beside = mem_printf("%s-wal", path);
    unlink(beside);
    free(beside);
    return 0;
}
