#include "analytics/tails.h"

#include <math.h>

void tails_init(struct tails *t, float m_first)
{
	for (int i = 0; i < TAILS; i++)
		tails_forget(t, i, m_first);
}

void tails_forget(struct tails *t, int i, float m_first)
{
	t->u[i] = NAN;
	t->m[i] = m_first;
	t->n[i] = 0;
}
