/* The code buffer of the JIT: one piece of memory, seen twice. Included by the generated unit.

The first view may be executed and is never writable; the second is writable between code_open and code_close and
inaccessible at any other time. What an instruction says about distances is the same in both. See mmap(2), mremap(2),
mprotect(2) and madvise(2). On hosts other than x86-64 Linux code_new refuses, and the engine interprets. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CODE_FN __attribute__((unused)) static

struct CodeBuffer {
    uint8_t *rx;    /* the view to execute; NULL without a buffer */
    uint8_t *rw;    /* the view to write */
    uint64_t size;  /* bytes, whole pages */
    uint64_t used;  /* bytes from the start; the user's business */
    int is_open;    /* the write view is accessible */
    uint64_t opens; /* how often it was made accessible */
    int owner;      /* the process it belongs to: a child gets neither view */
    FILE *perf;     /* names for perf(1), or NULL */
};

enum {
    HOST_BMI1 = 1,
    HOST_BMI2 = 2,
    HOST_MOVBE = 4,
    HOST_LZCNT = 8,
    HOST_POPCNT = 16,
    HOST_SSE41 = 32,
    HOST_AVX = 64,
};

/* The other view of an address in one of them. */
CODE_FN uint8_t *code_rw(const struct CodeBuffer *buf, const uint8_t *rx)
{
    return buf->rw + (rx - buf->rx);
}

CODE_FN const uint8_t *code_rx(const struct CodeBuffer *buf, const uint8_t *rw)
{
    return buf->rx + (rw - buf->rw);
}

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the host executes, HOST_*; AVX only if the operating system keeps its registers. */
CODE_FN uint32_t host_features(void)
{
    uint32_t a, b, c, d, found = 0;
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        if (c & 1u << 19) found |= HOST_SSE41;
        if (c & 1u << 22) found |= HOST_MOVBE;
        if (c & 1u << 23) found |= HOST_POPCNT;
        if ((c & 1u << 27) && (c & 1u << 28)) {
            uint32_t low, high;
            __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
            if ((low & 6) == 6) found |= HOST_AVX;
        }
    }
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        if (b & 1u << 3) found |= HOST_BMI1;
        if (b & 1u << 8) found |= HOST_BMI2;
    }
    if (__get_cpuid(0x80000001u, &a, &b, &c, &d) && (c & 1u << 5)) found |= HOST_LZCNT;
    return found;
}

/* Unmaps both views and closes the file of names. A second time nothing happens. */
CODE_FN void code_free(struct CodeBuffer *buf)
{
    if (buf->owner == (int)getpid()) {
        if (buf->rx) munmap(buf->rx, buf->size);
        if (buf->rw) munmap(buf->rw, buf->size);
    }
    if (buf->perf) fclose(buf->perf);
    memset(buf, 0, sizeof *buf);
}

/* A closed buffer of at least `size` bytes (at most 1 GiB, so that any rel32 reaches). 0, or 1 if the host refuses. */
CODE_FN int code_new(struct CodeBuffer *buf, uint64_t size)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    memset(buf, 0, sizeof *buf);
    if (size == 0 || size > 1u << 30) return 1;
    size = (size + page - 1) & ~(page - 1);
    /* Shared memory without a file; an old size of 0 maps the same pages once more (mremap(2)). */
    void *rx = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    void *rw = rx == MAP_FAILED ? MAP_FAILED : mremap(rx, 0, size, MREMAP_MAYMOVE);
    if (rw != MAP_FAILED && mprotect(rw, size, PROT_NONE) != 0) {
        munmap(rw, size);
        rw = MAP_FAILED;
    }
    buf->owner = (int)getpid();
    buf->size = size;
    buf->rx = rx == MAP_FAILED ? NULL : rx;
    buf->rw = rw == MAP_FAILED ? NULL : rw;
    /* Opened once, so that a host that forbids it says so here. A child would write into its parent's code. */
    if (buf->rx && buf->rw && mprotect(rw, size, PROT_READ | PROT_WRITE) == 0 && mprotect(rw, size, PROT_NONE) == 0
        && madvise(rx, size, MADV_DONTFORK) == 0 && madvise(rw, size, MADV_DONTFORK) == 0) {
        madvise(rx, size, MADV_DONTDUMP);
        madvise(rw, size, MADV_DONTDUMP);
        return 0;
    }
    code_free(buf);
    return 1;
}

/* Makes the write view accessible. 0, or 1 if the host refuses; then nothing may be written. */
CODE_FN int code_open(struct CodeBuffer *buf)
{
    if (buf->is_open) return 0;
    if (buf->rw == NULL || buf->owner != (int)getpid()) return 1;
    if (mprotect(buf->rw, buf->size, PROT_READ | PROT_WRITE) != 0) return 1;
    buf->is_open = 1;
    buf->opens++;
    return 0;
}

/* Ends the access. The change of page tables also serialises, which code written through another address needs. */
CODE_FN void code_close(struct CodeBuffer *buf)
{
    if (!buf->is_open) return;
    /* Forgets what was touched (the file keeps it), so that the cost is that of this time's pages. */
    madvise(buf->rw, buf->size, MADV_DONTNEED);
    /* Protecting a whole mapping splits nothing and so cannot run out of memory. */
    if (mprotect(buf->rw, buf->size, PROT_NONE) != 0) abort();
    buf->is_open = 0;
}

/* Starts /tmp/perf-PID.map, where perf(1) looks for names. 0, or 1 if that file cannot be ours. */
CODE_FN int code_perf_open(struct CodeBuffer *buf)
{
    char name[48];
    if (buf->perf) return 0;
    snprintf(name, sizeof name, "/tmp/perf-%d.map", (int)getpid());
    const int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return 1;
    buf->perf = fdopen(fd, "a");
    if (buf->perf == NULL) {
        close(fd);
        return 1;
    }
    setvbuf(buf->perf, NULL, _IOLBF, BUFSIZ);
    return 0;
}

/* One name, if they are wanted: start and length in hexadecimal, then the text to the end of the line. */
CODE_FN void code_perf_add(struct CodeBuffer *buf, const uint8_t *rx, uint64_t size, const char *name)
{
    if (buf->perf) fprintf(buf->perf, "%llx %llx %s\n", (unsigned long long)(uintptr_t)rx, (unsigned long long)size, name);
}

/* What was named is gone. */
CODE_FN void code_perf_clear(struct CodeBuffer *buf)
{
    if (buf->perf && ftruncate(fileno(buf->perf), 0)) buf->perf = NULL;
}

#else

CODE_FN uint32_t host_features(void)
{
    return 0;
}

CODE_FN int code_new(struct CodeBuffer *buf, uint64_t size)
{
    (void)size;
    memset(buf, 0, sizeof *buf);
    return 1;
}

CODE_FN void code_free(struct CodeBuffer *buf)
{
    memset(buf, 0, sizeof *buf);
}

CODE_FN int code_open(struct CodeBuffer *buf)
{
    (void)buf;
    return 1;
}

CODE_FN void code_close(struct CodeBuffer *buf)
{
    (void)buf;
}

CODE_FN int code_perf_open(struct CodeBuffer *buf)
{
    (void)buf;
    return 1;
}

CODE_FN void code_perf_add(struct CodeBuffer *buf, const uint8_t *rx, uint64_t size, const char *name)
{
    (void)buf, (void)rx, (void)size, (void)name;
}

CODE_FN void code_perf_clear(struct CodeBuffer *buf)
{
    (void)buf;
}

#endif
