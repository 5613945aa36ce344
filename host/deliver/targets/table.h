/* table.h: the kinds of targets there are, for config_load. */
#ifndef TIDEMILL_DELIVER_TARGETS_TABLE_H
#define TIDEMILL_DELIVER_TARGETS_TABLE_H

#include "conf/target_type.h"

/* Ends with NULL. */
extern const struct target_type *const target_types[];

#endif
