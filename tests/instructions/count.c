// SPDX-License-Identifier: Apache-2.0
// A plugin of qemu-user: counts what a program of one thread executes between two calls of sched_yield, a line each:
// instructions, bytes loaded, bytes stored, and lines of 32 bytes that miss the first and the second level of data
// caches like those of the Zynq-7000 (32 KiB in four ways, 512 KiB in eight; the least recently used line goes).
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct qemu_plugin_tb block_t;
typedef struct qemu_plugin_insn instruction_t;
typedef uint64_t u64;

// Version 1 of the interface.
int qemu_plugin_version = 1;
void qemu_plugin_register_vcpu_tb_trans_cb(u64, void (*)(u64, block_t *));
void qemu_plugin_register_vcpu_tb_exec_cb(block_t *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_mem_cb(instruction_t *, void (*)(unsigned, uint32_t, u64, void *), int, int, void *);
void qemu_plugin_register_vcpu_syscall_cb(u64, void (*)(u64, unsigned, int64_t, u64, u64, u64, u64, u64, u64, u64, u64));
size_t qemu_plugin_tb_n_insns(const block_t *);
instruction_t *qemu_plugin_tb_get_insn(const block_t *, size_t);
unsigned qemu_plugin_mem_size_shift(uint32_t);
bool qemu_plugin_mem_is_store(uint32_t);

enum { NO_REGISTERS = 0, READS_AND_WRITES = 3, SCHED_YIELD = 158, LINE = 32, MOST_WAYS = 8 };

struct cache {
    unsigned sets, ways;
    uint32_t (*lines)[MOST_WAYS];  // of each set, the most recently used first
    u64 missed;
};

static struct cache first = {.sets = 256, .ways = 4}, second = {.sets = 2048, .ways = 8};
static u64 instructions, loaded, stored;

static bool hits(struct cache *cache, uint32_t line) {
    uint32_t *set = cache->lines[line % cache->sets];
    unsigned way = 0;
    while (way < cache->ways - 1 && set[way] != line) way++;
    bool found = set[way] == line;
    memmove(set + 1, set, way * sizeof *set);
    set[0] = line;
    cache->missed += !found;
    return found;
}

static void access_memory(unsigned cpu, uint32_t info, u64 address, void *data) {
    *(qemu_plugin_mem_is_store(info) ? &stored : &loaded) += 1u << qemu_plugin_mem_size_shift(info);
    if (!hits(&first, address / LINE)) hits(&second, address / LINE);
}

static void execute(unsigned cpu, void *count) { instructions += (uintptr_t)count; }

static void translate(u64 id, block_t *block) {
    size_t count = qemu_plugin_tb_n_insns(block);
    qemu_plugin_register_vcpu_tb_exec_cb(block, execute, NO_REGISTERS, (void *)count);
    for (size_t n = 0; n < count; n++) {
        instruction_t *instruction = qemu_plugin_tb_get_insn(block, n);
        qemu_plugin_register_vcpu_mem_cb(instruction, access_memory, NO_REGISTERS, READS_AND_WRITES, NULL);
    }
}

static void call(u64 id, unsigned cpu, int64_t number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h) {
    if (number != SCHED_YIELD) return;
    u64 counts[] = {instructions, loaded, stored, first.missed, second.missed};
    fprintf(stderr, "counted");
    for (unsigned n = 0; n < sizeof counts / sizeof *counts; n++) fprintf(stderr, " %llu", (unsigned long long)counts[n]);
    fprintf(stderr, "\n");
    instructions = loaded = stored = first.missed = second.missed = 0;
}

int qemu_plugin_install(u64 id, const void *info, int count, char **arguments) {
    first.lines = calloc(first.sets, sizeof *first.lines);
    second.lines = calloc(second.sets, sizeof *second.lines);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_vcpu_syscall_cb(id, call);
    return first.lines == NULL || second.lines == NULL;
}
