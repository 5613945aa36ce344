/* profile.c: the order of the SDKs, as botocore keeps it: the environment's keys, the profile (a role, keys,
 * a process), the environment's web identity, the container's endpoint, the instance's. */
#include "aws/profile.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "conf/ini.h"

#define PROFILE_BYTES_MAX (1u << 20)

struct profiles {
    struct map values; /* "profile\nkey" -> text; "profile\n" -> "" where the profile exists */
};

struct reading {
    struct profiles *profiles;
    bool config_file; /* sections are "profile NAME", but for "default" */
};

static void keep(struct profiles *profiles, const char *profile, const char *key, const char *value)
{
    char *name = mem_printf("%s\n%s", profile, key);
    mem_free_secret(map_remove(&profiles->values, name));
    map_set(&profiles->values, name, mem_string(value));
    free(name);
}

static void on_entry(void *user, const char *section, const char *name, const char *value, int line)
{
    struct reading *reading = user;
    (void)line;
    if (reading->config_file && strncmp(section, "profile ", 8) == 0)
        section += 8 + strspn(section + 8, " ");
    else if (reading->config_file && strcmp(section, "default") != 0)
        return; /* sso-session, services, plugins */
    keep(reading->profiles, section, name ? name : "", name ? value : "");
}

static void read_one(struct profiles *profiles, const char *variable, const char *usual, bool config_file)
{
    const char *home = getenv("HOME"), *named = getenv(variable);
    char *path = named && *named ? mem_string(named) : mem_printf("%s/.aws/%s", home ? home : "", usual);
    struct problems ignored = PROBLEMS_INIT; /* other tools' lines in a file that is not ours */
    struct err err;
    char *text = file_read(path, PROFILE_BYTES_MAX, NULL, &err);
    struct reading reading = {profiles, config_file};
    if (text)
        ini_read(path, text, on_entry, &reading, &ignored);
    problems_fini(&ignored);
    mem_free_secret(text);
    free(path);
}

struct profiles *profiles_load(void)
{
    struct profiles *profiles = mem_zero(sizeof *profiles);
    read_one(profiles, "AWS_CONFIG_FILE", "config", true);
    read_one(profiles, "AWS_SHARED_CREDENTIALS_FILE", "credentials", false);
    return profiles;
}

void profiles_free(struct profiles *profiles)
{
    size_t at = 0;
    if (!profiles)
        return;
    for (char *value; (value = map_next(&profiles->values, &at, NULL));)
        mem_free_secret(value);
    map_fini(&profiles->values);
    free(profiles);
}

const char *profiles_get(const struct profiles *profiles, const char *profile, const char *key)
{
    char *name = mem_printf("%s\n%s", profile, key);
    const char *value = map_get(&profiles->values, name);
    free(name);
    return value;
}

bool profiles_has(const struct profiles *profiles, const char *profile)
{
    return profiles_get(profiles, profile, "") != NULL;
}

const char *profile_environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

const char *profile_name(const char *wanted)
{
    const char *named = wanted ? wanted : profile_environment("AWS_PROFILE");
    return named ? named : "default";
}

static bool use_environment(struct credential_plan *plan)
{
    const char *access = profile_environment("AWS_ACCESS_KEY_ID"),
               *secret = profile_environment("AWS_SECRET_ACCESS_KEY");
    if (!access || !secret)
        return false;
    plan->source = SOURCE_STATIC;
    plan->access_key = mem_string(access);
    plan->secret_key = mem_string(secret);
    plan->session_token = mem_string(profile_environment("AWS_SESSION_TOKEN"));
    plan->description = mem_string("the environment's keys");
    return true;
}

static bool use_container(struct credential_plan *plan)
{
    if (!profile_environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") &&
        !profile_environment("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
        return false;
    plan->source = SOURCE_CONTAINER;
    plan->description = mem_string("the container's credentials endpoint");
    return true;
}

static bool use_instance(struct credential_plan *plan)
{
    const char *disabled = profile_environment("AWS_EC2_METADATA_DISABLED");
    if (disabled && strcasecmp(disabled, "true") == 0)
        return false;
    plan->source = SOURCE_INSTANCE;
    plan->description = mem_string("the instance's role (IMDSv2)");
    return true;
}

static void use_web_identity(struct credential_plan *plan, const char *role, const char *file,
                             const char *session)
{
    plan->source = SOURCE_WEB_IDENTITY;
    plan->web_role_arn = mem_string(role);
    plan->token_file = mem_string(file);
    plan->web_session = mem_string(session ? session : "tidemill");
    plan->description = mem_printf("web identity, role %s", role);
}

static bool use_keys(const struct profiles *profiles, const char *profile, struct credential_plan *plan)
{
    const char *access = profiles_get(profiles, profile, "aws_access_key_id");
    const char *secret = profiles_get(profiles, profile, "aws_secret_access_key");
    if (!access || !secret)
        return false;
    plan->source = SOURCE_STATIC;
    plan->access_key = mem_string(access);
    plan->secret_key = mem_string(secret);
    plan->session_token = mem_string(profiles_get(profiles, profile, "aws_session_token"));
    plan->description = mem_printf("profile %s", profile);
    return true;
}

static bool use_process(const struct profiles *profiles, const char *profile, struct credential_plan *plan)
{
    const char *process = profiles_get(profiles, profile, "credential_process");
    if (!process)
        return false;
    plan->source = SOURCE_PROCESS;
    plan->process = mem_string(process);
    plan->description = mem_printf("profile %s, credential_process", profile);
    return true;
}

static bool use_named_source(const char *profile, const char *source, struct credential_plan *plan,
                             struct err *err)
{
    bool found = strcmp(source, "Environment") == 0           ? use_environment(plan)
                 : strcmp(source, "EcsContainer") == 0        ? use_container(plan)
                 : strcmp(source, "Ec2InstanceMetadata") == 0 ? use_instance(plan)
                                                              : false;
    if (!found)
        return err_set(err, ERR_CONFIG, "profile %s: credential_source %s gives no credentials here", profile,
                       source);
    return true;
}

static bool use_profile(const struct profiles *profiles, const char *profile, int depth,
                        struct credential_plan *plan, bool *found, struct err *err);

/* The profile's own keys when it is its own source, else whatever the source profile says. */
static bool use_source_profile(const struct profiles *profiles, const char *profile, const char *source,
                               int depth, struct credential_plan *plan, struct err *err)
{
    bool found = false;
    if (strcmp(source, profile) == 0)
        found = use_keys(profiles, profile, plan);
    else if (!profiles_has(profiles, source))
        return err_set(err, ERR_CONFIG, "profile %s: its source_profile %s does not exist", profile, source);
    else if (depth >= ROLES_MAX)
        return err_set(err, ERR_CONFIG, "profile %s: source_profile goes round in a circle", profile);
    else if (!use_profile(profiles, source, depth + 1, plan, &found, err))
        return false;
    if (!found)
        return err_set(err, ERR_CONFIG, "profile %s: its source_profile %s holds no credentials", profile,
                       source);
    return true;
}

static bool use_role(const struct profiles *profiles, const char *profile, const char *role_arn, int depth,
                     struct credential_plan *plan, struct err *err)
{
    const char *source = profiles_get(profiles, profile, "source_profile");
    const char *named = profiles_get(profiles, profile, "credential_source");
    const char *file = profiles_get(profiles, profile, "web_identity_token_file");
    const char *session = profiles_get(profiles, profile, "role_session_name");
    const char *duration = profiles_get(profiles, profile, "duration_seconds");
    if (file) {
        use_web_identity(plan, role_arn, file, session);
        return true;
    }
    if (profiles_get(profiles, profile, "mfa_serial"))
        return err_set(err, ERR_CONFIG,
                       "profile %s: mfa_serial needs somebody to type a code; use a role "
                       "without it",
                       profile);
    if (!source == !named)
        return err_set(err, ERR_CONFIG,
                       "profile %s: role_arn needs either source_profile or credential_source", profile);
    if (source ? !use_source_profile(profiles, profile, source, depth, plan, err)
               : !use_named_source(profile, named, plan, err))
        return false;
    if (plan->role_count == ROLES_MAX)
        return err_set(err, ERR_CONFIG, "profile %s: more than %d roles in a row", profile, ROLES_MAX);
    plan->roles[plan->role_count++] = (struct credential_role){
        .role_arn = mem_string(role_arn),
        .external_id = mem_string(profiles_get(profiles, profile, "external_id")),
        .session_name = mem_string(session ? session : "tidemill"),
        .duration_s = duration ? strtol(duration, NULL, 10) : 3600,
    };
    char *description = mem_printf("%s, then role %s", plan->description, role_arn);
    free(plan->description);
    plan->description = description;
    return true;
}

static bool use_profile(const struct profiles *profiles, const char *profile, int depth,
                        struct credential_plan *plan, bool *found, struct err *err)
{
    const char *role_arn = profiles_get(profiles, profile, "role_arn");
    *found = true;
    /* A source profile with keys of its own ends the chain, as in the SDKs. */
    if (depth > 0 && use_keys(profiles, profile, plan))
        return true;
    if (role_arn)
        return use_role(profiles, profile, role_arn, depth, plan, err);
    if (use_keys(profiles, profile, plan) || use_process(profiles, profile, plan))
        return true;
    if (profiles_get(profiles, profile, "sso_session") || profiles_get(profiles, profile, "sso_start_url"))
        return err_set(err, ERR_CONFIG,
                       "profile %s signs in through SSO; give it credential_process = "
                       "aws configure export-credentials --profile %s",
                       profile, profile);
    *found = false;
    return true;
}

bool credential_plan(const struct profiles *profiles, const char *wanted, struct credential_plan *plan,
                     struct err *err)
{
    const char *profile = profile_name(wanted);
    bool found = false;
    *plan = (struct credential_plan){0};
    if (!wanted && use_environment(plan))
        return true;
    if ((wanted || profile_environment("AWS_PROFILE")) && !profiles_has(profiles, profile))
        return err_set(err, ERR_CONFIG, "profile %s is in neither the shared config nor the credentials file",
                       profile);
    if (!use_profile(profiles, profile, 0, plan, &found, err))
        return false;
    const char *role = profile_environment("AWS_ROLE_ARN"),
               *file = profile_environment("AWS_WEB_IDENTITY_TOKEN_FILE");
    if (!found && role && file) {
        use_web_identity(plan, role, file, profile_environment("AWS_ROLE_SESSION_NAME"));
        found = true;
    }
    if (found || use_container(plan) || use_instance(plan))
        return true;
    return err_set(err, ERR_CONFIG,
                   "no AWS credentials: none in the environment (AWS_ACCESS_KEY_ID), in profile "
                   "%s, from a container or an instance",
                   profile);
}

void credential_plan_fini(struct credential_plan *plan)
{
    free(plan->access_key);
    mem_free_secret(plan->secret_key);
    mem_free_secret(plan->session_token);
    free(plan->process);
    free(plan->token_file);
    free(plan->web_role_arn);
    free(plan->web_session);
    for (size_t i = 0; i < plan->role_count; i++) {
        free(plan->roles[i].role_arn);
        free(plan->roles[i].external_id);
        free(plan->roles[i].session_name);
    }
    free(plan->description);
    *plan = (struct credential_plan){0};
}

bool credentials_run_a_program(const char *wanted)
{
    struct err err;
    struct credential_plan plan = {0};
    struct profiles *profiles = profiles_load();
    bool runs = credential_plan(profiles, wanted, &plan, &err) && plan.source == SOURCE_PROCESS;
    credential_plan_fini(&plan);
    profiles_free(profiles);
    return runs;
}
