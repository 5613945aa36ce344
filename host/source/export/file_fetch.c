/* file_fetch.c: a thread for each file: it reads, sums and unpacks, and posts what came of it. */
#include "source/export/file_fetch.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "aws/s3.h"
#include "base/compress.h"
#include "base/file.h"
#include "base/mem.h"

#define FILE_BYTES_MAX ((size_t)1 << 30)
#define UNPACKED_BYTES_MAX ((size_t)4 << 30)

/* Of the reactor and the thread; whoever lets go last frees it. */
struct file_fetch {
    struct reactor *reactor;
    struct aws_call *call;
    file_fetch_fn *done;
    void *user;
    char *place, *path; /* path: NULL: `packed` came from S3 */
    bool sums;
    unsigned char md5[16];
    struct buf packed, text;
    struct err err;
    atomic_int holders;
    bool cancelled; /* the reactor's */
};

static void release(struct file_fetch *fetch, int holders)
{
    if (atomic_fetch_sub(&fetch->holders, holders) != holders)
        return;
    buf_fini(&fetch->packed);
    buf_fini(&fetch->text);
    free(fetch->place);
    free(fetch->path);
    free(fetch);
}

static void tell(void *user)
{
    struct file_fetch *fetch = user;
    if (!fetch->cancelled)
        fetch->done(fetch->user, fetch->err.code ? NULL : &fetch->text, fetch->err.code ? &fetch->err : NULL);
    release(fetch, fetch->cancelled ? 1 : 2); /* who is not cancelled has his answer */
}

static void drop(void *user)
{
    release(user, 1);
}

static bool is_as_summed(const struct file_fetch *fetch)
{
    unsigned char md5[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    return EVP_Digest(fetch->packed.data, fetch->packed.size, md5, &size, EVP_md5(), NULL) && size == 16 &&
           memcmp(md5, fetch->md5, 16) == 0;
}

static void *work(void *user)
{
    struct file_fetch *fetch = user;
    if (fetch->path)
        fetch->packed.data = file_read(fetch->path, FILE_BYTES_MAX, &fetch->packed.size, &fetch->err);
    if (!fetch->err.code && fetch->sums && !is_as_summed(fetch))
        err_set(&fetch->err, ERR_PARSE,
                "%s is not as the manifest says (its MD5 differs): it is damaged, or "
                "another export's",
                fetch->place);
    if (!fetch->err.code &&
        !decompress(fetch->packed.data, fetch->packed.size, UNPACKED_BYTES_MAX, &fetch->text, &fetch->err))
        err_prefix(&fetch->err, "%s", fetch->place);
    buf_fini(&fetch->packed);
    reactor_post_owned(fetch->reactor, tell, drop, fetch);
    return NULL;
}

/* Holds it for the thread. */
static void begin_work(struct file_fetch *fetch)
{
    pthread_t thread;
    atomic_fetch_add(&fetch->holders, 1);
    if (pthread_create(&thread, NULL, work, fetch) == 0)
        reactor_join_later(fetch->reactor, thread);
    else
        work(fetch);
}

static void on_object(void *user, struct transport_response *response, const struct err *err)
{
    struct file_fetch *fetch = user;
    fetch->call = NULL;
    if (err) {
        fetch->err = *err;
        err_prefix(&fetch->err, "%s", fetch->place);
        atomic_fetch_add(&fetch->holders, 1);
        tell(fetch);
        return;
    }
    fetch->packed = response->body;
    response->body = BUF_INIT;
    begin_work(fetch);
}

struct file_fetch *file_fetch_begin(struct reactor *reactor, struct aws_client *client, const char *place,
                                    const unsigned char *md5, file_fetch_fn *done, void *user)
{
    struct file_fetch *fetch = mem_zero(sizeof *fetch);
    fetch->reactor = reactor;
    fetch->done = done;
    fetch->user = user;
    fetch->place = mem_string(place);
    atomic_init(&fetch->holders, 1);
    if (md5) {
        fetch->sums = true;
        memcpy(fetch->md5, md5, 16);
    }
    if (strncmp(place, "s3://", 5) == 0) {
        const char *slash = strchr(place + 5, '/');
        char *bucket = mem_copy(place + 5, slash ? (size_t)(slash - place) - 5 : strlen(place + 5));
        struct aws_request request = s3_get_large(bucket, slash ? slash + 1 : "", FILE_BYTES_MAX);
        request.own = true;
        fetch->call = aws_send(client, &request, on_object, fetch);
        free(bucket);
    } else {
        fetch->path = mem_string(place);
        begin_work(fetch);
    }
    return fetch;
}

void file_fetch_cancel(struct file_fetch *fetch)
{
    if (!fetch)
        return;
    aws_cancel(fetch->call);
    fetch->call = NULL;
    fetch->cancelled = true;
    release(fetch, 1);
}
