/* IEEE 754 arithmetic on integers; softfloat.h says what each layer offers.
 *
 * A finite nonzero operand is a sign, a biased exponent and a significand. Inside an operation the significand is moved up
 * until its leading bit is bit 63 (or 127 of a pair), bits that do not fit are ORed into the lowest bit kept, and the result
 * is rounded once. The x86 rules for NaNs, denormals and unmasked exceptions stand in the functions named *_special.
 */
#include "softfloat.h"

typedef unsigned __int128 u128;

#define INLINE static inline __attribute__((always_inline))
#define COLD static __attribute__((noinline, cold, unused))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ONE64 ((uint64_t)1)
#define TOP64 (ONE64 << 63)
#define ROUND(ctl) ((ctl)&SF_CTL_ROUND)
#define RULE(ctl) (((ctl) >> SF_CTL_NAN_SHIFT) & 3u)
#define UNMASKED(ctl) (((ctl) >> SF_CTL_UNMASKED_SHIFT) & 0x3fu)

/* Fraction and exponent widths of the two interchange formats. */
#define F32 23, 8
#define F64 52, 11

INLINE uint32_t ctl_pack(const sf_ctl *c) {
    uint32_t precision = c->precision == 24 ? 0u : c->precision == 53 ? 2u : 3u;
    return (c->round & 3u) | precision << 2 | (c->tiny_before ? SF_CTL_TINY_BEFORE : 0u) | (c->daz ? SF_CTL_DAZ : 0u) |
           (c->ftz ? SF_CTL_FTZ : 0u) | (c->nan_rule & 3u) << SF_CTL_NAN_SHIFT | (c->single ? SF_CTL_SINGLE : 0u) |
           (c->unmasked & 0x3fu) << SF_CTL_UNMASKED_SHIFT;
}

INLINE int ctl_precision(uint32_t ctl) {
    uint32_t pc = (ctl & SF_CTL_PRECISION) >> 2;
    return pc == 0 ? 24 : pc == 2 ? 53 : 64;
}

INLINE uint64_t shr_jam64(uint64_t x, uint32_t n) {
    if (n == 0) return x;
    if (n >= 64) return x != 0;
    return x >> n | ((x << (64 - n)) != 0);
}

INLINE u128 shr_jam128(u128 x, uint32_t n) {
    if (n == 0) return x;
    if (n >= 128) return x != 0;
    return x >> n | ((x << (128 - n)) != 0);
}

INLINE int clz64(uint64_t x) {
    return __builtin_clzll(x);
}

INLINE int clz128(u128 x) {
    uint64_t hi = (uint64_t)(x >> 64);
    return hi ? clz64(hi) : 64 + clz64((uint64_t)x);
}

/* Does a magnitude round up? `low` holds the bits dropped, `half` the weight of half a unit, `odd` the last bit kept. */
INLINE uint32_t rounds_up(uint32_t ctl, uint32_t sign, uint64_t odd, uint64_t low, uint64_t half) {
    uint32_t mode = ROUND(ctl);
    if (LIKELY(mode == SF_NEAREST)) return low > half || (low == half && (odd & 1));
    return low != 0 && mode == (sign ? SF_DOWN : SF_UP);
}

INLINE int overflows_to_infinity(uint32_t ctl, uint32_t sign) {
    return ROUND(ctl) == SF_NEAREST || ROUND(ctl) == (sign ? SF_DOWN : SF_UP);
}

INLINE void raise_inexact(uint32_t *f, uint32_t up) {
    *f |= SF_INEXACT | (up ? SF_C1 : 0u);
}

/* The reason is kept only where a status register asks for it. */
INLINE void raise_invalid(uint32_t ctl, uint32_t *f, uint32_t why) {
    *f |= SF_INVALID | (RULE(ctl) == SF_NAN_PPC ? why : 0u);
}

INLINE int stops(uint32_t ctl, uint32_t f) {
    return (f & UNMASKED(ctl) & (SF_INVALID | SF_DENORMAL | SF_DIVZERO)) != 0;
}

/* ---- binary32 and binary64: packing ---- */

INLINE int32_t exp_mask(int E) {
    return (1 << E) - 1;
}

INLINE uint64_t fraction(int F, uint64_t x) {
    return x & ((ONE64 << F) - 1);
}

INLINE int32_t exponent(int F, int E, uint64_t x) {
    return (int32_t)(x >> F) & exp_mask(E);
}

INLINE uint32_t sign_of(int F, int E, uint64_t x) {
    return (uint32_t)(x >> (F + E)) & 1u;
}

INLINE uint64_t sign_bit(int F, int E, uint32_t s) {
    return (uint64_t)s << (F + E);
}

INLINE uint64_t infinity(int F, int E, uint32_t s) {
    return sign_bit(F, E, s) | (uint64_t)exp_mask(E) << F;
}

INLINE int is_inf(int F, int E, uint64_t x) {
    return exponent(F, E, x) == exp_mask(E) && fraction(F, x) == 0;
}

INLINE int is_zero(int F, int E, uint64_t x) {
    return exponent(F, E, x) == 0 && fraction(F, x) == 0;
}

INLINE uint64_t quiet(int F, uint64_t x) {
    return x | ONE64 << (F - 1);
}

INLINE uint64_t default_nan(int F, int E, uint32_t ctl) {
    return sign_bit(F, E, RULE(ctl) != SF_NAN_PPC) | (uint64_t)exp_mask(E) << F | ONE64 << (F - 1);
}

INLINE int is_nan(int F, int E, uint64_t x) {
    return exponent(F, E, x) == exp_mask(E) && fraction(F, x) != 0;
}

INLINE int is_snan(int F, int E, uint64_t x) {
    return is_nan(F, E, x) && !(x >> (F - 1) & 1);
}

/* A rounded significand with the exponent of an unmasked overflow or underflow moved into range. */
INLINE uint64_t wrapped(int F, int E, uint32_t sign, int32_t e, uint64_t m) {
    if (e < 1) return sign_bit(F, E, sign);
    if (e >= exp_mask(E)) return infinity(F, E, sign);
    return sign_bit(F, E, sign) | (uint64_t)e << F | fraction(F, m);
}

/* A binary32 that is not a NaN, in binary64: exact. */
INLINE uint64_t widen(uint64_t a) {
    int32_t e = exponent(F32, a);
    uint64_t frac = fraction(23, a), sign = sign_bit(F64, sign_of(F32, a));
    if (e == 255) return sign | infinity(F64, 0);
    if (e == 0) {
        if (!frac) return sign;
        int lz = clz64(frac) - 40;
        frac = fraction(23, frac << lz);
        e = 1 - lz;
    }
    return sign | (uint64_t)(e + 1023 - 127) << 52 | frac << 29;
}

/* Value: sig * 2^(e - bias - 63), leading bit of sig at 63, e anywhere. `wide` places a binary32 result in binary64. */
INLINE uint64_t round_edges(int F, int E, int wide, uint32_t sign, int32_t e, uint64_t sig, uint32_t ctl, uint32_t *f) {
    const int n = 63 - F;
    const uint64_t mask = (ONE64 << n) - 1, half = ONE64 << (n - 1);
    const int32_t adjust = 3 << (E - 2);
    uint64_t low = sig & mask, m = sig >> n, r;
    uint32_t up = rounds_up(ctl, sign, m, low, half);
    m += up;
    int32_t e1 = e + (int32_t)(m >> (F + 1)); /* exponent after rounding with unbounded range */
    int tiny = (ctl & SF_CTL_TINY_BEFORE ? e : e1) < 1;
    if ((tiny && (UNMASKED(ctl) & SF_UNDERFLOW)) || (e1 >= exp_mask(E) && (UNMASKED(ctl) & SF_OVERFLOW))) {
        *f |= tiny ? SF_UNDERFLOW : SF_OVERFLOW;
        if (low) raise_inexact(f, up);
        e1 += tiny ? adjust : -adjust;
        if (wide) return wrapped(F64, sign, e1 + 1023 - 127, fraction(23, m) << 29);
        return wrapped(F, E, sign, e1, m);
    }
    if (tiny && (ctl & SF_CTL_FTZ)) {
        *f |= SF_UNDERFLOW | SF_INEXACT;
        r = sign_bit(F, E, sign);
    } else if (e < 1) {
        sig = shr_jam64(sig, (uint32_t)(1 - e));
        low = sig & mask;
        m = sig >> n;
        up = rounds_up(ctl, sign, m, low, half);
        if (low) {
            raise_inexact(f, up);
            if (tiny) *f |= SF_UNDERFLOW;
        }
        r = sign_bit(F, E, sign) | (m + up);
    } else if (e1 >= exp_mask(E)) {
        int infinite = overflows_to_infinity(ctl, sign);
        *f |= SF_OVERFLOW;
        raise_inexact(f, (uint32_t)infinite);
        r = infinity(F, E, sign) - (infinite ? 0 : 1);
    } else {
        if (low) raise_inexact(f, up);
        r = sign_bit(F, E, sign) + ((uint64_t)(e - 1) << F) + m;
    }
    return wide ? widen(r) : r;
}

COLD uint64_t round_f32_edges(uint32_t sign, int32_t e, uint64_t sig, uint32_t ctl, uint32_t *f) {
    return round_edges(F32, 0, sign, e, sig, ctl, f);
}

COLD uint64_t round_f64_edges(uint32_t sign, int32_t e, uint64_t sig, uint32_t ctl, uint32_t *f) {
    if (ctl & SF_CTL_SINGLE) return round_edges(F32, 1, sign, e + 127 - 1023, sig, ctl, f);
    return round_edges(F64, 0, sign, e, sig, ctl, f);
}

INLINE uint64_t round_pack(int F, int E, uint32_t sign, int32_t e, uint64_t sig, uint32_t ctl, uint32_t *f) {
    const int n = 63 - F;
    if (LIKELY((uint32_t)(e - 1) < (uint32_t)exp_mask(E) - 2 && !(F == 52 && (ctl & SF_CTL_SINGLE)))) {
        uint64_t low = sig & ((ONE64 << n) - 1), m = sig >> n;
        if (low) {
            uint32_t up = rounds_up(ctl, sign, m, low, ONE64 << (n - 1));
            m += up;
            raise_inexact(f, up);
        }
        return sign_bit(F, E, sign) + ((uint64_t)(e - 1) << F) + m;
    }
    return F == 23 ? round_f32_edges(sign, e, sig, ctl, f) : round_f64_edges(sign, e, sig, ctl, f);
}

/* Leading bit of a nonzero finite operand to 63; the exponent goes below 1 for a denormal. */
INLINE uint64_t unpack_norm(int F, int E, uint64_t x, int32_t *e) {
    uint64_t sig = fraction(F, x);
    *e = exponent(F, E, x);
    if (LIKELY(*e != 0)) return (sig | ONE64 << F) << (63 - F);
    int lz = clz64(sig);
    *e = 1 - (lz - (63 - F));
    return sig << lz;
}

/* ---- NaNs and denormal operands of binary32 and binary64 ---- */

INLINE int is_special(int F, int E, uint64_t x) {
    return (uint32_t)(exponent(F, E, x) - 1) >= (uint32_t)exp_mask(E) - 1; /* zero, denormal, infinity, NaN */
}

INLINE uint64_t nan_of(int F, int E, uint64_t a, uint64_t b, uint32_t ctl, uint32_t *f) {
    int sa = is_snan(F, E, a), sb = is_snan(F, E, b), na = is_nan(F, E, a), nb = is_nan(F, E, b);
    if (sa || sb) raise_invalid(ctl, f, SF_VXSNAN);
    if (stops(ctl, *f)) return a;
    if (RULE(ctl) != SF_NAN_X87 || !(na && nb)) return quiet(F, na ? a : b);
    if (sa != sb) return sa ? b : a;
    uint64_t ma = fraction(F, a), mb = fraction(F, b);
    return quiet(F, ma > mb || (ma == mb && !sign_of(F, E, a)) ? a : b);
}

INLINE int is_denormal(int F, int E, uint64_t x) {
    return exponent(F, E, x) == 0 && fraction(F, x) != 0;
}

/* A denormal operand becomes a zero under DAZ, else raises the denormal exception. */
INLINE uint64_t take_denormal(int F, int E, uint64_t x, uint32_t ctl, uint32_t *f) {
    if (!is_denormal(F, E, x)) return x;
    if (ctl & SF_CTL_DAZ) return sign_bit(F, E, sign_of(F, E, x));
    *f |= SF_DENORMAL;
    return x;
}

INLINE uint64_t flush_denormal(int F, int E, uint64_t x, uint32_t ctl) {
    return (ctl & SF_CTL_DAZ) && is_denormal(F, E, x) ? sign_bit(F, E, sign_of(F, E, x)) : x;
}

INLINE uint64_t invalid(int F, int E, uint64_t a, uint32_t ctl, uint32_t *f, uint32_t why) {
    raise_invalid(ctl, f, why);
    return stops(ctl, *f) ? a : default_nan(F, E, ctl);
}

/* ---- add, subtract ---- */

INLINE int add_special(int F, int E, uint64_t *a, uint64_t *b, uint32_t negate, uint32_t ctl, uint32_t *f, uint64_t *r) {
    if (is_nan(F, E, *a) || is_nan(F, E, *b)) {
        *r = nan_of(F, E, *a, *b, ctl, f);
        return 1;
    }
    uint64_t minus_b = *b ^ sign_bit(F, E, negate);
    if (is_inf(F, E, *a) && is_inf(F, E, *b) && *a != minus_b) {
        *r = invalid(F, E, *a, ctl, f, SF_VXISI);
        return 1;
    }
    uint64_t x = *a;
    *a = take_denormal(F, E, *a, ctl, f);
    *b = take_denormal(F, E, *b, ctl, f);
    *r = stops(ctl, *f) ? x : is_inf(F, E, *a) ? *a : minus_b;
    return stops(ctl, *f) || is_inf(F, E, *a) || is_inf(F, E, *b);
}

COLD int add_special_f32(uint64_t *a, uint64_t *b, uint32_t negate, uint32_t ctl, uint32_t *f, uint64_t *r) {
    return add_special(F32, a, b, negate, ctl, f, r);
}

COLD int add_special_f64(uint64_t *a, uint64_t *b, uint32_t negate, uint32_t ctl, uint32_t *f, uint64_t *r) {
    return add_special(F64, a, b, negate, ctl, f, r);
}

INLINE uint64_t add_ieee(int F, int E, uint64_t a, uint64_t b, uint32_t negate, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special(F, E, a) | is_special(F, E, b))) {
        uint64_t r;
        if (F == 23 ? add_special_f32(&a, &b, negate, ctl, f, &r) : add_special_f64(&a, &b, negate, ctl, f, &r)) return r;
    }
    b ^= sign_bit(F, E, negate);
    if ((a & ~sign_bit(F, E, 1)) < (b & ~sign_bit(F, E, 1))) {
        uint64_t t = a;
        a = b;
        b = t;
    }
    int32_t ea = exponent(F, E, a), eb = exponent(F, E, b);
    uint32_t sign = sign_of(F, E, a);
    uint64_t x = (fraction(F, a) | (uint64_t)(ea != 0) << F) << (62 - F); /* leading bit at 62: room for the carry */
    uint64_t y = (fraction(F, b) | (uint64_t)(eb != 0) << F) << (62 - F);
    ea += ea == 0;
    eb += eb == 0;
    y = shr_jam64(y, (uint32_t)(ea - eb));
    if (sign_of(F, E, a) == sign_of(F, E, b)) {
        x += y;
    } else {
        x -= y;
        if (x == 0) sign = ROUND(ctl) == SF_DOWN;
    }
    if (UNLIKELY(x == 0)) return sign_bit(F, E, sign);
    int lz = clz64(x);
    return round_pack(F, E, sign, ea + 1 - lz, x << lz, ctl, f);
}

/* ---- multiply, divide, square root ---- */

INLINE int mul_special(int F, int E, uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    uint32_t sign = sign_of(F, E, *a) ^ sign_of(F, E, *b);
    uint64_t x = *a;
    if (is_nan(F, E, *a) || is_nan(F, E, *b)) {
        *r = nan_of(F, E, *a, *b, ctl, f);
        return 1;
    }
    uint64_t za = flush_denormal(F, E, *a, ctl), zb = flush_denormal(F, E, *b, ctl);
    if ((is_inf(F, E, *a) && is_zero(F, E, zb)) || (is_zero(F, E, za) && is_inf(F, E, *b))) {
        *r = invalid(F, E, *a, ctl, f, SF_VXIMZ);
        return 1;
    }
    *a = take_denormal(F, E, *a, ctl, f);
    *b = take_denormal(F, E, *b, ctl, f);
    if (stops(ctl, *f)) {
        *r = x;
        return 1;
    }
    if (is_inf(F, E, *a) || is_inf(F, E, *b)) {
        *r = infinity(F, E, sign);
        return 1;
    }
    *r = sign_bit(F, E, sign);
    return is_zero(F, E, *a) || is_zero(F, E, *b);
}

COLD int mul_special_f32(uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    return mul_special(F32, a, b, ctl, f, r);
}

COLD int mul_special_f64(uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    return mul_special(F64, a, b, ctl, f, r);
}

INLINE uint64_t mul_ieee(int F, int E, uint64_t a, uint64_t b, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special(F, E, a) | is_special(F, E, b))) {
        uint64_t r;
        if (F == 23 ? mul_special_f32(&a, &b, ctl, f, &r) : mul_special_f64(&a, &b, ctl, f, &r)) return r;
    }
    int32_t ea, eb;
    u128 p = (u128)unpack_norm(F, E, a, &ea) * unpack_norm(F, E, b, &eb);
    uint64_t hi = (uint64_t)(p >> 64) | ((uint64_t)p != 0);
    int lz = !(hi >> 63);
    uint32_t sign = sign_of(F, E, a) ^ sign_of(F, E, b);
    return round_pack(F, E, sign, ea + eb - ((1 << (E - 1)) - 1) + 1 - lz, hi << lz, ctl, f);
}

INLINE int div_special(int F, int E, uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    uint32_t sign = sign_of(F, E, *a) ^ sign_of(F, E, *b);
    uint64_t x = *a, za = flush_denormal(F, E, *a, ctl), zb = flush_denormal(F, E, *b, ctl);
    *r = sign_bit(F, E, sign);
    if (is_nan(F, E, *a) || is_nan(F, E, *b)) {
        *r = nan_of(F, E, *a, *b, ctl, f);
        return 1;
    }
    if (is_inf(F, E, *a) && is_inf(F, E, *b)) {
        *r = invalid(F, E, *a, ctl, f, SF_VXIDI);
        return 1;
    }
    if (is_zero(F, E, zb) && !is_inf(F, E, *a)) {
        if (is_zero(F, E, za)) {
            *r = invalid(F, E, *a, ctl, f, SF_VXZDZ);
        } else {
            *f |= SF_DIVZERO;
            *r = stops(ctl, *f) ? x : infinity(F, E, sign);
        }
        return 1;
    }
    *a = take_denormal(F, E, *a, ctl, f);
    *b = take_denormal(F, E, *b, ctl, f);
    if (stops(ctl, *f)) {
        *r = x;
        return 1;
    }
    if (is_inf(F, E, *a)) *r = infinity(F, E, sign);
    return is_inf(F, E, *a) || is_inf(F, E, *b) || is_zero(F, E, *a);
}

COLD int div_special_f32(uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    return div_special(F32, a, b, ctl, f, r);
}

COLD int div_special_f64(uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    return div_special(F64, a, b, ctl, f, r);
}

INLINE uint64_t div_ieee(int F, int E, uint64_t a, uint64_t b, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special(F, E, a) | is_special(F, E, b))) {
        uint64_t r;
        if (F == 23 ? div_special_f32(&a, &b, ctl, f, &r) : div_special_f64(&a, &b, ctl, f, &r)) return r;
    }
    int32_t ea, eb;
    uint64_t x = unpack_norm(F, E, a, &ea), y = unpack_norm(F, E, b, &eb), q;
    uint32_t sign = sign_of(F, E, a) ^ sign_of(F, E, b);
    int32_t e = ea - eb + (1 << (E - 1)) - 1;
    if (F == 23) { /* 24-bit divisor: a 63-bit dividend gives 39 bits or more of quotient */
        y >>= 40;
        x >>= 1;
        q = x / y;
        q |= q * y != x;
    } else {
        u128 n = (u128)x << 52;
        y >>= 11; /* n < 2^116, y >= 2^52: the quotient fits in 64 bits */
        q = (uint64_t)(n / y);
        q |= (u128)q * y != n;
    }
    int lz = clz64(q); /* x/y in (1/2, 2): the leading bit is one of two */
    e += (F == 23 ? 24 : 0) - lz;
    return round_pack(F, E, sign, e, q << lz, ctl, f);
}

/* Square roots by halves: the root of the upper half gives the upper half of the root, one division gives the rest, and the
 * remainder, exact, corrects it by at most one. The radicand has a bit set among its two highest. */
INLINE uint32_t root16(uint32_t n, uint32_t *rem) {
    uint32_t root = 0;
    for (uint32_t bit = 0x80; bit; bit >>= 1) {
        uint32_t t = root | bit;
        if (t * t <= n) root = t;
    }
    *rem = n - root * root;
    return root;
}

INLINE uint32_t root32(uint32_t n, uint32_t *rem) {
    uint32_t r1, s1 = root16(n >> 16, &r1), t = r1 << 8 | (n >> 8 & 0xff), q = t / (2 * s1), u = t - q * 2 * s1;
    uint32_t s = (s1 << 8) + q;
    int64_t r = (int64_t)((uint64_t)u << 8 | (n & 0xff)) - (int64_t)q * q;
    if (r < 0) {
        s -= 1;
        r += 2 * (int64_t)s + 1;
    }
    *rem = (uint32_t)r;
    return s;
}

INLINE uint64_t root64(uint64_t n, uint64_t *rem) {
    uint32_t r1, s1 = root32((uint32_t)(n >> 32), &r1);
    uint64_t t = (uint64_t)r1 << 16 | (n >> 16 & 0xffff), q = t / (2 * (uint64_t)s1), u = t - q * 2 * s1;
    uint64_t s = ((uint64_t)s1 << 16) + q;
    int64_t r = (int64_t)(u << 16 | (n & 0xffff)) - (int64_t)(q * q);
    if (r < 0) {
        s -= 1;
        r += 2 * (int64_t)s + 1;
    }
    *rem = (uint64_t)r;
    return s;
}

INLINE uint64_t root128(u128 n, u128 *rem) {
    uint64_t hi = (uint64_t)(n >> 64), lo = (uint64_t)n, r1, s1 = root64(hi, &r1);
    uint64_t q = (r1 << 31 | lo >> 33) / s1; /* floor((r1 * 2^32 + ...) / (2 s1)) without its 65th bit */
    if (q >> 32) q = 0xffffffffu;
    u128 u = ((u128)r1 << 32 | lo >> 32) - (u128)q * 2 * s1;
    uint64_t s = (s1 << 32) + q;
    __int128 r = (__int128)(u << 32 | (lo & 0xffffffffu)) - (__int128)((u128)q * q);
    if (r < 0) {
        s -= 1;
        r += 2 * (__int128)s + 1;
    }
    *rem = (u128)r;
    return s;
}

INLINE uint64_t sqrt_ieee(int F, int E, uint64_t a, uint32_t ctl, uint32_t *f) {
    const int32_t bias = (1 << (E - 1)) - 1;
    if (UNLIKELY(is_special(F, E, a) || sign_of(F, E, a))) {
        uint64_t x = a;
        if (is_nan(F, E, a)) return nan_of(F, E, a, a, ctl, f);
        if (is_zero(F, E, flush_denormal(F, E, a, ctl))) return flush_denormal(F, E, a, ctl);
        if (sign_of(F, E, a)) return invalid(F, E, a, ctl, f, SF_VXSQRT);
        if (is_inf(F, E, a)) return a;
        a = take_denormal(F, E, a, ctl, f);
        if (stops(ctl, *f)) return x;
    }
    int32_t e;
    uint64_t sig = unpack_norm(F, E, a, &e), root;
    e -= bias;
    uint32_t odd = (uint32_t)e & 1;
    e = (e - (int32_t)odd) / 2 + bias;
    if (F == 23) {
        uint64_t rem;
        root = root64(odd ? sig : sig >> 1, &rem) << 32 | (rem != 0);
    } else {
        u128 rem;
        root = root128((u128)sig << (63 + odd), &rem);
        root |= rem != 0;
    }
    return round_pack(F, E, 0, e, root, ctl, f);
}

/* ---- remainder ---- */

/* x - y*q for significands with leading bits at 63 and x's exponent d >= 0 above y's; *quotient keeps the low bits of q. */
INLINE uint64_t remainder_bits(uint64_t x, uint64_t y, uint32_t d, uint64_t *quotient) {
    uint64_t q = x >= y, r = q ? x - y : x;
    while (d) {
        uint32_t k = d < 63 ? d : 63;
        u128 t = (u128)r << k;
        uint64_t part = (uint64_t)(t / y);
        q = q << k | part; /* part < 2^k */
        r = (uint64_t)(t - (u128)part * y);
        d -= k;
    }
    *quotient = q;
    return r;
}

/* Remainder of the nearest quotient (ties to even) for exponents ea, eb. Result: *sig * 2^(*e - bias - 63), sign flipped
 * where 1 is returned; *sig 0 when the division is exact. *quotient gets the low bits of the quotient's magnitude. */
INLINE uint32_t remainder_nearest(uint64_t x, int32_t ea, uint64_t y, int32_t eb, uint64_t *sig, int32_t *e, uint64_t *quotient) {
    *quotient = 0;
    *e = ea;
    *sig = x;
    if (ea < eb - 1) return 0; /* below half of the divisor */
    if (ea == eb - 1) {
        if (x <= y) return 0; /* 2*|a| <= |b|; a tie goes to the even quotient 0 */
        u128 diff = ((u128)y << 1) - x;
        *quotient = 1;
        *sig = (uint64_t)diff; /* x > y: below 2^64 */
        return 1;
    }
    uint64_t r = remainder_bits(x, y, (uint32_t)(ea - eb), quotient);
    *e = eb;
    *sig = r;
    if (r > y - r || (r == y - r && (*quotient & 1))) {
        *sig = y - r;
        *quotient += 1;
        return 1;
    }
    return 0;
}

INLINE uint64_t rem_ieee(int F, int E, uint64_t a, uint64_t b, uint32_t ctl, uint32_t *f) {
    uint64_t x = a, q;
    int32_t ea, eb, e;
    uint32_t sign = sign_of(F, E, a);
    if (is_nan(F, E, a) || is_nan(F, E, b)) return nan_of(F, E, a, b, ctl, f);
    if (is_inf(F, E, a) || is_zero(F, E, flush_denormal(F, E, b, ctl))) return invalid(F, E, a, ctl, f, 0);
    a = take_denormal(F, E, a, ctl, f);
    b = take_denormal(F, E, b, ctl, f);
    if (stops(ctl, *f)) return x;
    if (is_zero(F, E, a)) return a;
    if (is_inf(F, E, b)) { /* a itself; through the rounding for the sake of an unmasked underflow */
        x = unpack_norm(F, E, a, &ea);
        return round_pack(F, E, sign, ea, x, ctl, f);
    }
    uint64_t sa = unpack_norm(F, E, a, &ea), sb = unpack_norm(F, E, b, &eb), sig;
    sign ^= remainder_nearest(sa, ea, sb, eb, &sig, &e, &q);
    if (sig == 0) return sign_bit(F, E, sign);
    int lz = clz64(sig);
    return round_pack(F, E, sign, e - lz, sig << lz, ctl, f);
}

/* ---- a * b + c, rounded once ---- */

INLINE uint64_t muladd_nan(int F, int E, uint64_t a, uint64_t b, uint64_t c, uint32_t ctl, uint32_t *f) {
    uint64_t first = RULE(ctl) == SF_NAN_PPC ? c : b, second = RULE(ctl) == SF_NAN_PPC ? b : c;
    if (is_snan(F, E, a) || is_snan(F, E, b) || is_snan(F, E, c)) raise_invalid(ctl, f, SF_VXSNAN);
    uint64_t za = flush_denormal(F, E, a, ctl), zb = flush_denormal(F, E, b, ctl);
    if ((is_inf(F, E, a) && is_zero(F, E, zb)) || (is_zero(F, E, za) && is_inf(F, E, b))) {
        if (RULE(ctl) == SF_NAN_PPC) raise_invalid(ctl, f, SF_VXIMZ);
    }
    if (stops(ctl, *f)) return a;
    return quiet(F, is_nan(F, E, a) ? a : is_nan(F, E, first) ? first : second);
}

INLINE uint64_t muladd_ieee(int F, int E, uint64_t a, uint64_t b, uint64_t c, uint32_t ctl, uint32_t *f) {
    const int32_t bias = (1 << (E - 1)) - 1;
    uint32_t sign = sign_of(F, E, a) ^ sign_of(F, E, b), sign_c = sign_of(F, E, c);
    if (UNLIKELY(is_special(F, E, a) | is_special(F, E, b) | is_special(F, E, c))) {
        uint64_t x = a, za = flush_denormal(F, E, a, ctl), zb = flush_denormal(F, E, b, ctl);
        if (is_nan(F, E, a) || is_nan(F, E, b) || is_nan(F, E, c)) return muladd_nan(F, E, a, b, c, ctl, f);
        if ((is_inf(F, E, a) && is_zero(F, E, zb)) || (is_zero(F, E, za) && is_inf(F, E, b)))
            return invalid(F, E, a, ctl, f, SF_VXIMZ);
        int infinite = is_inf(F, E, a) || is_inf(F, E, b);
        if (infinite && is_inf(F, E, c) && sign != sign_c) return invalid(F, E, a, ctl, f, SF_VXISI);
        a = take_denormal(F, E, a, ctl, f);
        b = take_denormal(F, E, b, ctl, f);
        c = take_denormal(F, E, c, ctl, f);
        if (stops(ctl, *f)) return x;
        if (infinite) return infinity(F, E, sign);
        if (is_inf(F, E, c)) return c;
        if (is_zero(F, E, a) || is_zero(F, E, b)) {
            if (is_zero(F, E, c)) return sign_bit(F, E, sign == sign_c ? sign : ROUND(ctl) == SF_DOWN);
            int32_t ec;
            uint64_t sc = unpack_norm(F, E, c, &ec);
            return round_pack(F, E, sign_c, ec, sc, ctl, f);
        }
    }
    int32_t ea, eb, ec;
    u128 p = (u128)unpack_norm(F, E, a, &ea) * unpack_norm(F, E, b, &eb) >> 1; /* leading bit at 125 or 126 */
    int32_t e = ea + eb - bias + 2;                                            /* of a leading bit at 127 */
    if (!is_zero(F, E, c)) {
        u128 s = (u128)unpack_norm(F, E, c, &ec) << 63;
        int32_t d = e - (ec + 1);
        if (d > 0) {
            s = shr_jam128(s, (uint32_t)d);
        } else if (d < 0) {
            p = shr_jam128(p, (uint32_t)-d);
            e = ec + 1;
        }
        if (sign == sign_c) {
            p += s;
        } else if (p >= s) {
            p -= s;
            if (p == 0) return sign_bit(F, E, ROUND(ctl) == SF_DOWN);
        } else {
            p = s - p;
            sign = sign_c;
        }
    }
    int lz = clz128(p);
    p <<= lz;
    return round_pack(F, E, sign, e - lz, (uint64_t)(p >> 64) | ((uint64_t)p != 0), ctl, f);
}

/* ---- comparison, minimum, maximum ---- */

INLINE uint32_t compare_ieee(int F, int E, uint64_t a, uint64_t b, int is_quiet, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special(F, E, a) | is_special(F, E, b))) {
        if (is_nan(F, E, a) || is_nan(F, E, b)) {
            int snan = is_snan(F, E, a) || is_snan(F, E, b);
            if (snan) raise_invalid(ctl, f, SF_VXSNAN | (is_quiet ? 0 : SF_VXVC));
            else if (!is_quiet) raise_invalid(ctl, f, SF_VXVC);
            return SF_UNORDERED;
        }
        a = take_denormal(F, E, a, ctl, f);
        b = take_denormal(F, E, b, ctl, f);
        if (is_zero(F, E, a) && is_zero(F, E, b)) return SF_EQUAL;
    }
    if (a == b) return SF_EQUAL;
    uint32_t sign = sign_of(F, E, a);
    if (sign != sign_of(F, E, b)) return sign ? SF_LESS : SF_GREATER;
    return (a < b) != (sign != 0) ? SF_LESS : SF_GREATER;
}

/* MINSS and MAXSS: the second operand for two zeros and for any NaN, which is always invalid. */
INLINE uint64_t minmax_ieee(int F, int E, uint64_t a, uint64_t b, uint32_t wanted, uint32_t ctl, uint32_t *f) {
    uint64_t x = a;
    uint32_t order = compare_ieee(F, E, a, b, 0, ctl, f);
    if (stops(ctl, *f)) return x;
    return flush_denormal(F, E, order == wanted ? a : b, ctl);
}

/* ---- integers ---- */

/* Rounds sig * 2^(e - 63) to an integer magnitude; e <= 63. *low is nonzero if bits were dropped, *up if it was raised. */
INLINE u128 round_magnitude(uint32_t sign, int32_t e, uint64_t sig, uint32_t ctl, uint64_t *low, uint32_t *up) {
    u128 t = shr_jam128((u128)sig << 64, (uint32_t)(63 - e));
    *low = (uint64_t)t;
    *up = rounds_up(ctl, sign, (uint64_t)(t >> 64), *low, TOP64);
    return (t >> 64) + *up;
}

INLINE uint64_t int_invalid(uint32_t sign, int nan, int bits, int is_signed, uint32_t ctl, uint32_t *f, uint32_t why) {
    uint64_t top = ONE64 << (bits - 1), ones = top | (top - 1);
    raise_invalid(ctl, f, why | SF_VXCVI);
    if (RULE(ctl) != SF_NAN_PPC) return is_signed ? top : ones;
    if (is_signed) return nan || sign ? top : top - 1;
    return nan || sign ? 0 : ones;
}

/* A finite nonzero value to a two's complement or unsigned integer of `bits` bits. */
INLINE uint64_t finite_to_int(uint32_t sign, int32_t e, uint64_t sig, int bits, int is_signed, uint32_t ctl, uint32_t *f) {
    uint64_t low = 0, limit = is_signed ? (ONE64 << (bits - 1)) - !sign : sign ? 0 : ~(uint64_t)0 >> (64 - bits);
    uint32_t up = 0;
    u128 m = e > 63 ? (u128)1 << 64 : round_magnitude(sign, e, sig, ctl, &low, &up);
    if (m > limit) return int_invalid(sign, 0, bits, is_signed, ctl, f, 0);
    if (low) raise_inexact(f, up);
    uint64_t r = (uint64_t)m;
    if (sign) r = 0 - r;
    return r & (~(uint64_t)0 >> (64 - bits));
}

INLINE uint64_t ieee_to_int(int F, int E, uint64_t a, int bits, int is_signed, uint32_t ctl, uint32_t *f) {
    if (is_nan(F, E, a)) return int_invalid(0, 1, bits, is_signed, ctl, f, is_snan(F, E, a) ? SF_VXSNAN : 0);
    if (is_inf(F, E, a)) return int_invalid(sign_of(F, E, a), 0, bits, is_signed, ctl, f, 0);
    a = flush_denormal(F, E, a, ctl);
    if (is_zero(F, E, a)) return 0;
    int32_t e;
    uint64_t sig = unpack_norm(F, E, a, &e);
    return finite_to_int(sign_of(F, E, a), e - ((1 << (E - 1)) - 1), sig, bits, is_signed, ctl, f);
}

INLINE uint64_t int_to_ieee(int F, int E, uint32_t sign, uint64_t magnitude, uint32_t ctl, uint32_t *f) {
    if (!magnitude) return 0;
    int lz = clz64(magnitude);
    return round_pack(F, E, sign, (1 << (E - 1)) - 1 + 63 - lz, magnitude << lz, ctl, f);
}

INLINE uint64_t round_int_ieee(int F, int E, uint64_t a, uint32_t ctl, uint32_t *f) {
    const int32_t bias = (1 << (E - 1)) - 1;
    if (is_nan(F, E, a)) return nan_of(F, E, a, a, ctl, f);
    a = flush_denormal(F, E, a, ctl);
    if (is_zero(F, E, a) || exponent(F, E, a) >= bias + F) return a;
    int32_t e;
    uint64_t sig = unpack_norm(F, E, a, &e), low;
    uint32_t up, sign = sign_of(F, E, a);
    uint64_t m = (uint64_t)round_magnitude(sign, e - bias, sig, ctl, &low, &up);
    if (low) raise_inexact(f, up);
    if (!m) return sign_bit(F, E, sign);
    int lz = clz64(m); /* m < 2^(F+1): exact */
    return sign_bit(F, E, sign) + ((uint64_t)(bias + 62 - lz) << F) + (m << lz >> (63 - F));
}

/* ---- between binary32 and binary64 ---- */

INLINE uint64_t f32_to_f64(uint64_t a, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special(F32, a))) {
        uint64_t x = a;
        if (is_nan(F32, a)) {
            x = nan_of(F32, a, a, ctl, f);
            if (stops(ctl, *f)) return 0;
            return sign_bit(F64, sign_of(F32, x)) | infinity(F64, 0) | fraction(23, x) << 29;
        }
        a = take_denormal(F32, a, ctl, f);
        if (stops(ctl, *f)) return 0;
    }
    return widen(a);
}

INLINE uint64_t f64_to_f32(uint64_t a, uint32_t ctl, uint32_t *f) {
    uint32_t sign = sign_of(F64, a);
    if (UNLIKELY(is_special(F64, a))) {
        if (is_nan(F64, a)) {
            a = nan_of(F64, a, a, ctl, f);
            if (stops(ctl, *f)) return 0;
            return sign_bit(F32, sign) | infinity(F32, 0) | fraction(52, a) >> 29;
        }
        a = take_denormal(F64, a, ctl, f);
        if (stops(ctl, *f)) return 0;
        if (is_inf(F64, a)) return infinity(F32, sign);
        if (is_zero(F64, a)) return sign_bit(F32, sign);
    }
    int32_t e;
    uint64_t sig = unpack_norm(F64, a, &e);
    return round_pack(F32, sign, e + 127 - 1023, sig, ctl, f);
}

/* ---- the 80-bit format: classes and packing ---- */

#define MAX80 0x7fff
#define BIAS80 16383
#define WRAP80 24576 /* exponent adjustment of an unmasked x87 overflow or underflow */
#define EXP80(x) ((int32_t)((x).se & MAX80))
#define SIGN80(x) ((uint32_t)(x).se >> 15)

INLINE sf_f80 make80(uint32_t sign, int32_t e, uint64_t sig) {
    sf_f80 r = {sig, (uint16_t)(sign << 15 | (uint32_t)e)};
    return r;
}

INLINE int is_special80(sf_f80 x) { /* anything but a normal number */
    return (uint32_t)(EXP80(x) - 1) >= MAX80 - 1 || !(x.sig >> 63);
}

INLINE int is_unsupported80(sf_f80 x) { /* unnormal, pseudo-infinity, pseudo-NaN */
    return EXP80(x) != 0 && !(x.sig >> 63);
}

INLINE int is_nan80(sf_f80 x) {
    return EXP80(x) == MAX80 && x.sig > TOP64;
}

INLINE int is_snan80(sf_f80 x) {
    return is_nan80(x) && !(x.sig >> 62 & 1);
}

INLINE int is_inf80(sf_f80 x) {
    return EXP80(x) == MAX80 && x.sig == TOP64;
}

INLINE int is_zero80(sf_f80 x) {
    return EXP80(x) == 0 && x.sig == 0;
}

INLINE int is_denormal80(sf_f80 x) { /* pseudo-denormals too */
    return EXP80(x) == 0 && x.sig != 0;
}

INLINE sf_f80 quiet80(sf_f80 x) {
    x.sig |= ONE64 << 62;
    return x;
}

INLINE sf_f80 invalid80(sf_f80 a, uint32_t ctl, uint32_t *f, uint32_t why) {
    raise_invalid(ctl, f, why);
    return stops(ctl, *f) ? a : make80(RULE(ctl) != SF_NAN_PPC, MAX80, (uint64_t)3 << 62);
}

/* One operand is a NaN or unsupported. */
COLD sf_f80 nan_of80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f) {
    if (is_unsupported80(a) || is_unsupported80(b)) return invalid80(a, ctl, f, 0);
    int sa = is_snan80(a), sb = is_snan80(b), na = is_nan80(a), nb = is_nan80(b);
    if (sa || sb) raise_invalid(ctl, f, SF_VXSNAN);
    if (stops(ctl, *f)) return a;
    if (RULE(ctl) != SF_NAN_X87 || !(na && nb)) return quiet80(na ? a : b);
    if (sa != sb) return sa ? b : a;
    return quiet80(a.sig > b.sig || (a.sig == b.sig && !SIGN80(a)) ? a : b);
}

INLINE int is_nan_or_unsupported80(sf_f80 x) {
    return is_nan80(x) || is_unsupported80(x);
}

INLINE void raise_denormal80(sf_f80 x, uint32_t *f) {
    if (is_denormal80(x)) *f |= SF_DENORMAL;
}

COLD sf_f80 round80_edges(uint32_t sign, int32_t e, uint64_t hi, uint64_t lo, int precision, uint32_t ctl, uint32_t *f) {
    const uint64_t mask = precision == 64 ? 0 : ~(uint64_t)0 >> precision;
    const uint64_t unit = mask + 1, half = precision == 64 ? TOP64 : unit >> 1;
    uint64_t low = precision == 64 ? lo : (hi & mask) | (lo != 0), m = hi & ~mask;
    uint32_t up = rounds_up(ctl, sign, m / unit, low, half);
    int32_t e1 = e;
    if (up && (m += unit) == 0) {
        m = TOP64;
        e1 += 1;
    }
    int tiny = (ctl & SF_CTL_TINY_BEFORE ? e : e1) < 1;
    if (tiny && (UNMASKED(ctl) & SF_UNDERFLOW)) {
        *f |= SF_UNDERFLOW;
        e1 += WRAP80;
        if (e1 < 1) { /* FSCALE only */
            raise_inexact(f, 0);
            return make80(sign, 0, 0);
        }
        if (low) raise_inexact(f, up);
        return make80(sign, e1, m);
    }
    if (e < 1) {
        u128 t = shr_jam128((u128)hi << 64 | lo, (uint32_t)(1 - e));
        hi = (uint64_t)(t >> 64);
        lo = (uint64_t)t;
        low = precision == 64 ? lo : (hi & mask) | (lo != 0);
        m = hi & ~mask;
        up = rounds_up(ctl, sign, m / unit, low, half);
        if (low) {
            raise_inexact(f, up);
            if (tiny) *f |= SF_UNDERFLOW;
        }
        if (up) m += unit;
        return make80(sign, (int32_t)(m >> 63), m);
    }
    if (e1 >= MAX80) {
        *f |= SF_OVERFLOW;
        if ((UNMASKED(ctl) & SF_OVERFLOW) && e1 - WRAP80 < MAX80) {
            if (low) raise_inexact(f, up);
            return make80(sign, e1 - WRAP80, m);
        }
        int infinite = (UNMASKED(ctl) & SF_OVERFLOW) || overflows_to_infinity(ctl, sign);
        raise_inexact(f, (uint32_t)infinite);
        return infinite ? make80(sign, MAX80, TOP64) : make80(sign, MAX80 - 1, ~mask);
    }
    if (low) raise_inexact(f, up);
    return make80(sign, e1, m);
}

/* Value: (hi:lo) * 2^(e - BIAS80 - 127), leading bit at the top of hi. */
INLINE sf_f80 round80(uint32_t sign, int32_t e, uint64_t hi, uint64_t lo, int precision, uint32_t ctl, uint32_t *f) {
    if (LIKELY(precision == 64 && (uint32_t)(e - 1) < MAX80 - 2)) {
        if (lo) {
            uint32_t up = rounds_up(ctl, sign, hi, lo, TOP64);
            raise_inexact(f, up);
            hi += up;
            if (UNLIKELY(up && hi == 0)) {
                hi = TOP64;
                e += 1;
            }
        }
        return make80(sign, e, hi);
    }
    return round80_edges(sign, e, hi, lo, precision, ctl, f);
}

INLINE uint64_t unpack80(sf_f80 x, int32_t *e) {
    *e = EXP80(x);
    if (LIKELY(*e != 0)) return x.sig;
    int lz = clz64(x.sig);
    *e = 1 - lz;
    return x.sig << lz;
}

/* ---- the 80-bit format: arithmetic ---- */

COLD int add_special80(sf_f80 a, sf_f80 b, uint32_t negate, uint32_t ctl, uint32_t *f, sf_f80 *r) {
    *r = a;
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) {
        *r = nan_of80(a, b, ctl, f);
        return 1;
    }
    sf_f80 minus_b = {b.sig, (uint16_t)(b.se ^ negate << 15)};
    if (is_inf80(a) && is_inf80(b) && a.se != minus_b.se) {
        *r = invalid80(a, ctl, f, SF_VXISI);
        return 1;
    }
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f) || is_inf80(a)) return 1;
    *r = minus_b;
    return is_inf80(b);
}

INLINE sf_f80 add80(sf_f80 a, sf_f80 b, uint32_t negate, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special80(a) | is_special80(b))) {
        sf_f80 r;
        if (add_special80(a, b, negate, ctl, f, &r)) return r;
    }
    b.se ^= (uint16_t)(negate << 15);
    int32_t ea = EXP80(a), eb = EXP80(b);
    uint32_t sa = SIGN80(a), sb = SIGN80(b);
    uint64_t x = a.sig, y = b.sig;
    ea += ea == 0;
    eb += eb == 0;
    if (ea < eb || (ea == eb && x < y)) {
        uint64_t t = x;
        x = y;
        y = t;
        int32_t te = ea;
        ea = eb;
        eb = te;
        uint32_t ts = sa;
        sa = sb;
        sb = ts;
    }
    u128 p = (u128)x << 63; /* leading bit at 126: room for the carry */
    u128 q = shr_jam128((u128)y << 63, (uint32_t)(ea - eb));
    if (sa == sb) {
        p += q;
    } else {
        p -= q;
        if (p == 0) sa = ROUND(ctl) == SF_DOWN;
    }
    if (UNLIKELY(p == 0)) return make80(sa, 0, 0);
    int lz = clz128(p);
    p <<= lz;
    return round80(sa, ea + 1 - lz, (uint64_t)(p >> 64), (uint64_t)p, ctl_precision(ctl), ctl, f);
}

COLD int mul_special80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f, sf_f80 *r) {
    uint32_t sign = SIGN80(a) ^ SIGN80(b);
    *r = a;
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) {
        *r = nan_of80(a, b, ctl, f);
        return 1;
    }
    if ((is_inf80(a) && is_zero80(b)) || (is_zero80(a) && is_inf80(b))) {
        *r = invalid80(a, ctl, f, SF_VXIMZ);
        return 1;
    }
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f)) return 1;
    int infinite = is_inf80(a) || is_inf80(b);
    *r = infinite ? make80(sign, MAX80, TOP64) : make80(sign, 0, 0);
    return infinite || is_zero80(a) || is_zero80(b);
}

INLINE sf_f80 mul80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special80(a) | is_special80(b))) {
        sf_f80 r;
        if (mul_special80(a, b, ctl, f, &r)) return r;
    }
    int32_t ea, eb;
    u128 p = (u128)unpack80(a, &ea) * unpack80(b, &eb);
    int lz = !(p >> 127);
    p <<= lz;
    return round80(SIGN80(a) ^ SIGN80(b), ea + eb - BIAS80 + 1 - lz, (uint64_t)(p >> 64), (uint64_t)p, ctl_precision(ctl), ctl, f);
}

COLD int div_special80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f, sf_f80 *r) {
    uint32_t sign = SIGN80(a) ^ SIGN80(b);
    *r = a;
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) {
        *r = nan_of80(a, b, ctl, f);
        return 1;
    }
    if ((is_inf80(a) && is_inf80(b)) || (is_zero80(a) && is_zero80(b))) {
        *r = invalid80(a, ctl, f, is_zero80(a) ? SF_VXZDZ : SF_VXIDI);
        return 1;
    }
    if (is_zero80(b) && !is_inf80(a)) {
        *f |= SF_DIVZERO;
        if (!stops(ctl, *f)) *r = make80(sign, MAX80, TOP64);
        return 1;
    }
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f)) return 1;
    *r = is_inf80(a) ? make80(sign, MAX80, TOP64) : make80(sign, 0, 0);
    return is_inf80(a) || is_inf80(b) || is_zero80(a);
}

INLINE sf_f80 div80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special80(a) | is_special80(b))) {
        sf_f80 r;
        if (div_special80(a, b, ctl, f, &r)) return r;
    }
    int32_t ea, eb;
    uint64_t x = unpack80(a, &ea), y = unpack80(b, &eb);
    int below = x < y; /* quotient in (1/2, 1): one more bit of dividend */
    u128 n = (u128)x << (63 + below);
    uint64_t q = (uint64_t)(n / y), r = (uint64_t)(n - (u128)q * y);
    uint64_t lo = r == 0 ? 0 : r > y - r ? TOP64 | 1 : r == y - r ? TOP64 : 1;
    return round80(SIGN80(a) ^ SIGN80(b), ea - eb + BIAS80 - below, q, lo, ctl_precision(ctl), ctl, f);
}

INLINE sf_f80 sqrt80(sf_f80 a, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special80(a) || SIGN80(a))) {
        if (is_nan_or_unsupported80(a)) return nan_of80(a, a, ctl, f);
        if (is_zero80(a)) return a;
        if (SIGN80(a)) return invalid80(a, ctl, f, SF_VXSQRT);
        if (is_inf80(a)) return a;
        raise_denormal80(a, f);
        if (stops(ctl, *f)) return a;
    }
    int32_t e;
    uint64_t sig = unpack80(a, &e);
    e -= BIAS80;
    uint32_t odd = (uint32_t)e & 1;
    u128 rem;
    uint64_t root = root128((u128)sig << (63 + odd), &rem);
    uint64_t lo = rem == 0 ? 0 : rem > root ? TOP64 | 1 : 1; /* (root + 1/2)^2 = root^2 + root + 1/4 */
    return round80(0, (e - (int32_t)odd) / 2 + BIAS80, root, lo, ctl_precision(ctl), ctl, f);
}

INLINE sf_f80 rem80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f) {
    int32_t ea, eb, e;
    uint64_t sig, q;
    uint32_t sign = SIGN80(a);
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) return nan_of80(a, b, ctl, f);
    if (is_inf80(a) || is_zero80(b)) return invalid80(a, ctl, f, 0);
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f) || is_zero80(a)) return a;
    uint64_t x = unpack80(a, &ea);
    if (is_inf80(b)) return round80(sign, ea, x, 0, 64, ctl, f);
    uint64_t y = unpack80(b, &eb);
    sign ^= remainder_nearest(x, ea, y, eb, &sig, &e, &q);
    if (sig == 0) return make80(sign, 0, 0);
    int lz = clz64(sig);
    return round80(sign, e - lz, sig << lz, 0, 64, ctl, f);
}

INLINE uint32_t compare80(sf_f80 a, sf_f80 b, int is_quiet, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special80(a) | is_special80(b))) {
        if (is_unsupported80(a) || is_unsupported80(b)) {
            raise_invalid(ctl, f, 0);
            return SF_UNORDERED;
        }
        if (is_nan80(a) || is_nan80(b)) {
            int snan = is_snan80(a) || is_snan80(b);
            if (snan) raise_invalid(ctl, f, SF_VXSNAN | (is_quiet ? 0 : SF_VXVC));
            else if (!is_quiet) raise_invalid(ctl, f, SF_VXVC);
            return SF_UNORDERED;
        }
        raise_denormal80(a, f);
        raise_denormal80(b, f);
        if (is_zero80(a) && is_zero80(b)) return SF_EQUAL;
    }
    uint32_t sign = SIGN80(a);
    if (sign != SIGN80(b)) return sign ? SF_LESS : SF_GREATER;
    int32_t ea = EXP80(a), eb = EXP80(b);
    ea += ea == 0;
    eb += eb == 0;
    if (ea == eb && a.sig == b.sig) return SF_EQUAL;
    int less = ea < eb || (ea == eb && a.sig < b.sig);
    return less != (sign != 0) ? SF_LESS : SF_GREATER;
}

INLINE sf_f80 round_int80(sf_f80 a, uint32_t ctl, uint32_t *f) {
    int32_t e = EXP80(a);
    if (UNLIKELY(is_special80(a))) {
        if (is_nan_or_unsupported80(a)) return nan_of80(a, a, ctl, f);
        if (!is_denormal80(a)) return a;
        *f |= SF_DENORMAL;
        if (stops(ctl, *f)) return a;
    }
    if (e >= BIAS80 + 63) return a;
    uint64_t low;
    uint32_t up, sign = SIGN80(a);
    uint64_t m = (uint64_t)round_magnitude(sign, e - BIAS80, a.sig, ctl, &low, &up);
    if (low) raise_inexact(f, up);
    if (!m) return make80(sign, 0, 0);
    int lz = clz64(m);
    return make80(sign, BIAS80 + 63 - lz, m << lz);
}

/* ---- the 80-bit format: FPREM, FPREM1, FSCALE, FXTRACT, packed decimal ---- */

INLINE uint32_t quotient_bits(uint64_t q) {
    return (q & 4 ? SF_C0 : 0u) | (q & 2 ? SF_C3 : 0u) | (q & 1 ? SF_C1 : 0u);
}

INLINE sf_f80 prem80(sf_f80 a, sf_f80 b, int nearest, uint32_t ctl, uint32_t *f) {
    int32_t ea, eb, e;
    uint64_t sig, q = 0;
    uint32_t sign = SIGN80(a);
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) return nan_of80(a, b, ctl, f);
    if (is_inf80(a) || is_zero80(b)) return invalid80(a, ctl, f, 0);
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f) || is_zero80(a)) return a;
    uint64_t x = unpack80(a, &ea);
    if (is_inf80(b)) return round80(sign, ea, x, 0, 64, ctl, f);
    uint64_t y = unpack80(b, &eb);
    int32_t d = ea - eb;
    if (d >= 64) {
        uint32_t n = ((uint32_t)d & 31) | 32;
        *f |= SF_C2;
        sig = remainder_bits(x, y, n, &q);
        e = ea - (int32_t)n;
    } else {
        if (nearest) {
            sign ^= remainder_nearest(x, ea, y, eb, &sig, &e, &q);
        } else if (d < 0) {
            sig = x;
            e = ea;
        } else {
            sig = remainder_bits(x, y, (uint32_t)d, &q);
            e = eb;
        }
        *f |= quotient_bits(q);
    }
    if (sig == 0) return make80(sign, 0, 0);
    int lz = clz64(sig);
    return round80(sign, e - lz, sig << lz, 0, 64, ctl, f);
}

INLINE sf_f80 scale80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f) {
    uint32_t sign = SIGN80(a), down = SIGN80(b);
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) return nan_of80(a, b, ctl, f);
    if (is_inf80(b) && (down ? is_inf80(a) : is_zero80(a))) return invalid80(a, ctl, f, 0);
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f) || is_inf80(a) || is_zero80(a)) return a;
    if (is_inf80(b)) return down ? make80(sign, 0, 0) : make80(sign, MAX80, TOP64);
    int32_t ea, eb = EXP80(b) - BIAS80, n = 0;
    if (eb >= 0) n = eb < 16 ? (int32_t)(b.sig >> (63 - eb)) : 1 << 16; /* beyond any exponent, biased or not */
    uint64_t x = unpack80(a, &ea);
    return round80(sign, down ? ea - n : ea + n, x, 0, 64, ctl, f);
}

INLINE sf_f80 int_to_80(uint32_t sign, uint64_t magnitude) {
    if (!magnitude) return make80(0, 0, 0);
    int lz = clz64(magnitude);
    return make80(sign, BIAS80 + 63 - lz, magnitude << lz);
}

INLINE sf_f80 xtract80(sf_f80 a, sf_f80 *power, uint32_t ctl, uint32_t *f) {
    if (is_nan_or_unsupported80(a)) return *power = nan_of80(a, a, ctl, f);
    *power = make80(0, MAX80, TOP64);
    if (is_inf80(a)) return a;
    if (is_zero80(a)) {
        *f |= SF_DIVZERO;
        *power = stops(ctl, *f) ? a : make80(1, MAX80, TOP64);
        return a;
    }
    raise_denormal80(a, f);
    if (stops(ctl, *f)) return *power = a;
    int32_t e;
    uint64_t sig = unpack80(a, &e);
    e -= BIAS80;
    *power = int_to_80(e < 0, (uint64_t)(e < 0 ? -e : e));
    return make80(SIGN80(a), BIAS80, sig);
}

#define BCD_LIMIT 1000000000000000000u /* 18 digits */

/* Sign and the two upper digits in se, sixteen digits in sig. */
INLINE sf_f80 bcd_from_80(sf_f80 a, uint32_t ctl, uint32_t *f) {
    sf_f80 r = {0, (uint16_t)(a.se & 0x8000)};
    uint64_t low = 0, m = BCD_LIMIT;
    uint32_t up = 0;
    if (is_zero80(a)) return r;
    if (!is_unsupported80(a) && EXP80(a) < BIAS80 + 62) {
        int32_t e;
        uint64_t sig = unpack80(a, &e);
        m = (uint64_t)round_magnitude(SIGN80(a), e - BIAS80, sig, ctl, &low, &up);
    }
    if (m >= BCD_LIMIT) {
        raise_invalid(ctl, f, 0);
        return make80(1, MAX80, (uint64_t)3 << 62);
    }
    if (low) raise_inexact(f, up);
    for (int i = 0; i < 16; i++, m /= 10) r.sig |= m % 10 << (4 * i);
    r.se |= (uint16_t)(m / 10 << 4 | m % 10);
    return r;
}

INLINE sf_f80 bcd_to_80(sf_f80 a) {
    uint64_t m = (uint64_t)(a.se >> 4 & 15) * 10 + (a.se & 15);
    for (int i = 60; i >= 0; i -= 4) m = m * 10 + (a.sig >> i & 15);
    sf_f80 r = int_to_80(SIGN80(a), m);
    r.se |= (uint16_t)(a.se & 0x8000);
    return r;
}

/* ---- the 80-bit format: conversions ---- */

INLINE uint64_t int_from_80(sf_f80 a, int bits, int is_signed, uint32_t ctl, uint32_t *f) {
    if (is_nan_or_unsupported80(a)) return int_invalid(0, 1, bits, is_signed, ctl, f, is_snan80(a) ? SF_VXSNAN : 0);
    if (is_inf80(a)) return int_invalid(SIGN80(a), 0, bits, is_signed, ctl, f, 0);
    if (is_zero80(a)) return 0;
    int32_t e;
    uint64_t sig = unpack80(a, &e);
    return finite_to_int(SIGN80(a), e - BIAS80, sig, bits, is_signed, ctl, f);
}

INLINE sf_f80 ieee_to_80(int F, int E, uint64_t a, uint32_t ctl, uint32_t *f) {
    uint32_t sign = sign_of(F, E, a);
    if (UNLIKELY(is_special(F, E, a))) {
        if (is_nan(F, E, a)) {
            a = nan_of(F, E, a, a, ctl, f);
            if (stops(ctl, *f)) return make80(0, 0, 0);
            return make80(sign, MAX80, TOP64 | fraction(F, a) << (63 - F));
        }
        a = take_denormal(F, E, a, ctl, f);
        if (stops(ctl, *f)) return make80(0, 0, 0);
        if (is_inf(F, E, a)) return make80(sign, MAX80, TOP64);
        if (is_zero(F, E, a)) return make80(sign, 0, 0);
    }
    int32_t e;
    uint64_t sig = unpack_norm(F, E, a, &e);
    return make80(sign, e + BIAS80 - ((1 << (E - 1)) - 1), sig);
}

INLINE uint64_t ieee_from_80(int F, int E, sf_f80 a, uint32_t ctl, uint32_t *f) {
    uint32_t sign = SIGN80(a);
    if (UNLIKELY(is_special80(a))) {
        if (is_unsupported80(a)) return invalid(F, E, 0, ctl, f, 0);
        if (is_nan80(a)) {
            a = nan_of80(a, a, ctl, f);
            if (stops(ctl, *f)) return 0;
            return infinity(F, E, sign) | fraction(F, a.sig >> (63 - F));
        }
        if (is_inf80(a)) return infinity(F, E, sign);
        if (is_zero80(a)) return sign_bit(F, E, sign);
    }
    int32_t e;
    uint64_t sig = unpack80(a, &e);
    return round_pack(F, E, sign, e - BIAS80 + (1 << (E - 1)) - 1, sig, ctl, f);
}

INLINE uint64_t magnitude_of(int64_t a) {
    return a < 0 ? 0 - (uint64_t)a : (uint64_t)a;
}

/* ---- the structured layer ---- */

#define SF_OP(R, name, params, expression)                              \
    SF_API R sf_##name(params, const sf_ctl *c, uint32_t *flags) {      \
        uint32_t ctl = ctl_pack(c), f = 0;                              \
        R r = (R)(expression);                                          \
        *flags |= f;                                                    \
        return r;                                                       \
    }
#define SF_OP80(name, params, expression)                               \
    SF_API sf_f80 sf_##name(params, const sf_ctl *c, uint32_t *flags) { \
        uint32_t ctl = ctl_pack(c), f = 0;                              \
        sf_f80 r = expression;                                          \
        *flags |= f;                                                    \
        return r;                                                       \
    }
#define COMMA ,
#define SF_IEEE(T, N, FE)                                                                \
    SF_OP(T, N##_add, T a COMMA T b, add_ieee(FE, a, b, 0, ctl, &f))                     \
    SF_OP(T, N##_sub, T a COMMA T b, add_ieee(FE, a, b, 1, ctl, &f))                     \
    SF_OP(T, N##_mul, T a COMMA T b, mul_ieee(FE, a, b, ctl, &f))                        \
    SF_OP(T, N##_div, T a COMMA T b, div_ieee(FE, a, b, ctl, &f))                        \
    SF_OP(T, N##_rem, T a COMMA T b, rem_ieee(FE, a, b, ctl, &f))                        \
    SF_OP(T, N##_min, T a COMMA T b, minmax_ieee(FE, a, b, SF_LESS, ctl, &f))            \
    SF_OP(T, N##_max, T a COMMA T b, minmax_ieee(FE, a, b, SF_GREATER, ctl, &f))         \
    SF_OP(T, N##_muladd, T a COMMA T b COMMA T addend, muladd_ieee(FE, a, b, addend, ctl, &f)) \
    SF_OP(T, N##_sqrt, T a, sqrt_ieee(FE, a, ctl, &f))                                   \
    SF_OP(T, N##_round_int, T a, round_int_ieee(FE, a, ctl, &f))                         \
    SF_OP(uint32_t, N##_compare, T a COMMA T b, compare_ieee(FE, a, b, 0, ctl, &f))      \
    SF_OP(uint32_t, N##_compare_quiet, T a COMMA T b, compare_ieee(FE, a, b, 1, ctl, &f)) \
    SF_OP(uint32_t, N##_to_i16, T a, ieee_to_int(FE, a, 16, 1, ctl, &f))                 \
    SF_OP(uint32_t, N##_to_i32, T a, ieee_to_int(FE, a, 32, 1, ctl, &f))                 \
    SF_OP(uint64_t, N##_to_i64, T a, ieee_to_int(FE, a, 64, 1, ctl, &f))                 \
    SF_OP(uint32_t, N##_to_u32, T a, ieee_to_int(FE, a, 32, 0, ctl, &f))
SF_IEEE(uint32_t, f32, F32)
SF_IEEE(uint64_t, f64, F64)
SF_OP(uint64_t, f32_to_f64, uint32_t a, f32_to_f64(a, ctl, &f))
SF_OP(uint32_t, f64_to_f32, uint64_t a, f64_to_f32(a, ctl, &f))
SF_OP80(f32_to_f80, uint32_t a, ieee_to_80(F32, a, ctl, &f))
SF_OP80(f64_to_f80, uint64_t a, ieee_to_80(F64, a, ctl, &f))
SF_OP(uint32_t, f80_to_f32, sf_f80 a, ieee_from_80(F32, a, ctl, &f))
SF_OP(uint64_t, f80_to_f64, sf_f80 a, ieee_from_80(F64, a, ctl, &f))
SF_OP(uint32_t, i64_to_f32, int64_t a, int_to_ieee(F32, a < 0, magnitude_of(a), ctl, &f))
SF_OP(uint64_t, i64_to_f64, int64_t a, int_to_ieee(F64, a < 0, magnitude_of(a), ctl, &f))
SF_OP80(f80_add, sf_f80 a COMMA sf_f80 b, add80(a, b, 0, ctl, &f))
SF_OP80(f80_sub, sf_f80 a COMMA sf_f80 b, add80(a, b, 1, ctl, &f))
SF_OP80(f80_mul, sf_f80 a COMMA sf_f80 b, mul80(a, b, ctl, &f))
SF_OP80(f80_div, sf_f80 a COMMA sf_f80 b, div80(a, b, ctl, &f))
SF_OP80(f80_rem, sf_f80 a COMMA sf_f80 b, rem80(a, b, ctl, &f))
SF_OP80(f80_sqrt, sf_f80 a, sqrt80(a, ctl, &f))
SF_OP80(f80_round_int, sf_f80 a, round_int80(a, ctl, &f))
SF_OP80(f80_prem, sf_f80 a COMMA sf_f80 b, prem80(a, b, 0, ctl, &f))
SF_OP80(f80_prem1, sf_f80 a COMMA sf_f80 b, prem80(a, b, 1, ctl, &f))
SF_OP80(f80_scale, sf_f80 a COMMA sf_f80 b, scale80(a, b, ctl, &f))
SF_OP80(f80_xtract, sf_f80 a COMMA sf_f80 *power, xtract80(a, power, ctl, &f))
SF_OP80(f80_to_bcd, sf_f80 a, bcd_from_80(a, ctl, &f))
SF_OP(uint32_t, f80_compare, sf_f80 a COMMA sf_f80 b, compare80(a, b, 0, ctl, &f))
SF_OP(uint32_t, f80_compare_quiet, sf_f80 a COMMA sf_f80 b, compare80(a, b, 1, ctl, &f))
SF_OP(uint32_t, f80_to_i16, sf_f80 a, int_from_80(a, 16, 1, ctl, &f))
SF_OP(uint32_t, f80_to_i32, sf_f80 a, int_from_80(a, 32, 1, ctl, &f))
SF_OP(uint64_t, f80_to_i64, sf_f80 a, int_from_80(a, 64, 1, ctl, &f))
SF_OP(uint32_t, f80_to_u32, sf_f80 a, int_from_80(a, 32, 0, ctl, &f))

SF_API sf_f80 sf_i64_to_f80(int64_t a) {
    return int_to_80(a < 0, magnitude_of(a));
}

SF_API sf_f80 sf_bcd_to_f80(sf_f80 a) {
    return bcd_to_80(a);
}

/* ---- the flat layer ---- */

#define OPERAND_A {a_sig, (uint16_t)a_se}
#define OPERAND_B {b_sig, (uint16_t)b_se}
#define TRUNCATED ((ctl & ~SF_CTL_ROUND) | SF_ZERO)

#define FX_BODY(R, expression) \
    {                          \
        uint32_t f = 0;        \
        *r = (R)(expression);  \
        *r_flags = f;          \
    }
#define FX_BODY80(expression)   \
    {                           \
        uint32_t f = 0;         \
        sf_f80 r = expression;  \
        *r_sig = r.sig;         \
        *r_se = r.se;           \
        *r_flags = f;           \
    }
#define FX_1(R, name, T, expression) SF_API void fx_##name(T a, uint32_t ctl, R *r, uint32_t *r_flags) FX_BODY(R, expression)
#define FX_2(R, name, T, expression) SF_API void fx_##name(T a, T b, uint32_t ctl, R *r, uint32_t *r_flags) FX_BODY(R, expression)
#define FX_3(R, name, T, expression) \
    SF_API void fx_##name(T a, T b, T c, uint32_t ctl, R *r, uint32_t *r_flags) FX_BODY(R, expression)
#define FX_FROM_80(R, name, expression)                                                          \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint32_t ctl, R *r, uint32_t *r_flags) { \
        sf_f80 a = OPERAND_A;                                                                    \
        FX_BODY(R, expression)                                                                   \
    }
#define FX_FROM_80_80(R, name, expression)                                                                          \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint64_t b_sig, uint32_t b_se, uint32_t ctl, R *r,         \
                          uint32_t *r_flags) {                                                                      \
        sf_f80 a = OPERAND_A, b = OPERAND_B;                                                                        \
        FX_BODY(R, expression)                                                                                      \
    }
#define FX_INTO_80(T, name, expression)                                                          \
    SF_API void fx_##name(T a, uint32_t ctl, uint64_t *r_sig, uint32_t *r_se, uint32_t *r_flags) \
    FX_BODY80(expression)
#define FX_1_80(name, expression)                                                                                    \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint32_t ctl, uint64_t *r_sig, uint32_t *r_se,              \
                          uint32_t *r_flags) {                                                                       \
        sf_f80 a = OPERAND_A;                                                                                        \
        FX_BODY80(expression)                                                                                        \
    }
#define FX_2_80(name, expression)                                                                                    \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint64_t b_sig, uint32_t b_se, uint32_t ctl,                \
                          uint64_t *r_sig, uint32_t *r_se, uint32_t *r_flags) {                                      \
        sf_f80 a = OPERAND_A, b = OPERAND_B;                                                                         \
        FX_BODY80(expression)                                                                                        \
    }

#define FX_1_80x2(name, expression)                                                                                  \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint32_t ctl, uint64_t *r_sig, uint32_t *r_se,              \
                          uint64_t *s_sig, uint32_t *s_se, uint32_t *r_flags) {                                      \
        sf_f80 a = OPERAND_A, s;                                                                                     \
        FX_BODY80(expression)                                                                                        \
        *s_sig = s.sig;                                                                                              \
        *s_se = s.se;                                                                                                \
    }

#define FX_BINARY(T, N, FE)                                                            \
    FX_2(T, N##_add, T, add_ieee(FE, a, b, 0, ctl, &f))                                \
    FX_2(T, N##_sub, T, add_ieee(FE, a, b, 1, ctl, &f))                                \
    FX_2(T, N##_mul, T, mul_ieee(FE, a, b, ctl, &f))                                   \
    FX_2(T, N##_div, T, div_ieee(FE, a, b, ctl, &f))                                   \
    FX_2(T, N##_rem, T, rem_ieee(FE, a, b, ctl, &f))                                   \
    FX_2(T, N##_min, T, minmax_ieee(FE, a, b, SF_LESS, ctl, &f))                       \
    FX_2(T, N##_max, T, minmax_ieee(FE, a, b, SF_GREATER, ctl, &f))                    \
    FX_3(T, N##_muladd, T, muladd_ieee(FE, a, b, c, ctl, &f))                          \
    FX_1(T, N##_sqrt, T, sqrt_ieee(FE, a, ctl, &f))                                    \
    FX_1(T, N##_round_int, T, round_int_ieee(FE, a, ctl, &f))                          \
    FX_2(uint32_t, N##_compare, T, compare_ieee(FE, a, b, 0, ctl, &f))                 \
    FX_2(uint32_t, N##_compare_quiet, T, compare_ieee(FE, a, b, 1, ctl, &f))           \
    FX_1(uint32_t, N##_to_i16, T, ieee_to_int(FE, a, 16, 1, ctl, &f))                  \
    FX_1(uint32_t, N##_to_i32, T, ieee_to_int(FE, a, 32, 1, ctl, &f))                  \
    FX_1(uint64_t, N##_to_i64, T, ieee_to_int(FE, a, 64, 1, ctl, &f))                  \
    FX_1(uint32_t, N##_to_u32, T, ieee_to_int(FE, a, 32, 0, ctl, &f))                  \
    FX_1(uint32_t, N##_to_i16_trunc, T, ieee_to_int(FE, a, 16, 1, TRUNCATED, &f))      \
    FX_1(uint32_t, N##_to_i32_trunc, T, ieee_to_int(FE, a, 32, 1, TRUNCATED, &f))      \
    FX_1(uint64_t, N##_to_i64_trunc, T, ieee_to_int(FE, a, 64, 1, TRUNCATED, &f))      \
    FX_1(uint32_t, N##_to_u32_trunc, T, ieee_to_int(FE, a, 32, 0, TRUNCATED, &f))
FX_BINARY(uint32_t, f32, F32)
FX_BINARY(uint64_t, f64, F64)
FX_1(uint64_t, f32_to_f64, uint32_t, f32_to_f64(a, ctl, &f))
FX_1(uint32_t, f64_to_f32, uint64_t, f64_to_f32(a, ctl, &f))
FX_INTO_80(uint32_t, f32_to_f80, ieee_to_80(F32, a, ctl, &f))
FX_INTO_80(uint64_t, f64_to_f80, ieee_to_80(F64, a, ctl, &f))
FX_FROM_80(uint32_t, f80_to_f32, ieee_from_80(F32, a, ctl, &f))
FX_FROM_80(uint64_t, f80_to_f64, ieee_from_80(F64, a, ctl, &f))
FX_FROM_80(uint32_t, f80_to_i16, int_from_80(a, 16, 1, ctl, &f))
FX_FROM_80(uint32_t, f80_to_i32, int_from_80(a, 32, 1, ctl, &f))
FX_FROM_80(uint64_t, f80_to_i64, int_from_80(a, 64, 1, ctl, &f))
FX_FROM_80(uint32_t, f80_to_u32, int_from_80(a, 32, 0, ctl, &f))
FX_FROM_80(uint32_t, f80_to_i16_trunc, int_from_80(a, 16, 1, TRUNCATED, &f))
FX_FROM_80(uint32_t, f80_to_i32_trunc, int_from_80(a, 32, 1, TRUNCATED, &f))
FX_FROM_80(uint64_t, f80_to_i64_trunc, int_from_80(a, 64, 1, TRUNCATED, &f))
FX_FROM_80(uint32_t, f80_to_u32_trunc, int_from_80(a, 32, 0, TRUNCATED, &f))
FX_1(uint32_t, i32_to_f32, uint32_t, int_to_ieee(F32, a >> 31, a >> 31 ? 0u - a : a, ctl, &f))
FX_1(uint32_t, u32_to_f32, uint32_t, int_to_ieee(F32, 0, a, ctl, &f))
FX_1(uint32_t, i64_to_f32, uint64_t, int_to_ieee(F32, (uint32_t)(a >> 63), a >> 63 ? 0 - a : a, ctl, &f))
FX_1(uint64_t, i32_to_f64, uint32_t, int_to_ieee(F64, a >> 31, a >> 31 ? 0u - a : a, ctl, &f))
FX_1(uint64_t, u32_to_f64, uint32_t, int_to_ieee(F64, 0, a, ctl, &f))
FX_1(uint64_t, i64_to_f64, uint64_t, int_to_ieee(F64, (uint32_t)(a >> 63), a >> 63 ? 0 - a : a, ctl, &f))
FX_INTO_80(uint32_t, i16_to_f80, ((void)ctl, int_to_80(a >> 15 & 1, a >> 15 & 1 ? 0x10000u - (a & 0xffffu) : a & 0xffffu)))
FX_INTO_80(uint32_t, i32_to_f80, ((void)ctl, int_to_80(a >> 31, a >> 31 ? 0u - a : a)))
FX_INTO_80(uint64_t, i64_to_f80, ((void)ctl, int_to_80((uint32_t)(a >> 63), a >> 63 ? 0 - a : a)))
FX_2_80(f80_add, add80(a, b, 0, ctl, &f))
FX_2_80(f80_sub, add80(a, b, 1, ctl, &f))
FX_2_80(f80_mul, mul80(a, b, ctl, &f))
FX_2_80(f80_div, div80(a, b, ctl, &f))
FX_2_80(f80_rem, rem80(a, b, ctl, &f))
FX_1_80(f80_sqrt, sqrt80(a, ctl, &f))
FX_1_80(f80_round_int, round_int80(a, ctl, &f))
FX_FROM_80_80(uint32_t, f80_compare, compare80(a, b, 0, ctl, &f))
FX_FROM_80_80(uint32_t, f80_compare_quiet, compare80(a, b, 1, ctl, &f))
FX_2_80(f80_prem, prem80(a, b, 0, ctl, &f))
FX_2_80(f80_prem1, prem80(a, b, 1, ctl, &f))
FX_2_80(f80_scale, scale80(a, b, ctl, &f))
FX_1_80x2(f80_xtract, xtract80(a, &s, ctl, &f))
FX_1_80(f80_to_bcd, bcd_from_80(a, ctl, &f))
FX_1_80(bcd_to_f80, ((void)ctl, bcd_to_80(a)))
