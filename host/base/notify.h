/* notify.h: telling the service manager how it goes: sd_notify(3)'s protocol, a datagram to $NOTIFY_SOCKET.
 */
#ifndef TIDEMILL_BASE_NOTIFY_H
#define TIDEMILL_BASE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Is anybody there to be told? */
bool notify_wanted(void);

/* "READY=1", ...; several are separated by a line break. What cannot be sent is lost: the manager is nothing
 * that a host waits for. */
void notify_send(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* So often WATCHDOG=1 has to come, or the manager ends this process; 0: it does not watch. */
int64_t notify_watchdog_ms(void);

#endif
