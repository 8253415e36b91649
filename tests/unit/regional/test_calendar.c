/* The calendar against a plain list. */
#include <stdbool.h>

#include "base/macros.h"
#include "base/rand.h"
#include "regional/calendar.h"
#include "tests/unit/harness.h"

#define MEMBERS 500

struct diary {
	struct day days[MEMBERS];
	int64_t due[MEMBERS]; /* INT64_MAX: not entered */
};

static struct day *day_of(void *context, uint32_t member)
{
	return &((struct diary *)context)->days[member];
}

static void calendar_over(struct calendar *c)
{
	calendar_done(c);
}
#define CALENDAR(diary)                            \
	CLEANUP(calendar_over) struct calendar c;  \
	calendar_init(&c, day_of, diary);          \
	ASSERT_OK(calendar_reserve(&c))

static void each_comes_in_its_second_and_none_before_it(void)
{
	static struct diary diary;
	uint64_t random = 11;
	int64_t now = -3000; /* before 1970 too */
	uint64_t given = 0;
	CALENDAR(&diary);

	for (int i = 0; i < MEMBERS; i++)
		diary.due[i] = INT64_MAX;
	for (int round = 0; round < 20000; round++) {
		uint32_t budget = UINT32_MAX, member = (uint32_t)(rand_uniform(&random) * MEMBERS);

		if (diary.due[member] == INT64_MAX) { /* up to some turns ahead, and in the past */
			int64_t due = now + (int64_t)(rand_uniform(&random) * 3 * CALENDAR_SLOTS) - 10;

			calendar_enter(&c, member, due);
			diary.due[member] = round == 0 ? due : due > now ? due : now + 1;
		}
		now += (int64_t)(rand_uniform(&random) * 3) * (round % 100 == 0 ? 5000 : 1);
		while ((member = calendar_take(&c, now, &budget)) != CALENDAR_NONE) {
			CU_ASSERT_FATAL(diary.due[member] <= now);
			diary.due[member] = INT64_MAX;
			given++;
		}
		for (int i = 0; i < MEMBERS; i++)
			CU_ASSERT_FATAL(diary.due[i] == INT64_MAX || diary.due[i] > now);
	}
	CU_ASSERT(given > MEMBERS);
}

static void a_spent_budget_goes_on_with_the_next(void)
{
	static struct diary diary;
	bool seen[MEMBERS] = { false };
	uint32_t member, budget = 1, n = 0;
	CALENDAR(&diary);

	CU_ASSERT_EQUAL(calendar_take(&c, 0, &budget), CALENDAR_NONE);
	for (uint32_t i = 0; i < MEMBERS; i++)
		calendar_enter(&c, i, i % 2 ? 7 : 7 + CALENDAR_SLOTS); /* of one slot */
	for (int calls = 0; n < MEMBERS / 2; calls++) {
		CU_ASSERT_FATAL(calls < 100);
		budget = 10;
		while ((member = calendar_take(&c, 7 + calls / 30, &budget)) != CALENDAR_NONE) {
			CU_ASSERT(member % 2 == 1 && !seen[member]);
			seen[member] = true;
			n++;
		}
		CU_ASSERT(budget == 0 || n == MEMBERS / 2);
	}
	budget = MEMBERS;
	while ((member = calendar_take(&c, 7 + CALENDAR_SLOTS, &budget)) != CALENDAR_NONE)
		n++;
	CU_ASSERT_EQUAL(n, MEMBERS);
}

TESTS("regional-calendar", T(each_comes_in_its_second_and_none_before_it), T(a_spent_budget_goes_on_with_the_next))
