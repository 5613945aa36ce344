/* port.h: who listens on a port of this machine, so that "address in use" can be said in full. */
#ifndef TIDEMILL_BASE_PORT_H
#define TIDEMILL_BASE_PORT_H

#include <stddef.h>

/* "process 123 (nginx)", or "another process" where that cannot be seen (somebody else's, no /proc). */
void port_holder(int port, char *text, size_t size);

#endif
