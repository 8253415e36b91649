#include "analytics/tails.h"

#include <math.h>

void tails_init(struct tails *t, float m_first)
{
	memset(t, 0, sizeof(*t));
	for (int i = 0; i < TAILS; i++) {
		t->u[i] = NAN;
		t->m[i] = m_first;
	}
}
