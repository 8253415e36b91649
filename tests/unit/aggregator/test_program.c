/* The program itself: ready, useful, stopped. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/unit/aggregator/world.h"

struct process {
	pid_t pid;
	struct world *world;
	const char *name;
};

static struct process start(struct world *w, const char *name)
{
	struct process p = { .world = w, .name = name };
	const char *build = getenv("SLUICE_BUILD");
	char config[128], port[128], log[128], program[256];

	snprintf(config, sizeof(config), "%s/%s.yaml", w->dir, name);
	snprintf(port, sizeof(port), "%s/%s.port", w->dir, name);
	snprintf(log, sizeof(log), "%s/%s.log", w->dir, name);
	snprintf(program, sizeof(program), "%s/bin/sluice-aggregator", build ? build : "build");

	FILE *f = fopen(config, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fprintf(f, "admin:\n  port_file: %s\n", port);
	fprintf(f, "streams:\n  global_log: embedded:%s/global.log\n  global_windows: embedded:%s/global.windows\n"
		   "  global_alerts: embedded:%s/global.alerts\n", w->dir, w->dir, w->dir);
	fprintf(f,
		"aggregator:\n  early_interval: 100ms\n  regions:\n    eu: embedded:%s/eu.deltas\n    us: "
		"embedded:%s/us.deltas\n",
		w->dir, w->dir);
	fclose(f);
	p.pid = fork();
	if (p.pid == 0) {
		int fd = open(log, O_CREAT | O_WRONLY | O_TRUNC, 0600);

		dup2(fd, STDERR_FILENO);
		execl(program, program, "--config", config, NULL);
		_exit(127);
	}
	return p;
}

/* Its exit status, and how long it took to end. */
static int finish(struct process *p, int signal, int64_t *ret_ns)
{
	int64_t since_ns = clock_mono_ns();
	int status = -1;

	kill(p->pid, signal);
	while (waitpid(p->pid, &status, WNOHANG) == 0 && clock_mono_ns() - since_ns < WAIT_NS)
		usleep(2000);
	*ret_ns = clock_mono_ns() - since_ns;
	return status;
}

/* Body and head of a page, or "" while there is none. */
static void get(const struct process *p, const char *path, char *ret, size_t size)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char file[128], text[256];
	unsigned port = 0;

	*ret = '\0';
	snprintf(file, sizeof(file), "%s/%s.port", p->world->dir, p->name);

	FILE *f = fopen(file, "r");

	if (!f || fscanf(f, "%u", &port) != 1)
		port = 0;
	if (f)
		fclose(f);
	if (port == 0)
		return;
	to.sin_port = htons((uint16_t)port);

	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t n = 0;
	ssize_t got;

	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
		if (write(fd, text, strlen(text)) > 0)
			while (n < size - 1 && (got = read(fd, ret + n, size - 1 - n)) > 0)
				n += (size_t)got;
	}
	ret[n] = '\0';
	close(fd);
}

static bool page_has(const struct process *p, const char *path, const char *text)
{
	static char page[1 << 20];
	int64_t until_ns = clock_mono_ns() + WAIT_NS;

	do {
		get(p, path, page, sizeof(page));
		if (strstr(page, text))
			return true;
		usleep(10000);
	} while (clock_mono_ns() < until_ns);
	printf("  %s has no \"%s\":\n%.2000s\n", path, text, page);
	return false;
}



static void it_becomes_ready_serves_its_pages_and_stops_within_two_seconds(void)
{
	const double value = 21.5;
	struct test_window window = {
		.start_ns = T0, .type = "mote", .metric = "temperature", .values = &value, .n = 1
	};
	CLEANUP(close_world) struct world w;
	int64_t took_ns;

	world_init(&w, eu_us, 2, "");
	create(&w, "eu.deltas", SHARDS);

	struct process p = start(&w, "one");

	CU_ASSERT(page_has(&p, "/readyz", "200 OK"));
	/* us comes later: its stream is met by the next try. */
	create(&w, "us.deltas", SHARDS);
	send_delta(&w, &(struct test_delta){
			       .region = "eu", .as_of = 1, .watermark_ns = T0, .windows = &window, .n_windows = 1 });
	send_watermarks(&w, "eu", 2, T0 + MINUTE);
	send_watermarks(&w, "us", 2, T0 + MINUTE);
	CU_ASSERT(page_has(&p, "/windows.json", "\"status\":\"final\""));
	CU_ASSERT(page_has(&p, "/windows.json", "\"sum\":\"21.5\""));
	CU_ASSERT(page_has(&p, "/alerts.json", "[]"));
	CU_ASSERT(page_has(&p, "/metrics", "sluice_aggregator_readings_unique_total{region=\"us\"} 8"));
	CU_ASSERT(page_has(&p, "/metrics", "sluice_aggregator_regions_live 2"));

	struct process second = start(&w, "two");

	CU_ASSERT(page_has(&second, "/readyz", "standby: another aggregator owns global.log"));
	CU_ASSERT_EQUAL(finish(&p, SIGTERM, &took_ns), 0);
	CU_ASSERT(took_ns < 2 * NS_PER_S);
	CU_ASSERT(page_has(&second, "/readyz", "200 OK"));
	CU_ASSERT(page_has(&second, "/windows.json", "\"sum\":\"21.5\""));
	CU_ASSERT_EQUAL(finish(&second, SIGINT, &took_ns), 0);
	CU_ASSERT(took_ns < 2 * NS_PER_S);
}

/* Killed at any moment: what the next one knows and writes is what the log says. */
static void kills_lose_nothing_and_count_nothing_twice(void)
{
	CLEANUP(close_world) struct world w;
	double values[40];
	int64_t took_ns;

	world_init(&w, eu_us, 2, "");
	create(&w, "eu.deltas", SHARDS);
	create(&w, "us.deltas", SHARDS);
	for (int i = 0; i < 40; i++) {
		struct test_window window = { .start_ns = T0 + i % 2 * MINUTE,
					      .type = "mote",
					      .metric = "temperature",
					      .values = values,
					      .n = (size_t)i + 1 };
		struct process p = { 0 };

		values[i] = i;
		if (i % 8 == 0)
			p = start(&w, "one");
		send_delta(&w, &(struct test_delta){ .region = "eu",
						     .shard = 1,
						     .as_of = 1 + (uint64_t)i,
						     .watermark_ns = T0,
						     .windows = &window,
						     .n_windows = 1 });
		if (p.pid > 0) {
			usleep((useconds_t)(rand_u64() % 120000));
			finish(&p, SIGKILL, &took_ns);
		}
	}
	send_watermarks(&w, "eu", 100, T0 + 2 * MINUTE);
	send_watermarks(&w, "us", 100, T0 + 2 * MINUTE);

	struct process p = start(&w, "one");
	int64_t until_ns = clock_mono_ns() + WAIT_NS;

	while (!(window_is(&w, T0, "temperature", "final") && window_is(&w, T0 + MINUTE, "temperature", "final")) &&
	       clock_mono_ns() < until_ns)
		usleep(20000);
	CU_ASSERT_EQUAL(finish(&p, SIGTERM, &took_ns), 0);

	json_t *even = window_at(&w, T0, "temperature"), *odd = window_at(&w, T0 + MINUTE, "temperature");

	/* 0 + .. + 38 and 0 + .. + 39 */
	CU_ASSERT(has(even, "sum", "741") && has(even, "status", "final"));
	CU_ASSERT(has(odd, "sum", "780") && has(odd, "status", "final"));
	json_decref(even);
	json_decref(odd);
}

static void a_wrong_configuration_is_refused_before_anything_is_touched(void)
{
	CLEANUP(close_world) struct world w;
	char config[128], command[512], text[512];
	const char *build = getenv("SLUICE_BUILD");

	world_init(&w, eu_us, 2, "");
	snprintf(config, sizeof(config), "%s/bad.yaml", w.dir);

	FILE *f = fopen(config, "w");

	fprintf(f, "aggregator:\n  regions: {}\n");
	fclose(f);
	snprintf(command, sizeof(command), "%s/bin/sluice-aggregator --config %s 2>&1", build ? build : "build",
		 config);
	f = popen(command, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	CU_ASSERT_EQUAL(WEXITSTATUS(pclose(f)), 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "streams.global_log"));
}

TESTS("program", T(it_becomes_ready_serves_its_pages_and_stops_within_two_seconds),
      T(kills_lose_nothing_and_count_nothing_twice), T(a_wrong_configuration_is_refused_before_anything_is_touched))
