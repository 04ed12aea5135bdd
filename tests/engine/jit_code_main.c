/* Uses the code buffer as the engine does and says what the host sees of it; test_jit_x64.py reads the lines. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "emu/engine/jit/x64.h"
#include "emu/engine/jit/code.c"

#if defined(__x86_64__) && defined(__linux__)
#include <sys/wait.h>

enum { SIZE = 1 << 20 };

/* Whether the kernel can read the address for us: a wild access would be a signal. */
static int readable(const uint8_t *address)
{
    int ends[2];
    if (pipe(ends)) return -1;
    const int ok = write(ends[1], address, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return ok;
}

static int writable(uint8_t *address)
{
    int ends[2];
    if (pipe(ends) || write(ends[1], "\xCC", 1) != 1) return -1;
    const int ok = read(ends[0], address, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return ok;
}

/* Every mapping of the process with its flags, one line each. */
static void maps(const char *when)
{
    char line[512], head[512] = "";
    FILE *f = fopen("/proc/self/smaps", "r");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "VmFlags:", 8) == 0) printf("map %s %s |%s\n", when, head, line + 8);
        else if (strchr(line, '-') && strchr(line, '-') < strchr(line, ' ')) strcpy(head, line);
    }
    if (f) fclose(f);
}

static void views(const char *when, const struct CodeBuffer *b)
{
    printf("views %s %d %d %d %d\n", when, readable(b->rx), writable(b->rx), readable(b->rw), writable(b->rw));
    maps(when);
}

/* mov eax, value; jmp over an int3; add eax, [rdi]; ret */
static const uint8_t *function(struct CodeBuffer *b, uint64_t offset, uint32_t value)
{
    struct Emit e = {b->rw + offset, b->rw + b->size, 0};
    x_mov_ri(&e, 4, RAX, value);
    uint8_t *over = x_jmp(&e);
    x_int3(&e);
    x_patch(over, e.at);
    x_alu_rm(&e, X_ADD, 4, RAX, mem_at(RDI, 0));
    x_ret(&e);
    return code_rx(b, b->rw + offset);
}

static uint32_t call(const uint8_t *code, uint32_t argument)
{
    uint32_t (*f)(const uint32_t *) = (uint32_t(*)(const uint32_t *))(uintptr_t)code;
    return f(&argument);
}

/* The file of names as it is now, which goes with that. */
static void names(void)
{
    char name[64], line[128];
    snprintf(name, sizeof name, "/tmp/perf-%d.map", (int)getpid());
    FILE *f = fopen(name, "r");
    while (f && fgets(line, sizeof line, f)) printf("perf %s", line);
    if (f) fclose(f);
    unlink(name);
}

int main(void)
{
    static struct CodeBuffer b;
    printf("refused %d %d\n", code_new(&b, 0), code_new(&b, (1u << 30) + 1));
    if (code_new(&b, SIZE - 5)) return 1;
    printf("range %llx %llx %llx\n", (unsigned long long)(uintptr_t)b.rx, (unsigned long long)(uintptr_t)b.rw,
           (unsigned long long)b.size);
    views("new", &b);
    if (code_open(&b) || code_open(&b)) return 2;
    const uint8_t *first = function(&b, 64, 1000), *last = function(&b, SIZE - 4096, 77);
    views("open", &b);
    function(&b, 0, 3);
    code_close(&b);
    code_close(&b);
    views("closed", &b);
    printf("calls %u %u %llu\n", call(first, 5), call(last, 6), (unsigned long long)b.opens);
    printf("same %d\n", code_rw(&b, first) == b.rw + 64 && memcmp(first, b.rx + 64, 8) == 0);
    if (code_open(&b)) return 3;
    function(&b, 64, 2000);
    code_close(&b);
    printf("changed %u %u\n", call(first, 5), call(last, 6));

    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        const int inherited = readable(b.rx) || readable(b.rw), opened = code_open(&b) == 0;
        /* What the child maps in the same place is its own. */
        void *own = mmap(b.rx, b.size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        code_free(&b);
        _exit(inherited << 1 | opened << 2 | !readable(own) << 3);
    }
    int status = -1;
    waitpid(child, &status, 0);
    printf("child %d\n", status);

    code_perf_add(&b, first, 16, "nobody asked");
    if (code_perf_open(&b)) return 4;
    code_perf_add(&b, first, 0x1F, "one name");
    printf("first %llx\n", (unsigned long long)(uintptr_t)first);
    names();
    const uint8_t *rx = b.rx;
    uint8_t *rw = b.rw;
    code_free(&b);
    code_free(&b);
    printf("freed %d %d %d\n", readable(rx), readable(rw), code_open(&b));
    printf("features %x\n", host_features());
    return 0;
}

#else

int main(void)
{
    struct CodeBuffer b;
    const int refused = code_new(&b, 1 << 20);
    printf("refused %d %d %x %d\n", refused, code_open(&b), host_features(), b.rx == NULL && b.rw == NULL);
    code_close(&b);
    code_free(&b);
    return 0;
}

#endif
