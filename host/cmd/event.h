/* event.h: events as somebody writes them by hand, or copied them from elsewhere. */
#ifndef TIDEMILL_CMD_EVENT_H
#define TIDEMILL_CMD_EVENT_H

#include "record/page.h"

/* {"Records": [...]} as Lambda gets it, a list of records, or one record. Those without a SequenceNumber get
 * one: their place in the event; those without an eventID one that no other run has. NULL and `err`,
 * beginning with `name`, which says which record lacks what.
 */
struct page *event_read(const char *name, const char *text, size_t size, struct err *err);

#endif
