# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
# `make` builds into $(BUILD); `make deps` installs what is missing; demo, test and bench do both.

BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
LIBDIR  ?= $(PREFIX)/lib
MANDIR  ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
VERSION := 0.1.0

CC        ?= cc
BPF_CLANG ?= $(firstword $(foreach c,clang-19 clang,$(shell command -v $(c))))
BPFTOOL   ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)

WARN   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter
CFLAGS ?= -O2 -g
PG_CFLAGS := -std=gnu11 $(WARN) -Iinclude -Iuser/lib -Iuser/decode -I$(BUILD)/bpf -D_GNU_SOURCE \
	-DPG_VERSION='"$(VERSION)"' -MMD -MP -fPIC -fvisibility=hidden
SAN    := -O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
BPF_CFLAGS := -O2 -g -Wall -Wextra -Wno-unused-parameter -target bpf -mcpu=v3 -Iinclude -Ibpf \
	-I/usr/include/$(shell uname -m)-linux-gnu -MMD -MP

LIB_LIBS   := -lcrypto $(if $(filter x86_64,$(shell uname -m)),-lIPSec_MB)
AGENT_LIBS := -lssl -ljwt -lxdp -lbpf -lmicrohttpd -ljansson -lyaml -lsqlite3 -lmnl -lpthread
CLI_LIBS   := -lssl -lpcap -ljwt -lcurl -ljansson -lbpf -lyaml -lncurses -ltinfo -lpthread -lm

LIB_SRC   := $(wildcard user/lib/*.c)
DECODE_SRC := $(wildcard user/decode/*.c)
AGENT_SRC := $(wildcard user/agent/*.c)
CLI_SRC   := $(wildcard user/cli/*.c)
BPF_SRC   := $(wildcard bpf/*.bpf.c)
UNIT_SRC  := $(wildcard tests/unit/test_*.c)
PROG_SRC  := $(wildcard tests/prog/test_*.c)
PROG_BPF  := $(wildcard tests/prog/*.bpf.c) $(wildcard tests/bench/*.bpf.c)

LIB_OBJ   := $(LIB_SRC:user/%.c=$(BUILD)/%.o)
DECODE_OBJ := $(DECODE_SRC:user/%.c=$(BUILD)/%.o)
AGENT_OBJ := $(AGENT_SRC:user/%.c=$(BUILD)/%.o)
CLI_OBJ   := $(CLI_SRC:user/%.c=$(BUILD)/%.o)
# agent and CLI read the configuration and judge tokens; a client that links the shared library has
# neither
CONFIG_OBJ := $(addprefix $(BUILD)/lib/,config.o config_read.o config_yaml.o read_file.o \
	secret_file.o token.o)
SKELS     := $(BPF_SRC:bpf/%.bpf.c=$(BUILD)/bpf/%.skel.h)
TEST_SKELS := $(patsubst tests/%.bpf.c,$(BUILD)/tests/%.skel.h,$(PROG_BPF))
SAN_LIB_OBJ   := $(LIB_SRC:user/%.c=$(BUILD)/san/%.o)
SAN_DECODE_OBJ := $(DECODE_SRC:user/%.c=$(BUILD)/san/%.o)
SAN_AGENT_OBJ := $(filter-out $(BUILD)/san/agent/main.o,$(AGENT_SRC:user/%.c=$(BUILD)/san/%.o))
SAN_CLI_OBJ   := $(filter-out $(BUILD)/san/cli/main.o,$(CLI_SRC:user/%.c=$(BUILD)/san/%.o))
UNIT_BIN  := $(UNIT_SRC:tests/%.c=$(BUILD)/tests/%)
NET_BIN   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(filter-out %/deny_bpf.c,$(wildcard tests/net/*.c))) \
	$(BUILD)/tests/net/deny_bpf.so
PROG_BIN  := $(PROG_SRC:tests/%.c=$(BUILD)/tests/%)

# quiet unless V=1: one short line a file
Q   := $(if $(V),,@)
say = $(if $(V),@:,@printf '  %-6s %s\n')

.PHONY: all deps check-tools test demo bench install clean format docs tests
.SECONDARY:
.DELETE_ON_ERROR:

all: check-tools $(BUILD)/packgated $(BUILD)/packgate $(BUILD)/libpackgate.a $(BUILD)/libpackgate.so

# Names the missing package instead of failing in the middle of a compile.
check-tools:
	@tests/harness/packages --check

deps:
	@tests/harness/packages --install $(BUILD)

# --- library, agent, CLI -------------------------------------------------------------------------
$(BUILD)/libpackgate.a: $(LIB_OBJ)
	@rm -f $@
	$(say) AR $@
	$(Q)ar rcs $@ $^

$(BUILD)/libpackgate.so: $(filter-out $(CONFIG_OBJ),$(LIB_OBJ)) user/lib/libpackgate.map
	$(say) CC $@
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,libpackgate.so.0 \
		-Wl,--version-script=user/lib/libpackgate.map -Wl,--no-undefined \
		-o $@ $(filter %.o,$^) $(LIB_LIBS)

$(BUILD)/packgated: $(AGENT_OBJ) $(BUILD)/libpackgate.a
	$(say) CC $@
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIB_LIBS) $(AGENT_LIBS)

$(BUILD)/packgate: $(CLI_OBJ) $(DECODE_OBJ) $(BUILD)/libpackgate.a
	$(say) CC $@
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIB_LIBS) $(CLI_LIBS)

$(BUILD)/%.o: user/%.c
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CFLAGS) $(PG_CFLAGS) -c -o $@ $<

$(BUILD)/san/%.o: user/%.c
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(SAN) $(PG_CFLAGS) -c -o $@ $<

$(AGENT_OBJ) $(SAN_AGENT_OBJ): | $(SKELS)

# --- BPF -----------------------------------------------------------------------------------------
$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(say) BPF $@
	$(Q)$(BPF_CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(say) SKEL $@
	$(Q)$(BPFTOOL) gen skeleton $< name $(subst -,_,$*)_bpf > $@

$(BUILD)/tests/%.bpf.o: tests/%.bpf.c
	@mkdir -p $(@D)
	$(say) BPF $@
	$(Q)$(BPF_CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(BUILD)/tests/%.skel.h: $(BUILD)/tests/%.bpf.o
	$(say) SKEL $@
	$(Q)$(BPFTOOL) gen skeleton $< name $(notdir $*)_bpf > $@

# --- tests ---------------------------------------------------------------------------------------
$(BUILD)/san/libpackgate.a: $(SAN_LIB_OBJ)
	@rm -f $@
	$(say) AR $@
	$(Q)ar rcs $@ $^

$(BUILD)/san/libdecode.a: $(SAN_DECODE_OBJ)
	@rm -f $@
	$(say) AR $@
	$(Q)ar rcs $@ $^

$(BUILD)/san/libagent.a: $(SAN_AGENT_OBJ)
	@rm -f $@
	$(say) AR $@
	$(Q)ar rcs $@ $^

$(BUILD)/san/libcli.a: $(SAN_CLI_OBJ)
	@rm -f $@
	$(say) AR $@
	$(Q)ar rcs $@ $^

# A unit test is one program over sanitized code: library, decoder, the modules of agent and
# command line.
SAN_LIBS := $(addprefix $(BUILD)/san/lib,agent.a cli.a decode.a packgate.a)
$(BUILD)/tests/unit/%: tests/unit/%.c $(SAN_LIBS)
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(SAN) $(PG_CFLAGS) -Iuser/agent -Itests -o $@ $< $(SAN_LIBS) -lcmocka \
		$(LIB_LIBS) $(AGENT_LIBS) $(CLI_LIBS)

# A program test loads BPF objects; it is built without sanitizers.
$(BUILD)/tests/prog/%: tests/prog/%.c $(BUILD)/libpackgate.a $(SKELS) $(TEST_SKELS)
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CFLAGS) $(PG_CFLAGS) -I$(BUILD)/tests/prog -Itests -o $@ $< $(BUILD)/libpackgate.a \
		-lcmocka -ljansson $(LIB_LIBS) -lbpf

# What a network test runs beside the agent.
$(BUILD)/tests/net/%_flood: tests/net/%_flood.c $(TEST_SKELS)
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CFLAGS) $(PG_CFLAGS) -I$(BUILD)/tests/bench -Itests -o $@ $< -lbpf -lpthread

# What a network test puts between the agent and libc.
$(BUILD)/tests/net/preload: tests/net/preload.c
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CFLAGS) $(PG_CFLAGS) -shared -fPIC -o $@ $<

# Preloaded into an agent: what a kernel refuses.
$(BUILD)/tests/net/deny_bpf.so: tests/net/deny_bpf.c
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CFLAGS) -fPIC -shared -o $@ $< -ldl

NET_OBJ := $(addprefix $(BUILD)/agent/,tcpq.o diag.o netns.o netstat.o owners.o \
	listeners.o listener_totals.o log.o)

$(BUILD)/tests/net/%: tests/net/%.c $(NET_OBJ) $(BUILD)/libpackgate.a
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CFLAGS) $(PG_CFLAGS) -Iuser/agent -o $@ $^ -lbpf -ljansson -lmnl -lpthread

tests: all $(UNIT_BIN) $(PROG_BIN) $(NET_BIN)

test: deps
	@$(MAKE) --no-print-directory -j2 tests
	@tests/harness/run $(BUILD)

# --- other kernels: the program tests in emulated machines, never part of test --------------------
.PHONY: kernels
kernels: deps
	@tests/harness/packages --kernels $(BUILD)
	@$(MAKE) --no-print-directory -j2 $(PROG_BIN)
	@tests/kernels/run $(BUILD)

# --- fuzz: libFuzzer over one target, for a while ------------------------------------------------
# make fuzz TARGET=decode SECONDS=60; the targets are tests/fuzz/fuzz_TARGET.c
FUZZ_CLANG   ?= $(BPF_CLANG)
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
SECONDS      ?= 60
FUZZ_FLAGS   := -O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer \
	-fno-sanitize-recover=undefined
FUZZ_LIBS    := $(addprefix $(BUILD)/fuzz/lib,agent.a decode.a packgate.a)

.PHONY: fuzz check-fuzz
check-fuzz:
	@case " $(FUZZ_TARGETS) " in *" $(or $(TARGET),none) "*) ;; *) \
		echo "usage: make fuzz TARGET=NAME [SECONDS=60]; NAME: $(FUZZ_TARGETS)" >&2; exit 2;; esac
	@mkdir -p $(BUILD)/fuzz
	@echo 'int LLVMFuzzerTestOneInput(const char *d, long n); \
		int LLVMFuzzerTestOneInput(const char *d, long n) { return 0; }' | \
		$(FUZZ_CLANG) -x c -w -fsanitize=fuzzer,address,undefined -o $(BUILD)/fuzz/probe - \
		2>/dev/null || { echo "packgate: $(notdir $(FUZZ_CLANG)) has no libFuzzer here; as root:" \
		"apt-get install $(subst clang,libclang-rt,$(notdir $(FUZZ_CLANG)))-dev" \
		>&2; exit 1; }

fuzz: check-fuzz
	@$(MAKE) --no-print-directory $(BUILD)/fuzz/fuzz_$(TARGET)
	@tests/fuzz/run $(BUILD)/fuzz/fuzz_$(TARGET) $(TARGET) $(SECONDS)

$(BUILD)/fuzz/%.o: user/%.c
	@mkdir -p $(@D)
	$(say) CLANG $@
	$(Q)$(FUZZ_CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(PG_CFLAGS) -c -o $@ $<

$(BUILD)/fuzz/libpackgate.a: $(LIB_SRC:user/%.c=$(BUILD)/fuzz/%.o)
$(BUILD)/fuzz/libdecode.a: $(DECODE_SRC:user/%.c=$(BUILD)/fuzz/%.o)
$(BUILD)/fuzz/libagent.a: $(filter-out $(BUILD)/fuzz/agent/main.o,$(AGENT_SRC:user/%.c=$(BUILD)/fuzz/%.o))
$(AGENT_SRC:user/%.c=$(BUILD)/fuzz/%.o): | $(SKELS)

$(FUZZ_LIBS):
	@rm -f $@
	$(say) AR $@
	$(Q)ar rcs $@ $^

$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_LIBS)
	$(say) CLANG $@
	$(Q)$(FUZZ_CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer $(PG_CFLAGS) -Iuser/agent -Itests -o $@ $< \
		$(FUZZ_LIBS) $(LIB_LIBS) $(AGENT_LIBS)

# --- bench: ratios, never a test -----------------------------------------------------------------
$(BUILD)/tests/bench/bench_gate: tests/bench/bench_gate.c $(BUILD)/libpackgate.a $(SKELS) $(TEST_SKELS)
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CFLAGS) $(PG_CFLAGS) -I$(BUILD)/tests/bench -Itests -o $@ $< \
		$(BUILD)/libpackgate.a $(LIB_LIBS) -ljansson -lbpf -lm

$(BUILD)/tests/bench/bench_e2e: $(wildcard tests/bench/e2e*.c) $(BUILD)/libpackgate.a $(TEST_SKELS)
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CFLAGS) $(PG_CFLAGS) -I$(BUILD)/tests/bench -Itests -o $@ \
		$(wildcard tests/bench/e2e*.c) $(BUILD)/libpackgate.a $(LIB_LIBS) -ljansson -lbpf \
		-lpthread -lm

$(BUILD)/tests/bench/bench_shield: tests/bench/bench_shield.c $(SKELS) $(TEST_SKELS)
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CFLAGS) $(PG_CFLAGS) -I$(BUILD)/tests/bench -Itests -o $@ $< -lbpf

bench: deps
	@$(MAKE) --no-print-directory -j2 all $(BUILD)/tests/bench/bench_gate \
		$(BUILD)/tests/bench/bench_shield $(BUILD)/tests/bench/bench_e2e \
		$(BUILD)/tests/net/shakehand_flood
	@tests/bench/run $(BUILD)

demo: deps
	@$(MAKE) --no-print-directory -j2 all
	@$(BUILD)/packgate demo

# what the programs say about themselves; the manual pages' own sentences stand in docs/man
docs: $(BUILD)/packgated $(BUILD)/packgate
	$(BUILD)/packgated --print-metrics-doc > docs/metrics.md
	PG_BUILD=$(BUILD) tests/check/man --write

# For clients and for applications behind an agent; the other headers are the project's own.
PUBLIC_H := $(addprefix include/packgate/,packgate.h message.h public.h app.h)

install: all
	install -D -m 755 $(BUILD)/packgated $(DESTDIR)$(PREFIX)/bin/packgated
	install -D -m 755 $(BUILD)/packgate $(DESTDIR)$(PREFIX)/bin/packgate
	install -D -m 644 $(BUILD)/libpackgate.a $(DESTDIR)$(LIBDIR)/libpackgate.a
	install -D -m 755 $(BUILD)/libpackgate.so $(DESTDIR)$(LIBDIR)/libpackgate.so.$(VERSION)
	ln -sf libpackgate.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libpackgate.so.0
	ln -sf libpackgate.so.0 $(DESTDIR)$(LIBDIR)/libpackgate.so
	install -d $(DESTDIR)$(PREFIX)/include/packgate $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 644 $(PUBLIC_H) $(DESTDIR)$(PREFIX)/include/packgate
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' \
		-e 's|@PRIVATE@|$(filter-out -lcrypto,$(LIB_LIBS))|' deploy/packgate.pc.in \
		> $(DESTDIR)$(LIBDIR)/pkgconfig/packgate.pc
	install -D -m 644 deploy/packgate.yaml $(DESTDIR)$(PREFIX)/share/packgate/packgate.yaml
	install -D -m 644 -t $(DESTDIR)$(MANDIR)/man1 docs/man/packgate.1
	install -D -m 644 -t $(DESTDIR)$(MANDIR)/man3 docs/man/libpackgate.3
	install -D -m 644 -t $(DESTDIR)$(MANDIR)/man5 docs/man/packgate.yaml.5
	install -D -m 644 -t $(DESTDIR)$(MANDIR)/man8 docs/man/packgated.8
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|/usr/local/|$(PREFIX)/|' deploy/systemd/packgated.service \
		> $(DESTDIR)$(UNITDIR)/packgated.service
	chmod 644 $(DESTDIR)$(UNITDIR)/packgated.service

# Debian packages, hardened as Debian's own, into $(BUILD)/deb
.PHONY: deb
deb: deps
	@deploy/debian/build $(BUILD)/deb

clean:
	rm -rf $(BUILD)

format:
	clang-format-14 -i $$(git ls-files '*.c' '*.h')

-include $(shell find $(BUILD) -name '*.d' -type f 2>/dev/null)
