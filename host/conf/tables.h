/* tables.h: the keys of each section: name, type, field and bounds. Private to conf/. */
#ifndef TIDEMILL_CONF_TABLES_H
#define TIDEMILL_CONF_TABLES_H

#include "conf/config.h"
#include "conf/settings.h"

#define SECOND_MS 1000
#define HOUR_MS (3600 * SECOND_MS)
#define DAY_MS (24 * (int64_t)HOUR_MS)
#define KIB 1024
#define MIB (1024 * KIB)
#define GIB (1024 * (int64_t)MIB)

/* Each ends with a name of NULL. */
extern const struct setting conf_host_settings[], conf_aws_settings[], conf_stream_settings[],
    conf_handler_settings[], conf_table_settings[], conf_target_settings[], conf_route_settings[],
    conf_intake_settings[];

/* targets.c: once everything was read. */
void conf_check_targets(struct config *config, struct problems *problems);
void conf_check_routes(struct config *config, struct problems *problems);

/* target_type.c */
void conf_target_init(struct config_target *target);
void conf_target_fini(struct config_target *target);
void conf_target_forget_pairs(struct config_target *target); /* what the file said was read */
bool conf_same_target(const struct config_target *a, const struct config_target *b);

#endif
