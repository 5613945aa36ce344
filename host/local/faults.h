/* faults.h: see faults.c. Private to local/. */
#ifndef TIDEMILL_LOCAL_FAULTS_H
#define TIDEMILL_LOCAL_FAULTS_H

#include "local/keep/call.h"

/* False and a fault, or what is to happen to the reply. */
bool faults_before(struct call *call, const char *name, struct engine_reply *reply);
void faults_free(struct engine *engine);

operation op_set_faults, op_split_shards, op_expire_iterators, op_trim_records;

#endif
