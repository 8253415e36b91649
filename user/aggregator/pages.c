#include "aggregator/pages.h"

#include <errno.h>
#include <stdlib.h>

int page_init(struct page *p, uint32_t max)
{
	*p = (struct page){ .lines = calloc(max, sizeof(*p->lines)), .max = max };
	if (!p->lines)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	return 0;
}

void page_done(struct page *p)
{
	if (!p->lines)
		return;
	for (uint32_t i = 0; i < p->max; i++)
		buf_done(&p->lines[i].text);
	free(p->lines);
	pthread_mutex_destroy(&p->lock);
	p->lines = NULL;
}

static struct page_line *line_at(const struct page *p, uint32_t i)
{
	return &p->lines[(p->first + i) % p->max];
}

/* Moves the line of this key, or else the oldest one of a full list, to the place behind the newest. */
static struct page_line *make_newest(struct page *p, uint64_t key)
{
	uint32_t at = 0;

	while (at < p->n && line_at(p, at)->key != key)
		at++;
	if (at == p->n && p->n < p->max)
		return line_at(p, p->n++);
	if (at == p->n)
		for (at = 0; at < p->n && line_at(p, at)->open;)
			at++;
	if (at == p->n)
		at = 0;

	struct page_line moved = *line_at(p, at);

	for (; at + 1 < p->n; at++)
		*line_at(p, at) = *line_at(p, at + 1);
	*line_at(p, at) = moved;
	return line_at(p, at);
}

void page_put(struct page *p, uint64_t key, struct slice line, bool open)
{
	pthread_mutex_lock(&p->lock);

	struct page_line *newest = make_newest(p, key);

	newest->key = key;
	newest->open = open;
	buf_reset(&newest->text);
	buf_append(&newest->text, line.data, line.len);
	pthread_mutex_unlock(&p->lock);
}

int page_serve(void *context, const char *path, struct buf *body)
{
	struct page *p = context;

	buf_append_u8(body, '[');
	pthread_mutex_lock(&p->lock);
	for (uint32_t i = p->n; i > 0; i--) {
		const struct page_line *line = line_at(p, i - 1);

		buf_append_str(body, i == p->n ? "\n" : ",\n");
		buf_append(body, line->text.data, line->text.len);
	}
	pthread_mutex_unlock(&p->lock);
	buf_append_str(body, "]\n");
	return 200;
}
