/* The x87 and the SSE unit of an x86-64 host, one instruction a call: the oracle of test_softfloat_host.py.
 *
 * With an exception unmasked the x87 leaves it pending; FNSTENV masks all exceptions, so that the result can be stored.
 */
#include <stdint.h>
#include <string.h>

typedef struct {
    uint64_t sig;
    uint16_t se;
} __attribute__((packed)) extended;

#define STATE : [sw] "=m"(sw), [env] "=m"(env), [r] "=m"(r), [s] "=m"(s)
#define OPERANDS : [a] "m"(a), [b] "m"(b), [cw] "m"(cw) : "memory"
#define END "\n\tfnstsw %[sw]\n\tfnstenv %[env]\n\tfnclex\n\tfstpt %[r]\n\tfstpt %[s]\n\tfninit"
#define TWO(n, insn) \
    case n: __asm__ volatile("fninit\n\tfldt %[b]\n\tfldt %[a]\n\tfldcw %[cw]\n\t" insn END STATE OPERANDS); break;
#define ONE(n, insn) \
    case n: __asm__ volatile("fninit\n\tfldt %[a]\n\tfldcw %[cw]\n\t" insn END STATE OPERANDS); break;
#define POP(n, insn) \
    case n: \
        __asm__ volatile("fninit\n\tfldz\n\tfldt %[b]\n\tfldt %[a]\n\tfldcw %[cw]\n\t" insn END STATE OPERANDS); \
        break;

/* out: ST(0), ST(1) as significand and sign-exponent; returns the status word. */
uint32_t host_x87(int op, uint32_t control, uint64_t a_sig, uint32_t a_se, uint64_t b_sig, uint32_t b_se, uint64_t *out) {
    extended a = {a_sig, (uint16_t)a_se}, b = {b_sig, (uint16_t)b_se}, r = {0, 0}, s = {0, 0};
    uint16_t sw = 0, cw = (uint16_t)control;
    uint8_t env[28];
    switch (op) {
        TWO(0, "fadd %%st(1),%%st")
        TWO(1, "fsub %%st(1),%%st")
        TWO(2, "fmul %%st(1),%%st")
        TWO(3, "fdiv %%st(1),%%st")
        TWO(4, "fsqrt")
        TWO(5, "frndint")
        TWO(6, "fprem")
        TWO(7, "fprem1")
        TWO(8, "fscale")
        TWO(9, "fcom %%st(1)")
        TWO(10, "fucom %%st(1)")
        TWO(11, "f2xm1")
        TWO(12, "fsin")
        TWO(13, "fcos")
        ONE(14, "fxtract")
        ONE(15, "fptan")
        ONE(16, "fsincos")
        POP(17, "fyl2x")
        POP(18, "fyl2xp1")
        POP(19, "fpatan")
    }
    out[0] = r.sig;
    out[1] = r.se;
    out[2] = s.sig;
    out[3] = s.se;
    return sw;
}

#define STORE(n, insn)                                                                                            \
    case n:                                                                                                       \
        __asm__ volatile("fninit\n\tfldt %[a]\n\tfldcw %[cw]\n\t" insn " %[m]\n\tfnstsw %[sw]\n\tfnstenv %[env]\n\tfninit" \
                         : [sw] "=m"(sw), [env] "=m"(env), [m] "+m"(m) : [a] "m"(a), [cw] "m"(cw) : "memory");    \
        break;

/* out: the 16 bytes stored to. */
uint32_t host_store(int op, uint32_t control, uint64_t a_sig, uint32_t a_se, uint64_t *out) {
    extended a = {a_sig, (uint16_t)a_se};
    uint16_t sw = 0, cw = (uint16_t)control;
    uint8_t env[28], m[16] = {0};
    switch (op) {
        STORE(0, "fstps")
        STORE(1, "fstpl")
        STORE(2, "fistps")
        STORE(3, "fistpl")
        STORE(4, "fistpll")
        STORE(5, "fbstp")
        STORE(6, "fisttps")
        STORE(7, "fisttpl")
        STORE(8, "fisttpll")
    }
    memcpy(out, m, 16);
    return sw;
}

#define LOAD(n, insn)                                                                                            \
    case n:                                                                                                      \
        __asm__ volatile("fninit\n\tfldcw %[cw]\n\t" insn                                                        \
                         " %[m]\n\tfnstsw %[sw]\n\tfnstenv %[env]\n\tfnclex\n\tfstpt %[r]\n\tfninit"             \
                         : [sw] "=m"(sw), [env] "=m"(env), [r] "=m"(r) : [m] "m"(m), [cw] "m"(cw) : "memory");   \
        break;

uint32_t host_load(int op, uint32_t control, uint64_t low, uint64_t high, uint64_t *out) {
    uint64_t m[2] = {low, high};
    extended r = {0, 0};
    uint16_t sw = 0, cw = (uint16_t)control;
    uint8_t env[28];
    switch (op) {
        LOAD(0, "flds")
        LOAD(1, "fldl")
        LOAD(2, "fbld")
    }
    out[0] = r.sig;
    out[1] = r.se;
    return sw;
}

#define SSE(n, insn)                                                                                                \
    case n:                                                                                                         \
        __asm__ volatile("ldmxcsr %[mx]\n\tmovq %[a],%%xmm0\n\tmovq %[b],%%xmm1\n\t" insn                             \
                         "\n\tstmxcsr %[after]\n\tmovq %%xmm0,%[r]\n\tldmxcsr %[before]"                            \
                         : [after] "=m"(after), [r] "=m"(r)                                                         \
                         : [a] "m"(a), [b] "m"(b), [mx] "m"(mxcsr), [before] "m"(before)                            \
                         : "memory", "xmm0", "xmm1", "rax", "cc");                                                  \
        break;
#define BOTH(n, insn) SSE(n, insn "ss %%xmm1,%%xmm0") SSE(n + 1, insn "sd %%xmm1,%%xmm0")
#define FLAGS(n, insn) SSE(n, insn "\n\tlahf\n\tmovzbl %%ah,%%eax\n\tmovq %%rax,%%xmm0")
#define INTEGER(n, insn) SSE(n, insn "\n\tmovq %%rax,%%xmm0")

uint32_t host_sse(int op, uint32_t mxcsr, uint64_t a, uint64_t b, uint64_t *out) {
    uint32_t after = 0, before = 0x1f80;
    uint64_t r = 0;
    switch (op) {
        BOTH(0, "add")
        BOTH(2, "sub")
        BOTH(4, "mul")
        BOTH(6, "div")
        BOTH(8, "sqrt")
        BOTH(10, "min")
        BOTH(12, "max")
        FLAGS(14, "comiss %%xmm1,%%xmm0")
        FLAGS(15, "comisd %%xmm1,%%xmm0")
        FLAGS(16, "ucomiss %%xmm1,%%xmm0")
        FLAGS(17, "ucomisd %%xmm1,%%xmm0")
        SSE(18, "cvtss2sd %%xmm0,%%xmm0")
        SSE(19, "cvtsd2ss %%xmm0,%%xmm0")
        INTEGER(20, "cvtss2si %%xmm0,%%eax")
        INTEGER(21, "cvtsd2si %%xmm0,%%eax")
        INTEGER(22, "cvttss2si %%xmm0,%%eax")
        INTEGER(23, "cvttsd2si %%xmm0,%%eax")
        INTEGER(24, "cvtss2si %%xmm0,%%rax")
        INTEGER(25, "cvtsd2si %%xmm0,%%rax")
    }
    out[0] = r;
    return after & 0x3f;
}
