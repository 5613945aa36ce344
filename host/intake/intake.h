/* intake.h: listens for each [intake NAME] and has workers answer. */
#ifndef TIDEMILL_INTAKE_INTAKE_H
#define TIDEMILL_INTAKE_INTAKE_H

#include "base/pace.h"
#include "worker/worker.h"

struct intakes;

struct intakes_options {
    const struct config *config; /* held */
    struct log *log;
    struct worker **workers; /* asked in turn; they must stay */
    size_t worker_count;
    struct paces *paces; /* of their rates; must stay */
};

/* NULL and `err` where one cannot listen. */
struct intakes *intakes_new(const struct intakes_options *options, struct err *err);

/* Another configuration: those that differ in it begin anew, the rest does not notice. What cannot be is
 * logged. */
void intakes_set_config(struct intakes *intakes, const struct config *config);

/* Certificates that have changed are taken over; looked at now and then. */
void intakes_look(struct intakes *intakes);

/* Whoever comes from now on is answered with 503. */
void intakes_drain(struct intakes *intakes);

/* Whoever still waits for an answer has 503, and nobody listens any more: before the workers go. Then, when
 * they have gone, the rest. NULL is allowed. */
void intakes_stop(struct intakes *intakes);
void intakes_free(struct intakes *intakes);

/* May the path be asked for: no tricks in it, and below the intake's? */
bool intake_path_is_good(const struct config_intake *intake, const char *path);

#endif
