/* s3.c: files of events in S3; deliver/lake.c writes them.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html */
#include <string.h>

#include "base/mem.h"
#include "deliver/lake.h"

static const struct setting settings[] = {
    {"bucket", SETTING_TEXT, offsetof(struct lake_settings, bucket), 0, 0, NULL},
    {"prefix", SETTING_TEXT, offsetof(struct lake_settings, prefix), 0, 0, NULL},
    {"compression", SETTING_CHOICE, offsetof(struct lake_settings, compression), 0, 0, lake_compressions},
    {NULL, 0, 0, 0, 0, NULL},
};

static char *arn(const struct config_target *target, const struct target_place *place)
{
    const struct lake_settings *own = target->own;
    const char *prefix = own->prefix ? own->prefix : "";
    size_t size = strlen(prefix);
    return mem_printf("arn:%s:s3:::%s/%s%s*", place->partition, own->bucket, prefix,
                      size && prefix[size - 1] != '/' ? "/" : "");
}

static char *bucket_arn(const struct config_target *target, const struct target_place *place)
{
    return mem_printf("arn:%s:s3:::%s", place->partition,
                      ((const struct lake_settings *)target->own)->bucket);
}

/* Is there a file of that name already? Who may not list is told 403 in place of 404:
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html */
static const char *const needed[] = {"bucket", NULL}, *const actions[] = {"PutObject", "GetObject", NULL},
                         *const bucket_actions[] = {"ListBucket", NULL};

const struct target_type target_s3 = {
    .name = "s3",
    .settings = settings,
    .settings_size = sizeof(struct lake_settings),
    .needed = needed,
    .service = "s3",
    .paid = PRICE_REQUESTS,
    .price = 5.00,
    .keeps_files = true,
    .pipelined = true,
    .actions = actions,
    .arn = arn,
    .around_actions = bucket_actions,
    .around_arn = bucket_arn,
    .open = lake_open,
};
