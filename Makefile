# tidemill: `make` builds build/tidemill; `make help` lists the rest.

VERSION := 0.1.0
PREFIX  ?= /usr/local
UNITDIR ?= $(if $(filter /usr,$(PREFIX)),/lib/systemd/system,$(PREFIX)/lib/systemd/system)
COMPLETIONS := bash-completion/completions zsh/vendor-completions fish/vendor_completions.d
DESTDIR ?=
CC      ?= cc
PYTHON  ?= /usr/bin/python3
BUILD   ?= build
JOBS    ?= $(shell nproc)
# WERROR=1 makes warnings errors; tests and CI do, a user's build does not.
WERROR  ?=
SANITIZE ?=

PACKAGES := lua5.4 libcurl libcjson openssl inih sqlite3 libmicrohttpd expat zlib libzstd
CPPFLAGS += -D_GNU_SOURCE -Ihost -I$(BUILD)/gen
OPTIMIZE ?= -O2 -g
# Hardening; sanitizers bring their own checks.
ifndef SANITIZE
HARDEN   := -fstack-protector-strong -fPIE -fno-plt $(if $(findstring -O0,$(OPTIMIZE)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2) \
            $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
LINK_HARDEN := -pie -Wl,-z,relro,-z,now,-z,noexecstack
endif
CFLAGS   ?=
ALL_CFLAGS = $(OPTIMIZE) $(HARDEN) -std=c11 -Wall -Wextra -Wshadow -Wstrict-prototypes $(if $(findstring clang,$(CC)),,-Wno-format-truncation) -fno-strict-aliasing -pthread \
             $(if $(WERROR),-Werror) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer) $(CFLAGS)
LDFLAGS  += -pthread $(LINK_HARDEN) $(if $(SANITIZE),-fsanitize=$(SANITIZE))
have_packages := $(shell pkg-config --exists $(PACKAGES) 2>/dev/null && echo yes)
ifeq ($(have_packages),yes)
CPPFLAGS += $(shell pkg-config --cflags $(PACKAGES))
LDLIBS   += $(shell pkg-config --libs $(PACKAGES)) -lm
endif

# Built in where the library is there.
ifeq ($(shell pkg-config --exists libnats 2>/dev/null && echo yes),yes)
CPPFLAGS += -DTIDEMILL_NATS $(shell pkg-config --cflags libnats)
LDLIBS   += $(shell pkg-config --libs libnats)
else
WITHOUT  += host/deliver/targets/nats.c
endif

ifeq ($(shell pkg-config --exists hiredis 2>/dev/null && echo yes),yes)
CPPFLAGS += -DTIDEMILL_REDIS $(shell pkg-config --cflags hiredis)
LDLIBS   += $(shell pkg-config --libs hiredis)
else
WITHOUT  += host/net/transport_redis.c host/net/connection.c host/deliver/targets/redis.c
endif

ifeq ($(shell pkg-config --exists libpq 2>/dev/null && echo yes),yes)
CPPFLAGS += -DTIDEMILL_POSTGRES $(shell pkg-config --cflags libpq)
LDLIBS   += $(shell pkg-config --libs libpq)
else
WITHOUT  += host/net/transport_postgres.c
endif

# What a sanitizer does not know of, see there.
ifneq ($(findstring thread,$(SANITIZE)),)
LONGJMP := $(BUILD)/tests/tools/longjmp.o
LDLIBS  := $(LONGJMP) $(LDLIBS)
endif

SOURCES := $(filter-out $(WITHOUT),$(shell find host -name '*.c'))
LUA     := $(wildcard lua/tidemill/*.lua) $(wildcard lua/meta/*.lua) $(wildcard lua/*.lua)
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o) 
LIBRARY := $(filter-out $(BUILD)/host/main.o,$(OBJECTS))
UNITS   := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all help reference dist deb package-test deps test unit integration asan tsan lint format fuzz bench run install uninstall clean check-deps

all: $(BUILD)/tidemill

help:
	@sed -n 's/^## //p' Makefile

## make             build build/tidemill
$(BUILD)/tidemill: $(OBJECTS) | $(LONGJMP)
	@echo "  link  $@"
	@$(CC) $(LDFLAGS) -o $@ $(OBJECTS) $(LDLIBS)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  cc    $<"
	@$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -DTIDEMILL_VERSION='"$(VERSION)"' -DTIDEMILL_RECIPES='"$(BUILD)/recipes.tar.gz"' -MMD -MP -c -o $@ $<

# The Lua part of the library is carried inside the binary.
$(BUILD)/host/script/library.o $(BUILD)/host/script/reference.o: $(LUA)
$(BUILD)/host/main.o: host/conf/reference.ini
# So are the recipes, and the dashboard's page.
$(BUILD)/recipes.tar.gz: host/packaging/recipes.sh $(shell find examples scripts -name .tidemill -prune -o -print)
	@mkdir -p $(@D)
	@host/packaging/recipes.sh $(BUILD)/recipes.tar && gzip -nf $(BUILD)/recipes.tar
$(BUILD)/host/cmd/recipes.o: $(BUILD)/recipes.tar.gz
$(BUILD)/host/admin/dashboard.o: $(wildcard host/admin/page/*)

-include $(OBJECTS:.o=.d)

deps:
	@tests/tools/deps.sh build test develop

# What is needed for a target is installed when it is missing, so that each works as the first command.
need-build:
	@$(if $(have_packages),,tests/tools/deps.sh build)
need-test: 
	@tests/tools/deps.sh build test

## make run         see it work: handlers on an embedded DynamoDB; Ctrl-C ends it
run: need-build
	@$(MAKE) --no-print-directory all
	@$(BUILD)/tidemill dev -c examples/quickstart/tidemill.ini

## make test        all tests (unit, simulation and integration)
test: need-test
	@$(MAKE) --no-print-directory run-tests WERROR=1

.PHONY: soak sim need-build need-test run-tests units scripts-test bench-local bench-hosts bench-cost
run-tests:
	@$(MAKE) --no-print-directory -j$(JOBS) all units $(BUILD)/tests/sim/sim
	@$(MAKE) --no-print-directory unit scripts-test $(if $(findstring thread,$(SANITIZE)),,sim) integration

TESTLIBS = $(shell pkg-config --cflags --libs cmocka)
UNIT_BINARIES := $(UNITS:%=$(BUILD)/tests/%)
units: $(UNIT_BINARIES) $(BUILD)/tests/sigv4_cli

$(BUILD)/tests/%.o: tests/unit/%.c Makefile
	@mkdir -p $(@D)
	@echo "  cc    $<"
	@$(CC) $(CPPFLAGS) -Itests/unit $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

UNIT_SUPPORT := $(patsubst tests/unit/%.c,$(BUILD)/tests/%.o,$(filter-out $(wildcard tests/unit/test_*.c tests/unit/*_cli.c),$(wildcard tests/unit/*.c)))

$(BUILD)/tests/test_%: $(BUILD)/tests/test_%.o $(UNIT_SUPPORT) $(LIBRARY) | $(LONGJMP)
	@echo "  link  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(TESTLIBS)

$(BUILD)/tests/%_cli: $(BUILD)/tests/%_cli.o $(LIBRARY) | $(LONGJMP)
	@echo "  link  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

-include $(wildcard $(BUILD)/tests/*.d)

## make unit        the C units only
unit: units
	@for test in $(UNIT_BINARIES); do $$test || exit 1; done

# The simulation has one thread: nothing for ThreadSanitizer.
## make sim         a host in random worlds, in virtual time: SEEDS=n..m many, SEED=n one with its log; and groups of hosts: GROUP_SEEDS, GROUP=n; tables that are copied: COPY_SEEDS, COPY=n; tables by way of Kinesis: KINESIS_SEEDS, KINESIS=n
SEEDS ?= $(if $(SANITIZE),1..100,1..1000)
# Hosts and shards in calm weather: is it even soon, and does it rest?
CROWD ?= 20 1000
GROUP_SEEDS ?= $(if $(SANITIZE),1..200,1..2000)
# Tables that are copied, from a snapshot on.
COPY_SEEDS ?= $(if $(SANITIZE),1..40,1..500)
# Tables whose changes come by way of Kinesis.
KINESIS_SEEDS ?= $(if $(SANITIZE),1..40,1..500)
SIM_OBJECTS := $(patsubst tests/sim/%.c,$(BUILD)/tests/sim/%.o,$(wildcard tests/sim/*.c)) $(BUILD)/tests/fake_alternator.o
sim: $(BUILD)/tests/sim/sim
	@$(if $(GROUP)$(COPY)$(KINESIS),,$(BUILD)/tests/sim/sim $(or $(SEED),$(SEEDS)))
	@$(if $(SEED)$(COPY)$(KINESIS),,$(BUILD)/tests/sim/sim group $(or $(GROUP),$(GROUP_SEEDS)))
	@$(if $(SEED)$(GROUP)$(KINESIS),,$(BUILD)/tests/sim/sim copy $(or $(COPY),$(COPY_SEEDS)))
	@$(if $(SEED)$(GROUP)$(COPY),,$(BUILD)/tests/sim/sim kinesis $(or $(KINESIS),$(KINESIS_SEEDS)))
	@$(if $(SEED)$(GROUP)$(COPY)$(KINESIS),,$(BUILD)/tests/sim/sim crowd $(CROWD))

$(BUILD)/tests/sim/%.o: tests/sim/%.c Makefile
	@mkdir -p $(@D)
	@echo "  cc    $<"
	@$(CC) $(CPPFLAGS) -Itests/sim -Itests/unit $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/sim/sim: $(SIM_OBJECTS) $(LIBRARY) | $(LONGJMP)
	@echo "  link  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

-include $(SIM_OBJECTS:.o=.d)

## make scripts-test the shipped handlers' own tests
scripts-test: all
	@$(BUILD)/tidemill test scripts

## make integration the tests with DynamoDB Local only
# What is left out under ThreadSanitizer: tests/integration/conftest.py says why; these have nothing more for it: commands that
# come and go, answers of the embedded DynamoDB, handlers by themselves, where hosts keep their state.
NO_THREADS := hosts_elsewhere local_differential partiql sigv4 testing shipped modules commands readme replay runbook aws ported
# Most of them wait for most of their time, but an instrumented host does not.
PYTEST_PROCESSES ?= $(if $(SANITIZE),$(JOBS),$(shell echo $$(($(JOBS) + 1))))
integration: all units
	@TIDEMILL=$(BUILD)/tidemill TIDEMILL_TESTS=$(BUILD)/tests $(PYTHON) -m pytest -q -p no:cacheprovider -n $(PYTEST_PROCESSES) \
	    $(if $(findstring thread,$(SANITIZE)),-m 'not one_thread' $(NO_THREADS:%=--ignore=tests/integration/test_%.py)) tests/integration

## make soak        longer: simulated lives SOAK_SEEDS, and everything at once in the orders SOAK_CHAOS
SOAK_SEEDS ?= 1001..30000
SOAK_COPIES ?= 501..10000
SOAK_KINESIS ?= 501..20000
SOAK_GROUPS ?= 2001..50000
SOAK_CHAOS ?= 2 3 4 5
soak: need-test
	@$(MAKE) --no-print-directory -j$(JOBS) WERROR=1 all units $(BUILD)/tests/sim/sim
	@$(MAKE) --no-print-directory WERROR=1 sim SEEDS=$(SOAK_SEEDS) GROUP_SEEDS=$(SOAK_GROUPS) COPY_SEEDS=$(SOAK_COPIES) KINESIS_SEEDS=$(SOAK_KINESIS) CROWD="100 10000"
	@for seed in $(SOAK_CHAOS); do \
	    TIDEMILL_CHAOS_SEED=$$seed TIDEMILL=$(BUILD)/tidemill TIDEMILL_TESTS=$(BUILD)/tests \
	    $(PYTHON) -m pytest -q -p no:cacheprovider tests/integration/test_chaos.py || exit 1; done

## make asan        the same tests under AddressSanitizer and UndefinedBehaviorSanitizer
asan: need-test
	@ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	 $(MAKE) --no-print-directory run-tests WERROR=1 BUILD=build/asan SANITIZE=address,undefined OPTIMIZE="-O1 -g"

## make tsan        the same tests under ThreadSanitizer, two threads
tsan: need-test
	@TSAN_OPTIONS=halt_on_error=0 TIDEMILL_THREADS=2 \
	 $(MAKE) --no-print-directory run-tests WERROR=1 BUILD=build/tsan SANITIZE=thread OPTIMIZE="-O1 -g"

clean:
	@rm -rf build

$(BUILD)/tests/bench_%: tests/bench/%.c $(LIBRARY)
	@mkdir -p $(@D)
	@echo "  cc    $<"
	@$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(shell pkg-config --cflags --libs libmicrohttpd)

## make reference   lua/reference out of the annotations, as `tidemill help PAGE` shows it
reference: $(BUILD)/tidemill
	@mkdir -p lua/reference
	@rm -f lua/reference/*.md
	@for page in $$($(BUILD)/tidemill help --pages); do $(BUILD)/tidemill help --markdown $$page > lua/reference/$$page.md; done

## make bench-eyes  what metrics and traces cost, in pairs
bench-eyes: need-test
	@$(MAKE) --no-print-directory all $(BUILD)/tests/bench_server $(BUILD)/tests/bench_lua
	@TIDEMILL=$(BUILD)/tidemill TIDEMILL_TESTS=$(BUILD)/tests $(PYTHON) tests/bench/eyes.py

## make bench       what everything costs, beside its floor or its peer; AGAINST=JSON: beside an earlier run
bench: need-test
	@$(MAKE) --no-print-directory all $(BUILD)/tests/bench_server $(BUILD)/tests/bench_floor $(BUILD)/tests/bench_filter $(BUILD)/tests/bench_calls $(BUILD)/tests/bench_lua $(BUILD)/tests/bench_client
	@TIDEMILL=$(BUILD)/tidemill TIDEMILL_TESTS=$(BUILD)/tests $(PYTHON) tests/bench/bench.py

## make bench-cost  what a record and a call cost of the processor; BEFORE=BINARY: beside another tidemill's, in pairs
bench-cost: need-test
	@$(MAKE) --no-print-directory all $(BUILD)/tests/bench_server $(BUILD)/tests/bench_lua
	@TIDEMILL=$(BUILD)/tidemill TIDEMILL_TESTS=$(BUILD)/tests BEFORE=$(BEFORE) $(PYTHON) tests/bench/cost.py

## make bench-hosts what hosts that share a table cost: calls and capacity, counted
bench-hosts: need-build
	@$(MAKE) --no-print-directory all
	@TIDEMILL=$(BUILD)/tidemill $(PYTHON) tests/bench/hosts.py

## make bench-local the embedded DynamoDB against DynamoDB Local
bench-local: need-test
	@$(MAKE) --no-print-directory all $(BUILD)/tests/bench_client $(BUILD)/tests/bench_lua
	@TIDEMILL=$(BUILD)/tidemill TIDEMILL_TESTS=$(BUILD)/tests $(PYTHON) tests/bench/local.py

## make lint        warnings as errors with two compilers, the room order, the format
lint:
	@tests/tools/deps.sh build test develop
	@tests/tools/lint.sh

## make format      put all C into the project's format
format:
	@tests/tools/deps.sh develop
	@clang-format -i $(shell find host tests -name .deps -prune -o -name '*.[ch]' -print)

## make fuzz        each fuzzer for FUZZ_SECONDS (60), in the order of FUZZ_SEED (0: another each time)
FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 0
FUZZ_JOBS ?= $(JOBS)
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz:
	@tests/tools/deps.sh build fuzz
	@$(MAKE) --no-print-directory -j$(JOBS) run-fuzzers BUILD=build/fuzz CC=clang SANITIZE=fuzzer-no-link,address,undefined OPTIMIZE="-O1 -g"

.PHONY: run-fuzzers
run-fuzzers: $(FUZZERS:%=$(BUILD)/%)
	@printf '%s\n' $(FUZZERS) | xargs -n 1 -P $(FUZZ_JOBS) tests/tools/fuzz.sh $(BUILD) $(FUZZ_SECONDS) $(FUZZ_SEED)

$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(LIBRARY)
	@echo "  link  $@"
	@$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -Wno-unused-parameter -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
	    $(LDFLAGS) -o $@ $< $(LIBRARY) $(LDLIBS)

## make install     to PREFIX (/usr/local), under DESTDIR
install: all
	@install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/tidemill/scripts $(DESTDIR)$(PREFIX)/share/tidemill/examples
	@install -m 755 $(BUILD)/tidemill $(DESTDIR)$(PREFIX)/bin/tidemill
	@install -m 644 scripts/*.lua $(DESTDIR)$(PREFIX)/share/tidemill/scripts
	@cp -R lua $(DESTDIR)$(PREFIX)/share/tidemill/
	@cp -R examples/. $(DESTDIR)$(PREFIX)/share/tidemill/examples
	@find $(DESTDIR)$(PREFIX)/share/tidemill/examples -name .tidemill -prune -exec rm -rf {} +
	@install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 $(COMPLETIONS:%=$(DESTDIR)$(PREFIX)/share/%) $(DESTDIR)$(UNITDIR)
	@$(BUILD)/tidemill help --man > $(DESTDIR)$(PREFIX)/share/man/man1/tidemill.1
	@for command in $$($(BUILD)/tidemill help --commands); do \
	    $(BUILD)/tidemill help --man $$command > $(DESTDIR)$(PREFIX)/share/man/man1/tidemill-$$command.1 || exit 1; done
	@host/packaging/ini-page.sh $(VERSION) < host/conf/reference.ini > $(DESTDIR)$(PREFIX)/share/man/man5/tidemill.ini.5
	@$(BUILD)/tidemill help --complete bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/tidemill
	@$(BUILD)/tidemill help --complete zsh > $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_tidemill
	@$(BUILD)/tidemill help --complete fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/tidemill.fish
	@sed 's|/usr/bin/tidemill|$(PREFIX)/bin/tidemill|' host/packaging/tidemill.service > $(DESTDIR)$(UNITDIR)/tidemill.service
	@chmod -R u=rwX,go=rX $(DESTDIR)$(PREFIX)/share/tidemill $(DESTDIR)$(PREFIX)/share/man
	@chmod 644 $(DESTDIR)$(PREFIX)/share/bash-completion/completions/tidemill $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_tidemill \
	    $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/tidemill.fish $(DESTDIR)$(UNITDIR)/tidemill.service

uninstall:
	@rm -rf $(DESTDIR)$(PREFIX)/bin/tidemill $(DESTDIR)$(PREFIX)/share/tidemill
	@rm -f $(DESTDIR)$(PREFIX)/share/man/man1/tidemill*.1 $(DESTDIR)$(PREFIX)/share/man/man5/tidemill.ini.5 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/tidemill $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_tidemill \
	    $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/tidemill.fish $(DESTDIR)$(UNITDIR)/tidemill.service

# Out of what is committed, with its times and owners: whoever makes it gets the same bytes.
## make dist        build/tidemill-VERSION.tar.gz, the sources
dist:
	@mkdir -p build
	@git archive --format=tar --prefix=tidemill-$(VERSION)/ HEAD | gzip -n -9 > build/tidemill-$(VERSION).tar.gz
	@cd build && sha256sum tidemill-$(VERSION).tar.gz

# What installs packages goes into a machine that may be thrown away: tests/tools/fresh.sh package-test
package-test:
	@tests/tools/package.sh

## make deb         build/tidemill_VERSION_ARCH.deb
deb: dist
	@tests/tools/deps.sh build package
	@rm -rf build/deb && mkdir -p build/deb
	@tar -xzf build/tidemill-$(VERSION).tar.gz -C build/deb
	@cd build/deb/tidemill-$(VERSION) && cp -R host/packaging/debian debian && cp host/packaging/tidemill.service debian/ && \
	    sed '1,4d; s/^$$/./; s/^/ /' LICENSE >> debian/copyright && \
	    printf 'tidemill (%s) unstable; urgency=medium\n\n  * See the history of the sources.\n\n -- The tidemill authors <tidemill@example.org>  %s\n' \
	        '$(VERSION)' "$$(date -u -R -d @$$(git -C $(CURDIR) log -1 --format=%ct))" > debian/changelog && \
	    dpkg-buildpackage -us -uc -b >../build.log 2>&1 || { tail -n 40 ../build.log >&2; exit 1; }
	@mv build/deb/*.deb build/
	@ls build/*.deb
