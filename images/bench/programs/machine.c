/* interp: a stack machine of sixteen codes that runs a sieve, Euclid's algorithm and a recursive sum. */
#include "bench.h"

enum code { PUSH, ADD, SUB, MOD, LESS, LOAD, STORE, FETCH, KEEP, JUMP, ZERO, CALL, BACK, DUP, HALT, LABEL };

struct step {
	u8 code;
	u8 value;
};

#define CELLS 1024
#define STEPS 128

enum variable { LIMIT, I, J, FOUND, A, B, VARIABLES };
enum label { EACH, MARK, CROSS, NEXT, DIVIDE, DIVIDED, SUM, NOTHING, LABELS };

static const struct step source[] = {
	{PUSH, 2}, {STORE, I},
	{LABEL, EACH}, {LOAD, I}, {LOAD, LIMIT}, {LESS, 0}, {ZERO, DIVIDE},
	{LOAD, I}, {FETCH, 0}, {ZERO, MARK}, {JUMP, NEXT},
	{LABEL, MARK}, {LOAD, FOUND}, {PUSH, 1}, {ADD, 0}, {STORE, FOUND}, {LOAD, I}, {DUP, 0}, {ADD, 0}, {STORE, J},
	{LABEL, CROSS}, {LOAD, J}, {LOAD, LIMIT}, {LESS, 0}, {ZERO, NEXT}, {PUSH, 1}, {LOAD, J}, {KEEP, 0},
	{LOAD, J}, {LOAD, I}, {ADD, 0}, {STORE, J}, {JUMP, CROSS},
	{LABEL, NEXT}, {LOAD, I}, {PUSH, 1}, {ADD, 0}, {STORE, I}, {JUMP, EACH},
	{LABEL, DIVIDE}, {LOAD, B}, {ZERO, DIVIDED}, {LOAD, A}, {LOAD, B}, {MOD, 0}, {LOAD, B}, {STORE, A}, {STORE, B},
	{JUMP, DIVIDE},
	{LABEL, DIVIDED}, {LOAD, A}, {PUSH, 90}, {MOD, 0}, {CALL, SUM}, {LOAD, FOUND}, {ADD, 0}, {LOAD, A}, {ADD, 0},
	{HALT, 0},
	{LABEL, SUM}, {DUP, 0}, {ZERO, NOTHING}, {DUP, 0}, {PUSH, 1}, {SUB, 0}, {CALL, SUM}, {ADD, 0}, {BACK, 0},
	{LABEL, NOTHING}, {BACK, 0},
};

/* Labels become places. */
static void load(struct step *code)
{
	u8 places[LABELS];
	u32 count = 0;

	for (u32 k = 0; k < COUNT(source); k++) {
		if (source[k].code == LABEL)
			places[source[k].value] = (u8)count;
		else
			code[count++] = source[k];
	}
	while (count-- > 0)
		if (code[count].code == JUMP || code[count].code == ZERO || code[count].code == CALL)
			code[count].value = places[code[count].value];
}

static u32 execute(const struct step *code, u32 *cells, u32 *variables)
{
	u32 stack[256], sp = 0, pc = 0;
	u8 calls[128];
	u32 cp = 0;

	for (;;) {
		struct step now = code[pc++];

		switch ((enum code)now.code) {
		case PUSH:
			stack[sp++] = now.value;
			break;
		case ADD:
			sp--;
			stack[sp - 1] += stack[sp];
			break;
		case SUB:
			sp--;
			stack[sp - 1] -= stack[sp];
			break;
		case MOD:
			sp--;
			stack[sp - 1] %= stack[sp];
			break;
		case LESS:
			sp--;
			stack[sp - 1] = stack[sp - 1] < stack[sp];
			break;
		case LOAD:
			stack[sp++] = variables[now.value];
			break;
		case STORE:
			variables[now.value] = stack[--sp];
			break;
		case FETCH:
			stack[sp - 1] = cells[stack[sp - 1]];
			break;
		case KEEP:
			sp -= 2;
			cells[stack[sp + 1]] = stack[sp];
			break;
		case JUMP:
			pc = now.value;
			break;
		case ZERO:
			if (!stack[--sp])
				pc = now.value;
			break;
		case CALL:
			calls[cp++] = (u8)pc;
			pc = now.value;
			break;
		case BACK:
			pc = calls[--cp];
			break;
		case DUP:
			stack[sp] = stack[sp - 1];
			sp++;
			break;
		default:
			return stack[sp - 1];
		}
	}
}

u32 interp(u32 rounds)
{
	static u32 cells[CELLS];
	static struct step code[STEPS];
	u32 sum = 0, seed = 8;

	load(code);
	while (rounds--) {
		u32 variables[VARIABLES] = {[LIMIT] = CELLS - draw(&seed) % 64};

		variables[A] = 30 * (1 + (draw(&seed) & 0xFFFF));
		variables[B] = 30 * (1 + (draw(&seed) & 0xFFF));
		for (u32 k = 0; k < CELLS; k++)
			cells[k] = 0;
		sum = mixed(sum, execute(code, cells, variables));
	}
	return sum;
}
