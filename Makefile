# Sluice: one non-recursive make.  `make help` lists the targets.
#
#   O=DIR         where everything that is built goes (default build, build/san-X with SAN=X)
#   CC=gcc|clang  compiler of the user-space programs
#   SAN=address   AddressSanitizer and UndefinedBehaviorSanitizer;  SAN=thread  ThreadSanitizer
#   V=1           print the commands

.DEFAULT_GOAL := all
SHELL         := /bin/bash
MAKEFLAGS     += --no-builtin-rules
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:

ifeq ($(origin CC),default)
CC := gcc
endif
AR      ?= ar
O       ?= build$(if $(SAN),/san-$(SAN))
PREFIX  ?= /usr/local
DESTDIR ?=
PYTHON  ?= /usr/bin/python3
BPF_CC  ?= $(firstword $(foreach c,clang-19 clang-16 clang-14 clang,$(if $(shell command -v $(c)),$(c))))
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/local/sbin/bpftool) bpftool)

Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '  %-8s %s\n' '$(1)' '$(2)';)

# ---------------------------------------------------------------- flags

PKGS := libbpf libxdp libzstd libprotobuf-c rdkafka yaml-0.1 libmicrohttpd jansson libisal libcurl

# Asked once, and only by targets that compile.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $(shell pkg-config --libs $(PKGS)))$(PKG_LIBS)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
        -Wwrite-strings -Wundef -Wvla -Wno-unused-parameter -Wno-missing-field-initializers
OPT  ?= -O2 -g
, := ,
SAN_FLAGS := $(if $(filter address,$(SAN)),-fsanitize=address$(,)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer) \
             $(if $(filter thread,$(SAN)),-fsanitize=thread -fno-omit-frame-pointer)

CPPFLAGS_ALL = -D_GNU_SOURCE -I. -Iuser -I$(O)/gen $(CPPFLAGS)
# No fused multiply-add: a detector's state and a window's bytes are the same on every machine.
CFLAGS_ALL   = -std=gnu17 -ffp-contract=off $(OPT) $(WARN) $(SAN_FLAGS) -pthread $(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL  = $(SAN_FLAGS) -pthread $(LDFLAGS)
LIBS_ALL     = $(PKG_LIBS) -lroaring -lm

# ---------------------------------------------------------------- what there is

MODULES  := base config observe codec journal stream net analytics alerts
PROGRAMS := gateway regional aggregator ctl
bin_of    = $(O)/bin/$(if $(filter ctl,$(1)),sluice,sluice-$(1))
BINS     := $(foreach p,$(PROGRAMS),$(if $(wildcard user/$(p)/main.c),$(call bin_of,$(p))))

LIB_SRC   := $(wildcard $(foreach m,$(MODULES),user/$(m)/*.c))
# telemetry.proto has proto3 `optional`, which protobuf-c 1.4 refuses; user/codec/telemetry.c reads it by hand.
PROTOS    := proto/envelope.proto proto/delta.proto
PROTO_GEN := $(PROTOS:proto/%.proto=$(O)/gen/proto/%.pb-c.c)
BPF_SRC   := $(wildcard bpf/*.bpf.c tests/bench/*.bpf.c)
SKELS     := $(BPF_SRC:%.bpf.c=$(O)/gen/%.skel.h)
LIB_OBJ   := $(LIB_SRC:%.c=$(O)/obj/%.o) $(PROTO_GEN:%.c=%.o)
LIB       := $(O)/libsluice.a

UNIT_SRC  := $(wildcard tests/unit/*/test_*.c tests/bpf/test_*.c)
UNIT_BINS := $(UNIT_SRC:%.c=$(O)/%)
# What tests/bench/tunable.py loads: the detector with constants that can be set.
TUNABLE   := $(O)/tests/bench/libdetector_tunable.so
BENCH_SRC := $(filter-out %.bpf.c %_tunable.c,$(wildcard tests/bench/*.c))
BENCH_BINS := $(BENCH_SRC:%.c=$(O)/%) $(TUNABLE)
FUZZ_SRC  := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BINS := $(FUZZ_SRC:%.c=$(O)/%)

prog_objs = $(patsubst %.c,$(O)/obj/%.o,$(filter-out user/$(1)/main.c,$(wildcard user/$(1)/*.c)))

# ---------------------------------------------------------------- targets for people

.PHONY: all help deps demo check unit bench fuzz install uninstall clean tests vectors
all: $(O)/.deps $(BINS)  ## programs into $(O)/bin (default)

help:  ## this list
	@echo 'Sluice: telemetry from the NIC to a global window.'; echo
	@grep -hE '^[a-z]+:.*  ## ' Makefile | sort | sed -E 's/^([a-z]+):.*  ## (.*)/  make \1\t\2/' | expand -t 18
	@echo; sed -n '3,6s/^# *//p' Makefile

deps:  ## install what demo and check need (says what and why first)
	$(Q)deploy/deps.sh install build demo check

demo:  ## three regions on this machine, live (DEMO_ARGS="--seconds 90")
	$(Q)deploy/deps.sh install build demo
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(O)/bin/sluice demo $(DEMO_ARGS)

check:  ## every test; ends with "N passed, N failed, N skipped"
	$(Q)deploy/deps.sh install build demo check
	$(Q)$(PYTHON) tests/run.py --build $(O) $(CHECK_ARGS)

unit: $(O)/.deps $(UNIT_BINS) $(BINS)  ## unit and bpf tests of this build only
	$(Q)$(PYTHON) tests/run.py --build $(O) --only unit

tests: $(O)/.deps $(UNIT_BINS) $(BINS)

bench: $(O)/.deps $(BENCH_BINS) $(BINS)  ## benchmarks (BENCH=name for one); tables and build/bench/*.jsonl
	$(Q)$(PYTHON) tests/bench/run.py --build $(O) $(if $(BENCH),--only $(BENCH)) $(BENCH_ARGS)

fuzz: $(O)/.deps $(FUZZ_BINS)  ## fuzz targets (needs CC=clang; `make check` runs them for a short while)

install: all  ## programs and sample configurations under PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/sluice
	install -m 755 $(BINS) $(DESTDIR)$(PREFIX)/bin/
	$(if $(wildcard deploy/samples/*.yaml),install -m 644 deploy/samples/*.yaml $(DESTDIR)$(PREFIX)/share/sluice/)

uninstall:  ## what install put there
	rm -f $(foreach b,$(notdir $(BINS)),$(DESTDIR)$(PREFIX)/bin/$(b))
	rm -rf $(DESTDIR)$(PREFIX)/share/sluice

clean:  ## everything that was built
	rm -rf $(O)

# ---------------------------------------------------------------- rules

# Missing packages are named once, before the first compiler error.
$(O)/.deps: deploy/deps.sh deploy/packages.tsv
	$(Q)deploy/deps.sh verify build
	$(Q)mkdir -p $(@D) && touch $@

$(O)/gen/proto/%.pb-c.c $(O)/gen/proto/%.pb-c.h: proto/%.proto | $(O)/.deps
	$(call say,PROTOC,$<)
	$(Q)mkdir -p $(@D) && protoc --plugin=protoc-gen-c=$$(command -v protoc-gen-c) --proto_path=. --c_out=$(O)/gen $<

$(O)/gen/proto/%.o: $(O)/gen/proto/%.c
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(O)/gen/%.o: %.bpf.c | $(O)/.deps
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D) && $(BPF_CC) -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter \
		-D__TARGET_ARCH_x86 -I. -Ivmlinux $(shell pkg-config --cflags libbpf 2>/dev/null) -MMD -MP -MT $@ -MF $@.d -c -o $@ $<

$(O)/gen/%.skel.h: $(O)/gen/%.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $(subst .,_,$(notdir $*))_bpf > $@

# Once for each value of each metric of each device.
$(O)/obj/user/analytics/%.o: OPT = -O3 -g

$(O)/obj/%.o: %.c | $(O)/.deps $(PROTO_GEN:%.c=%.h) $(SKELS)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# Its assembler takes the page in.
$(O)/obj/user/observe/dashboard.o: user/observe/dashboard.html

$(LIB): $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

define program
$(call bin_of,$(1)): $(O)/obj/user/$(1)/main.o $(call prog_objs,$(1)) $(LIB)
	$$(call say,LINK,$$@)
	$$(Q)mkdir -p $$(@D) && $$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $$(LIBS_ALL)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

# A program's unit tests link its objects without main; a module's tests just the library.
define unit_of_program
$(O)/tests/unit/$(1)/test_%: $(O)/obj/tests/unit/$(1)/test_%.o $(call prog_objs,$(1)) $(LIB)
	$$(call say,LINK,$$@)
	$$(Q)mkdir -p $$(@D) && $$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $$(LIBS_ALL) -lcunit -lcrypto
endef
$(foreach p,$(PROGRAMS),$(eval $(call unit_of_program,$(p))))

$(O)/tests/unit/%: $(O)/obj/tests/unit/%.o $(LIB)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_ALL) -lcunit -lcrypto

$(O)/tests/bpf/%: $(O)/obj/tests/bpf/%.o $(LIB)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_ALL) -lcunit -lcrypto

$(O)/tests/bench/%: $(O)/obj/tests/bench/%.o $(LIB)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_ALL)

TUNABLE_SRC := tests/bench/detector_tunable.c user/analytics/season.c user/analytics/shape.c user/analytics/tails.c user/base/macros.c
$(TUNABLE): $(TUNABLE_SRC) $(wildcard user/analytics/detector.c user/analytics/*.h user/analytics/*.def) | $(O)/.deps
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -DDETECTOR_TUNABLE -fPIC -shared -o $@ $(TUNABLE_SRC) -lm

# A program's parsers are fuzzed by tests/fuzz/fuzz_PROGRAM_X.c.
define fuzz_of_program
$(O)/tests/fuzz/fuzz_$(1)_%: $(O)/obj/tests/fuzz/fuzz_$(1)_%.o $(call prog_objs,$(1)) $(LIB)
	$$(call say,LINK,$$@)
	$$(Q)mkdir -p $$(@D) && $$(CC) $$(LDFLAGS_ALL) -fsanitize=fuzzer -o $$@ $$^ $$(LIBS_ALL)
endef
$(foreach p,$(PROGRAMS),$(eval $(call fuzz_of_program,$(p))))

$(O)/tests/fuzz/%: $(O)/obj/tests/fuzz/%.o $(LIB)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(LIBS_ALL)

-include $(shell find $(O) -name '*.d' 2>/dev/null)
