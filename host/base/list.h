/* list.h: an intrusive doubly linked list. The links live in the member; the head is a link too. */
#ifndef TIDEMILL_BASE_LIST_H
#define TIDEMILL_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define list_entry(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* The body may remove `item` itself from the list. */
#define list_each(item, head, type, member)                                         \
    for (struct list *item##_at = (head)->next, *item##_after = item##_at->next;    \
         item##_at != (head) && (item = list_entry(item##_at, type, member), true); \
         item##_at = item##_after, item##_after = item##_at->next)

static inline void list_init(struct list *head)
{
    head->next = head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_append(struct list *head, struct list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void list_prepend(struct list *head, struct list *link)
{
    list_append(head->next, link);
}

/* Out of the list, and alone; NULL: there is none. */
static inline struct list *list_take_first(struct list *head)
{
    struct list *first = head->next;
    if (first == head)
        return NULL;
    head->next = first->next;
    first->next->prev = head;
    first->next = first->prev = first;
    return first;
}

/* Unlinks, and leaves the link an empty list: removing twice is harmless. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

#endif
