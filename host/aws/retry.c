/* retry.c: see retry.h. */
#include "aws/retry.h"

#include <string.h>

#define TOKENS_MAX 500
#define COST 5
#define COST_TIMEOUT 10
#define TRANSIENT_BASE_MS 50
#define THROTTLING_BASE_MS 1000
#define DELAY_MS_MAX 20000

static const char *const throttling_codes[] = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "RequestThrottled",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "KMSThrottlingException",
    "SlowDown",
    "PriorRequestNotComplete",
    NULL,
};

static const char *const transient_codes[] = {
    "RequestTimeout",
    "RequestTimeoutException",
    "InternalServerError",
    "InternalFailure",
    "InternalException",
    "InternalError",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ServiceException",
    "IDPCommunicationError",
    "OperationAborted",           /* S3: another write of that object is under way, */
    "ConditionalRequestConflict", /* as here */
    NULL,
};

static const char *const refusing_codes[] = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthorizationError",
    "NotAuthorized",
    "OptInRequired",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "ExpiredToken",
    "ExpiredTokenException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "PermanentRedirect",                  /* S3: the bucket is in another region than is said, */
    "AuthorizationHeaderMalformed",       /* as here */
    "AccountSuspendedException",          /* SES: somebody has to do something about it, */
    "SendingPausedException",             /* as here, */
    "MailFromDomainNotVerifiedException", /* and here */
    NULL,
};

bool retry_code_is_one_of(const char *code, const char *const *codes)
{
    for (; *codes; codes++)
        if (strcmp(*codes, code) == 0)
            return true;
    return false;
}

enum retry_kind retry_kind(const struct err *err)
{
    if (err->passes != PASSES_NEVER && (err->code == ERR_NETWORK || err->code == ERR_TIMEOUT))
        return RETRY_TRANSIENT;
    if (err->passes == PASSES_NEVER || (err->code != ERR_SERVICE && err->passes != PASSES_LATER))
        return RETRY_NEVER;
    if (retry_code_is_one_of(err->service, throttling_codes) || err->http_status == 429)
        return RETRY_THROTTLING;
    if (err->passes == PASSES_LATER || retry_code_is_one_of(err->service, transient_codes) ||
        err->http_status == 500 || err->http_status == 502 || err->http_status == 503 ||
        err->http_status == 504)
        return RETRY_TRANSIENT;
    return RETRY_NEVER;
}

bool retry_is_refused(const struct err *err)
{
    return err->code == ERR_SERVICE && (retry_code_is_one_of(err->service, refusing_codes) ||
                                        err->http_status == 401 || err->http_status == 403);
}

int64_t retry_delay_ms(enum retry_kind kind, int attempt, uint64_t random)
{
    int64_t most = kind == RETRY_THROTTLING ? THROTTLING_BASE_MS : TRANSIENT_BASE_MS;
    for (int i = 2; i < attempt && most < DELAY_MS_MAX; i++)
        most *= 2;
    most = most < DELAY_MS_MAX ? most : DELAY_MS_MAX;
    return (int64_t)(random % (uint64_t)(most + 1));
}

void retry_budget_init(struct retry_budget *budget)
{
    budget->tokens = TOKENS_MAX;
}

int retry_budget_take(struct retry_budget *budget, const struct err *err)
{
    int cost = err->code == ERR_TIMEOUT ? COST_TIMEOUT : COST;
    if (budget->tokens < cost)
        return 0;
    budget->tokens -= cost;
    return cost;
}

void retry_budget_give(struct retry_budget *budget, int taken)
{
    budget->tokens += taken ? taken : 1;
    if (budget->tokens > TOKENS_MAX)
        budget->tokens = TOKENS_MAX;
}
