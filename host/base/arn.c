/* arn.c: see arn.h. */
#include "base/arn.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

char *table_of_arn(const char *arn, const char *fallback)
{
    const char *table = strstr(arn, ":table/"), *end;
    if (!table)
        return mem_string(fallback ? fallback : arn);
    table += strlen(":table/");
    end = strchr(table, '/');
    end = end ? end : table + strlen(table);
    const char *at = memchr(table, '@', (size_t)(end - table)); /* "keyspace@table_scylla_cdc_log" */
    static const char log[] = "_scylla_cdc_log";
    size_t size = at ? (size_t)(end - at) - 1 : 0;
    if (size > sizeof log - 1 && memcmp(end - (sizeof log - 1), log, sizeof log - 1) == 0)
        return mem_copy(at + 1, size - (sizeof log - 1));
    return mem_copy(table, (size_t)(end - table));
}

/* Behind the names that others have given: what stands there is ours. */
static const char *behind_names(const char *arn)
{
    const char *stream = strstr(arn, ":stream/"); /* Kinesis': without a '/' in its name */
    if (stream && strstr(arn, ":kinesis:"))
        return stream + strlen(":stream/") + strcspn(stream + strlen(":stream/"), "/");
    stream = strstr(arn, "/stream/");
    return stream ? stream : arn;
}

const char *snapshot_of_arn(const char *arn)
{
    return strstr(behind_names(arn), ARN_SNAPSHOT);
}

const char *created_of_arn(const char *arn)
{
    const char *at = behind_names(arn);
    return strncmp(at, ARN_CREATED, strlen(ARN_CREATED)) == 0 ? at : NULL;
}

int64_t snapshot_taken_ms(const char *arn)
{
    /* ".../snapshot/HANDLER/TABLE/TAKEN...." */
    const char *at = snapshot_of_arn(arn);
    for (int slashes = 0; at && slashes < 4; slashes++)
        at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL;
    return at ? strtoll(at, NULL, 10) : 0;
}

char *stream_of_arn(const char *arn)
{
    const char *mark = snapshot_of_arn(arn);
    return mark ? mem_copy(arn, (size_t)(mark - arn)) : mem_string(arn);
}

char *service_arn(const char *arn)
{
    const char *mark = created_of_arn(arn) ? created_of_arn(arn) : snapshot_of_arn(arn);
    return mark ? mem_copy(arn, (size_t)(mark - arn)) : mem_string(arn);
}

int64_t stream_enabled_ms(const char *arn)
{
    const char *label = strstr(arn, "/stream/");
    int64_t ms = 0;
    if (!label)
        return 0;
    label += strlen("/stream/");
    char *time = mem_printf("%.*sZ", (int)strcspn(label, "/"), label);
    bool is_time = clock_read_iso8601(time, &ms);
    free(time);
    return is_time ? ms : 0;
}

char *region_of_arn(const char *arn)
{
    for (int colons = 0; arn && colons < 3; colons++)
        arn = strchr(arn, ':') ? strchr(arn, ':') + 1 : NULL;
    size_t size = arn ? strcspn(arn, ":") : 0;
    return size ? mem_copy(arn, size) : NULL;
}
