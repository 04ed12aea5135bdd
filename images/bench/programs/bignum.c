/* bignum: powers modulo a number of 512 bits, by products of 16-bit digits with Montgomery's reduction, and the decimal
   digits of the result by short division. */
#include "bench.h"

#define LIMBS 16

typedef u32 number[LIMBS];

static u32 compare(const number a, const number b)
{
	for (u32 k = LIMBS; k-- > 0;)
		if (a[k] != b[k])
			return a[k] > b[k] ? 1 : 2;
	return 0;
}

static void subtract(number a, const number b)
{
	u32 borrow = 0;

	for (u32 k = 0; k < LIMBS; k++) {
		u64 d = (u64)a[k] - b[k] - borrow;

		a[k] = (u32)d;
		borrow = (u32)(d >> 32) & 1;
	}
}

/* result = a * b / 2^512 mod m, where inverse = -1 / m mod 2^32 and m is odd and its top bit is clear. */
static void product(number result, const number a, const number b, const number m, u32 inverse)
{
	u32 t[LIMBS + 1] = {0};

	for (u32 i = 0; i < LIMBS; i++) {
		u64 carry = 0;
		u32 factor, top;

		for (u32 k = 0; k < LIMBS; k++) {
			carry += (u64)a[i] * b[k] + t[k];
			t[k] = (u32)carry;
			carry >>= 32;
		}
		carry += t[LIMBS];
		t[LIMBS] = (u32)carry;
		top = (u32)(carry >> 32);
		factor = t[0] * inverse;
		carry = ((u64)factor * m[0] + t[0]) >> 32;
		for (u32 k = 1; k < LIMBS; k++) {
			carry += (u64)factor * m[k] + t[k];
			t[k - 1] = (u32)carry;
			carry >>= 32;
		}
		carry += t[LIMBS];
		t[LIMBS - 1] = (u32)carry;
		t[LIMBS] = top + (u32)(carry >> 32);
	}
	for (u32 k = 0; k < LIMBS; k++)
		result[k] = t[k];
	if (t[LIMBS] || compare(result, m) != 2)
		subtract(result, m);
}

/* Divide by 10000 in place; returns the remainder. 16 bits at a time: there is no 64-bit division on these machines. */
static u32 shorter(number a)
{
	u32 rest = 0;

	for (u32 k = LIMBS; k-- > 0;) {
		u32 high = rest << 16 | a[k] >> 16;
		u32 low = (high % 10000) << 16 | (a[k] & 0xFFFF);

		rest = low % 10000;
		a[k] = (high / 10000) << 16 | low / 10000;
	}
	return rest;
}

u32 bignum(u32 rounds)
{
	u32 sum = 0, seed = 7;

	while (rounds--) {
		number m, power, result;
		u32 inverse = 1, exponent = 0x10001 ^ draw(&seed) << 8;

		for (u32 k = 0; k < LIMBS; k++) {
			m[k] = draw(&seed) << 8 ^ draw(&seed);
			power[k] = result[k] = draw(&seed);
		}
		m[0] |= 1;
		m[LIMBS - 1] = (m[LIMBS - 1] | 0x40000000) & 0x7FFFFFFF;
		for (u32 k = 0; k < 5; k++)
			inverse *= 2 - m[0] * inverse;
		inverse = 0 - inverse;
		for (; exponent; exponent >>= 1) {
			if (exponent & 1)
				product(result, result, power, m, inverse);
			product(power, power, power, m, inverse);
		}
		for (u32 k = 0; k < 39; k++)
			sum = mixed(sum, shorter(result));
	}
	return sum;
}
