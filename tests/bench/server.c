/* server.c: the part of DynamoDB and its Streams that a benchmark needs, on a loopback port.
 *
 *   server SHARDS PAGES [ATTRIBUTES]
 *                          each shard has PAGES pages of 1,000 records and is closed behind them;
 *                          with 0 pages shards are open and idle; images have so many attributes (9)
 *
 * It is EventBridge and S3 as well: PutEvents and PUT are accepted, events and lines counted.
 *
 * Prints its port, and when the first GetRecords came (microseconds since 1970). A line on stdin is answered
 * with the number of GetRecords calls so far, and of what was delivered. */
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "base/buf.h"
#include "base/compress.h"

#define RECORDS_PER_PAGE 1000
#define IMAGE_ATTRIBUTES 9
#define FIRST_SEQUENCE 100000000000ll
#define ARN "arn:aws:dynamodb:eu-west-1:1:table/Products/stream/2026-01-01T00:00:00.000"

static struct buf *pages;
static int page_count, shard_count, attribute_count = IMAGE_ATTRIBUTES;
static atomic_llong get_records_calls, delivered;
static pthread_mutex_t print_lock = PTHREAD_MUTEX_INITIALIZER;

static void add_image(struct buf *out, int number, int stock)
{
    buf_printf(
        out,
        "{\"productId\":{\"S\":\"product-%07d\"},\"name\":{\"S\":\"Ball bearing 6204-2RS %d\"},"
        "\"stock\":{\"N\":\"%d\"},\"reorderThreshold\":{\"N\":\"50\"},\"amountToReplenish\":{\"N\":\"100\"},"
        "\"price\":{\"N\":\"12.95\"},\"warehouse\":{\"S\":\"AMS-4\"},\"active\":{\"BOOL\":true},"
        "\"tags\":{\"L\":[{\"S\":\"steel\"},{\"S\":\"sealed\"}]}",
        number, number % 100, stock);
    for (int i = IMAGE_ATTRIBUTES; i < attribute_count; i++)
        buf_printf(out, ",\"attribute%d\":{\"S\":\"what %d has of it\"}", i, number + i);
    buf_add_char(out, '}');
}

static void add_record(struct buf *out, long long sequence, int number)
{
    buf_printf(out,
               "{\"awsRegion\":\"eu-west-1\",\"dynamodb\":{\"ApproximateCreationDateTime\":%d,"
               "\"Keys\":{\"productId\":{\"S\":\"product-%07d\"}},\"NewImage\":",
               1767225600 + number / 100, number);
    add_image(out, number, 40 + number % 20);
    buf_add_text(out, ",\"OldImage\":");
    add_image(out, number, 41 + number % 20);
    buf_printf(out,
               ",\"SequenceNumber\":\"%024lld\",\"SizeBytes\":310,\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"},"
               "\"eventID\":\"%032llx\",\"eventName\":\"MODIFY\",\"eventSource\":\"aws:dynamodb\","
               "\"eventVersion\":\"1.1\"}",
               sequence, (unsigned long long)sequence * 2654435761u);
}

#define HUGE_BYTES ((size_t)2 << 20)

/* Pages that no cache holds are sent many times slower out of small pages of memory: the server must not be
 * what is waited for. */
static void move_together(void)
{
    size_t size = HUGE_BYTES;
    for (int p = 0; p < page_count; p++)
        size += pages[p].size + 1;
    size -= size % HUGE_BYTES;
    char *all = aligned_alloc(HUGE_BYTES, size);
    if (!all || madvise(all, size, MADV_HUGEPAGE) != 0) {
        free(all);
        return;
    }
    for (int p = 0; p < page_count; p++) {
        memcpy(all, pages[p].data, pages[p].size + 1);
        free(pages[p].data);
        pages[p].data = all;
        all += pages[p].size + 1;
    }
}

static void make_pages(void)
{
    pages = calloc((size_t)page_count + 1, sizeof *pages);
    for (int p = 0; p < page_count; p++) {
        buf_add_text(&pages[p], "{\"Records\":[");
        for (int i = 0; i < RECORDS_PER_PAGE; i++) {
            if (i)
                buf_add_char(&pages[p], ',');
            add_record(&pages[p], FIRST_SEQUENCE + (long long)p * RECORDS_PER_PAGE + i,
                       p * RECORDS_PER_PAGE + i);
        }
        buf_add_text(&pages[p], "]");
        if (p + 1 < page_count)
            buf_printf(&pages[p], ",\"NextShardIterator\":\"%d\"", p + 1);
        buf_add_text(&pages[p], "}");
    }
    move_together();
    buf_add_text(&pages[page_count], "{\"Records\":[],\"NextShardIterator\":\"0\"}");
}

static void first_call(void)
{
    struct timeval now;
    gettimeofday(&now, NULL);
    pthread_mutex_lock(&print_lock);
    printf("first %lld\n", (long long)now.tv_sec * 1000000 + now.tv_usec);
    fflush(stdout);
    pthread_mutex_unlock(&print_lock);
}

/* The body of the answer; `borrowed` when it must not be freed. */
static struct buf answer(const char *operation, const char *request, bool *borrowed)
{
    struct buf out = BUF_INIT;
    *borrowed = false;
    if (strcmp(operation, "GetRecords") == 0) {
        const char *iterator = strstr(request, "\"ShardIterator\":\"");
        if (atomic_fetch_add(&get_records_calls, 1) == 0)
            first_call();
        *borrowed = true;
        return pages[iterator ? atoi(iterator + strlen("\"ShardIterator\":\"")) : 0];
    }
    if (strcmp(operation, "DescribeTable") == 0) {
        buf_add_text(&out, "{\"Table\":{\"TableName\":\"Products\",\"LatestStreamArn\":\"" ARN "\"}}");
    } else if (strcmp(operation, "GetShardIterator") == 0) {
        const char *sequence = strstr(request, "\"SequenceNumber\":\"");
        long long after =
            sequence ? atoll(sequence + strlen("\"SequenceNumber\":\"")) - FIRST_SEQUENCE + 1 : 0;
        buf_printf(&out, "{\"ShardIterator\":\"%lld\"}", after / RECORDS_PER_PAGE);
    } else if (strcmp(operation, "DescribeStream") == 0) {
        buf_printf(&out, "{\"StreamDescription\":{\"StreamStatus\":\"%s\",\"Shards\":[",
                   page_count ? "DISABLED" : "ENABLED");
        for (int i = 0; i < shard_count; i++) {
            buf_printf(&out,
                       "%s{\"ShardId\":\"shardId-%08d-%08d\",\"SequenceNumberRange\":{"
                       "\"StartingSequenceNumber\":\"%024lld\"",
                       i ? "," : "", i, i, FIRST_SEQUENCE);
            if (page_count)
                buf_printf(&out, ",\"EndingSequenceNumber\":\"%024lld\"",
                           FIRST_SEQUENCE + (long long)page_count * RECORDS_PER_PAGE - 1);
            buf_add_text(&out, "}}");
        }
        buf_add_text(&out, "]}}");
    } else {
        buf_add_text(&out, "{}");
    }
    return out;
}

static struct buf accept_events(const char *request)
{
    struct buf out = BUF_INIT;
    int count = 0;
    buf_add_text(&out, "{\"FailedEntryCount\":0,\"Entries\":[");
    for (const char *at = request; (at = strstr(at, "\"DetailType\":")); at++, count++)
        buf_printf(&out, "%s{\"EventId\":\"%08d-0000-0000-0000-000000000000\"}", count ? "," : "", count);
    buf_add_text(&out, "]}");
    atomic_fetch_add(&delivered, count);
    return out;
}

static void accept_object(const struct buf *object)
{
    struct buf lines = BUF_INIT;
    if (decompress(object->data, object->size, 1 << 30, &lines, NULL))
        for (const char *at = lines.data; (at = memchr(at, '\n', (size_t)(lines.data + lines.size - at)));
             at++)
            atomic_fetch_add(&delivered, 1);
    buf_fini(&lines);
}

struct request {
    struct buf body;
};

static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data, size_t *size,
                              void **context)
{
    struct request *request = *context;
    (void)user, (void)url, (void)version;
    if (!request) {
        *context = calloc(1, sizeof *request);
        return MHD_YES;
    }
    if (*size) {
        buf_add(&request->body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    const char *target = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Amz-Target");
    const char *dot = target ? strchr(target, '.') : NULL;
    const char *text = request->body.data ? request->body.data : "";
    bool borrowed = false;
    struct buf body = BUF_INIT;
    unsigned status =
        strcmp(method, "HEAD") == 0 ? MHD_HTTP_NOT_FOUND : MHD_HTTP_OK; /* no object is there yet */
    if (strcmp(method, "PUT") == 0)
        accept_object(&request->body);
    else if (dot && strcmp(dot, ".PutEvents") == 0)
        body = accept_events(text);
    else
        body = answer(dot ? dot + 1 : "", text, &borrowed);
    struct MHD_Response *response = MHD_create_response_from_buffer(
        body.size, body.data, borrowed ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(response, "Content-Type", "application/x-amz-json-1.0");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static void completed(void *user, struct MHD_Connection *connection, void **context,
                      enum MHD_RequestTerminationCode code)
{
    struct request *request = *context;
    (void)user, (void)connection, (void)code;
    if (request)
        buf_fini(&request->body);
    free(request);
}

int main(int argc, char **argv)
{
    shard_count = argc > 1 ? atoi(argv[1]) : 1;
    page_count = argc > 2 ? atoi(argv[2]) : 0;
    attribute_count = argc > 3 ? atoi(argv[3]) : IMAGE_ATTRIBUTES;
    make_pages();
    struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, handle, NULL,
                                                 MHD_OPTION_NOTIFY_COMPLETED, completed, NULL,
                                                 MHD_OPTION_CONNECTION_LIMIT, (unsigned)1000, MHD_OPTION_END);
    if (!daemon)
        return 1;
    printf("port %d\nbytes %zu\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port,
           pages[0].size);
    fflush(stdout);
    for (int c; (c = getchar()) != EOF;) {
        if (c != '\n')
            continue;
        pthread_mutex_lock(&print_lock);
        printf("calls %lld %lld\n", (long long)atomic_load(&get_records_calls),
               (long long)atomic_load(&delivered));
        fflush(stdout);
        pthread_mutex_unlock(&print_lock);
    }
    MHD_stop_daemon(daemon);
    return 0;
}
