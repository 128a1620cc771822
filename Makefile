# make: build/lunalift · make demo: the main job on the simulated site · make test: everything proved · make fuzz SECONDS=N: N for each target · make bench: what it costs · make image: the container image
.DEFAULT_GOAL := all
.PHONY: all demo test fuzz bench image docs format clean

all:
	@tools/setup build
	@cmake -S . -B build -G Ninja -DBUILD_TESTING=OFF >/dev/null
	@cmake --build build

demo:
	@tools/setup demo
	@cmake -S . -B build -G Ninja -DBUILD_TESTING=OFF >/dev/null
	@cmake --build build
	@tools/demo

test:
	@tools/setup test
	@tools/test

SECONDS ?= 60
fuzz:
	@tools/setup test
	@cmake --preset ubsan >/dev/null
	@cmake --build --preset ubsan
	@tools/fuzz $(SECONDS)

bench:
	@tools/setup test
	@cmake --preset release >/dev/null
	@cmake --build --preset release --target lunalift lunalift-test
	@LUNALIFT_BIN=build-release/lunalift build-release/tests/lunalift-test --output=TAP tests/bench/populate_spec.lua

image: all
	@tools/setup image
	@tools/image build build/lunalift-image.tar

docs: all
	@LUNALIFT_BIN=build/lunalift tools/docs

format:
	clang-format -i engine/*.[ch] bindings/*.[ch] tests/*.c tests/*/*.[ch]
	tools/stylua scripts tests

clean:
	rm -rf build build-*
