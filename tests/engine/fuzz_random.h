/* What every fuzzer in C begins with: random numbers, and a way to poison memory that is nothing without the sanitizer. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define WITH_ASAN 1
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
void __sanitizer_set_death_callback(void (*callback)(void));
#else
#define __asan_poison_memory_region(at, n) ((void)(at), (void)(n))
#define __asan_unpoison_memory_region(at, n) ((void)(at), (void)(n))
#endif

/* splitmix64, so that every seed is a good one */
struct Random {
    uint64_t state;
};

static uint64_t next64(struct Random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static uint32_t below(struct Random *r, uint32_t n) { return (uint32_t)((next64(r) >> 32) * n >> 32); }
static int one_in(struct Random *r, uint32_t n) { return below(r, n) == 0; }
