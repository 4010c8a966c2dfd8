# webhook: a PostgreSQL extension in C++20, built by PGXS.
#
#   make && make install && make installcheck     as with any extension; PG_CONFIG= and CXX= are honoured
#   make help                                     all targets

EXTENSION = webhook
# Not VERSION: PGXS sets that to the server's.
EXTVERSION = 1.1
MODULE_big = webhook
DATA_built = webhook--$(EXTVERSION).sql
# From each released version to the next: docs/architecture.md, "Versions".
DATA = $(sort $(wildcard sql/updates/webhook--*--*.sql))
EXTRA_CLEAN = build test/expected results

# The parts of the script that CREATE EXTENSION runs, in that order.
SQL_PARTS = $(patsubst %,sql/parts/%.sql, \
	schema library tenancy event_types \
	configurations configuration_checks filters secrets configuration_secrets \
	wire_format instance \
	events deliveries logs statistics history replays replication \
	watches watch_arguments watch watch_crm publication \
	node_source node_differences nodes node_check node_resync sharing sharing_reports sharing_takeover sharing_setup \
	redelivery replay_jobs test explain check health metrics \
	api api_session api_webhooks api_events api_logs api_deliveries api_why api_sending api_replays api_history \
	grant closing)

SOURCES = $(sort $(wildcard src/core/*.cpp src/http/*.cpp src/pg/*.cpp src/pg/*/*.cpp src/worker/*.cpp)) src/module.cpp
OBJS = $(SOURCES:.cpp=.o)
EXTRA_CLEAN += $(SOURCES:.cpp=.d)

REGRESS = $(sort $(notdir $(basename $(wildcard test/sql/*.sql))))
REGRESS_OPTS = --inputdir=test --load-extension=plpgsql

PG_CONFIG ?= pg_config
PKG_CONFIG ?= pkg-config

# --- what must be there -------------------------------------------------------------------------------------------

CURL_VERSION_MIN = 7.87.0  # CURLOPT_QUICK_EXIT
PG_VERSION_MIN = 15
PG_VERSION_MAX = 18

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
NEEDS_NO_BUILD = clean deb dist distclean help unit-clean
ifneq ($(filter-out $(NEEDS_NO_BUILD),$(or $(MAKECMDGOALS),all)),)
ifeq ($(wildcard $(PGXS)),)
$(error the server headers of PostgreSQL are missing: install postgresql-server-dev-$(PG_VERSION_MIN) (or newer), or name another pg_config with PG_CONFIG=)
endif
PG_MAJOR := $(shell $(PG_CONFIG) --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
ifeq ($(shell test $(PG_MAJOR) -ge $(PG_VERSION_MIN) && echo yes),)
$(error PostgreSQL $(PG_MAJOR) is too old: webhook needs $(PG_VERSION_MIN) or newer)
endif
ifneq ($(shell test $(PG_MAJOR) -le $(PG_VERSION_MAX) && echo yes),yes)
$(error PostgreSQL $(PG_MAJOR) is too new: this version of webhook is for $(PG_VERSION_MIN) to $(PG_VERSION_MAX))
endif
ifneq ($(shell $(PKG_CONFIG) --atleast-version=$(firstword $(CURL_VERSION_MIN)) libcurl && echo yes),yes)
$(error libcurl $(firstword $(CURL_VERSION_MIN)) or newer is missing: install libcurl4-openssl-dev and pkg-config)
endif
ifneq ($(shell $(PKG_CONFIG) --atleast-version=3.0 libcrypto && echo yes),yes)
$(error OpenSSL 3.0 or newer is missing: install libssl-dev)
endif
ifneq ($(filter-out $(SQL_PARTS),$(wildcard sql/parts/*.sql)),)
$(error SQL_PARTS does not list $(filter-out $(SQL_PARTS),$(wildcard sql/parts/*.sql)))
endif
endif

LIBS_CFLAGS := $(shell $(PKG_CONFIG) --cflags libcurl libcrypto 2>/dev/null)
LIBS_LIBS := $(shell $(PKG_CONFIG) --libs libcurl libcrypto 2>/dev/null)

# --- the extension ------------------------------------------------------------------------------------------------

# Designated initializers leave out what has a default.
WARNINGS = -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wunused \
	-Wno-missing-field-initializers
# COPT= has more flags for the compiler, from somebody who makes a package. PGXS of PostgreSQL 15 gives it to C alone.
# A failed assertion in a backend takes the whole server down: they are for the unit tests.
PG_CPPFLAGS = -DNDEBUG -Isrc $(LIBS_CFLAGS) -DWEBHOOK_VERSION='"$(EXTVERSION)"'
# -isystem: clang in C++20 rejects `register` in the headers of PostgreSQL 15, and their warnings are not ours. PGXS adds
# flags of the compiler that built PostgreSQL, and clang does not know all of g++'s; nor does it see that HOLD_INTERRUPTS
# is a system header's.
PG_CXXFLAGS = -std=c++20 $(WARNINGS) -fvisibility=hidden -MMD -MP \
	$(if $(findstring clang,$(CXX)),-Wno-unknown-warning-option -Wno-deprecated-volatile) \
	-isystem $(shell $(PG_CONFIG) --includedir-server 2>/dev/null) $(COPT)
SHLIB_LINK = $(LIBS_LIBS) -lstdc++
# Nothing of ours could be inlined into a query: no LLVM bitcode.
override with_llvm = no

# `make install prefix=DIR` installs into DIR/share/extension and DIR/lib, for extension_control_path and
# dynamic_library_path. PGXS alone would take the server's own folders if they, as Debian's, do not lie below one prefix.
ifeq ($(origin prefix),command line)
override datadir := $(prefix)/share
override pkglibdir := $(prefix)/lib
override undefine prefix
endif

# Goals that build nothing work without PostgreSQL.
ifneq ($(wildcard $(PGXS)),)
include $(PGXS)
endif

-include $(SOURCES:.cpp=.d)

# What states the version.
src/core/version.o src/module.o: Makefile

# The library as that of another version, for test/t/035_extension_update.pl: `make build/versions/0.9/webhook.so`.
build/versions/%/webhook.so: $(OBJS) src/core/version.cpp
	@mkdir -p $(@D)
	$(COMPILE.cc) -UWEBHOOK_VERSION -DWEBHOOK_VERSION='"$*"' -o $(@D)/version.o src/core/version.cpp
	$(LINK.shared) -o $@ $(filter-out src/core/version.o,$(OBJS)) $(@D)/version.o $(LDFLAGS) $(LDFLAGS_SL) $(SHLIB_LINK)

# An empty line separates the parts. The Makefile has their order.
webhook--$(EXTVERSION).sql: $(SQL_PARTS) Makefile
	awk 'FNR == 1 && NR > 1 { print "" } { print }' $(SQL_PARTS) >$@

# PostgreSQL 15's pg_regress looks for the expected output below --inputdir.
installcheck: test/expected
test/expected:
	ln -sfn ../expected $@

# --- the settings page's server: a program of its own, which is no part of the extension ------------------------------

CONSOLE_DIR = build/console
CONSOLE_SOURCES = $(sort $(wildcard console/*.cpp)) src/core/utf8.cpp
# Without sockets, files and the database: what the unit tests and the fuzz targets take.
CONSOLE_PURE = $(patsubst %,console/%.cpp,access api_error base64url call content_coding functions json jwt log options random route sign_in)
CONSOLE_OBJS = $(CONSOLE_SOURCES:%.cpp=$(CONSOLE_DIR)/%.o)
CONSOLE_PAGE = $(shell find console/page -type f 2>/dev/null)
CONSOLE_INCLUDES = -I. -Isrc $(shell $(PKG_CONFIG) --cflags libpq libssl 2>/dev/null)
CONSOLE_LIBS = $(shell $(PKG_CONFIG) --libs libpq libssl libcrypto 2>/dev/null) -lpthread
CONSOLE_FLAGS = -std=c++20 -O2 -g $(WARNINGS) $(CONSOLE_INCLUDES) -DWEBHOOK_VERSION='"$(EXTVERSION)"' \
	-D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE -MMD -MP $(COPT)
CONSOLE_LDFLAGS =

console: $(CONSOLE_DIR)/webhook-console

$(CONSOLE_DIR)/webhook-console: $(CONSOLE_OBJS) $(CONSOLE_DIR)/page.o
	$(CXX) -pie -Wl,-z,relro,-z,now $(CONSOLE_LDFLAGS) -o $@ $^ $(CONSOLE_LIBS)

$(CONSOLE_DIR)/page.S: console/embed_page $(CONSOLE_PAGE)
	@mkdir -p $(@D)
	console/embed_page console/page $(CONSOLE_DIR)/page >$@.new && mv $@.new $@

$(CONSOLE_DIR)/page.o: $(CONSOLE_DIR)/page.S
	$(CXX) -c -o $@ $<

$(CONSOLE_DIR)/%.o: %.cpp
	@mkdir -p $(@D)
	$(CXX) $(CONSOLE_FLAGS) -c -o $@ $<

-include $(CONSOLE_OBJS:.o=.d)

# --- unit tests: without PostgreSQL's include path, under ASan and UBSan ---------------------------------------------

UNIT_DIR = build/unit
UNIT_SOURCES = $(sort $(wildcard src/core/*.cpp src/http/*.cpp src/worker/*.cpp test/unit/*.cpp console/test/*.cpp)) \
	$(CONSOLE_PURE)
UNIT_OBJS = $(UNIT_SOURCES:%.cpp=$(UNIT_DIR)/%.o)
UNIT_FLAGS = -std=c++20 -g -O1 $(WARNINGS) -I. -Isrc -Itest/unit $(LIBS_CFLAGS) -DWEBHOOK_VERSION='"$(EXTVERSION)"' \
	-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -MMD -MP

unit: $(UNIT_DIR)/webhook_test
	$(UNIT_DIR)/webhook_test $(UNIT_ARGS)

$(UNIT_DIR)/webhook_test: $(UNIT_OBJS)
	$(CXX) -fsanitize=address,undefined -o $@ $^ -lgtest -lgmock -lgtest_main $(LIBS_LIBS) -lssl -lpthread

$(UNIT_DIR)/%.o: %.cpp
	@mkdir -p $(@D)
	$(CXX) $(UNIT_FLAGS) -c -o $@ $<

-include $(UNIT_OBJS:.o=.d)

unit-clean:
	rm -rf $(UNIT_DIR)

# --- fuzzing: clang's libFuzzer with ASan and UBSan, whatever the compiler ---------------------------------------------

FUZZ_CXX ?= clang++
FUZZ_SECONDS ?= 60
FUZZ_JOBS ?= 2
FUZZ_DIR = build/fuzz
FUZZ_TARGETS = $(sort $(basename $(notdir $(wildcard test/fuzz/*.cpp))))
FUZZ_TESTED = $(sort $(wildcard src/core/*.cpp)) src/http/url.cpp $(CONSOLE_PURE)
FUZZ_OBJS = $(FUZZ_TESTED:%.cpp=$(FUZZ_DIR)/%.o) $(FUZZ_TARGETS:%=$(FUZZ_DIR)/test/fuzz/%.o)
FUZZ_FLAGS = -std=c++20 -g -O1 $(WARNINGS) -I. -Isrc $(LIBS_CFLAGS) -DWEBHOOK_VERSION='"$(EXTVERSION)"' -fno-sanitize-recover=all -fno-omit-frame-pointer -MMD -MP

# The same for each target: a line "ok NAME" or "not ok NAME", the log in $(FUZZ_DIR)/NAME.log, and with a finding the
# input that shows it in $(FUZZ_DIR)/NAME-crash-….
fuzz: fuzz-build
	@echo $(FUZZ_TARGETS) | xargs -n 1 -P $(FUZZ_JOBS) test/fuzz/run $(FUZZ_DIR) $(FUZZ_SECONDS)

fuzz-build: $(FUZZ_TARGETS:%=$(FUZZ_DIR)/%)

.SECONDARY: $(FUZZ_OBJS)
$(FUZZ_DIR)/%: $(FUZZ_DIR)/test/fuzz/%.o $(FUZZ_TESTED:%.cpp=$(FUZZ_DIR)/%.o)
	$(FUZZ_CXX) -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIBS_LIBS)

$(FUZZ_DIR)/%.o: %.cpp
	@mkdir -p $(@D)
	$(FUZZ_CXX) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<

-include $(FUZZ_OBJS:.o=.d)

# --- packages ------------------------------------------------------------------------------------------------------

deb:
	dev/deb

dist:
	dev/dist

# --- the rest -------------------------------------------------------------------------------------------------------

tap:
	dev/test tap

model:
	dev/test model

lint:
	dev/lint

demo:
	dev/demo

format:
	clang-format -i $$(git ls-files '*.h' '*.cpp')

help:
	@echo 'make               build the extension (PG_CONFIG=, CXX=)'
	@echo 'make install       install it into that PostgreSQL, or by prefix=DIR into that folder'
	@echo 'make installcheck  run the SQL tests against a running server that has it (needs pgTAP)'
	@echo "make console       build the settings page's server (build/console/webhook-console)"
	@echo 'make unit          build and run the unit tests (UNIT_ARGS=--gtest_filter=…)'
	@echo 'make fuzz          run the fuzz targets (FUZZ_SECONDS=60 each, FUZZ_JOBS=2 at once)'
	@echo 'make tap           run the TAP tests on clusters of their own'
	@echo 'make model         check the promises among random operations (MODEL_SECONDS=60, MODEL_SEED=)'
	@echo 'make deb           build Debian packages for the PostgreSQL of this release, in build/deb'
	@echo "make dist          make PGXN's archive of what is committed, build/webhook-VERSION.zip"
	@echo 'make lint          clang-format, clang-tidy and the include rules'
	@echo 'make format        reformat the C++ sources'
	@echo 'make demo          rows in, signed webhooks out, in a throw-away cluster'
	@echo 'make clean         remove what was built'

.PHONY: console unit unit-clean fuzz fuzz-build tap model deb dist lint demo format help
.DEFAULT_GOAL := all
