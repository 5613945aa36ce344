/* target_type.c: see target_type.h; a target's own life. */
#include "conf/target_type.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "conf/tables.h"

const struct target_type *target_type_find(const struct target_type *const *types, const char *name)
{
    for (; *types; types++)
        if (strcmp((*types)->name, name) == 0)
            return *types;
    return NULL;
}

char *target_arn(const struct config_target *target, const struct target_place *place, const char *format,
                 const char *name)
{
    struct buf arn = BUF_INIT;
    if (strncmp(name, "arn:", 4) == 0)
        return mem_string(name);
    buf_printf(&arn, "arn:%s:", place->partition);
    buf_printf(&arn, format, target->region ? target->region : place->region);
    buf_add_text(&arn, name);
    return buf_take(&arn);
}

/* ---- a target's life ---- */

void conf_target_init(struct config_target *target)
{
    *target = (struct config_target){
        .linger_ms = -1,
        .retries = -1,
        .backoff_ms = {100, 20 * SECOND_MS},
    };
}

static void free_own(struct config_target *target)
{
    for (const struct setting *each = target->own ? target->type->settings : NULL; each && each->name; each++)
        if (each->type == SETTING_TEXT)
            mem_free_secret(*(char **)((char *)target->own + each->offset));
    free(target->own);
    target->own = NULL;
}

void conf_target_forget_pairs(struct config_target *target)
{
    for (size_t i = 0; i < target->pair_count; i++) {
        free(target->pairs[i].name);
        mem_free_secret(target->pairs[i].value);
        free(target->pairs[i].shown);
    }
    free(target->pairs);
    target->pairs = NULL;
    target->pair_count = target->pair_capacity = 0;
}

void conf_target_fini(struct config_target *target)
{
    free_own(target);
    conf_target_forget_pairs(target);
    free(target->region);
    free(target->role);
    free(target->external_id);
    free(target->spill);
    free(target->name);
}

bool conf_same_target(const struct config_target *a, const struct config_target *b)
{
    return a->type == b->type && settings_same(conf_target_settings, a, b) &&
           (!a->own || settings_same(a->type->settings, a->own, b->own));
}

void config_target_show(const struct config *config, struct config_target *target)
{
    free_own(target);
    target->type = target_type_find(config->target_types, "stdout");
    target->shown = true;
}

const char *config_endpoint(const struct config_aws *aws, const char *service)
{
    char *key = mem_printf("endpoint_%s", service);
    const struct setting *setting = setting_find(conf_aws_settings, key);
    free(key);
    return setting ? *(char *const *)((const char *)aws + setting->offset) : NULL;
}
