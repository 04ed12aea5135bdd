/* Sorting, CRC-32 and matrices of whole numbers. */
#include "bench.h"

/* --- sort: the same numbers by quicksort, heap sort and Shell sort; the results have to agree */

#define NUMBERS 2048

static void quick(u32 *a, i32 low, i32 high)
{
	while (low < high) {
		u32 middle = a[low + (high - low) / 2];
		i32 i = low, j = high;

		while (i <= j) {
			while (a[i] < middle)
				i++;
			while (a[j] > middle)
				j--;
			if (i <= j) {
				u32 kept = a[i];

				a[i++] = a[j];
				a[j--] = kept;
			}
		}
		if (j - low < high - i) {
			quick(a, low, j);
			low = i;
		} else {
			quick(a, i, high);
			high = j;
		}
	}
}

static void sift(u32 *a, u32 at, u32 count)
{
	u32 value = a[at];

	for (;;) {
		u32 child = 2 * at + 1;

		if (child >= count)
			break;
		if (child + 1 < count && a[child + 1] > a[child])
			child++;
		if (a[child] <= value)
			break;
		a[at] = a[child];
		at = child;
	}
	a[at] = value;
}

static void heap(u32 *a, u32 count)
{
	for (u32 at = count / 2; at-- > 0;)
		sift(a, at, count);
	for (u32 end = count - 1; end > 0; end--) {
		u32 top = a[0];

		a[0] = a[end];
		a[end] = top;
		sift(a, 0, end);
	}
}

static void shell(u32 *a, u32 count)
{
	for (u32 gap = count / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11) {
		for (u32 i = gap; i < count; i++) {
			u32 value = a[i], j = i;

			for (; j >= gap && a[j - gap] > value; j -= gap)
				a[j] = a[j - gap];
			a[j] = value;
		}
	}
}

u32 sort(u32 rounds)
{
	static u32 first[NUMBERS], second[NUMBERS], third[NUMBERS];
	u32 sum = 0, seed = 1;

	while (rounds--) {
		for (u32 k = 0; k < NUMBERS; k++)
			first[k] = second[k] = third[k] = draw(&seed);
		quick(first, 0, NUMBERS - 1);
		heap(second, NUMBERS);
		shell(third, NUMBERS);
		for (u32 k = 0; k < NUMBERS; k++) {
			if (first[k] != second[k] || first[k] != third[k])
				return 0xBAD;
			sum = mixed(sum, first[k]);
		}
	}
	return sum;
}

/* --- crc: CRC-32 of 16 KiB by table, and of a part of it bit by bit; they have to agree */

#define POLYNOMIAL 0xEDB88320u

static u32 slow_crc(const u8 *data, u32 size)
{
	u32 crc = ~0u;

	while (size--) {
		crc ^= *data++;
		for (u32 bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
	}
	return ~crc;
}

static u32 fast_crc(const u32 *table, const u8 *data, u32 size)
{
	u32 crc = ~0u;

	while (size--)
		crc = table[(crc ^ *data++) & 0xFF] ^ crc >> 8;
	return ~crc;
}

u32 crc(u32 rounds)
{
	static u8 data[16384];
	u32 table[256], sum = 0, seed = 2;

	for (u32 k = 0; k < 256; k++) {
		table[k] = k;
		for (u32 bit = 0; bit < 8; bit++)
			table[k] = table[k] & 1 ? table[k] >> 1 ^ POLYNOMIAL : table[k] >> 1;
	}
	for (u32 k = 0; k < sizeof data; k++)
		data[k] = (u8)draw(&seed);
	while (rounds--) {
		if (slow_crc(data, 1024) != fast_crc(table, data, 1024))
			return 0xBAD;
		sum = mixed(sum, fast_crc(table, data, sizeof data));
		data[sum % sizeof data]++;
	}
	return sum;
}

/* --- matrix: products of 40 x 40, their transposes, and the sums of what exceeds a bound */

#define SIDE 40

u32 matrix(u32 rounds)
{
	static i32 a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];
	u32 sum = 0, seed = 3;

	for (u32 i = 0; i < SIDE; i++) {
		for (u32 j = 0; j < SIDE; j++) {
			a[i][j] = (i32)(draw(&seed) & 0xFFFF) - 0x8000;
			b[i][j] = (i32)(draw(&seed) & 0xFFFF) - 0x8000;
		}
	}
	while (rounds--) {
		i32 over = 0;

		for (u32 i = 0; i < SIDE; i++) {
			for (u32 j = 0; j < SIDE; j++) {
				u32 dot = 0;

				for (u32 k = 0; k < SIDE; k++)
					dot += (u32)(a[i][k] * b[k][j]);
				c[i][j] = (i32)dot >> 7;
			}
		}
		for (u32 i = 0; i < SIDE; i++) {
			for (u32 j = 0; j < SIDE; j++) {
				a[i][j] = (i32)(short)(c[j][i] ^ a[i][j]);
				over += c[i][j] > 0x100000 ? 1 : c[i][j] < -0x100000 ? -3 : 0;
			}
		}
		sum = mixed(sum, (u32)over ^ (u32)a[rounds % SIDE][7]);
	}
	return sum;
}
