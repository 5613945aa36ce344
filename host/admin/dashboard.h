/* dashboard.h: the page at /, and what it asks for. It reads what `status` reads, with a state store of its
 * own, at most once a second however many watch; what it changes goes the way commands go. No request reaches
 * a reactor. */
#ifndef TIDEMILL_ADMIN_DASHBOARD_H
#define TIDEMILL_ADMIN_DASHBOARD_H

#include "admin/admin.h"
#include "net/listener.h"

struct dashboard;

struct dashboard *dashboard_new(const struct admin_options *options);

/* From any thread: another configuration is in force. */
void dashboard_set_config(struct dashboard *dashboard, const struct config *config);

/* Nobody waits for anything any more; dashboard_free when no request runs. */
void dashboard_stop(struct dashboard *dashboard);
void dashboard_free(struct dashboard *dashboard);

/* Whom a request is for: the page itself says nothing of this host, and may be seen by everybody; of what is
 * read, letters show what stands in records. */
enum dashboard_path { DASHBOARD_NOT, DASHBOARD_PAGE, DASHBOARD_READS, DASHBOARD_RECORDS };
enum dashboard_path dashboard_path(const char *path);

/* Answers it: a GET; a POST, whose sender has shown the token, changes something. */
void dashboard_answer(struct dashboard *dashboard, const struct listener_request *request,
                      struct listener_reply *reply);

#endif
