/* Decoding by the generated tables: fixed bits under a mask, the longest mask first (Power ISA, Book I, 1.6). */

static uint32_t find_form(const Cpu *cpu, uint32_t word)
{
    const struct Opcode *op = &opcode_table[word >> 26];
    for (uint32_t g = op->first; g < op->first + op->count; g++) {
        const struct FormGroup *group = &group_table[g];
        const uint32_t v = word & group->mask;
        uint32_t low = group->first, high = group->first + group->count;
        while (low < high) {
            const uint32_t mid = (low + high) / 2;
            if (value_table[mid].value < v) low = mid + 1;
            else high = mid;
        }
        for (; low < (uint32_t)group->first + group->count && value_table[low].value == v; low++) {
            const struct FormValue *f = &value_table[low];
            const uint32_t zero = (word >> 16 & 31) == 0;
            if (f->zero && f->zero != 1 + zero) continue;
            const struct FormInfo *info = &form_table[f->form];
            if (info->feature != NO_FEATURE && !(cpu->features >> info->feature & 1)) continue;
            return f->form;
        }
    }
    return 0;
}

static void decode(const Cpu *cpu, uint32_t word, uint32_t pc, struct Insn *i)
{
    const uint32_t number = find_form(cpu, word);
    const struct FormInfo *form = &form_table[number];
    memset(i, 0, sizeof *i);
    i->fn = form->fn;
    i->word = word;
    if (form->imm_count) i->imm = (uint32_t)((int32_t)(word << form->imm_first) >> (32 - form->imm_count)) << form->imm_shift;
    i->start = pc;
    i->next = pc + 4;
    i->a = word >> 21 & 31;
    i->b = word >> 16 & 31;
    i->c = word >> 11 & 31;
    i->d = word >> 6 & 31;
    i->e = word >> 1 & 31;
    i->len = 4;
    i->flags = form->flags;
    i->form = (uint16_t)number;
}

static void raise_undefined(Cpu *cpu) { raise_interrupt(cpu, IVOR_PROGRAM, 1u << 27); }

static int fetch_fill(Cpu *cpu, uint32_t pc, uint32_t lin)
{
    uint64_t at;
    int little;
    (void)lin;
    return translate(cpu, pc, ACCESS_FETCH | privilege(cpu), &at, &little);
}

static int decode_at(Cpu *cpu, const uint8_t *bytes, uint32_t room, uint32_t pc, uint32_t key, struct Insn *i)
{
    uint32_t word;
    if (room < 4) return 2;
    memcpy(&word, bytes, 4);
    decode(cpu, key & KEY_LITTLE ? word : __builtin_bswap32(word), pc, i);
    return 0;
}

static int decode_alone(Cpu *cpu, struct Insn *i)
{
    uint64_t at;
    int little;
    if (translate(cpu, cpu->pc, ACCESS_FETCH | privilege(cpu), &at, &little)) return 1;
    decode(cpu, (uint32_t)piece_read(cpu, at, 4, little), cpu->pc, i);
    return 0;
}

int emu_decode(Cpu *cpu, uint32_t word, uint32_t pc, struct Insn *out)
{
    decode(cpu, word, pc, out);
    return 0;
}
