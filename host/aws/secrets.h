/* secrets.h: what ${ssm:NAME} and ${secret:NAME} of an INI stand for: parameters of Systems Manager's
 * Parameter Store, decrypted, and secrets of Secrets Manager; of one that is a JSON object ${secret:NAME#KEY}
 * is a member. https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html
 * https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
 *
 * What was got is kept: an INI is read on reactors, which do not wait. It is got anew by whoever reads the
 * INI on a thread that may: secrets_ask. All of it may be called from any thread. */
#ifndef TIDEMILL_AWS_SECRETS_H
#define TIDEMILL_AWS_SECRETS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

struct config_aws;
struct secrets;

struct secrets *secrets_new(void);
void secrets_free(struct secrets *secrets); /* NULL is allowed */

/* Whoever asks gives up, and nobody asks any more, until it is false again. */
void secrets_stop(struct secrets *secrets, bool stop);

/* config_plugs.secret, with `secrets` as its user: what is known, however old it is. Nobody is asked. */
bool secrets_know(void *secrets, const struct config_aws *aws, const char *kind, const char *name,
                  struct buf *out, struct err *err);

/* Likewise, but the service is asked, which may take seconds. What was known stays so where it cannot be. */
bool secrets_ask(void *secrets, const struct config_aws *aws, const char *kind, const char *name,
                 struct buf *out, struct err *err);

#endif
