/* json_batch.h: what the services have in common. */
#ifndef TIDEMILL_DELIVER_TARGETS_JSON_BATCH_H
#define TIDEMILL_DELIVER_TARGETS_JSON_BATCH_H

#include "deliver/target.h"

/* The payload as SQS and SNS take it: what XML 1.0 has no character for (U+FFFE, U+FFFF) is escaped where the
 * payload is JSON. `text_measure` says how long that gets, or `err` when it cannot be. `service` for the
 * sentence. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html */
void text_write(struct buf *out, const struct message *message);
size_t text_measure(const struct message *message, const char *service, struct err *err);

/* What must be JSON, in UTF-8, to be taken as an event; `takes` for the sentence: "Lambda takes". */
size_t json_event_measure(const struct message *message, const char *takes, struct err *err);

/* An attribute (a number) of messages whose shard is one of many hosts': see struct message. text_measure
 * counts it. */
#define EPOCH_ATTRIBUTE "Tidemill-Epoch"

/* {"Data":"...", in base64; the record goes on behind it. */
void json_batch_add_data(struct buf *out, const char *bytes, size_t size);

/* The answer lists a result for each entry, in their order: `error_code` and `error_message` are the members
 * of those that failed. */
void json_batch_read(struct request *request, struct transport_response *response, const char *list,
                     const char *error_code, const char *error_message);

/* An entry failed with this code. `sender`: it always will. */
void entry_failed(struct emission *emission, const char *service, const char *message, bool sender);

/* Where ids are the entries' places: the entry that a result names, which is `named` then. NULL: none. */
struct emission *entry_named(struct request *request, const char *id, bool *named);

/* Does a queue's URL or a topic's ARN end with ".fifo"? */
bool name_is_fifo(const char *name);

#endif
