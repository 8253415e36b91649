/* The notifier as a filter, for tests with real receivers: `notify_post webhook|alertmanager URL RESEND_MS`.
 *
 * In, a line each: ALERT_ID VERSION open|ended RAISED_SEVERITY|- LINE      (ALERT_ID in hex, LINE is JSON)
 * Out, a line each receipt: ALERT_ID VERSION taken|refused MICROSECONDS    (since the line was given to the notifier)
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "alerts/notify.h"
#include "base/clock.h"

static int give(struct notifier *n, char *text)
{
	char state[8], severity[32];
	struct notify_alert alert = { .arrival_ns = clock_wall_ns() };
	int at = 0;

	text[strcspn(text, "\n")] = 0;
	if (sscanf(text, "%" SCNx64 " %" SCNu64 " %7s %31s %n", &alert.alert_id, &alert.version, state, severity, &at) != 4)
		return -1;
	alert.open = !strcmp(state, "open");
	alert.line = SLICE_STR(text + at);
	alert.raised_severity = strcmp(severity, "-") ? severity : NULL;
	return notifier_send(n, 0, &alert);
}

static void print_receipts(struct notifier *n, int wake_fd)
{
	struct notify_receipt r;
	eventfd_t seen;

	eventfd_read(wake_fd, &seen);
	while (notifier_taken(n, &r))
		printf("%016" PRIx64 " %" PRIu64 " %s %" PRId64 "\n", r.alert_id, r.version, r.refused ? "refused" : "taken",
		       (r.taken_ns - r.arrival_ns) / NS_PER_US);
	fflush(stdout);
}

static int serve(struct notifier *n, int wake_fd)
{
	static char text[NOTIFY_LINE_MAX];
	struct pollfd fds[] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = wake_fd, .events = POLLIN } };

	setvbuf(stdin, NULL, _IONBF, 0); /* what fgets() has read ahead would be hidden from poll() */
	while (poll(fds, 2, -1) > 0) {
		if (fds[1].revents)
			print_receipts(n, wake_fd);
		if (!fds[0].revents)
			continue;
		if (!fgets(text, sizeof(text), stdin))
			return 0;

		int r = give(n, text);

		if (r < 0) {
			fprintf(stderr, "%s: %s\n", text, strerror(-r));
			return 1;
		}
	}
	return 1;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;

	enum notify_kind kind = strcmp(argv[1], "webhook") ? NOTIFY_ALERTMANAGER : NOTIFY_WEBHOOK;
	const struct notify_receiver receiver = { kind, argv[2] };
	const struct notifier_options options = { .receivers = &receiver, .n_receivers = 1, .timeout_ms = 5000,
						  .resend_ms = atoi(argv[3]), .retry_base_ms = 50, .retry_max_ms = 500,
						  .pending_max = 10000, .wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
						  .page_url = "http://sluice.example/alerts" };
	struct notifier *n;
	char error[256] = "";

	if (notifier_new(&n, &options, error, sizeof(error)) < 0) {
		fprintf(stderr, "%s\n", error);
		return 2;
	}

	int status = serve(n, options.wake_fd);

	notifier_free(n);
	return status;
}
