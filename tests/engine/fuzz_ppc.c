/* Random programs on the PowerPC engine; what is done with them is what fuzz_main.c does for x86.
 *
 * A case draws a model, code of its forms, TLBs that mostly map memory onto itself, registers and handlers. Timers tick at
 * fixed instruction counts, so that how a run is sliced does not matter. */
#include "fuzz_common.h"

enum { CODE = 0x8000, CODE_SIZE = 0x3000, STUBS = 0xc000, SCRATCH = 0x10000, TICK = 64 };

static const struct Region MAP[] = {
    {0, 0x20000, 0, 1},
    {0x20000, 0x4000, 0x20000, 2},
    {HOLE, HOLE_SIZE, HOLE, 0},
    {0x26000, 0xa000, 0x26000, 1},
    {0x100000, 0x4000, 0x30000, 1},
    {0xfffff0000ull, 0x10000, 0x34000, 2},
};
enum { REGIONS = sizeof MAP / sizeof *MAP };

static const struct Model *model;

/* What a device may do beside answering; only a write changes what memory is where. */
static void mischief(uint64_t dice, int write)
{
    if (run_now.quiet) return;
    switch (dice & 0x7f) {
    case 0: case 1: case 2: case 3: emu_set_pins(cpu, dice >> 8 & 7); return;
    case 4: emu_set_pins(cpu, 0); return;
    case 5: emu_stop(cpu, 1); return;
    case 6: cpu->hook_value = 7; emu_stop(cpu, 2); return;
    case 7: case 8: {
        /* A device writes memory: DMA into data or into code that was decoded. */
        const uint32_t at = dice >> 8 & 1 ? CODE + (uint32_t)(dice >> 16) % (CODE_SIZE - 64) : SCRATCH + (uint32_t)(dice >> 16) % 0x8000;
        const uint32_t n = 1 + (uint32_t)(dice >> 48) % 40;
        for (uint32_t k = 0; k < n; k++) ram[at + k] = (uint8_t)(dice >> (k & 31));
        emu_invalidate(cpu, at, n);
        return;
    }
    case 9: if (write) map_hole((dice >> 8 & 3) == 0); return;
    case 10: emu_invalidate(cpu, dice >> 8 & 0xfffffffff, dice >> 40 & 0xffff); return;
    case 11: emu_invalidate(cpu, dice >> 8, ~0ull - (dice >> 8)); return;
    default: return;
    }
}

static uint32_t answer(uint64_t kind, uint64_t at, uint32_t size)
{
    const uint64_t dice = note(kind, at, size, 0, instant());
    mischief(dice, 0);
    return (uint32_t)(dice >> 32);
}

static uint32_t on_port_read(void *handle, uint32_t number, uint32_t size) { (void)handle; return answer(1, number, size); }
static uint32_t on_mmio_read(void *handle, uint64_t at, uint32_t size) { (void)handle; return answer(3, at, size); }
static uint32_t on_acknowledge(void *handle) { (void)handle; return answer(5, 0, 0); }

static void on_port_write(void *handle, uint32_t number, uint32_t size, uint32_t value)
{
    (void)handle;
    mischief(note(2, number, size, value, instant()), 1);
}

static void on_mmio_write(void *handle, uint64_t at, uint32_t size, uint32_t value)
{
    (void)handle;
    mischief(note(4, at, size, value, instant()), 1);
}

static void on_event(void *handle, uint32_t kind, uint32_t a, uint32_t b)
{
    (void)handle;
    if (telling) fprintf(stderr, "  event %u %#x %#x\n", kind, a, b);
    if (heard(kind, a, b)) return;
    run_now.trace = mix(mix(mix(run_now.trace, kind), a), b);
}

/* -- making a case */

static uint32_t some_address(struct Random *r)
{
    static const uint32_t EDGES[] = {0, 0x10000, 0x20000, 0x24000, 0x26000, 0x30000, 0xa0000, 0x100000, 0x104000, 0xffff0000u, CODE,
                                     CODE + PAGE, CODE + 2 * PAGE, SCRATCH, 0x80000000u, 0x7fffffff, 0xfffffffcu};
    switch (below(r, 8)) {
    case 0: return (uint32_t)next64(r);
    case 1: return below(r, 0x10000);
    case 2: case 3: return EDGES[below(r, sizeof EDGES / sizeof *EDGES)] + below(r, 33) - 16;
    case 4: return (below(r, 64) << 12) + below(r, 17) - 8;
    case 5: return CODE + below(r, CODE_SIZE);
    default: return SCRATCH + below(r, 0x8000);
    }
}

static uint32_t some_value(struct Random *r)
{
    switch (below(r, 6)) {
    case 0: return below(r, 9);
    case 1: return 0u - below(r, 9);
    case 2: return 1u << below(r, 32);
    case 3: return (uint32_t)next64(r);
    default: return some_address(r);
    }
}

static void put_word(uint32_t at, uint32_t word) { put32(at, __builtin_bswap32(word)); }

/* A word of a form of the model, or now and then of any: base registers hold addresses, branches stay near. */
static uint32_t some_word(struct Random *r)
{
    if (one_in(r, 200)) return (uint32_t)next64(r);
    const struct Encoding *e = &ENCODINGS[below(r, ENCODING_COUNT)];
    for (uint32_t tries = 0; e->needs && !(model->features & e->needs) && tries < 20; tries++) e = &ENCODINGS[below(r, ENCODING_COUNT)];
    /* Moves to special registers are most of the forms; not of what runs. */
    if ((e->mask & 0x001ff800) == 0x001ff800 && (e->value & 0xfc0007fe) >= 0x7c0002a6 && !one_in(r, 4)) e = &ENCODINGS[below(r, ENCODING_COUNT)];
    uint32_t word = e->value | ((uint32_t)next64(r) & ~e->mask);
    const uint32_t free = ~e->mask;
    if (e->fields & 1) word = (word & ~(0xfffcu & free)) | ((below(r, 24) - 12) * 4 & 0xfffcu & free);
    if (e->fields & 2) word = (word & ~(0x3fffffcu & free)) | ((below(r, 64) - 32) * 4 & 0x3fffffcu & free);
    if (e->fields & 4 && !one_in(r, 4)) word = (word & ~0xffffu) | ((below(r, 9) - 4) * 4 & 0xffffu);
    if (e->fields & 8 && !one_in(r, 4) && (free & 0x1f0000) == 0x1f0000) word = (word & ~0x1f0000u) | (3 + below(r, 4)) << 16;
    if (e->fields & 16 && !one_in(r, 4) && (free & 0xf800) == 0xf800) word = (word & ~0xf800u) | (3 + below(r, 6)) << 11;
    return word;
}

static uint32_t branch(uint32_t from, uint32_t to) { return 0x48000000u | ((to - from) & 0x3fffffcu); }
static uint32_t spr_word(uint32_t xo, uint32_t reg, uint32_t n) { return 31u << 26 | reg << 21 | (n & 31) << 16 | (n >> 5) << 11 | xo << 1; }

/* A handler that goes on elsewhere, or returns behind what raised it. */
static void put_stub(struct Random *r, uint32_t number)
{
    const uint32_t at = STUBS + 64 * number;
    const int critical = number == 0 || number == 12 || number == 15 || number == 37 || number == 39;
    const uint32_t save = number == 1 && model->features & (HAS_440X5 | HAS_E500) ? 570
                          : number == 15 && model->features & HAS_E500MC ? 574
                          : critical || number == 1 ? 58 : 26;
    const uint32_t back = save == 570 ? 38 : save == 574 ? 39 : save == 58 ? 51 : 50;
    for (uint32_t k = 0; k < 16; k++) put_word(at + 4 * k, some_word(r));
    if (one_in(r, 8)) return;
    if (one_in(r, 2)) {
        put_word(at, branch(at, CODE + (below(r, CODE_SIZE) & ~3u)));
        return;
    }
    uint32_t k = 0;
    if (one_in(r, 3)) put_word(at + 4 * k++, some_word(r));
    put_word(at + 4 * k++, spr_word(339, 31, save));
    put_word(at + 4 * k++, 14u << 26 | 31u << 21 | 31u << 16 | (one_in(r, 8) ? below(r, 9) * 4 : 4));
    put_word(at + 4 * k++, spr_word(467, 31, save));
    put_word(at + 4 * k++, 19u << 26 | back << 1);
}

static void put_memory(struct Random *r)
{
    uint64_t v = 0;
    const uint64_t fill = next64(r);
    for (uint32_t k = 0; k < BUFFER; k += 8) {
        v = fill & 7 ? mix(v, fill + k) : 0;
        memcpy(pristine + k, &v, 8);
    }
    for (uint32_t at = CODE; at < CODE + CODE_SIZE; at += 4) put_word(at, some_word(r));
    for (uint32_t at = 0x34000; at < 0x44000; at += 4) put_word(at, some_word(r));
    if (one_in(r, 8)) /* in the order of little-endian pages */
        for (uint32_t at = CODE; at < CODE + CODE_SIZE; at += 4) {
            uint32_t word;
            memcpy(&word, pristine + at, 4);
            put_word(at, word);
        }
    for (uint32_t k = 0; k < 42; k++) put_stub(r, k);
}

static void set_element(uint32_t offset, uint32_t size, uint64_t v) { memcpy((uint8_t *)cpu + offset, &v, size); }

static void set_field(const struct Field *f, uint32_t n, uint64_t v) { set_element(f->offset + n * f->size, f->size, v & f->mask); }

/* Pages onto themselves, in one piece or many, for everybody or some; and wild ones. */
static void put_utlb(struct Random *r, int wild)
{
    uint32_t n = 0;
    cpu->utlb0[63] = 0;
    for (uint32_t at = 0; at < 0x30000; n++) {
        static const uint32_t SIZES[] = {0, 1, 1, 1, 2, 3};
        const uint32_t size = SIZES[below(r, 6)], bytes = 0x400u << 2 * size;
        if (at & (bytes - 1)) {
            n--;
            if (bytes == 0x400 || one_in(r, 40)) at = (at + 0xfff) & ~0xfffu;
            continue;
        }
        if (n == 60) break;
        cpu->utlb0[n] = at | size << 4 | 1 << 9;
        cpu->utlb1[n] = at;
        cpu->utlb2[n] = 0x3f;
        at += bytes;
    }
    if (one_in(r, 2)) {
        n = 1;
        cpu->utlb0[0] = 1 << 9 | 5 << 4, cpu->utlb1[0] = 0, cpu->utlb2[0] = 0x3f;
    }
    for (; n < 64; n++) {
        const uint32_t at = some_address(r) & ~0xfffu;
        cpu->utlb0[n] = (one_in(r, 2) ? at : (uint32_t)next64(r) & ~0x3ffu) | below(r, 10) << 4 | below(r, 2) << 8 | 1 << 9;
        cpu->utlb1[n] = one_in(r, 8) ? (uint32_t)next64(r) & 0xfffffc0f : (some_address(r) & ~0xfffu) & 0xfffff;
        cpu->utlb2[n] = (uint32_t)next64(r) & 0x1fffbf;
        cpu->utlb_tid[n] = (uint8_t)(one_in(r, 2) ? 0 : below(r, 4));
    }
    for (uint32_t k = 0; k < 63 && wild; k++) {
        if (one_in(r, 8)) cpu->utlb2[k] = (uint32_t)next64(r) & 0x1fffbf;
        if (one_in(r, 12)) cpu->utlb_tid[k] = (uint8_t)below(r, 4);
        if (one_in(r, 12)) cpu->utlb0[k] ^= 1 << 8;
        if (one_in(r, 12)) cpu->utlb1[k] = some_address(r) & 0xffc00;
    }
}

static void put_etlb(struct Random *r, int wild)
{
    const uint32_t first = 512, count = cpu->tlb1_size, ways = cpu->tlb0_ways;
    cpu->etlb_mas1[first] = 0xc0000000u | 5 << 8;
    cpu->etlb_mas2[first] = 0;
    cpu->etlb_mas3[first] = 0x3f;
    for (uint32_t k = 1; k < count; k++) {
        const uint32_t size = 1 + below(r, 8), inside = (0x400u << 2 * size) - 1;
        cpu->etlb_mas1[first + k] = (one_in(r, 4) ? 0 : 0x80000000u) | below(r, 2) << 30 | (one_in(r, 2) ? 0 : below(r, 4) << 16) | below(r, 2) << 12 | size << 8;
        cpu->etlb_mas2[first + k] = (some_address(r) & ~inside & ~0xfffu) | (one_in(r, 2) ? 0 : below(r, 32));
        cpu->etlb_mas3[first + k] = (some_address(r) & 0xff000 & ~inside) | ((uint32_t)next64(r) & 0x3ff);
    }
    if (wild) { /* small pages over the big one, of some process: so the big one is for another space */
        cpu->etlb_mas1[first] |= one_in(r, 2) ? 3u << 16 : 0;
        for (uint32_t set = 0; set < 64; set++)
            for (uint32_t way = 0; way < ways; way++) {
                const uint32_t n = 4 * set + way;
                cpu->etlb_mas1[n] = (one_in(r, 3) ? 0 : 0x80000000u) | below(r, 4) << 16 | below(r, 2) << 12 | 1 << 8;
                cpu->etlb_mas2[n] = set << 12 | (one_in(r, 2) ? 0 : below(r, 32));
                cpu->etlb_mas3[n] = (one_in(r, 4) ? below(r, 64) : set) << 12 | (one_in(r, 2) ? 0x3f : below(r, 0x400));
            }
    }
    if (model->features & HAS_E500MC)
        for (uint32_t k = 0; k < 576; k++)
            if (cpu->etlb_mas1[k] && one_in(r, 3)) cpu->etlb_mas8[k] = (uint32_t)next64(r) & 0xc0000003u;
}

static void put_registers(struct Random *r)
{
    emu_reset(cpu);
    for (uint32_t k = 0; k < model->count; k++) {
        const struct Value *v = &model->values[k];
        set_element(v->offset, v->size, v->value);
    }
    cpu->line_size = model->line;
    cpu->tb_num = 1 + below(r, 3), cpu->tb_den = 1 + below(r, 7);
    const int hostile = one_in(r, 5), wild = hostile || one_in(r, 3), vectors = (model->features & HAS_SPE) != 0;
    for (uint32_t k = 0; k < FIELD_COUNT; k++) {
        const struct Field *f = &FIELDS[k];
        if (!hostile || f->kind == FIXED || f->kind == TLB || (f->kind == ONLY_MC && !(model->features & HAS_E500MC))) continue;
        if (f->kind == ONLY_SPE && !vectors) continue;
        for (uint32_t n = 0; n < f->count; n++)
            if (one_in(r, 6)) set_field(f, n, one_in(r, 2) ? some_value(r) : next64(r));
    }
    if (cpu->mmu_kind) put_etlb(r, wild);
    else put_utlb(r, wild);
    for (uint32_t k = 0; k < 32; k++) {
        cpu->gpr[k] = some_value(r) | (vectors ? next64(r) << 32 : 0);
        if (!one_in(r, 3)) cpu->fpr[k] = one_in(r, 4) ? next64(r) : one_in(r, 2) ? ~0ull << below(r, 64) : (uint64_t)(0x380 + below(r, 0x100)) << 52;
    }
    const uint32_t to_code = one_in(r, 3) ? 2 : 12;
    for (uint32_t k = 3; k < 7; k++) cpu->gpr[k] = (cpu->gpr[k] & ~0xffffffffull) | (one_in(r, to_code) ? CODE + below(r, CODE_SIZE) : some_address(r));
    if (one_in(r, 2)) cpu->gpr[7] = 4 * below(r, 4);
    cpu->pc = (CODE + below(r, CODE_SIZE)) & ~3u;
    cpu->lr = (CODE + below(r, CODE_SIZE)) & ~3u;
    cpu->ctr = one_in(r, 2) ? below(r, 9) : (CODE + below(r, CODE_SIZE)) & ~3u;
    cpu->xer_count = (uint8_t)below(r, 128);
    if (!hostile) {
        cpu->ivpr = one_in(r, 30) ? 0xffff0000u : 0;
        for (uint32_t k = 0; k < 42; k++) cpu->ivor[k] = one_in(r, 60) ? below(r, 0x10000) & 0xfff0 : STUBS + 64 * k;
        cpu->msr = (uint32_t)next64(r) & (1u << 25 | 1u << 17 | 1u << 15 | 1u << 13 | 1u << 11 | 1u << 8) & cpu->msr_mask;
        if (!one_in(r, 3)) cpu->msr |= (1u << 25 | 1u << 13) & cpu->msr_mask;
        if (one_in(r, 4)) cpu->msr |= 1u << 14;
        if (one_in(r, 8)) cpu->msr |= 1u << 4;
        cpu->msr |= (uint32_t)!one_in(r, 20) << 12;
        cpu->pid[0] = below(r, 4);
        cpu->tb_stopped = 0;
        cpu->tcr = one_in(r, 2) ? (uint32_t)next64(r) : 0;
        cpu->dec = below(r, 2000);
        if (one_in(r, 6)) {
            cpu->dbcr0 = 1u << 30 | ((uint32_t)next64(r) & 0x0fff8000);
            cpu->dbcr1 = (uint32_t)next64(r), cpu->dbcr2 = (uint32_t)next64(r);
            cpu->iac[0] = cpu->pc + 16, cpu->dac[0] = (uint32_t)cpu->gpr[3], cpu->dac[1] = some_address(r);
        }
        cpu->eplc = below(r, 4) | below(r, 2) << 30, cpu->epsc = below(r, 4) | below(r, 2) << 31;
        if (!(model->features & HAS_E500MC)) cpu->eplc = cpu->epsc = 0;
    } else {
        cpu->halted = 0;
        cpu->msr &= cpu->msr_mask;
        if (one_in(r, 2)) cpu->msr &= ~(1u << 28 | 1u << 5 | 1u << 4);
        cpu->time_offset = next64(r) >> 2;
    }
    emu_refresh(cpu);
}

/* Most of what ran were interrupts: go on elsewhere, with the handlers where they were. */
static void rescue(uint64_t seed)
{
    struct Random r = {seed};
    cpu->pc = (CODE + below(&r, CODE_SIZE)) & ~3u;
    cpu->lr = (CODE + below(&r, CODE_SIZE)) & ~3u;
    cpu->ivpr = 0;
    for (uint32_t k = 0; k < 42; k++) cpu->ivor[k] = STUBS + 64 * k;
    for (uint32_t k = 3; k < 7; k++) cpu->gpr[k] = (cpu->gpr[k] & ~0xffffffffull) | (SCRATCH + below(&r, 0x8000));
    cpu->msr = (1u << 25 | 1u << 13 | 1u << 12) & cpu->msr_mask;
    cpu->pid[0] = 0;
    if (cpu->mmu_kind) cpu->etlb_mas1[512] = 0xc0000000u | 5 << 8, cpu->etlb_mas2[512] = 0, cpu->etlb_mas3[512] = 0x3f, cpu->etlb_mas8[512] = 0;
    else cpu->utlb0[0] = 1 << 9 | 5 << 4, cpu->utlb1[0] = 0, cpu->utlb2[0] = 0x3f, cpu->utlb_tid[0] = 0;
    emu_refresh(cpu);
}

/* -- what must hold in the engine after any run */

static void check_offset(uint64_t offset, int writable, const char *what)
{
    if (offset >= BUFFER || offset & 0xfff) violated("a translation leads outside memory");
    for (uint32_t n = 0; n < cpu->region_count; n++) {
        const struct Region *g = &cpu->regions[n];
        if (!g->kind || offset - g->offset >= g->size) continue;
        if (writable && g->kind != 1) violated("a translation lets ROM be written");
        return;
    }
    violated(what);
}

static void check(uint64_t before, uint64_t budget, int reason)
{
    const uint64_t done = emu_icount(cpu);
    if (done < before || done > before + budget) violated("instructions retired are outside the budget");
    if (reason < 0 || reason > 4) violated("an exit reason that nobody gave");
    if (cpu->arena_used > cpu->arena_size) violated("the block arena overflowed");
    if (cpu->single) violated("left in the middle of a lone instruction");
    if (cpu->ram != ram || cpu->ram_size != BUFFER) violated("the memory moved");
    if (cpu->pc & 3) violated("PC is not the address of a word");
    if (cpu->msr & ~cpu->msr_mask) violated("MSR has bits that the model has not");
    if (cpu->space >= 16) violated("there is no such space");
    for (uint32_t k = 0; k < 4096; k++) {
        const struct TlbEntry *e = &cpu->tlb[k];
        for (int write = 0; write < 2; write++) {
            const uint32_t tag = write ? e->wtag : e->rtag;
            if (tag == 1) continue;
            if (tag & 0xfff) violated("a TLB tag that is no page");
            const uint64_t offset = e->addend + tag - (uint64_t)(uintptr_t)ram;
            check_offset(offset, write, "a TLB entry leads to a device");
            if (write && cpu->page_code[offset >> 12]) violated("a TLB entry lets code be written unseen");
        }
        if (e->wtag != 1 && cpu->ctag[k] != e->wtag) violated("a page is writable that is not known to be");
    }
    for (uint32_t k = 0; k < 1024; k++)
        if (!(cpu->fetch[k].tag & 0xfff)) check_offset(cpu->fetch[k].offset, 0, "a fetch entry leads to a device");
    for (uint64_t k = 0; k < cpu->page_count; k++)
        if (cpu->page_code[k] > cpu->code_page_count) violated("the map of code pages is wrong");
}

static void say_place(void)
{
    uint64_t at;
    const int ok = emu_translate(cpu, cpu->pc, &at);
    fprintf(stderr, "%llu: %08x msr %08x", (unsigned long long)emu_icount(cpu), cpu->pc, cpu->msr);
    if (ok && at < 0x24000 - 4) {
        struct Insn insn;
        uint32_t word;
        memcpy(&word, ram + at, 4);
        word = __builtin_bswap32(word);
        emu_decode(cpu, word, cpu->pc, &insn);
        fprintf(stderr, " %08x %s", word, emu_form_name(insn.form));
    }
    fprintf(stderr, "\n");
}

static struct Outcome run_case(uint64_t seed, int style)
{
    choose_processor(seed, style);
    if (telling) fprintf(stderr, "-- %s, %s\n", phase, model->name);
    struct Random slices = {seed ^ 77}, r = {seed + 3};
    __asan_unpoison_memory_region(ram, BUFFER);
    memcpy(ram, pristine, BUFFER);
    memset(&run_now, 0, sizeof run_now);
    run_now.device.state = seed ^ 0x1234;
    memcpy(cpu->regions, MAP, sizeof MAP);
    cpu->time_offset = 0;
    cpu->log_flags = seed & 1;
    /* Little room at times, so that everything is thrown away in the middle of things. */
    cpu->arena_size = seed & 6 ? 1 << 20 : 8192;
    cpu->code_page_limit = seed & 24 ? 64 : 2;
    map_hole(0);
    put_registers(&r);
    run_now.quiet = one_in(&r, 4);
    uint64_t budget = one_in(&r, 16) ? 4096 : 1 + below(&r, 500);
    if (most && most < budget) budget = most;
    if (one_in(&r, 8)) emu_set_pins(cpu, below(&r, 8));
    int reason = 0;
    uint64_t done, tick = TICK;
    uint32_t told = cpu->story_count;
    while ((done = emu_icount(cpu)) < budget) {
        if (done >= tick) {
            emu_timers_tick(cpu);
            if (cpu->story_count - told > TICK / 2) rescue(seed + done);
            told = cpu->story_count;
            tick = (done / TICK + 1) * TICK;
        }
        uint64_t slice = (budget < tick ? budget : tick) - done;
        if (style == ONE_BY_ONE) slice = 1;
        else if (style == IN_SLICES || style == TRANSLATED_SLICES) slice = 1 + below(&slices, slice < 60 ? (uint32_t)slice : 60);
        if (style == ONE_BY_ONE && seed % 8 == 0) { /* what is about to run, for the census */
            struct Insn insn;
            uint32_t word;
            uint64_t at;
            if (emu_translate(cpu, cpu->pc, &at) && at + 4 < 0x20000) {
                memcpy(&word, ram + at, 4);
                emu_decode(cpu, __builtin_bswap32(word), cpu->pc, &insn);
                forms_seen[insn.form] = 1;
            }
        }
        if (telling) say_place();
        reason = emu_run(cpu, (int64_t)slice);
        check(done, slice, reason);
        if (reason == 2) break;
        if (reason == 1) {
            if (++run_now.halts > 4) break;
            cpu->time_offset += 100000;
            emu_timers_tick(cpu);
            emu_set_pins(cpu, 7);
            if (!(cpu->msr & (1u << 12 | 1u << 15 | 1u << 17)) && !(cpu->msr >> 28)) break;
        }
    }
    struct Outcome out = {.reason = reason == 4 || reason == 3 ? 0 : reason};
    /* What a run leaves of its own, and no state of the guest. */
    cpu->fault_dear = cpu->step_pc = cpu->step_lr = cpu->step_ctr = cpu->step_msr = cpu->step_far = 0;
    out.registers = hash_of(cpu, offsetof(Cpu, left));
    if (style == AT_ONCE) memcpy(&first_run, cpu, offsetof(Cpu, left));
    if (!cpu->regions[HOLE_REGION].kind) __asan_unpoison_memory_region(ram + HOLE, HOLE_SIZE);
    out.memory = hash_of(ram, BUFFER);
    if (memcmp(ram + 0x20000, pristine + 0x20000, 0x4000) || memcmp(ram + 0x34000, pristine + 0x34000, 0x10000))
        violated("ROM was written");
    out.trace = run_now.trace;
    out.icount = emu_icount(cpu);
    out.accesses = run_now.accesses;
    out.story = hash_of(cpu->story, sizeof cpu->story);
    out.at = cpu->pc;
    return out;
}

static uint64_t one_case(uint64_t seed)
{
    case_seed = seed;
    late = 0;
    phase = "setting up";
    struct Random r = {seed};
    model = &MODELS[below(&r, MODEL_COUNT)];
    put_memory(&r);
    const struct Outcome whole = run_case(seed, AT_ONCE);
    const struct Outcome single = run_case(seed, ONE_BY_ONE);
    if (!same(&whole, &single)) differ(&whole, &single, "one run and single steps");
    const struct Outcome sliced = run_case(seed, IN_SLICES);
    if (!same(&whole, &sliced)) differ(&whole, &sliced, "one run and slices");
    /* The code buffer is a small one, a middling or a large one. */
    const struct Outcome fast = run_case(seed, seed & 1 ? TRANSLATED : TRANSLATED_SLICES);
    if (!same(&whole, &fast)) differ(&whole, &fast, "interpreted and translated");
    translated_insns += fast.icount;
    return whole.icount;
}

static void born(void)
{
    cpu->port_read = on_port_read;
    cpu->port_write = on_port_write;
    cpu->mmio_read = on_mmio_read;
    cpu->mmio_write = on_mmio_write;
    cpu->acknowledge = on_acknowledge;
    cpu->event = on_event;
    cpu->region_count = REGIONS;
}

int main(int argc, char **argv) { return fuzz(argc, argv, born, one_case); }
