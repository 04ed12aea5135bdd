/* The decoded-block cache: keyed by physical address, instruction pointer, mode and code limit; forgotten page by page when
 * code is written. */

static const struct Insn *op_end(Cpu *cpu, const struct Insn *i)
{
    return branch_link(cpu, i + 1, i->imm, 0, i->start);
}

static const struct Insn *op_done(Cpu *cpu, const struct Insn *i)
{
    cpu->IP = i->start;
    return EXIT_DONE;
}

static const struct Insn *op_fault(Cpu *cpu, const struct Insn *i)
{
    cpu->IP = i->start;
    cpu->left += i->rest;
    return EXIT_FAULT;
}

static const struct Insn *op_undefined(Cpu *cpu, const struct Insn *i)
{
    raise_undefined(cpu);
    return op_fault(cpu, i);
}

enum { DEBUG_MAGIC = 0x10000 };

static int is_break(const Cpu *cpu, uint32_t lin)
{
    for (uint32_t k = 0; k < cpu->break_count; k++)
        if (cpu->breaks[k] == lin) return 1;
    return 0;
}

/* Whether code is XCHG BX,BX where that is a breakpoint: in 32-bit code it has an operand-size prefix. */
static int is_magic(const Cpu *cpu, uint64_t offset, uint32_t room)
{
    if (!cpu->magic_break || room < 2) return 0;
    const uint8_t *code = cpu->ram + offset;
    if (code[0] == 0x66 && room >= 3) code++;
    return code[0] == 0x87 && code[1] == 0xdb;
}

static int magic_here(Cpu *cpu)
{
    const uint32_t lin = code_linear(cpu, cpu->IP);
    const struct FetchEntry *f = fetch_at(cpu, lin);
    return f->tag == fetch_tag(lin) && is_magic(cpu, f->offset + (lin & ~PAGE_MASK), PAGE_SIZE - (lin & ~PAGE_MASK));
}

/* Before an instruction: whether a breakpoint asks to leave. A debugger that goes on from one passes it. */
static int break_here(Cpu *cpu)
{
    if (likely(!cpu->break_count && !cpu->magic_break) || cpu->hold) return 0;
    const int given = is_break(cpu, code_linear(cpu, cpu->IP));
    if (!given && !(cpu->magic_break && magic_here(cpu))) return 0;
    if (emu_icount(cpu) == cpu->break_pass) return 0;
    cpu->debug_stop = given ? 1 : DEBUG_MAGIC;
    emu_stop(cpu, STOP_STOP);
    return 1;
}

/* Stands in a block for the instruction of a breakpoint, which itself always runs alone. */
static const struct Insn *op_break(Cpu *cpu, const struct Insn *i)
{
    cpu->IP = i->start;
    cpu->left += i->rest;
    if (break_here(cpu)) return EXIT_LOOKUP;
    cpu->retry = 1;
    return EXIT_FAULT;
}

static void code_flush(Cpu *cpu)
{
    jit_flush(cpu);
    memset(cpu->hash, 0, HASH_SIZE * sizeof *cpu->hash);
    for (uint32_t k = 0; k < cpu->code_page_count; k++) cpu->page_code[cpu->code_pages[k].page] = 0;
    cpu->code_page_count = 0;
    cpu->code_page_free = 0;
    cpu->arena_used = 0;
    memset(cpu->jumps, 0xff, sizeof cpu->jumps);
    cpu->link = NULL;
    cpu->stats.code_flushes++;
}

static inline uint32_t block_hash(uint64_t offset, uint32_t ip)
{
    return ((uint32_t)offset * 0x9e3779b1u ^ ip * 0x85ebca6bu) >> 15 & (HASH_SIZE - 1);
}

/* Forget every block of a page, which is plain memory again. */
static void page_forget(Cpu *cpu, uint32_t index)
{
    struct CodePage *p = &cpu->code_pages[index - 1];
    jit_forget_page(p);
    for (struct Block *b = p->blocks; b; b = b->page_next) {
        struct Block **at = &cpu->hash[block_hash(b->offset, b->ip)];
        while (*at && *at != b) at = &(*at)->hash_next;
        if (*at) *at = b->hash_next;
        b->key = KEY_FORGOTTEN;
    }
    p->blocks = NULL;
    p->granules = cpu->code_page_free;
    cpu->code_page_free = index;
    cpu->page_code[p->page] = 0;
    cpu->link = NULL;
    cpu->jit_link = NULL;
    cpu->stats.page_invalidations++;
}

/* Whether bytes of RAM within one page belong to a decoded block. */
static int holds_code(const Cpu *cpu, uint64_t offset, uint32_t size)
{
    const uint32_t index = cpu->page_code[offset >> 12];
    if (likely(!index)) return 0;
    const struct CodePage *p = &cpu->code_pages[index - 1];
    const uint32_t first = (uint32_t)(offset >> 6) & 63, last = (uint32_t)((offset + size - 1) >> 6) & 63;
    const uint64_t hit = (last == 63 ? ~0ull : (1ull << (last + 1)) - 1) & ~((1ull << first) - 1);
    if (!(p->granules & hit)) return 0;
    /* Variables often lie beside code: look at the bytes of each block before anything is forgotten. */
    for (const struct Block *b = p->blocks; b; b = b->page_next)
        if (offset < b->offset + b->bytes && b->offset < offset + size) return 1;
    return 0;
}

/* RAM changed at an offset of the buffer; `size` bytes lie within one page. */
static void code_written(Cpu *cpu, uint64_t offset, uint32_t size)
{
    if (unlikely(holds_code(cpu, offset, size))) page_forget(cpu, cpu->page_code[offset >> 12]);
}

/* Make the page known as one with code, so that writes to it take the slow path. */
static uint32_t page_claim(Cpu *cpu, uint64_t offset)
{
    uint32_t *slot = &cpu->page_code[offset >> 12];
    if (!*slot) {
        uint32_t index = cpu->code_page_free;
        if (index) {
            cpu->code_page_free = (uint32_t)cpu->code_pages[index - 1].granules;
        } else {
            if (cpu->code_page_count == cpu->code_page_limit) return 0;
            index = ++cpu->code_page_count;
        }
        struct CodePage *p = &cpu->code_pages[index - 1];
        p->blocks = NULL;
        p->traces = NULL;
        p->granules = 0;
        p->page = offset >> 12;
        *slot = index;
        protect_page(cpu, offset);
    }
    return *slot;
}

/* Bytes within one page that are code of a trace and of no block: a block without instructions, which only writes find.
 * NULL: no room. */
static struct Block *code_mark(Cpu *cpu, uint64_t offset, uint32_t size)
{
    const uint32_t index = page_claim(cpu, offset);
    if (!index || cpu->arena_used + sizeof(struct Block) > cpu->arena_size) return NULL;
    struct CodePage *p = &cpu->code_pages[index - 1];
    for (struct Block *b = p->blocks; b; b = b->page_next)
        if (b->key == KEY_FORGOTTEN && b->offset == offset && b->bytes == size) return b;
    struct Block *b = (struct Block *)(cpu->arena + cpu->arena_used);
    cpu->arena_used += sizeof *b;
    memset(b, 0, sizeof *b);
    b->offset = offset;
    b->key = KEY_FORGOTTEN;
    b->bytes = (uint16_t)size;
    b->page_next = p->blocks;
    p->blocks = b;
    for (uint32_t g = (uint32_t)(offset >> 6) & 63; g <= ((uint32_t)((offset + size - 1) >> 6) & 63); g++) p->granules |= 1ull << g;
    return b;
}

/* Decode from `ip` to the end of the page, of the block, or to a transfer. NULL where not even one instruction fits: the
 * caller then runs that instruction alone. */
static struct Block *build_block(Cpu *cpu, uint32_t ip, uint64_t offset, uint32_t key)
{
    const uint64_t need = sizeof(struct Block) + (BLOCK_MAX + 2) * sizeof(struct Insn);
    if (cpu->arena_used + need > cpu->arena_size) code_flush(cpu);
    uint32_t index = page_claim(cpu, offset);
    if (!index) {
        code_flush(cpu);
        index = page_claim(cpu, offset);
    }
    struct Block *b = (struct Block *)(cpu->arena + cpu->arena_used);
    uint32_t room = PAGE_SIZE - (uint32_t)(offset & (PAGE_SIZE - 1));
    if (ip > code_limit(cpu)) return NULL;
    if ((uint64_t)code_limit(cpu) - ip + 1 < room) room = code_limit(cpu) - ip + 1;
    uint32_t at = 0, n = 0;
    int open = 1;
    const uint32_t most = cpu->block_limit ? cpu->block_limit : BLOCK_MAX;
    while (n < most && open) {
        struct Insn *i = &b->insn[n];
        if (unlikely(cpu->break_count || cpu->magic_break) && at < room
            && (is_break(cpu, code_linear(cpu, ip + at)) || is_magic(cpu, offset + at, room - at))) {
            memset(i, 0, sizeof *i);
            i->fn = op_break;
            i->start = ip + at++;
            i->next = ip + at;
            n++;
            open = 0;
            break;
        }
        if (decode_at(cpu, cpu->ram + offset + at, room - at, ip + at, key, i)) break;
        at += i->len;
        n++;
        open = !(i->flags & FORM_LAST);
    }
    if (!n) return NULL;
    for (uint32_t k = 0; k < n; k++) b->insn[k].rest = (uint16_t)(n - k);
    memset(&b->insn[n], 0, sizeof b->insn[n]);
    b->insn[n].fn = op_end;
    /* An open block ends in op_end; the slot behind the last instruction holds the links. */
    uint32_t slots = n + 1;
    if (open) {
        b->insn[n].start = ip + at;
        b->insn[n].imm = ip;
        memset(&b->insn[n + 1], 0, sizeof b->insn[n + 1]);
        slots++;
    }
    b->ip = ip;
    b->limit = code_limit(cpu);
    b->offset = offset;
    b->key = key;
    b->n = (uint16_t)n;
    b->bytes = (uint16_t)at;
    b->entry = NULL;
    b->trace = NULL;
    b->jump = NULL;
    b->plain = b->apart[0] = b->apart[1] = 0;
    b->first = b->insn[0].fn;
    b->heat = b->heat_start = cpu->jit_on ? cpu->jit_threshold : 0;
    cpu->arena_used += sizeof(struct Block) + slots * sizeof(struct Insn);
    struct Block **head = &cpu->hash[block_hash(offset, ip)];
    b->hash_next = *head;
    *head = b;
    struct CodePage *p = &cpu->code_pages[index - 1];
    b->page_next = p->blocks;
    p->blocks = b;
    for (uint32_t g = (uint32_t)(offset >> 6) & 63; g <= ((uint32_t)((offset + at - 1) >> 6) & 63); g++) p->granules |= 1ull << g;
    cpu->stats.blocks++;
    cpu->stats.decoded += n;
    return b;
}

/* The block at the instruction pointer. *status: 0 found, 1 a fault was raised, 2 the instruction must run alone. */
static struct Block *find_block(Cpu *cpu, int *status)
{
    const uint32_t ip = cpu->IP, lin = code_linear(cpu, ip);
    struct JumpEntry *j = &cpu->jumps[(lin ^ (lin >> 12)) & (JUMP_SIZE - 1)];
    const struct FetchEntry *f = fetch_at(cpu, lin);
    *status = 0;
    if (f->tag != fetch_tag(lin)) {
        if (fetch_fill(cpu, ip, lin)) {
            *status = cpu->retry ? 2 : 1;
            cpu->retry = 0;
            return NULL;
        }
        if (f->tag != fetch_tag(lin)) {
            *status = 2;
            return NULL;
        }
    }
    if (j->lin == lin && j->page == fetch_page(f) && j->block->ip == ip && same_code(cpu, j->block)) return j->block;
    cpu->stats.lookups++;
    const uint64_t offset = f->offset + (lin & ~PAGE_MASK);
    const uint32_t key = cpu->lookup_key | page_key(f);
    struct Block *b = cpu->hash[block_hash(offset, ip)];
    while (b && !(b->offset == offset && b->ip == ip && b->key == key && b->limit == code_limit(cpu))) b = b->hash_next;
    if (!b) b = build_block(cpu, ip, offset, key);
    if (!b) {
        *status = 2;
        return NULL;
    }
    *j = (struct JumpEntry){fetch_page(f), b, lin, 0};
    return b;
}
