# SPDX-License-Identifier: MIT
# tinyvmm: `make` builds build/tinyvmm; `make help` lists the rest.

MODE    ?= release
OUT     := build/$(MODE)
VERSION := 0.1.0

# What each mode is compiled with. `release` is what users get and what `make` alone builds.
CC_release = gcc
CC_clang   = clang
CC_asan    = clang
CC_fuzz    = clang
CXX_release = g++
CXX_clang   = clang++
CXX_asan    = clang++
CXX_fuzz    = clang++
FLAGS_release = -O2 -D_FORTIFY_SOURCE=2
FLAGS_clang   = -O1
FLAGS_asan    = -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_fuzz    = $(FLAGS_asan) -fsanitize=fuzzer-no-link
CC  := $(CC_$(MODE))
CXX := $(CXX_$(MODE))
$(if $(CC),,$(error MODE=$(MODE): want release, clang, asan or fuzz))

# WERROR=1 in `make check` and CI only, so that a newer compiler never breaks a user's build.
WERROR  ?= 0
COMMON  := -g -I. -DTINYVMM_VERSION='"$(VERSION)"' -D_GNU_SOURCE -fno-common -fno-strict-aliasing \
	   -fstack-protector-strong $(FLAGS_$(MODE)) $(if $(filter 1,$(WERROR)),-Werror) $(EXTRA_CFLAGS)
WARN    := -Wall -Wextra -Wshadow -Wpointer-arith -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough
CFLAGS  := -std=gnu11 $(WARN) -Wstrict-prototypes -Wmissing-prototypes $(COMMON)
# toml++ is used header-only, without exceptions and RTTI: positions and errors work, no C++ run-time library is loaded.
CXXFLAGS := -std=c++17 -DTOML_HEADER_ONLY=1 -DTOML_EXCEPTIONS=0 -fno-exceptions -fno-rtti -Wall -Wextra $(COMMON)
# The C++ library is mostly what nobody calls.
LDFLAGS := $(FLAGS_$(MODE)) -pthread -Wl,--gc-sections
# As archives: what only some verbs or VMs use costs the others no library to load.
LDLIBS  := -l:libjansson.a -l:liburing.a -l:libmd.a -static-libstdc++ -static-libgcc
# Of the program alone: the C++ library names a function of the mathematics library that nobody calls. What is in tests cannot all be had from the archive.
MATH    := -l:libstdc++.a -l:libm.a

FOLDERS := vmm virtio devices display boot
# The window is a program of its own: the monitor links no SDL.
VIEW_SRC := $(addprefix display/view_,main.c sdl.c window.c draw.c input.c import.c)
SRC     := $(filter-out %_test.c %_fuzz.c $(VIEW_SRC),$(sort $(wildcard $(FOLDERS:=/*.c) $(FOLDERS:=/*.cc))))
# They know SDL, or EGL.
VIEW_TESTS := $(addprefix display/view_,input_test.c import_test.c)
TESTS   := $(filter-out $(if $(filter 0,$(SDL)),$(VIEW_TESTS)),$(sort $(wildcard $(FOLDERS:=/*_test.c))))
FUZZ    := $(sort $(wildcard tests/fuzz/*_fuzz.c))
SUPPORT := $(sort $(wildcard tests/support/*.c))
HEADERS := $(sort $(wildcard $(FOLDERS:=/*.h) tests/support/*.h tests/evdev/*.h))

# C++ first: what takes longest must not begin last.
OBJ      := $(patsubst %,$(OUT)/%.o,$(basename $(filter %.cc,$(SRC)) $(filter %.c,$(SRC))))
SUPPORT_OBJ := $(SUPPORT:%.c=$(OUT)/%.o)
LIB_OBJ  := $(filter-out $(OUT)/vmm/main.o,$(OBJ))
VIEW_OBJ := $(VIEW_SRC:%.c=$(OUT)/%.o)
TEST_BIN := $(TESTS:%.c=$(OUT)/%)
FUZZ_BIN := $(FUZZ:%.c=$(OUT)/%)

Q := $(if $(V),,@)
say = $(if $(V),,@echo '  $(1)  $(2)')

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all help clean unit tests fuzzers headers deps flags check-unit-build check-unit check check-strict check-long bench bench-check bench-frames bench-input bench-latency bench-pictures bench-requests bench-instructions run guest-kernel man format format-check tidy install uninstall

# SDL=0: no window. Fuzzers and their libraries want none either.
SDL ?= 1
VIEW := $(if $(filter 0,$(SDL))$(filter fuzz,$(MODE)),,$(OUT)/tinyvmm-view)
all: $(OUT)/tinyvmm $(VIEW)
ifeq ($(MODE),release)
	$(Q)ln -sf release/tinyvmm build/tinyvmm
	$(Q)$(if $(VIEW),ln -sf release/tinyvmm-view build/tinyvmm-view)
endif

help:
	@echo 'make              build/tinyvmm'
	@echo 'make SDL=0        without the window, build/tinyvmm-view, and SDL'
	@echo 'make deps         install what building and testing need (INSTALL=0: only say it)'
	@echo 'make run          a guest shell on this terminal; without one, boot, report, power off'
	@echo 'make check        every test; real guests run in the host VM where there is no KVM'
	@echo 'make check-unit   the tests that need no KVM'
	@echo 'make check-strict the system tests with machine.mmio = "strict"; part of make check-long'
	@echo 'make check-long   what make check leaves out because it takes long or needs large images'
	@echo 'make guest-kernel a small Linux for guests, from source; ten minutes, once'
	@echo 'make man          the manual pages, build/man'
	@echo 'make format       tools/format; make format-check only says what it would do'
	@echo 'make tidy         clang-tidy; minutes'
	@echo 'make bench        beside QEMU in the host VM: exits, system calls, memory; ten minutes'
	@echo 'make bench-check  what a start and a boot cost, against tests/bench/baseline.json; a minute, part of make check'
	@echo 'make bench-frames, bench-input, bench-pictures, bench-requests: what a frame, an input event, a picture of a GPU, a disk request costs'
	@echo 'make bench-latency   how long a key takes to the changed window, beside QEMU'
	@echo 'make bench-instructions: of guest, kernel and monitor: a disk request, and exec to init; ten minutes'
	@echo 'make install      PREFIX=/usr/local DESTDIR='
	@echo 'make clean        remove build/'

# Objects are built all the same; only what main.o leads to is linked.
$(OUT)/tinyvmm: $(OUT)/vmm/main.o $(OUT)/libtinyvmm.a
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(MATH)

$(OUT)/libtinyvmm.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

# Its own objects are looked for first: a missing SDL is said in one line.
SDL_CFLAGS = $(or $(shell pkg-config --cflags sdl2 2> /dev/null),$(error tinyvmm-view needs the headers of SDL: apt-get install libsdl2-dev (or make SDL=0: without a window)))
$(VIEW_OBJ) $(VIEW_TESTS:%.c=$(OUT)/%.o): CFLAGS += $(filter-out -D_REENTRANT,$(SDL_CFLAGS))
$(OUT)/tinyvmm-view: $(VIEW_OBJ) $(OUT)/libtinyvmm.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $$(pkg-config --libs sdl2) -lm

# What only tests need: never in the program.
$(OUT)/libsupport.a: $(SUPPORT_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(TEST_BIN): $(OUT)/%: $(OUT)/%.o $(OUT)/libsupport.a $(OUT)/libtinyvmm.a
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $(filter %.o,$^) $(OUT)/libsupport.a $(OUT)/libtinyvmm.a $(LDLIBS) -lcmocka
$(VIEW_TESTS:%.c=$(OUT)/%): %_test: %.o

$(FUZZ_BIN): $(OUT)/%: $(OUT)/%.o $(OUT)/libsupport.a $(OUT)/libtinyvmm.a
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -fsanitize=fuzzer -o $@ $< $(OUT)/libsupport.a $(OUT)/libtinyvmm.a $(LDLIBS)

# Guest-controlled integers are handled here: no silent conversion.
$(OUT)/virtio/%.o $(OUT)/devices/%.o: CFLAGS += -Wconversion
$(TEST_BIN:=.o): CFLAGS += -Wno-conversion

# libevdev's headers lie in a folder of their own.
$(addprefix $(OUT)/devices/,evdev_lib.o evdev_host.o key_name.o) build/headers/devices/evdev_lib.h.ok: CFLAGS += -isystem /usr/include/libevdev-1.0

$(OUT)/%.o: %.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(OUT)/%.o: %.cc Makefile
	$(call say,CXX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) $(CXXFLAGS) -MMD -MP -c -o $@ $<

# Builds and runs the unit tests of one mode.
unit: $(TEST_BIN)
	$(Q)set -e; for t in $(TEST_BIN); do $$t; done

# Kernels for tests, assembler only, and programs for guests.
GUEST_BIN := $(patsubst tests/guest/%.S,build/guest/%.elf,$(wildcard tests/guest/*.S)) build/guest/kms build/guest/hammer build/guest/tally build/guest/contexts
# And one for a guest that has OpenGL, and its libraries.
GUEST_GL := build/guest/steer
# What sway in a guest needs for its pointer.
GUEST_LINEAR := build/guest/linear.so
# Programs for tests of input devices, on the host and in the guest: they bring their own C library.
EVDEV_SRC := $(sort $(wildcard tests/evdev/*.c))
EVDEV_BIN := build/evdev/uinput build/evdev/evread
# Another viewer than ours, for tests.
VIEWER_CLIENT := build/viewer/client
# And one that imports pictures where they lie: it needs what draws.
VIEWER_IMPORTER := build/viewer/importer
# And one that says when the machine, or its GPU, stands still.
VIEWER_STANDSTILL := build/viewer/standstill
# What a screen of the host's shows.
VIEWER_SCANNED := build/viewer/scanned
# Counts instructions, for a benchmark.
STEPS := build/bench/steps
# Counts bytes that are copied, for another.
COPIES := build/bench/copies.so
# And what OpenGL is asked to read back, copy and draw.
GLCALLS := build/bench/glcalls.so
# Holds the display's thread up, for a test.
STUCK := build/bench/stuck.so
# In virglrenderer's place, for another.
RENDERER := build/bench/libvirglrenderer.so.1
tests: $(TEST_BIN) $(if $(filter release,$(MODE)),$(GUEST_BIN) $(GUEST_GL) $(GUEST_LINEAR) $(EVDEV_BIN) $(VIEWER_CLIENT) $(VIEWER_IMPORTER) $(VIEWER_STANDSTILL) $(VIEWER_SCANNED) $(STEPS) $(COPIES) $(GLCALLS) $(STUCK) $(RENDERER))
$(COPIES) $(GLCALLS) $(STUCK): build/bench/%.so: tests/bench/%.c Makefile
$(RENDERER): tests/bench/renderer.c Makefile
$(COPIES) $(GLCALLS) $(STUCK) $(RENDERER):
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && gcc -std=gnu11 -O2 -g -D_GNU_SOURCE -fno-builtin -fno-tree-loop-distribute-patterns $(WARN) $(if $(filter 1,$(WERROR)),-Werror) -fPIC -shared -o $@ $<
$(VIEWER_CLIENT): tests/viewer/client.c display/viewer_proto.h Makefile
$(STEPS): tests/bench/steps.c Makefile
$(VIEWER_CLIENT) $(STEPS):
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && gcc -std=gnu11 -O2 -g -D_GNU_SOURCE -I. $(WARN) -Wstrict-prototypes -Wmissing-prototypes $(if $(filter 1,$(WERROR)),-Werror) -static -o $@ $<
$(GUEST_GL): tests/guest/steer.c Makefile
	$(call say,GUEST,$@)
	$(Q)mkdir -p $(@D) && gcc -std=gnu11 -O2 -g -D_GNU_SOURCE $(WARN) -Wstrict-prototypes -Wmissing-prototypes $(if $(filter 1,$(WERROR)),-Werror) $$(pkg-config --cflags libdrm) -o $@ $< -lEGL -lGL -lgbm -ldrm
$(GUEST_LINEAR): tests/guest/linear.c Makefile
	$(call say,GUEST,$@)
	$(Q)mkdir -p $(@D) && gcc -std=gnu11 -O2 -D_GNU_SOURCE $(WARN) -Wstrict-prototypes -Wmissing-prototypes $(if $(filter 1,$(WERROR)),-Werror) $$(pkg-config --cflags libdrm) -fPIC -shared -s -o $@ $<
$(VIEWER_IMPORTER): tests/viewer/importer.c display/viewer_proto.h Makefile
$(VIEWER_STANDSTILL): tests/viewer/standstill.c Makefile
$(VIEWER_IMPORTER) $(VIEWER_STANDSTILL):
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && gcc -std=gnu11 -O2 -g -D_GNU_SOURCE -I. $(WARN) -Wstrict-prototypes -Wmissing-prototypes $(if $(filter 1,$(WERROR)),-Werror) $$(pkg-config --cflags libdrm) -o $@ $< -lEGL -lGL -lgbm
$(VIEWER_SCANNED): tests/viewer/scanned.c Makefile
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && gcc -std=gnu11 -O2 -g -D_GNU_SOURCE $(WARN) -Wstrict-prototypes -Wmissing-prototypes $(if $(filter 1,$(WERROR)),-Werror) $$(pkg-config --cflags libdrm) -o $@ $< -lgbm -ldrm
$(EVDEV_BIN): build/evdev/%: tests/evdev/%.c tests/evdev/caps.c tests/evdev/frames.c $(wildcard tests/evdev/*.h) Makefile
	$(call say,GUEST,$@)
	$(Q)mkdir -p $(@D) && gcc -std=gnu11 -O2 -g -D_GNU_SOURCE -I. $(WARN) -Wstrict-prototypes -Wmissing-prototypes $(if $(filter 1,$(WERROR)),-Werror) \
		-static -o $@ $(filter %.c,$^)
build/guest/%.elf: tests/guest/%.S Makefile
	$(call say,GUEST,$@)
	$(Q)mkdir -p $(@D) && gcc -m32 -nostdlib -static -Wl,-N,-Ttext=0x100000,--build-id=none,-z,noexecstack,--no-warn-rwx-segments -o $@ $<
KMS := $(addprefix tests/guest/,kms.c card.c follow.c fragment.c paint.c text.c)
build/guest/kms: $(KMS) $(wildcard tests/guest/*.h) Makefile
	$(call say,GUEST,$@)
	$(Q)mkdir -p $(@D) && gcc -std=gnu11 -O2 -g -D_GNU_SOURCE $(WARN) $(if $(filter 1,$(WERROR)),-Werror) $$(pkg-config --cflags libdrm) -static -o $@ $(KMS)
build/guest/hammer build/guest/tally build/guest/contexts: build/guest/%: tests/guest/%.c Makefile
	$(call say,GUEST,$@)
	$(Q)mkdir -p $(@D) && gcc -std=gnu11 -O2 -g -D_GNU_SOURCE $(WARN) $(if $(filter 1,$(WERROR)),-Werror) $$(pkg-config --cflags libdrm) -static -o $@ $<
fuzzers: $(FUZZ_BIN)
# What tests/mutants/run compiles and links with.
flags:
	$(info CC=$(CC) $(CFLAGS))
	$(info CXX=$(CXX) $(CXXFLAGS))
	$(info LINK=$(CXX) $(LDFLAGS))
	$(info LIBS=$(LDLIBS) -lcmocka)
	$(info OBJECTS=$(LIB_OBJ) $(SUPPORT_OBJ))
	@:

# Every header stands alone.
HEADERS_OK := $(HEADERS:%=build/headers/%.ok)
headers: $(HEADERS_OK)
build/headers/%.ok: % Makefile
	$(Q)mkdir -p $(@D) && for cc in gcc clang; do \
		$$cc $(CFLAGS) -Werror -Wno-unused-function -fsyntax-only -MMD -MP -MF $(@:.ok=.d) -MT $@ -x c $< || exit 1; done && touch $@

format:
	$(Q)tools/format
format-check:
	$(Q)tests/run tests/format_test

# With the flags of the program; what .clang-tidy finds is an error.
tidy:
	$(Q)printf '%s\n' $(filter %.c,$(SRC)) $(TESTS) $(FUZZ) $(SUPPORT) $(EVDEV_SRC) | \
		xargs -P $(shell nproc) -I FILE clang-tidy --quiet FILE -- $(CFLAGS) -isystem /usr/include/libevdev-1.0 -isystem /usr/include/SDL2 -U_FORTIFY_SOURCE 2> build/tidy.log || { grep -v generated build/tidy.log; exit 1; }

deps:
	$(Q)tools/deps.sh build guest test images

JOBS := -j$(shell nproc)
UNIT_MODES := release clang asan
check-unit-build:
	$(Q)tools/deps.sh build test
	$(Q)+$(MAKE) -s $(JOBS) $(UNIT_MODES:%=mode-%) mode-fuzz
mode-fuzz: WHAT := fuzzers
mode-%:
	$(Q)+$(MAKE) -s MODE=$* WERROR=1 $(or $(WHAT),all tests)

# The longest first; then those of the modules, whose time is mostly waiting: more of them run side by side than there are processors.
UNIT_TESTS = $(foreach f,$(FUZZ:tests/fuzz/%_fuzz.c=%),'fuzz-$f=tests/fuzz/replay $f') tests/run_test tests/input_test tests/gpu_info_test tests/format_test 'headers=$(MAKE) -s headers' \
	tests/bad_config tests/docs_test tests/man_test tests/completion_test tests/picture_test tests/frames_test tests/bench_test tests/renderer_test tests/guest_kernel_test tests/mistakes_test 'mutants=tests/mutants/run --applies' tests/install_test tests/view_start_test tests/view_window_test \
	tools/check-deps.sh $(foreach t,$(TESTS:%.c=%),$(UNIT_MODES:%=build/%/$t))
RUN_UNIT_TESTS = tests/run -j $$((2 * $(shell nproc))) --junit build/unit.xml --counts build/counts $(UNIT_TESTS)
check-unit: check-unit-build
	$(Q)rm -f build/counts
	$(Q)$(RUN_UNIT_TESTS)

# Two lanes side by side, a host VM in each: one processor is all that one of them uses. They share the tests, the longest of which come first.
# What the second one says comes at its end. The others need a render node, which a host VM of their own has.
RENDER_TESTS := tests/system/glmark2
SYSTEM_TESTS := $(sort $(filter-out %.sh %.py %.md %/long $(RENDER_TESTS),$(wildcard tests/system/*)))
LONGEST := $(addprefix tests/system/,disk evdev disk_faults gpu ci wait_screen control boots input exit_codes hotplug window typing bench gpu_qemu terminal window_close stats)
SYSTEM_TESTS := $(LONGEST) $(filter-out $(LONGEST),$(SYSTEM_TESTS))
# $(1): what their counts are called.
RUN_SYSTEM_TESTS = rm -rf build/hostvm/taken && mkdir -p build/hostvm/taken; \
	tests/on-kvm $(1)-2 $(2) > build/lane-2.log 2>&1 & lane_2=$$!; \
	tests/on-kvm $(1) $(2) || failed=1; \
	wait $$lane_2 || failed=1; cat build/lane-2.log
SYSTEM_IMAGES := tools/deps.sh guest images && guest-images/rootfs && guest-images/gpu && guest-images/keymap de
# The transport on this machine's own processors, without KVM.
MANY_REQUESTS = requests-$(1)=TINYVMM_TEST_REQUESTS=$(1) build/release/vmm/virtio_bus_test
# In the end the mutants, which are mostly compiling and hanging, beside one after the other of what takes one processor: many requests, OpenGL in a host VM with a render node, and two tests that start
# host VMs themselves.
check: check-unit-build
	$(Q)$(SYSTEM_IMAGES) && tools/deps.sh gpu && guest-images/opengl glmark2
	$(Q)rm -rf build/counts build/counts.* build/hostvm && mkdir -p build/hostvm; failed=0; \
	$(RUN_UNIT_TESTS) || failed=1; \
	$(call RUN_SYSTEM_TESTS,system,$(SYSTEM_TESTS)); \
	tests/run -j 2 --timeout 240 --junit build/rest.xml --counts build/counts tests/mutants/run '$(call MANY_REQUESTS,1000000)' \
		'opengl=tools/hostvm --gpu -- tests/run --junit build/hostvm/opengl.xml --counts build/hostvm/opengl.counts $(RENDER_TESTS)' tests/hostvm_test tests/make_run_test || failed=1; \
	cat build/hostvm/system.counts build/hostvm/system-2.counts build/hostvm/opengl.counts >> build/counts || failed=1; \
	tests/run --sum build/counts && [ $$failed = 0 ]

# All of them once more with machine.mmio = "strict", but for those that see to it themselves, or have counts of the other way.
STRICT_TESTS := $(filter-out $(addprefix tests/system/,strict transport bench gpu_qemu),$(SYSTEM_TESTS))
RUN_STRICT_TESTS = export TINYVMM_TEST_MMIO=strict; $(call RUN_SYSTEM_TESTS,strict,$(STRICT_TESTS)); \
	cat build/hostvm/strict.counts build/hostvm/strict-2.counts > build/hostvm/strict.all; tests/run --sum build/hostvm/strict.all || failed=1
check-strict:
	$(Q)+$(MAKE) -s $(JOBS) WERROR=1 all tests
	$(Q)$(SYSTEM_IMAGES)
	$(Q)failed=0; $(RUN_STRICT_TESTS); [ $$failed = 0 ]

# The last ones in host VMs with udmabuf, which the kernel of the other one has not, and with a render node.
UDMABUF_TESTS := tests/system/long/udmabuf tests/system/long/frame_cost tests/system/gpu build/release/display/view_conn_test 'view_imports=tests/view_window_test imports'
GPU_TESTS := $(addprefix tests/system/long/,dmabuf zero_copy zero_copy_desktop zero_copy_load picture_cost headless virgl virgl_limits virgl_frames piglit window_seat)
LONG_TESTS := $(sort $(filter-out tests/system/long/udmabuf $(GPU_TESTS),$(wildcard tests/system/long/*)))
check-long:
	$(Q)tools/deps.sh build test guest images gpu
	$(Q)+$(MAKE) -s $(JOBS) WERROR=1 all tests
	$(Q)$(SYSTEM_IMAGES) && guest-images/desktop && guest-images/gl && guest-images/opengl glmark2 && guest-images/opengl piglit && guest-images/newer-kernel trixie-backports
	$(Q)mkdir -p build/hostvm; failed=0; \
	tests/run --timeout 1800 --junit build/hostvm/requests.xml '$(call MANY_REQUESTS,10000000)' || failed=1; \
	tools/with-kvm --timeout 9000 tests/run --junit build/hostvm/long.xml $(LONG_TESTS) || failed=1; \
	tools/hostvm --kernel backports --timeout 1800 -- tests/run --junit build/hostvm/udmabuf.xml $(UDMABUF_TESTS) || failed=1; \
	tools/hostvm --gpu --timeout 9000 -- tests/run --junit build/hostvm/gpu.xml $(GPU_TESTS) || failed=1; \
	tests/run --junit build/debian13.xml tests/debian13 || failed=1; \
	$(RUN_STRICT_TESTS); \
	[ $$failed = 0 ]

# In the host VM everywhere, so that counts can be compared.
bench-check:
	$(Q)+$(MAKE) -s $(JOBS) all $(EVDEV_BIN) $(STEPS)
	$(Q)tools/hostvm --timeout 300 -- tests/run tests/system/bench

# Not a check. In the host VM everywhere, too.
bench:
	$(Q)+$(MAKE) -s $(JOBS) all
	$(Q)tools/hostvm -- tests/bench/run
bench-frames bench-input bench-latency bench-pictures bench-requests:
	$(Q)+$(MAKE) -s $(JOBS) all tests
	$(Q)tools/deps.sh guest images $(if $(filter bench-latency,$@),test gpu) && guest-images/$(if $(filter bench-requests,$@),rootfs,gpu)
	$(Q)tools/hostvm $(if $(filter bench-pictures,$@),--gpu) --timeout 1800 -- tests/bench/$(@:bench-%=%)

# Where the clock counts instructions.
bench-instructions:
	$(Q)+$(MAKE) -s $(JOBS) all tests
	$(Q)tools/hostvm --icount -- sh -c 'tests/bench/instructions && tests/run tests/system/long/hundred'

run:
	$(Q)tools/deps.sh build guest
	$(Q)+$(MAKE) -s $(JOBS) all
	$(Q)guest-images/build
	$(Q)if [ -t 0 ] && [ -t 1 ]; then tools/with-kvm build/tinyvmm run vm.toml.example; else \
		tools/with-kvm build/tinyvmm run --append 'quiet tinyvmm.do=report' vm.toml.example; fi

guest-kernel:
	$(Q)tools/deps.sh kernel
	$(Q)guest-images/kernel

MAN := $(patsubst docs/%.scd,build/man/%,$(sort $(wildcard docs/*.scd)))
man: $(MAN)
build/man/%: docs/%.scd
	$(call say,MAN,$@)
	$(Q)command -v scdoc > /dev/null || { echo 'manual pages are made by scdoc: apt-get install scdoc' >&2; exit 1; }
	$(Q)mkdir -p $(@D) && scdoc < $< > $@

PREFIX ?= /usr/local
# Where each goes below PREFIX.
DOCS     := ci.md scale.md headless.md passing-a-device.md performance.md
EXAMPLES := $(notdir $(sort $(wildcard docs/examples/*)))
INSTALLED := bin/tinyvmm bin/tinyvmm-view share/doc/tinyvmm/examples/vm.toml share/bash-completion/completions/tinyvmm \
	     $(DOCS:%=share/doc/tinyvmm/%) $(EXAMPLES:%=share/doc/tinyvmm/examples/%) \
	     $(foreach m,$(notdir $(MAN)),share/man/man$(patsubst .%,%,$(suffix $m))/$m)
install: all man
	install -D -m 755 build/release/tinyvmm $(DESTDIR)$(PREFIX)/bin/tinyvmm
	$(if $(VIEW),install -D -m 755 $(VIEW) $(DESTDIR)$(PREFIX)/bin/tinyvmm-view)
	install -D -m 644 vm.toml.example $(DESTDIR)$(PREFIX)/share/doc/tinyvmm/examples/vm.toml
	install -m 644 $(EXAMPLES:%=docs/examples/%) $(DESTDIR)$(PREFIX)/share/doc/tinyvmm/examples
	install -m 644 $(DOCS:%=docs/%) $(DESTDIR)$(PREFIX)/share/doc/tinyvmm
	install -D -m 644 tools/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/tinyvmm
	set -e; for m in $(notdir $(MAN)); do install -D -m 644 build/man/$$m $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$$m; done
uninstall:
	rm -f $(INSTALLED:%=$(DESTDIR)$(PREFIX)/%)

clean:
	rm -rf build

-include $(OBJ:.o=.d) $(VIEW_OBJ:.o=.d) $(SUPPORT_OBJ:.o=.d) $(TEST_BIN:=.d) $(FUZZ_BIN:=.d) $(HEADERS_OK:.ok=.d)
