# tidemill: `make` builds build/tidemill; `make help` lists the rest.

VERSION := 0.1.0
PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= cc
PYTHON  ?= /usr/bin/python3
BUILD   ?= build
# WERROR=1 makes warnings errors; tests and CI do, a user's build does not.
WERROR  ?=
SANITIZE ?=

PACKAGES := lua5.4 libcurl openssl inih sqlite3
CPPFLAGS += -D_GNU_SOURCE -Ihost -I$(BUILD)/gen
CFLAGS   ?= -O2 -g
CFLAGS   += -std=c11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wno-format-truncation -fno-strict-aliasing -pthread
CFLAGS   += $(if $(WERROR),-Werror) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer)
LDFLAGS  += -pthread $(if $(SANITIZE),-fsanitize=$(SANITIZE))
have_packages := $(shell pkg-config --exists $(PACKAGES) 2>/dev/null && echo yes)
ifeq ($(have_packages),yes)
CPPFLAGS += $(shell pkg-config --cflags $(PACKAGES))
LDLIBS   += $(shell pkg-config --libs $(PACKAGES)) -lm
endif

SOURCES := $(shell find host -name '*.c')
LUA     := $(wildcard lua/tidemill/*.lua) $(wildcard lua/*.lua)
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o) 
LIBRARY := $(filter-out $(BUILD)/host/main.o,$(OBJECTS))
UNITS   := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all help deps test unit integration asan tsan lint format fuzz bench run install uninstall clean check-deps

all: $(BUILD)/tidemill

help:
	@sed -n 's/^## //p' Makefile

## make             build build/tidemill
$(BUILD)/tidemill: $(OBJECTS)
	@echo "  link  $@"
	@$(CC) $(LDFLAGS) -o $@ $(OBJECTS) $(LDLIBS)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  cc    $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -DTIDEMILL_VERSION='"$(VERSION)"' -MMD -MP -c -o $@ $<

# The Lua part of the library is carried inside the binary.
$(BUILD)/host/script/library.o: $(LUA)

-include $(OBJECTS:.o=.d)
