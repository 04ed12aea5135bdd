/* Handlers of some forms as the C lowering writes them; see test_lang.py. */

/* adc {dst}, {src} |  13 Gv Ev | vol. 2, ADD OR ADC SBB AND SUB XOR CMP */
static const struct Insn *op_adc_Gv_Ev_13_o32_m(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t4 = (uint32_t)cpu->gpr[i->base];
    const uint32_t t6 = (uint32_t)cpu->gpr[i->index];
    uint32_t t15;
    if (unlikely(mem_r32(cpu, i->seg, ((t4 + (t6 * i->scale)) + i->disp) & i->eamask, &t15))) return op_fault(cpu, i);
    const uint32_t t16 = (uint32_t)cpu->gpr[i->reg];
    const uint32_t t17 = cpu->cf;
    const uint32_t t20 = (t16 + t15) + t17;
    cpu->gpr[i->reg] = (uint64_t)t20;
    cpu->cf = (t20 < t16) | (t17 & (t20 == t16));
    cpu->cc_z = t20;
    cpu->cc_s = t20;
    cpu->cc_aux = (t16 ^ t15) ^ t20;
    NEXT;
}

/* and {dst}, {src} |  80 Eb Ib | vol. 2, ADD OR ADC SBB AND SUB XOR CMP */
static const struct Insn *op_and_Eb_Ib_80_s4_m(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t5 = (uint32_t)cpu->gpr[i->base];
    const uint32_t t7 = (uint32_t)cpu->gpr[i->index];
    const uint32_t t15 = ((t5 + (t7 * i->scale)) + i->disp) & i->eamask;
    uint32_t t16;
    if (unlikely(mem_rw8(cpu, i->seg, t15, &t16))) return op_fault(cpu, i);
    const uint32_t t17 = t16 & ((i->imm & 0xffu));
    if (unlikely(mem_w8(cpu, i->seg, t15, t17))) return op_fault(cpu, i);
    const uint32_t t18 = (uint32_t)(int32_t)(int8_t)t17;
    cpu->cf = 0u;
    cpu->cc_z = t18;
    cpu->cc_s = t18;
    cpu->cc_aux = 0u;
    NEXT;
}

/* inc {dst} |  40 Zv | vol. 2, INC DEC */
static const struct Insn *op_inc_Zv_40_o32(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t2 = (uint32_t)cpu->gpr[i->reg];
    const uint32_t t3 = t2 + 1u;
    cpu->gpr[i->reg] = (uint64_t)t3;
    const uint32_t t6 = cpu->cf;
    cpu->cc_z = t3;
    cpu->cc_s = t3;
    cpu->cc_aux = (((t3 == 0x80000000u) ^ t6) << 31) | (((((t2 ^ t3) >> 4) & 1u)) << 4);
    cpu->cf = t6;
    NEXT;
}

/* shl {dst}, {count} |  C1 Ev Ib | vol. 2, RCL RCR ROL ROR SAL SAR SHL SHR */
static const struct Insn *op_shl_Ev_Ib_C1_s4_o32_r(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t2 = (uint32_t)cpu->gpr[i->rm];
    const uint32_t t5 = ((i->imm & 0xffu)) & 0x1fu;
    if (t5 == 0u) {
        NEXT;
    }
    const uint64_t t9 = (uint64_t)t5 < 64 ? (uint64_t)t2 << (uint64_t)t5 : 0;
    const uint32_t t10 = (uint32_t)t9;
    const uint32_t t12 = ((uint32_t)(t9 >> 32) & 1u);
    cpu->gpr[i->rm] = (uint64_t)t10;
    cpu->cc_z = t10;
    cpu->cc_s = t10;
    cpu->cc_aux = (((((t10 >> 31) & 1u)) ^ t12) ^ t12) << 31;
    cpu->cf = t12;
    NEXT;
}

/* bswap {dst} | 0F C8 Zv | vol. 2, BSWAP */
static const struct Insn *op_bswap_Zv_0FC8_o32(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t2 = (uint32_t)cpu->gpr[i->reg];
    cpu->gpr[i->reg] = (uint64_t)__builtin_bswap32(t2);
    NEXT;
}

/* setne {dst} | 0F 95 Eb | vol. 2, SETcc */
static const struct Insn *op_setne_Eb_0F95_r(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t2 = cpu->cc_z;
    ((uint8_t *)cpu->gpr)[i->rm] = !(t2 == 0u);
    NEXT;
}

/* cmove {dst}, {src} | 0F 44 Gv Ev | vol. 2, CMOVcc */
static const struct Insn *op_cmove_Gv_Ev_0F44_o32_r(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t3 = (uint32_t)cpu->gpr[i->rm];
    const uint32_t t4 = cpu->cc_z;
    if (t4 == 0u) {
        cpu->gpr[i->reg] = (uint64_t)t3;
    }
    NEXT;
}

/* xchg {dst}, {src} |  87 Ev Gv | vol. 2, XCHG */
static const struct Insn *op_xchg_Ev_Gv_87_o16_m(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t4 = (uint32_t)cpu->gpr[i->base];
    const uint32_t t6 = (uint32_t)cpu->gpr[i->index];
    const uint32_t t14 = ((t4 + (t6 * i->scale)) + i->disp) & i->eamask;
    uint32_t t15;
    if (unlikely(mem_rw16(cpu, i->seg, t14, &t15))) return op_fault(cpu, i);
    const uint32_t t16 = (uint16_t)cpu->gpr[i->reg];
    if (unlikely(mem_w16(cpu, i->seg, t14, t16))) return op_fault(cpu, i);
    *(uint16_t *)&cpu->gpr[i->reg] = t15;
    NEXT;
}

/* lea {dst}, {src} |  8D Gv M | vol. 2, LEA */
static const struct Insn *op_lea_Gv_M_8D_o32_m(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t3 = (uint32_t)cpu->gpr[i->base];
    const uint32_t t5 = (uint32_t)cpu->gpr[i->index];
    cpu->gpr[i->reg] = (uint64_t)(((t3 + (t5 * i->scale)) + i->disp) & i->eamask);
    NEXT;
}

/* push {src} |  50 Zv | vol. 2, PUSH */
static const struct Insn *op_push_Zv_50_o32(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t2 = (uint32_t)cpu->gpr[i->reg];
    const uint32_t t3 = cpu->seg_attr[2u];
    const uint32_t t8 = (0 - (((t3 >> 14) & 1u))) | 0xffffu;
    const uint32_t t9 = (uint32_t)cpu->gpr[4u];
    const uint32_t t11 = (t9 - 4u) & t8;
    if (unlikely(mem_w32(cpu, 2u, t11, t2))) return op_fault(cpu, i);
    const uint32_t t12 = (uint32_t)cpu->gpr[4u];
    cpu->gpr[4u] = (uint64_t)((t12 & (~t8)) | t11);
    NEXT;
}

/* jne {target} |  75 Jb | vol. 2, Jcc */
static const struct Insn *op_jne_Jb_75_o32(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t1 = cpu->cc_z;
    if (!(t1 == 0u)) {
        const uint32_t t6 = i->next + i->imm;
        const uint32_t t7 = cpu->seg_limit[1u];
        if (unlikely(t7 < t6)) {
            raise_fault(cpu, 0xdu, 0u);
            return op_fault(cpu, i);
        }
        BRANCH(1, t6);
    }
    FALL;
}

/* ret |  C3  | vol. 2, RET */
static const struct Insn *op_ret_C3_o32(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t1 = cpu->seg_attr[2u];
    const uint32_t t6 = (0 - (((t1 >> 14) & 1u))) | 0xffffu;
    const uint32_t t7 = (uint32_t)cpu->gpr[4u];
    uint32_t t9;
    if (unlikely(mem_r32(cpu, 2u, t7 & t6, &t9))) return op_fault(cpu, i);
    const uint32_t t10 = cpu->seg_limit[1u];
    if (unlikely(t10 < t9)) {
        raise_fault(cpu, 0xdu, 0u);
        return op_fault(cpu, i);
    }
    cpu->gpr[4u] = (uint64_t)((t7 & (~t6)) | ((t7 + 4u) & t6));
    JUMP(t9);
}

/* loop {target} |  E2 Jb | vol. 2, LOOP LOOPcc */
static const struct Insn *op_loop_Jb_E2_o32_a32(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t1 = (uint32_t)cpu->gpr[1u];
    const uint32_t t2 = t1 - 1u;
    const uint32_t t3 = t2 != 0u;
    const uint32_t t6 = i->next + i->imm;
    const uint32_t t7 = cpu->seg_limit[1u];
    if (unlikely(t3 & (t7 < t6))) {
        raise_fault(cpu, 0xdu, 0u);
        return op_fault(cpu, i);
    }
    cpu->gpr[1u] = (uint64_t)t2;
    if (t3) {
        BRANCH(1, t6);
    }
    FALL;
}

/* clc |  F8  | vol. 2, CLC STC */
static const struct Insn *op_clc_F8(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    const uint32_t t1 = cpu->cc_aux;
    const uint32_t t2 = cpu->cf;
    cpu->cc_aux = t1 ^ (t2 << 31);
    cpu->cf = 0u;
    NEXT;
}
