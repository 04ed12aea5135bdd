/* What the fuzzers of both cores share: the world of a case, comparing its runs, and the command line.
 *
 * A fuzzer includes this first, and calls `fuzz` with what it has. */
#include "fuzz_random.h"

#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"
#include "grammar.h"

enum { PAGE = 4096, BUFFER = 0x44000, HOLE = 0x24000, HOLE_SIZE = 0x2000, HOLE_REGION = 2 };

/* -- the world of one case */

static uint8_t *ram;
static uint64_t case_seed;
static const char *phase = "start";
static uint8_t pristine[BUFFER];
static volatile sig_atomic_t late;
static uint64_t most; /* --budget: instructions at most, to find where a difference begins */
static int telling; /* --verbose with --case: every access and every step */

struct Run {
    struct Random device;
    uint64_t trace;
    uint64_t accesses;
    uint32_t halts;
    uint64_t event; /* the last, until something else happens */
    int quiet; /* devices only answer, they raise nothing */
};

static struct Run run_now;
static Cpu *cpu; /* the one that runs: without a JIT, or with a code buffer of some size */
enum { PROCESSORS = 4 };
static Cpu *processors[PROCESSORS];
static const uint64_t CODE_SIZES[PROCESSORS] = {0, 64 << 10, 256 << 10, 4 << 20};
static uint64_t translated_insns;

/* How a case is run. */
enum { AT_ONCE, ONE_BY_ONE, IN_SLICES, TRANSLATED, TRANSLATED_SLICES, STYLES };
static const char *const STYLE_NAMES[STYLES] = {"in one go", "one instruction at a time", "in slices", "translated",
                                                "translated, in slices"};

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0xff51afd7ed558ccdull;
    return h ^ (h >> 32);
}

static void say_case(void)
{
    fprintf(stderr, "fuzz: case %llu, %s; repeat with --case %llu\n", (unsigned long long)case_seed, phase,
            (unsigned long long)case_seed);
}

static void violated(const char *what)
{
    fprintf(stderr, "fuzz: %s\n", what);
    say_case();
    exit(1);
}

static void expired(int signal_number)
{
    (void)signal_number;
    if (late++) {
        static const char text[] = "fuzz: a case does not end\n";
        if (write(2, text, sizeof text - 1) < 0) _exit(1);
        abort();
    }
}

static uint64_t note(uint64_t kind, uint64_t at, uint64_t size, uint64_t v, uint64_t when)
{
    run_now.trace = mix(mix(mix(mix(mix(run_now.trace, kind), at), size), v), when);
    run_now.accesses++;
    run_now.event = 0;
    if (telling)
        fprintf(stderr, "  %llu: access %llu at %#llx size %llu value %#llx\n", (unsigned long long)when, (unsigned long long)kind,
                (unsigned long long)at, (unsigned long long)size, (unsigned long long)v);
    return next64(&run_now.device);
}

/* An instruction that begins anew, because it has to run alone, may tell the log again what it comes to: once is enough. */
static int heard(uint32_t kind, uint32_t a, uint32_t b)
{
    const uint64_t event = mix(mix(kind, a), b), before = run_now.event;
    run_now.event = event;
    return event == before;
}

static void map_hole(uint32_t kind)
{
    cpu->regions[HOLE_REGION].kind = kind;
    if (kind) __asan_unpoison_memory_region(ram + HOLE, HOLE_SIZE);
    else __asan_poison_memory_region(ram + HOLE, HOLE_SIZE);
    emu_remap(cpu);
}

/* The processor of a style; all see the same memory. Where the host has no JIT, one that interprets. */
static void choose_processor(uint64_t seed, int style)
{
    cpu = processors[style < TRANSLATED ? 0 : 1 + (seed >> 7) % (PROCESSORS - 1)];
    memset(cpu->story, 0, sizeof cpu->story); /* what earlier cases left is not of this one */
    cpu->story_count = 0;
    cpu->jit_threshold = 1 + (seed >> 10) % 3;
    phase = STYLE_NAMES[style];
}

static uint64_t instant(void) { return emu_icount(cpu) - 1; }

static void put16(uint32_t at, uint32_t v) { memcpy(pristine + at, &v, 2); }
static void put32(uint32_t at, uint32_t v) { memcpy(pristine + at, &v, 4); }
static void put64(uint32_t at, uint64_t v) { memcpy(pristine + at, &v, 8); }

struct Outcome {
    uint64_t registers, memory, trace, icount, accesses, story;
    int reason;
    uint32_t segment, at;
};

static uint64_t hash_of(const void *data, size_t n)
{
    uint64_t h = n, v;
    const uint8_t *p = data;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&v, p, 8);
        h = mix(h, v);
    }
    for (; n; n--) h = mix(h, *p++);
    return h;
}

static uint8_t forms_seen[65536];
static Cpu first_run; /* its registers, to say what differs */

static void name_differences(void)
{
    for (uint32_t k = 0; k < FIELD_COUNT; k++)
        for (uint32_t n = 0; n < FIELDS[k].count; n++) {
            const uint8_t *a = (const uint8_t *)&first_run + FIELDS[k].offset + n * FIELDS[k].size;
            const uint8_t *b = (const uint8_t *)cpu + (a - (const uint8_t *)&first_run);
            uint64_t x = 0, y = 0;
            memcpy(&x, a, FIELDS[k].size);
            memcpy(&y, b, FIELDS[k].size);
            if (x != y) fprintf(stderr, "fuzz: %s[%u] %#llx %#llx\n", FIELDS[k].name, n, (unsigned long long)x, (unsigned long long)y);
        }
}

static void differ(const struct Outcome *a, const struct Outcome *b, const char *what)
{
    fprintf(stderr, "fuzz: %s differ: icount %llu/%llu, at %04x:%08x/%04x:%08x, accesses %llu/%llu, exit %d/%d%s%s%s\n", what,
            (unsigned long long)a->icount, (unsigned long long)b->icount, a->segment, a->at, b->segment, b->at,
            (unsigned long long)a->accesses, (unsigned long long)b->accesses, a->reason, b->reason,
            a->registers != b->registers ? ", registers" : "", a->memory != b->memory ? ", memory" : "",
            a->trace != b->trace ? ", bus" : "");
    name_differences();
    say_case();
    exit(1);
}

static int same(const struct Outcome *a, const struct Outcome *b)
{
    return a->registers == b->registers && a->memory == b->memory && a->trace == b->trace && a->icount == b->icount &&
           a->reason == b->reason && a->story == b->story;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* `born` gives a new processor what the core has beside memory; `one_case` runs a seed and says how long it was. */
static int fuzz(int argc, char **argv, void (*born)(void), uint64_t (*one_case)(uint64_t seed))
{
    uint64_t seed = 1, cases = 1000, only = 0;
    int single_case = 0, verbose = 0;
    double seconds = 0;
    for (int k = 1; k < argc; k++) {
        const char *v = k + 1 < argc ? argv[k + 1] : "0";
        if (!strcmp(argv[k], "--seed")) seed = strtoull(v, NULL, 0), k++;
        else if (!strcmp(argv[k], "--cases")) cases = strtoull(v, NULL, 0), k++;
        else if (!strcmp(argv[k], "--seconds")) seconds = strtod(v, NULL), cases = ~0ull, k++;
        else if (!strcmp(argv[k], "--case")) only = strtoull(v, NULL, 0), single_case = 1, k++;
        else if (!strcmp(argv[k], "--budget")) most = strtoull(v, NULL, 0), k++;
        else if (!strcmp(argv[k], "--verbose")) verbose = 1;
        else {
            fprintf(stderr, "usage: %s [--seed N] [--cases N] [--seconds S] [--case SEED] [--budget N] [--verbose]\n", argv[0]);
            return 2;
        }
    }
#ifdef WITH_ASAN
    __sanitizer_set_death_callback(say_case);
#endif
    signal(SIGALRM, expired);
    uint8_t *area = mmap(NULL, BUFFER + 2 * 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) return 2;
    ram = area + 16 * PAGE;
    if (mprotect(ram, BUFFER, PROT_READ | PROT_WRITE)) return 2;
    for (uint32_t k = PROCESSORS; k--;) {
        cpu = processors[k] = emu_new(1 << 20);
        if (!cpu || emu_attach_ram(cpu, ram, BUFFER)) return 2;
        born();
        cpu->jit_size = CODE_SIZES[k];
        if (k && !emu_jit(cpu, 1)) fprintf(stderr, "fuzz: no JIT on this host\n");
    }
    const double start = now();
    uint64_t done = 0, insns = 0;
    if (single_case) {
        telling = verbose;
        insns = one_case(only);
        done = 1;
    }
    for (; !single_case && done < cases && (seconds == 0 || now() - start < seconds); done++) {
        if (done % 64 == 0) alarm(20);
        if (verbose) fprintf(stderr, "case %llu\n", (unsigned long long)(seed * 1000003 + done));
        insns += one_case(seed * 1000003 + done);
    }
    uint32_t seen = 0;
    uint64_t sum[8] = {0};
    for (uint32_t k = 0; k < PROCESSORS; k++) {
        const struct Stats *t = &processors[k]->stats;
        const uint64_t part[8] = {t->exceptions, t->interrupts, t->code_flushes, t->page_invalidations, t->jit_traces, t->jit_enters,
                                  t->jit_flushes, t->jit_deopts};
        for (uint32_t n = 0; n < 8; n++) sum[n] += part[n];
    }
    for (uint32_t k = 1; k <= FORM_COUNT; k++) seen += forms_seen[k];
    printf("{\"cases\": %llu, \"instructions\": %llu, \"seconds\": %.1f, \"forms\": %u, \"of\": %u, \"exceptions\": %llu, "
           "\"interrupts\": %llu, \"code_flushes\": %llu, \"page_invalidations\": %llu, \"jit_traces\": %llu, \"jit_enters\": %llu, "
           "\"jit_flushes\": %llu, \"jit_deopts\": %llu, \"translated\": %llu}\n",
           (unsigned long long)done, (unsigned long long)insns, now() - start, seen, (unsigned)FORM_COUNT,
           (unsigned long long)sum[0], (unsigned long long)sum[1], (unsigned long long)sum[2], (unsigned long long)sum[3],
           (unsigned long long)sum[4], (unsigned long long)sum[5], (unsigned long long)sum[6], (unsigned long long)sum[7],
           (unsigned long long)translated_insns);
    for (uint32_t k = 0; k < PROCESSORS; k++) emu_free(processors[k]);
    return 0;
}
