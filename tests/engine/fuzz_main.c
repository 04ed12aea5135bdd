/* Random programs on the generated engine, in a process of their own so that it can be built with sanitizers.
 *
 * A case is one seed: RAM, ROM, tables, registers and what the devices answer all follow from it. It is run whole, then one
 * instruction at a time, in random slices, and translated by the JIT, and all must leave the same registers, memory, bus accesses and
 * instruction count. Around and between the guest's memory lie guard pages and poisoned bytes, and after each run the
 * engine's own tables are checked. `grammar.h` (emu.tools.sanitize) names registers and encodings; `unit.h` is engine.h.
 *
 * fuzz [--seed N] [--cases N] [--seconds S] [--case SEED] [--budget N] [--verbose]: 0 when clean, 1 at the first violation. */
#include "fuzz_common.h"

enum { GDT = 0x1000, LDT = 0x1800, IDT = 0x2000, TSS = 0x3000, TSS16 = 0x3400, TSS2 = 0x3800, TABLES = 0x4000, CODE = 0x8000 };
enum { CODE_SIZE = 0x3000, STUBS = 0xc000, STACK = 0xf000, SCRATCH = 0x10000 };

static const struct Region MAP[] = {
    {0, 0x20000, 0, 1},
    {0x20000, 0x4000, 0x20000, 2},
    {HOLE, HOLE_SIZE, HOLE, 0},
    {0x26000, 0xa000, 0x26000, 1},
    {0x100000, 0x4000, 0x30000, 1},
    {0xffff0000u, 0x10000, 0x34000, 2},
};
enum { REGIONS = sizeof MAP / sizeof *MAP };

/* What a device may do beside answering. Nonzero: something that the processor must notice at once. */
static int mischief(uint64_t dice, int write)
{
    if (run_now.quiet) return 0;
    /* Only a write changes what memory is where. */
    if (!write && ((dice & 0x7f) == 7 || (dice & 0x7f) == 10)) return 0;
    switch (dice & 0x7f) {
    case 0: case 1: case 2: emu_set_intr(cpu, 1); return 1;
    case 3: emu_set_intr(cpu, 0); return 1;
    case 4: emu_nmi(cpu); return 1;
    case 5: emu_stop(cpu, 1); return 1;
    case 6: cpu->hook_value = 7; emu_stop(cpu, 2); return 1;
    case 7: emu_set_a20(cpu, dice >> 8 & 1); return 1;
    case 8: case 9: {
        /* A device writes memory: DMA into data or into code that was decoded. */
        const uint32_t at = dice >> 8 & 1 ? CODE + (uint32_t)(dice >> 16) % (CODE_SIZE - 64) : SCRATCH + (uint32_t)(dice >> 16) % 0x8000;
        const uint32_t n = 1 + (uint32_t)(dice >> 48) % 40;
        for (uint32_t k = 0; k < n; k++) ram[at + k] = (uint8_t)(dice >> (k & 31));
        emu_invalidate(cpu, at, n);
        return 1;
    }
    case 10: map_hole((dice >> 8 & 3) == 0 ? 1 : 0); return 1;
    case 11: emu_invalidate(cpu, dice >> 8 & 0xffffffff, dice >> 40 & 0xffff); return 1;
    case 12: emu_invalidate(cpu, dice >> 8, ~0ull - (dice >> 8)); return 1;
    default: return 0;
    }
}

static uint32_t on_port_read(void *handle, uint32_t port, uint32_t size)
{
    (void)handle;
    const uint64_t dice = note(1, port, size, 0, instant());
    mischief(dice, 0);
    return (uint32_t)(dice >> 32);
}

static void on_port_write(void *handle, uint32_t port, uint32_t size, uint32_t value)
{
    (void)handle;
    mischief(note(2, port, size, value, instant()), 1);
}

static uint32_t on_mmio_read(void *handle, uint64_t address, uint32_t size)
{
    (void)handle;
    const uint64_t dice = note(3, address, size, 0, instant());
    mischief(dice, 0);
    return (uint32_t)(dice >> 32);
}

static void on_mmio_write(void *handle, uint64_t address, uint32_t size, uint32_t value)
{
    (void)handle;
    mischief(note(4, address, size, value, instant()), 1);
}

static uint32_t on_acknowledge(void *handle)
{
    (void)handle;
    const uint64_t dice = note(5, 0, 0, 0, instant());
    if (dice & 3) emu_set_intr(cpu, 0);
    return (uint32_t)(dice >> 32);
}

static uint32_t mask_of(uint32_t size) { return size >= 4 ? ~0u : (1u << 8 * size) - 1; }

/* A block is what single accesses would have been, up to the first that raises something. */
static uint32_t on_port_read_block(void *handle, uint32_t port, uint32_t size, uint32_t count, uint8_t *data)
{
    (void)handle;
    if (port & 1) return 0;
    for (uint32_t k = 0; k < count; k++) {
        const uint64_t dice = note(1, port, size, 0, instant() + k);
        const int stop = mischief(dice, 0);
        const uint32_t v = (uint32_t)(dice >> 32);
        memcpy(data + (size_t)k * size, &v, size);
        if (stop) return k + 1;
    }
    return count;
}

static uint32_t on_port_write_block(void *handle, uint32_t port, uint32_t size, uint32_t count, const uint8_t *data)
{
    (void)handle;
    if (port & 1) return 0;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t v = 0;
        memcpy(&v, data + (size_t)k * size, size);
        if (mischief(note(2, port, size, v & mask_of(size), instant() + k), 1)) return k + 1;
    }
    return count;
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
    static const uint32_t EDGES[] = {0, 0x10000, 0x20000, 0x24000, 0x26000, 0x30000, 0xa0000, 0x100000, 0x104000, 0x110000,
                                     0xffff0000u, CODE, CODE + PAGE, CODE + 2 * PAGE, STACK, SCRATCH, 0x80000000u, 0x7fffffff};
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

static uint32_t put_code(struct Random *r, uint8_t *out)
{
    static const uint8_t PREFIXES[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x66, 0x67};
    uint32_t n = 0;
    while (n < 3 && one_in(r, 6)) out[n++] = PREFIXES[below(r, sizeof PREFIXES)];
    if (one_in(r, 60))
        for (uint32_t k = below(r, 14); k; k--) out[n++] = PREFIXES[below(r, sizeof PREFIXES)];
    const struct Encoding *e = &ENCODINGS[below(r, ENCODING_COUNT)];
    if (e->prefix == 1) out[n++] = 0x66;
    if (e->prefix == 2) out[n++] = 0xf3;
    if (e->prefix == 3) out[n++] = 0xf2;
    if (e->map) out[n++] = 0x0f;
    if (e->map == 2) out[n++] = 0x38;
    if (e->map == 3) out[n++] = 0x3a;
    out[n++] = (uint8_t)(e->opcode + (e->opreg ? below(r, 8) : 0));
    if (e->modrm) {
        const uint32_t digit = e->digit >= 0 ? (uint32_t)e->digit : below(r, 8);
        const uint32_t rm = e->rm >= 0 ? (uint32_t)e->rm : below(r, 8);
        const uint32_t mod = e->mem == 0 ? 3 : below(r, 3);
        out[n++] = (uint8_t)(mod << 6 | digit << 3 | rm);
    }
    /* What follows are displacements and immediates, mostly small or addresses. */
    const uint32_t v = one_in(r, 2) ? some_value(r) : below(r, 256);
    for (uint32_t k = 0; k < below(r, 7); k++) out[n++] = (uint8_t)(k < 4 ? v >> 8 * k : next64(r));
    return n;
}

static void put_descriptor(struct Random *r, uint32_t at, uint32_t code_base)
{
    static const uint8_t TYPES[] = {0x9b, 0x93, 0xfb, 0xf3, 0x9f, 0xff, 0x97, 0x91, 0xbb, 0xb3, 0x89, 0x8b, 0x81, 0x82, 0x8c, 0xec,
                                    0x84, 0x85, 0xe5, 0x1b, 0x13, 0x00, 0xef, 0x99, 0xf1};
    const uint8_t type = one_in(r, 12) ? (uint8_t)next64(r) : TYPES[below(r, sizeof TYPES)];
    const int gate = !(type & 0x10) && ((type & 7) >= 4);
    uint32_t low, high;
    if (gate) {
        const uint32_t target = code_base + below(r, CODE_SIZE);
        const uint32_t selector = one_in(r, 8) ? below(r, 0x10000) : below(r, 16) * 8 + below(r, 4);
        low = selector << 16 | (target & 0xffff);
        high = (target & 0xffff0000u) | (uint32_t)type << 8 | (one_in(r, 4) ? below(r, 32) : 0);
    } else {
        uint32_t base = one_in(r, 3) ? some_address(r) : 0, limit = one_in(r, 3) ? below(r, 0x100000) : 0xfffff;
        uint32_t flags = one_in(r, 3) ? below(r, 16) : 0xc;
        if ((type & 0x1f) == 9 || (type & 0x1f) == 0xb) base = one_in(r, 2) ? TSS : TSS2, limit = 0x67 + below(r, 0x100), flags = 0;
        if ((type & 0x1f) == 1 || (type & 0x1f) == 3) base = TSS16, limit = 0x2b + below(r, 16), flags = 0;
        if ((type & 0x1f) == 2) base = LDT, limit = 0xff, flags = 0;
        low = base << 16 | (limit & 0xffff);
        high = (base & 0xff000000u) | flags << 20 | (limit & 0xf0000) | (uint32_t)type << 8 | (base >> 16 & 0xff);
    }
    put32(at, low);
    put32(at + 4, high);
}

/* A handler that goes on elsewhere with a sound stack, or returns to elsewhere: so that a fault is not the end of a case. */
static void put_stub(struct Random *r, uint32_t vector, int wide, uint32_t code_base)
{
    uint8_t *out = pristine + STUBS + 16 * vector;
    const uint32_t from = STUBS + 16 * vector - CODE + code_base, to = code_base + below(r, CODE_SIZE);
    const int with_error = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
    uint32_t n = 0;
    if (wide) {
        if (one_in(r, 2)) {
            out[n++] = 0x58, out[n++] = 0x68, out[n++] = (uint8_t)to, out[n++] = (uint8_t)(to >> 8), out[n++] = 0xcf;
            return;
        }
        out[n++] = 0xbc, out[n++] = (uint8_t)(STACK - below(r, 64)), out[n++] = STACK >> 8;
        out[n++] = 0xe9;
        const uint32_t d = to - (from + n + 2);
        out[n++] = (uint8_t)d, out[n++] = (uint8_t)(d >> 8);
        return;
    }
    if (one_in(r, 2)) {
        if (with_error) out[n++] = 0x83, out[n++] = 0xc4, out[n++] = 4;
        out[n++] = 0xc7, out[n++] = 4, out[n++] = 0x24;
        memcpy(out + n, &to, 4);
        out[n + 4] = 0xcf;
        return;
    }
    out[n++] = 0xbc;
    const uint32_t stack = STACK - below(r, 256);
    memcpy(out + n, &stack, 4), n += 4;
    if (one_in(r, 2)) out[n++] = 0x6a, out[n++] = 16, out[n++] = one_in(r, 2) ? 0x1f : 0x07;
    out[n++] = 0xe9;
    const uint32_t d = to - (from + n + 4);
    memcpy(out + n, &d, 4);
}

/* Two levels at TABLES, or three for PAE: mostly identity, with holes, rights and tables in odd places. */
static void put_tables(struct Random *r, int pae)
{
    const uint32_t pd = TABLES, first = TABLES + PAGE;
    const uint32_t wild = one_in(r, 3) ? 4 : 40;
    if (pae) {
        for (uint32_t k = 0; k < 4; k++) put64(TABLES + 8 * k, (uint64_t)(first) | (one_in(r, wild) ? next64(r) : 1));
        for (uint32_t k = 0; k < 512; k++) {
            uint64_t e = (uint64_t)(first + PAGE) | 0x67;
            if (one_in(r, wild)) e = next64(r) & 0x8000000fffffffffull;
            if (one_in(r, wild)) e = (uint64_t)below(r, 2) << 21 | 0xe7;
            put64(first + 8 * k, e);
            uint64_t p = (uint64_t)(k << 12) | 0x67;
            if (one_in(r, wild)) p = (uint64_t)(some_address(r) & ~0xfffu) | below(r, 0x200);
            if (one_in(r, wild)) p = (uint64_t)(TABLES + (below(r, 4) << 12)) | 7;
            if (one_in(r, wild * 4)) p = next64(r);
            put64(first + PAGE + 8 * k, p);
        }
        return;
    }
    for (uint32_t k = 0; k < 1024; k++) {
        uint32_t e = first | 0x67;
        if (k == 1023) e = pd | 0x67;
        if (one_in(r, wild)) e = (uint32_t)next64(r);
        if (one_in(r, wild)) e = below(r, 2) << 22 | 0xe7;
        put32(pd + 4 * k, e);
        uint32_t p = k << 12 | 0x67;
        if (k >= 0x300) p = (0xffff0000u + ((k & 15) << 12)) | 0x67;
        if (one_in(r, wild)) p = (some_address(r) & ~0xfffu) | below(r, 0x200);
        if (one_in(r, wild)) p = (TABLES + (below(r, 4) << 12)) | 7;
        if (one_in(r, wild * 4)) p = (uint32_t)next64(r);
        put32(first + 4 * k, p);
    }
}

enum { REAL, UNREAL, V86, SMALL, FLAT0, FLAT3, PAGED0, PAGED3, PAE0, PAE3, HOSTILE, MODES };

static void put_memory(struct Random *r, int mode)
{
    const int wide = mode == REAL || mode == UNREAL || mode == V86;
    const uint32_t code_base = mode == REAL || mode == UNREAL || mode == V86 ? 0 : CODE;
    uint64_t v = 0;
    const uint64_t fill = next64(r);
    for (uint32_t k = 0; k < BUFFER; k += 8) {
        v = fill & 7 ? mix(v, fill + k) : 0;
        memcpy(pristine + k, &v, 8);
    }
    for (uint32_t at = CODE; at < CODE + CODE_SIZE - 40;) {
        if (mode % 5 == 4 && one_in(r, 5)) at += 1 + below(r, 3);
        else at += put_code(r, pristine + at);
    }
    for (uint32_t at = 0x34000; at < 0x34000 + 0xff00; at += put_code(r, pristine + at)) {}
    for (uint32_t k = 0; k < 256; k++) put_stub(r, k, wide || mode == SMALL, wide || mode == SMALL ? 0 : CODE);
    if (one_in(r, 4)) { /* raw bytes */
        for (uint32_t k = 0; k < CODE_SIZE; k++) pristine[CODE + k] = (uint8_t)next64(r);
    }
    if (wide) {
        for (uint32_t k = 0; k < 256; k++) {
            const uint32_t target = one_in(r, 3) ? below(r, CODE_SIZE) : STUBS - CODE + 16 * k;
            put32(4 * k, (one_in(r, 40) ? below(r, 0x10000) : CODE >> 4) << 16 | target);
        }
    }
    for (uint32_t k = 0; k < 64; k++) put_descriptor(r, GDT + 8 * k, code_base);
    /* The first ones are what a system has, so that something runs. */
    put64(GDT, 0);
    put64(GDT + 8, mode == SMALL ? 0x00009b000000ffffull | (uint64_t)CODE << 16 : 0x00cf9b000000ffffull);
    put64(GDT + 16, mode == SMALL ? 0x000093000000ffffull : 0x00cf93000000ffffull);
    put64(GDT + 24, mode == SMALL ? 0x0000fb000000ffffull | (uint64_t)CODE << 16 : 0x00cffb000000ffffull);
    put64(GDT + 32, mode == SMALL ? 0x0000f3000000ffffull : 0x00cff3000000ffffull);
    put64(GDT + 40, 0x00008b0000000000ull | (uint64_t)TSS << 16 | 0x2fff);
    for (uint32_t k = 0; k < 32; k++) put_descriptor(r, LDT + 8 * k, code_base);
    const uint32_t gates = one_in(r, 6) ? 1 + below(r, 32) : 256;
    for (uint32_t k = 0; k < gates; k++) {
        const uint32_t base = mode == SMALL ? 0 : CODE;
        const uint32_t at = IDT + 8 * k, target = one_in(r, 4) ? base + below(r, CODE_SIZE) : base + STUBS - CODE + 16 * k;
        const uint32_t type = one_in(r, 60) ? below(r, 256) : (one_in(r, 2) ? 0x8e : 0xef) - (one_in(r, 30) ? 8 : 0);
        const uint32_t selector = one_in(r, 60) ? below(r, 512) : 8;
        put32(at, selector << 16 | (target & 0xffff));
        put32(at + 4, (target & 0xffff0000u) | type << 8);
        if (one_in(r, 40)) put32(at, (40 + 8 * below(r, 20)) << 16), put32(at + 4, 0xe500);
    }
    for (uint32_t t = 0; t < 3; t++) {
        const uint32_t at = t == 0 ? TSS : t == 1 ? TSS16 : TSS2;
        for (uint32_t k = 0; k < 0x40; k++) put32(at + 4 * k, k < 26 ? some_value(r) : one_in(r, 2) ? 0 : ~0u);
        if (t == 1) continue;
        put32(at + 4, STACK - below(r, 64)), put16(at + 8, 16);
        put32(at + 0x1c, TABLES), put32(at + 0x20, CODE + below(r, CODE_SIZE)), put32(at + 0x24, (uint32_t)next64(r) & 0x3f7fd7);
        for (uint32_t k = 0; k < 6; k++) put16(at + 0x48 + 4 * k, k == 1 ? 8 : 16);
        put16(at + 0x60, 0), put16(at + 0x64, one_in(r, 8)), put16(at + 0x66, one_in(r, 4) ? below(r, 0x200) : 0x68);
    }
    if (mode >= PAGED0 || one_in(r, 4)) put_tables(r, mode == PAE0 || mode == PAE3 || (mode == HOSTILE && one_in(r, 2)));
}

static void set_segment(uint32_t s, uint32_t selector, uint32_t base, uint32_t limit, uint32_t attr)
{
    cpu->seg_sel[s] = (uint16_t)selector;
    cpu->seg_base[s] = base;
    cpu->seg_limit[s] = limit;
    cpu->seg_attr[s] = (uint16_t)attr;
}

static void set_field(const struct Field *f, uint32_t index, uint64_t v)
{
    uint8_t *at = (uint8_t *)cpu + f->offset + (size_t)index * f->size;
    if (f->width < 64) v &= (1ull << f->width) - 1;
    memcpy(at, &v, f->size);
}

static void put_registers(struct Random *r, int mode)
{
    emu_reset(cpu, 0x633);
    for (uint32_t k = 0; k < 8; k++) cpu->gpr[k] = some_value(r);
    cpu->gpr[4] = STACK - below(r, 256);
    if (one_in(r, 4)) /* stores go to the code itself */
        for (uint32_t k = 0; k < 8; k++) cpu->gpr[k] = CODE + below(r, CODE_SIZE);
    if (one_in(r, 3)) cpu->gpr[1] = below(r, 300);
    cpu->eip = CODE + below(r, CODE_SIZE);
    cpu->eflags = 2 | (one_in(r, 2) ? 0x200 : 0) | (one_in(r, 8) ? 0x400 : 0) | (one_in(r, 16) ? 0x100 : 0) |
                  (one_in(r, 10) ? 0x40000 : 0) | below(r, 4) << 12;
    cpu->cf = below(r, 2);
    cpu->cc_z = below(r, 2);
    cpu->cc_s = (uint32_t)next64(r);
    cpu->cc_aux = (uint32_t)next64(r);
    if (one_in(r, 8)) cpu->cr3 = HOLE + below(r, HOLE_SIZE);
    cpu->idtr_limit = 0x3ff;
    cpu->cr0 = 0x10 | (one_in(r, 8) ? below(r, 64) & 0x2e : 0);
    for (uint32_t k = 0; k < FIELD_COUNT; k++) { /* the floating-point state, as it comes */
        const struct Field *f = &FIELDS[k];
        if (!f->floating || one_in(r, 3)) continue;
        for (uint32_t n = 0; n < f->count; n++) set_field(f, n, one_in(r, 4) ? next64(r) : one_in(r, 2) ? ~0ull << below(r, 64) : below(r, 3));
    }
    cpu->mxcsr = one_in(r, 3) ? below(r, 0x10000) : 0x1f80;
    cpu->fctrl = one_in(r, 3) ? below(r, 0x2000) : 0x37f;
    if (one_in(r, 6)) {
        for (uint32_t k = 0; k < 4; k++) cpu->dr[k] = some_address(r);
        cpu->dr[7] = 0x400 | ((uint32_t)next64(r) & 0xffff23ff);
    }
    const int wide = mode == REAL || mode == UNREAL;
    if (wide) {
        for (uint32_t s = 0; s < 6; s++) set_segment(s, s == 1 ? CODE >> 4 : one_in(r, 3) ? below(r, 0x10000) : SCRATCH >> 4, 0, 0xffff, 0x93);
        for (uint32_t s = 0; s < 6; s++) cpu->seg_base[s] = (uint32_t)cpu->seg_sel[s] << 4;
        if (mode == UNREAL)
            for (uint32_t s = 0; s < 6; s++) cpu->seg_limit[s] = one_in(r, 3) ? below(r, 0x30000) : ~0u;
        cpu->eip = below(r, CODE_SIZE);
        cpu->gpr[4] &= 0xffff;
    } else {
        const uint32_t level = mode == FLAT3 || mode == PAGED3 || mode == PAE3 || mode == V86 ? 3 : mode == SMALL ? 3 * below(r, 2) : 0;
        const uint32_t attr = level << 5 | (mode == SMALL ? 0 : 0xc000);
        cpu->cr0 |= 1 | (one_in(r, 4) ? below(r, 2) << 16 | below(r, 2) << 18 : 0);
        cpu->cpl = (uint8_t)level;
        cpu->gdtr_base = GDT, cpu->gdtr_limit = one_in(r, 8) ? below(r, 0x200) : 0x1ff;
        cpu->idtr_base = IDT, cpu->idtr_limit = one_in(r, 8) ? below(r, 0x800) : 0x7ff;
        for (uint32_t s = 0; s < 6; s++) {
            const uint32_t sel = (s == 1 ? 8 : 16) + (level ? 16 + 3 : 0);
            const uint32_t base = mode == SMALL && s == 1 ? CODE : 0, limit = mode == SMALL ? 0xffff : ~0u;
            set_segment(s, sel, base, limit, attr | (s == 1 ? 0x9b : 0x93));
            if (s > 2 && one_in(r, 4)) set_segment(s, 0, 0, 0, 0);
            if (s != 1 && one_in(r, 8)) cpu->seg_limit[s] = some_address(r);
            if (s != 1 && one_in(r, 12)) cpu->seg_base[s] = some_address(r);
            if (s > 2 && one_in(r, 12)) cpu->seg_attr[s] = 0x97 | (uint16_t)attr;
        }
        set_segment(6, 0, LDT, 0xff, one_in(r, 4) ? 0 : 0x82);
        set_segment(7, 40, TSS, 0x67 + below(r, 0x2000), 0x8b);
        if (mode == SMALL) cpu->eip = below(r, CODE_SIZE);
        if (mode == V86) {
            cpu->eflags |= 0x20000;
            for (uint32_t s = 0; s < 6; s++) {
                const uint32_t sel = s == 1 ? CODE >> 4 : one_in(r, 3) ? below(r, 0x10000) : SCRATCH >> 4;
                set_segment(s, sel, sel << 4, 0xffff, 0xf3);
            }
            cpu->eip = below(r, CODE_SIZE);
            cpu->gpr[4] &= 0xffff;
            cpu->cr4 |= below(r, 2);
        }
        if (mode >= PAGED0 || (mode == V86 && one_in(r, 2))) {
            cpu->cr0 |= 0x80000000u;
            cpu->cr3 = TABLES;
            cpu->cr4 = (mode == PAE0 || mode == PAE3 ? 0x20 : below(r, 2) << 5) | below(r, 2) << 4 | below(r, 2) << 7 | 0x600;
            if (mode == V86) cpu->cr4 &= ~0x20u;
            for (uint32_t k = 0; k < 4; k++) memcpy(&cpu->pdpte[k], pristine + TABLES + 8 * k, 8);
        }
    }
    if (mode == HOSTILE) {
        const uint32_t share = 1 + below(r, 12);
        for (uint32_t k = 0; k < FIELD_COUNT; k++)
            for (uint32_t n = 0; n < FIELDS[k].count; n++)
                if (one_in(r, share)) set_field(&FIELDS[k], n, one_in(r, 2) ? some_value(r) : next64(r));
        for (uint32_t k = 0; k < 8; k++) cpu->gpr[k] &= 0xffffffffu;
        for (uint32_t k = 8; k < 17; k++) cpu->gpr[k] = 0;
        cpu->cpl &= 3;
        cpu->halted = 0;
        cpu->time_offset = next64(r);
    } else {
        cpu->cr4 |= one_in(r, 4) ? below(r, 0x800) & ~0x20u : 0x600;
    }
    emu_refresh(cpu);
}

/* -- what must hold in the engine after any run */

static void check(uint64_t before, uint64_t budget, int reason)
{
    const uint64_t now = emu_icount(cpu);
    if (now < before || now > before + budget) violated("instructions retired are outside the budget");
    if (reason < 0 || reason > 4) violated("an exit reason that nobody gave");
    if (cpu->arena_used > cpu->arena_size) violated("the block arena overflowed");
    if (cpu->single) violated("left in the middle of a lone instruction");
    if (cpu->gpr[16]) violated("the zero register is not zero");
    if (cpu->ram != ram || cpu->ram_size != BUFFER) violated("the memory moved");
    for (uint32_t k = 0; k < 1024; k++) {
        const struct TlbEntry *e = &cpu->tlb[k];
        for (int write = 0; write < 2; write++) {
            const uint32_t tag = write ? e->wtag : e->rtag;
            if (tag == 1) continue;
            if (tag & 0xfff) violated("a TLB tag that is no page");
            const uint64_t offset = e->addend + tag - (uint64_t)(uintptr_t)ram;
            if (offset >= BUFFER || offset & 0xfff) violated("a TLB entry leads outside memory");
            const struct Region *found = NULL;
            for (uint32_t n = 0; n < cpu->region_count; n++)
                if (cpu->regions[n].kind && offset - cpu->regions[n].offset < cpu->regions[n].size) found = &cpu->regions[n];
            if (!found) violated("a TLB entry leads to a device");
            if (write && found->kind != 1) violated("a TLB entry lets ROM be written");
            if (write && cpu->page_code[offset >> 12]) violated("a TLB entry lets code be written unseen");
        }
    }
    for (uint32_t k = 0; k < 256; k++)
        if (cpu->fetch[k].tag != 2 && cpu->fetch[k].offset > BUFFER - PAGE) violated("a fetch entry leads outside memory");
    for (uint64_t k = 0; k < cpu->page_count; k++)
        if (cpu->page_code[k] > cpu->code_page_count) violated("the map of code pages is wrong");
}

static void say_place(void)
{
    uint64_t at;
    const uint32_t lin = cpu->seg_base[1] + cpu->eip;
    const int ok = emu_translate(cpu, lin, &at);
    fprintf(stderr, "%llu: %04x:%08x %08x%s", (unsigned long long)emu_icount(cpu), cpu->seg_sel[1], cpu->eip, emu_get_eflags(cpu),
            cpu->big ? " 32" : " 16");
    if (ok && at < 0x24000 - 12) {
        struct Insn insn;
        emu_decode(cpu, ram + at, 15, cpu->eip, cpu->big, &insn);
        fprintf(stderr, " %s:", emu_form_name(insn.form));
        for (uint32_t k = 0; k < 12; k++) fprintf(stderr, " %02x", ram[at + k]);
    }
    fprintf(stderr, "\n");
}

static struct Outcome run_case(uint64_t seed, int mode, int style)
{
    choose_processor(seed, style);
    if (telling) fprintf(stderr, "-- %s\n", phase);
    struct Random slices = {seed ^ 77}, r = {seed + 3};
    __asan_unpoison_memory_region(ram, BUFFER);
    memcpy(ram, pristine, BUFFER);
    memset(&run_now, 0, sizeof run_now);
    run_now.device.state = seed ^ 0x1234;
    memcpy(cpu->regions, MAP, sizeof MAP);
    cpu->a20_mask = 0xffffffffu;
    cpu->time_offset = 0;
    cpu->log_flags = seed & 1;
    /* Little room at times, so that everything is thrown away in the middle of things. */
    cpu->arena_size = seed & 6 ? 1 << 20 : 8192;
    cpu->code_page_limit = seed & 24 ? 64 : 2;
    map_hole(0);
    put_registers(&r, mode);
    run_now.quiet = one_in(&r, 4);
    uint64_t budget = one_in(&r, 16) ? 4096 : 1 + below(&r, 400);
    if (most && most < budget) budget = most;
    if (one_in(&r, 8)) emu_set_intr(cpu, 1);
    if (one_in(&r, 16)) emu_nmi(cpu);
    int reason = 0;
    uint64_t done;
    while ((done = emu_icount(cpu)) < budget) {
        uint64_t slice = budget - done;
        if (style == ONE_BY_ONE) slice = 1;
        else if (style == IN_SLICES || style == TRANSLATED_SLICES) slice = 1 + below(&slices, slice < 60 ? (uint32_t)slice : 60);
        if (style == ONE_BY_ONE && seed % 8 == 0) {
            /* What is about to run, for the census. */
            uint8_t bytes[16] = {0};
            struct Insn insn;
            uint64_t at;
            const uint32_t lin = cpu->seg_base[1] + cpu->eip;
            if (emu_translate(cpu, lin, &at) && at + 16 < 0x20000) {
                memcpy(bytes, ram + at, 16);
                emu_decode(cpu, bytes, 16, cpu->eip, cpu->big, &insn);
                forms_seen[insn.form] = 1;
            }
        }
        if (telling) say_place();
        reason = emu_run(cpu, (int64_t)slice);
        check(done, slice, reason);
        if (reason == 2) break;
        if (reason == 1) {
            if (++run_now.halts > 4) break;
            cpu->time_offset += 1000;
            if (run_now.halts & 1) emu_set_intr(cpu, 1);
            else emu_nmi(cpu);
            if (!(cpu->eflags & 0x200) && !(run_now.halts & 1) && cpu->nmi_blocked) break;
        }
    }
    struct Outcome out = {.reason = reason == 4 || reason == 3 ? 0 : reason};
    out.registers = hash_of(cpu, offsetof(Cpu, left));
    if (style == AT_ONCE) memcpy(&first_run, cpu, offsetof(Cpu, left));
    const uint32_t hole = cpu->regions[HOLE_REGION].kind;
    if (!hole) __asan_unpoison_memory_region(ram + HOLE, HOLE_SIZE);
    out.memory = hash_of(ram, BUFFER);
    if (memcmp(ram + 0x20000, pristine + 0x20000, 0x4000) || memcmp(ram + 0x34000, pristine + 0x34000, 0x10000))
        violated("ROM was written");
    out.trace = run_now.trace;
    out.icount = emu_icount(cpu);
    out.accesses = run_now.accesses;
    out.story = hash_of(cpu->story, sizeof cpu->story);
    out.at = cpu->eip;
    out.segment = cpu->seg_sel[1];
    return out;
}

static uint64_t one_case(uint64_t seed)
{
    case_seed = seed;
    late = 0;
    phase = "setting up";
    struct Random r = {seed};
    const int mode = (int)below(&r, MODES);
    put_memory(&r, mode);
    const struct Outcome whole = run_case(seed, mode, AT_ONCE);
    const struct Outcome single = run_case(seed, mode, ONE_BY_ONE);
    if (!same(&whole, &single)) differ(&whole, &single, "one run and single steps");
    const struct Outcome sliced = run_case(seed, mode, IN_SLICES);
    if (!same(&whole, &sliced)) differ(&whole, &sliced, "one run and slices");
    /* The code buffer is a small one, a middling or a large one. */
    const struct Outcome fast = run_case(seed, mode, seed & 1 ? TRANSLATED : TRANSLATED_SLICES);
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
    cpu->port_read_block = on_port_read_block;
    cpu->port_write_block = on_port_write_block;
    cpu->event = on_event;
    cpu->region_count = REGIONS;
    for (uint32_t k = 0; k < 4; k++) cpu->features[k] = ~0u;
    cpu->cpuid_count = 2;
    cpu->cpuid[0].eax = 1, cpu->cpuid[0].subleaf = cpu->cpuid[1].subleaf = ~0u, cpu->cpuid[1].leaf = 1;
}

int main(int argc, char **argv) { return fuzz(argc, argv, born, one_case); }
