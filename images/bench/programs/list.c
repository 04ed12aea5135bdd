/* list: a linked list that is built in a scattered order, searched, cut, reversed and sorted by merging. */
#include "bench.h"

#define NODES 512

struct node {
	struct node *next;
	u32 key;
	u32 weight;
};

static struct node *merged(struct node *a, struct node *b)
{
	struct node head, *last = &head;

	while (a && b) {
		struct node **smaller = a->key <= b->key ? &a : &b;

		last->next = *smaller;
		last = *smaller;
		*smaller = last->next;
	}
	last->next = a ? a : b;
	return head.next;
}

static struct node *sorted(struct node *all)
{
	struct node *slow = all, *fast, *second;

	if (!all || !all->next)
		return all;
	fast = all->next;
	while (fast && fast->next) {
		slow = slow->next;
		fast = fast->next->next;
	}
	second = slow->next;
	slow->next = 0;
	return merged(sorted(all), sorted(second));
}

static struct node *reversed(struct node *all)
{
	struct node *done = 0;

	while (all) {
		struct node *next = all->next;

		all->next = done;
		done = all;
		all = next;
	}
	return done;
}

u32 list(u32 rounds)
{
	static struct node nodes[NODES];
	u32 sum = 0, seed = 4;

	while (rounds--) {
		struct node *all = 0, **link;

		for (u32 k = 0; k < NODES; k++) {
			struct node *one = &nodes[k * 73 % NODES];

			one->key = draw(&seed) & 0x3FF;
			one->weight = k;
			one->next = all;
			all = one;
		}
		for (u32 k = 0; k < 32; k++) {
			u32 wanted = draw(&seed) & 0x3FF, steps = 0;
			struct node *at = all;

			while (at && at->key != wanted) {
				at = at->next;
				steps++;
			}
			sum = mixed(sum, at ? at->weight : steps);
		}
		all = reversed(sorted(all));
		for (link = &all; *link;) {
			if ((*link)->key & 1)
				*link = (*link)->next;
			else
				link = &(*link)->next;
		}
		for (struct node *at = all; at; at = at->next)
			sum = mixed(sum, at->key ^ at->weight << 10);
	}
	return sum;
}
