/* floor.c: what it costs to parse the same pages with cJSON, which allocates from an arena, and to do nothing
 * else: floor PORT PAGES ROUNDS. Prints records per second. */
#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"

static char *arena_start, *arena_next;
#define ARENA_BYTES (64u << 20)

static void *arena_malloc(size_t size)
{
    char *block = arena_next;
    arena_next += (size + 15) & ~(size_t)15;
    if (arena_next > arena_start + ARENA_BYTES)
        abort();
    return block;
}

static void arena_no_free(void *block)
{
    (void)block;
}

static size_t on_body(char *bytes, size_t one, size_t size, void *user)
{
    buf_add(user, bytes, one * size);
    return one * size;
}

static struct buf fetch(const char *port, int page)
{
    struct buf body = BUF_INIT;
    char url[64], request[64];
    CURL *easy = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "X-Amz-Target: DynamoDBStreams_20120810.GetRecords");
    snprintf(url, sizeof url, "http://127.0.0.1:%s/", port);
    snprintf(request, sizeof request, "{\"ShardIterator\":\"%d\"}", page);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &body);
    curl_easy_perform(easy);
    curl_slist_free_all(headers);
    curl_easy_cleanup(easy);
    return body;
}

int main(int argc, char **argv)
{
    int pages = argc > 2 ? atoi(argv[2]) : 0, rounds = argc > 3 ? atoi(argv[3]) : 1;
    struct buf *bodies = calloc((size_t)pages + 1, sizeof *bodies);
    struct timespec begun, ended;
    long long records = 0;
    cJSON_Hooks hooks = {arena_malloc, arena_no_free};
    for (int i = 0; i < pages; i++)
        bodies[i] = fetch(argv[1], i);
    arena_start = malloc(ARENA_BYTES);
    memset(arena_start, 0, ARENA_BYTES);
    cJSON_InitHooks(&hooks);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < pages; i++) {
            arena_next = arena_start;
            cJSON *root = cJSON_ParseWithLength(bodies[i].data, bodies[i].size);
            records += cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(root, "Records"));
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds = (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9;
    printf("%.0f\n", (double)records / seconds);
    return 0;
}
