/* profile.h: the shared config and credentials files, and which way to credentials they and the
 * environment ask for. Reading files only; nothing is fetched here.
 * https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html */
#ifndef TIDEMILL_AWS_PROFILE_H
#define TIDEMILL_AWS_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct profiles;

/* AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, or ~/.aws/config and ~/.aws/credentials. Files that are
 * not there are empty. Never NULL. */
struct profiles *profiles_load(void);
void profiles_free(struct profiles *profiles);

bool profiles_has(const struct profiles *profiles, const char *profile);
const char *profiles_get(const struct profiles *profiles, const char *profile, const char *key); /* or NULL */

/* The variable's value; NULL where it is not set or empty, which the SDKs take for the same. */
const char *profile_environment(const char *name);

/* The profile in force: `wanted`, or AWS_PROFILE, or "default". */
const char *profile_name(const char *wanted);

enum credential_source {
    SOURCE_STATIC,
    SOURCE_PROCESS,
    SOURCE_WEB_IDENTITY,
    SOURCE_CONTAINER,
    SOURCE_INSTANCE, /* IMDSv2 */
};

#define ROLES_MAX 8

/* Where credentials come from: a first source, then roles assumed one after the other. */
struct credential_plan {
    enum credential_source source;
    char *access_key, *secret_key, *session_token; /* SOURCE_STATIC */
    char *process;                                 /* SOURCE_PROCESS */
    char *token_file, *web_role_arn, *web_session; /* SOURCE_WEB_IDENTITY */
    struct credential_role {
        char *role_arn, *external_id, *session_name;
        long duration_s;
    } roles[ROLES_MAX];
    size_t role_count;
    char *description; /* for the log: "profile prod, role arn:..." */
};

/* False where the configuration contradicts itself, or where nothing names any credentials and the
 * instance's are switched off. `wanted` as above; when it is given, the environment's keys are not used. */
bool credential_plan(const struct profiles *profiles, const char *wanted, struct credential_plan *plan,
                     struct err *err);
void credential_plan_fini(struct credential_plan *plan);

/* Do the credentials that are in force come from a program that is run for them? `wanted` as above. */
bool credentials_run_a_program(const char *wanted);

#endif
